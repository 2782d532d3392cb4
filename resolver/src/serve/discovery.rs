//! How clients find the encrypted transports of this server: SVCB records for `_dns.resolver.arpa` (RFC 9462, RFC 9461).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::dns::name::Dname;

/// Keys of SVCB parameters (RFC 9460 §14.3.2, RFC 9461 §5).
const ALPN: u16 = 1;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;
const DOH_PATH: u16 = 7;

/// An encrypted transport that this server listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Encrypted {
    pub(crate) kind: Kind,
    pub(crate) addr: SocketAddr,
}

/// The kinds, in the order in which clients should try them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Quic,
    Tls,
    Https,
}

/// The data of one SVCB record for each transport and port. `target` is the name in the certificate; listeners on all
/// addresses are reached at those `announced`.
pub(crate) fn records(transports: &[Encrypted], target: &Dname, announced: &[IpAddr], path: &str) -> Vec<Bytes> {
    let mut services: Vec<(Kind, u16)> = transports.iter().map(|one| (one.kind, one.addr.port())).collect();
    services.sort_unstable();
    services.dedup();
    let addresses = |(kind, port): (Kind, u16)| {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for one in transports.iter().filter(|one| (one.kind, one.addr.port()) == (kind, port)) {
            match one.addr.ip() {
                any if any.is_unspecified() => {
                    addresses.extend(announced.iter().filter(|ip| ip.is_ipv4() == any.is_ipv4()));
                }
                ip => addresses.push(ip),
            }
        }
        addresses.sort();
        addresses.dedup();
        addresses
    };
    let record = |(priority, service): (u16, (Kind, u16))| data(priority, target, service, path, &addresses(service));
    (1..).zip(services).map(record).collect()
}

fn data(priority: u16, target: &Dname, (kind, port): (Kind, u16), path: &str, addresses: &[IpAddr]) -> Bytes {
    let alpn: &[u8] = match kind {
        Kind::Quic => b"doq",
        Kind::Tls => b"dot",
        Kind::Https => b"h2",
    };
    let mut data = [&priority.to_be_bytes()[..], target.as_wire()].concat();
    let mut parameter = |key: u16, value: &[u8]| {
        // At most 16 addresses or a path of 200 bytes: far below what a length can say.
        if let (false, Ok(len)) = (value.is_empty(), u16::try_from(value.len())) {
            data.extend_from_slice(&key.to_be_bytes());
            data.extend_from_slice(&len.to_be_bytes());
            data.extend_from_slice(value);
        }
    };
    // In the order of their keys (RFC 9460 §2.2).
    parameter(ALPN, &[&[alpn.len() as u8], alpn].concat());
    parameter(PORT, &port.to_be_bytes());
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(v4_address) => v4.extend_from_slice(&v4_address.octets()),
            IpAddr::V6(v6_address) => v6.extend_from_slice(&v6_address.octets()),
        }
    }
    parameter(IPV4_HINT, &v4);
    parameter(IPV6_HINT, &v6);
    if kind == Kind::Https {
        parameter(DOH_PATH, format!("{path}{{?dns}}").as_bytes());
    }
    data.into()
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        rr::{RData, RecordType},
        serialize::binary::{BinDecoder, Restrict},
    };

    use super::*;

    /// As another implementation reads it.
    fn read(data: &Bytes) -> String {
        let mut decoder = BinDecoder::new(data);
        let data = RData::read(&mut decoder, RecordType::SVCB, Restrict::new(data.len() as u16)).expect("SVCB data");
        data.to_string()
    }

    #[test]
    fn one_record_for_each_transport_and_port() {
        let target = "ns.nic.p2p".parse().expect("a name");
        let one = |kind, addr: &str| Encrypted { kind, addr: addr.parse().expect("an address") };
        let announced: Vec<IpAddr> = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address")).into();
        let transports = [
            one(Kind::Https, "0.0.0.0:443"),
            one(Kind::Tls, "127.0.0.1:853"),
            one(Kind::Tls, "[::1]:853"),
            one(Kind::Tls, "127.0.0.1:8853"),
            one(Kind::Quic, "[::]:853"),
        ];
        let got: Vec<String> = records(&transports, &target, &announced, "/dns-query").iter().map(read).collect();
        let expected = [
            "1 ns.nic.p2p. alpn=doq, port=853 ipv6hint=2001:db8::1,",
            "2 ns.nic.p2p. alpn=dot, port=853 ipv4hint=127.0.0.1, ipv6hint=::1,",
            "3 ns.nic.p2p. alpn=dot, port=8853 ipv4hint=127.0.0.1,",
            "4 ns.nic.p2p. alpn=h2, port=443 ipv4hint=192.0.2.1, unknown7=\"/dns-query{?dns}\",",
        ];
        assert_eq!(got, expected);
        assert!(records(&[], &target, &announced, "/").is_empty());
    }
}
