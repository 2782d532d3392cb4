//! How an upstream is written: `9.9.9.9`, `udp://…`, `tcp://…`, `tls://…`, `https://…`, `quic://…`, `system`.
//!
//! The host is an address (IPv6 in brackets), or for the encrypted ones a name. We resolve no names ourselves, so what
//! stands behind `#` completes the host: the name in the certificate for an address, the addresses for a name. A
//! link-local address has its interface behind `%`, by name or number (RFC 6874 without its escapes).

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
};

use nix::net::if_::if_nametoindex;
use rustls::pki_types::ServerName;

/// The path of DNS over HTTPS, if none is given (RFC 8484 §4.1.1).
const DEFAULT_PATH: &str = "/dns-query";
/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 256;
/// The most addresses of one upstream.
const MAX_ADDRESSES: usize = 8;
/// The longest name of an interface (IFNAMSIZ on Linux, without the byte that ends it).
const MAX_INTERFACE_BYTES: usize = 15;
/// The word for the machine's own name servers.
const SYSTEM: &str = "system";

/// An upstream as configured.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// One server.
    Server(Server),
    /// The name servers of the machine.
    System,
}

/// One server, by one protocol.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Server {
    protocol: Protocol,
    addresses: Vec<SocketAddr>,
    // The interface of a link-local address, by its name: numbers change when it comes and goes.
    interface: Option<String>,
    // A name or an address: what the certificate must be for.
    host: String,
    path: String,
    role: Role,
}

/// What a server does with questions about zones that it does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    /// It asks others: an upstream.
    Recursive,
    /// It knows its own zones: a server that a name is delegated to.
    Authority,
}

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// UDP, and TCP for what does not fit.
    Udp,
    /// TCP only.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS, HTTP/2 (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

/// Why an upstream cannot be understood; reads on after the upstream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// An unknown word before `://`.
    #[error("begins with {0:?}: known are udp, tcp, tls, https and quic")]
    Scheme(String),
    /// No host at all.
    #[error("names no host")]
    NoHost,
    /// A host name without address.
    #[error("has a host name, which needs a bootstrap address behind \"#\", such as \"tls://dns.quad9.net#9.9.9.9\"")]
    NoBootstrap,
    /// What should be an address or a name is neither.
    #[error("has a host that is neither an IP address (IPv6 in brackets) nor a host name: {0:?}")]
    Host(String),
    /// An interface where there can be none.
    #[error("has {0:?} for an interface: only a link-local address (fe80::1%eth0) has one, by name or number")]
    Interface(String),
    /// No usable port.
    #[error("has {0:?} for a port, which must be 1 to 65535")]
    Port(String),
    /// Something behind `#` that is no name and no list of addresses.
    #[error("has {0:?} behind \"#\": expected is the server's name if the host is an address, else its addresses")]
    Fragment(String),
    /// A name in a certificate that nobody shows.
    #[error("has a \"#\" part, which only tls, https and quic know")]
    FragmentInPlain,
    /// Too many addresses.
    #[error("has more than {MAX_ADDRESSES} addresses")]
    TooMany,
    /// A path where there is none.
    #[error("has a path, which only https knows")]
    Path,
    /// A path that cannot be requested.
    #[error("has a path that is longer than {MAX_PATH_BYTES} bytes or holds other than printable ASCII")]
    BadPath,
}

impl Server {
    /// A plain server.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        let (path, host, role) = (String::new(), address.ip().to_string(), Role::Recursive);
        Self { protocol: Protocol::Udp, addresses: vec![address], interface: None, host, path, role }
    }

    /// A server that a name is delegated to. It is not asked to ask others (RFC 1034 §5.3.3).
    pub(crate) fn authority(address: SocketAddr) -> Self {
        Self { role: Role::Authority, ..Self::plain(address) }
    }

    /// What it does with questions about zones that it does not hold.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// How it is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where it is, at least one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address at `index` with the number that its interface has now.
    pub(crate) fn address(&self, index: usize) -> io::Result<SocketAddr> {
        let mut address = *self.addresses.get(index).ok_or(io::ErrorKind::AddrNotAvailable)?;
        if let (Some(interface), SocketAddr::V6(v6)) = (&self.interface, &mut address) {
            v6.set_scope_id(interface_number(interface)?);
        }
        Ok(address)
    }

    /// Whether it needs TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.protocol.is_encrypted()
    }

    /// What its certificate must be for: a name or an address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The path of its HTTPS service.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether nobody between here and there can have changed an answer: what it says about validation can be believed.
    pub(crate) fn is_trusted(&self) -> bool {
        if self.role == Role::Authority {
            return false;
        }
        self.protocol.is_encrypted() || self.addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
    }
}

impl Protocol {
    const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Https, Self::Quic];

    fn is_encrypted(self) -> bool {
        !matches!(self, Self::Udp | Self::Tcp)
    }

    /// What TLS is told that follows (RFC 7858 §9.2, RFC 9113 §3.2, RFC 9250 §7.1).
    pub(crate) fn alpn(self) -> Option<&'static [u8]> {
        match self {
            Self::Udp | Self::Tcp => None,
            Self::Tls => Some(b"dot"),
            Self::Https => Some(b"h2"),
            Self::Quic => Some(b"doq"),
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 53,
            Self::Tls | Self::Quic => 853,
            Self::Https => 443,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text == SYSTEM {
            return Ok(Self::System);
        }
        let (protocol, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (protocol(scheme)?, rest),
            None => (Protocol::Udp, text),
        };
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = split_port(authority, protocol)?;
        let (host, interface) = split_interface(host)?;
        let (addresses, host) = locate(host, port, fragment, protocol)?;
        let (path, role) = (checked_path(path, protocol)?, Role::Recursive);
        Ok(Self::Server(Server { protocol, addresses, interface, host, path, role }))
    }
}

/// As it is written in metrics and logs, with nothing left to defaults.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.addresses.first() else { return Ok(()) };
        let scheme = self.protocol.scheme();
        match self.host.parse::<IpAddr>() {
            Ok(ip) if self.interface.is_some() => {
                let interface = self.interface.as_deref().unwrap_or_default();
                write!(f, "{scheme}://[{ip}%{interface}]:{}{}", first.port(), self.path)
            }
            Ok(_) => write!(f, "{scheme}://{first}{}", self.path),
            Err(_) => write!(f, "{scheme}://{}:{}{}#{}", self.host, first.port(), self.path, first.ip()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => server.fmt(f),
            Self::System => f.write_str(SYSTEM),
        }
    }
}

fn protocol(scheme: &str) -> Result<Protocol, TargetError> {
    let known = Protocol::ALL.into_iter().find(|protocol| protocol.scheme() == scheme);
    known.ok_or_else(|| TargetError::Scheme(scheme.to_owned()))
}

/// The host without brackets, and the port.
fn split_port(authority: &str, protocol: Protocol) -> Result<(&str, u16), TargetError> {
    // A bare IPv6 address has colons but no port.
    if protocol == Protocol::Udp && is_v6(authority) {
        return Ok((authority, protocol.port()));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(|| TargetError::Host(authority.to_owned()))?;
            if !is_v6(host) {
                return Err(TargetError::Host(host.to_owned()));
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(TargetError::Host(authority.to_owned())),
            }
        }
        None => match authority.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err(TargetError::Host(authority.to_owned())),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    match port {
        None => Ok((host, protocol.port())),
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 && !text.starts_with('+') => Ok((host, port)),
            _ => Err(TargetError::Port(text.to_owned())),
        },
    }
}

/// Whether it is an IPv6 address, with or without interface.
fn is_v6(text: &str) -> bool {
    text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// The host, and the interface of a link-local address. Such an address means nothing without one.
fn split_interface(host: &str) -> Result<(&str, Option<String>), TargetError> {
    let Some((address, interface)) = host.split_once('%') else { return Ok((host, None)) };
    let is_link_local = address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_unicast_link_local());
    let is_name = (1..=MAX_INTERFACE_BYTES).contains(&interface.len())
        && interface.bytes().all(|byte| byte.is_ascii_graphic() && !b"/%#[]".contains(&byte));
    match is_link_local && is_name {
        true => Ok((address, Some(interface.to_owned()))),
        false => Err(TargetError::Interface(interface.to_owned())),
    }
}

/// The number of an interface that is given by name or number.
pub(crate) fn interface_number(interface: &str) -> io::Result<u32> {
    match interface.parse() {
        Ok(number) => Ok(number),
        Err(_) => Ok(if_nametoindex(interface)?),
    }
}

/// Addresses, and what the certificate must be for.
fn locate(
    host: &str,
    port: u16,
    fragment: Option<&str>,
    protocol: Protocol,
) -> Result<(Vec<SocketAddr>, String), TargetError> {
    if host.is_empty() {
        return Err(TargetError::NoHost);
    }
    if fragment.is_some() && !protocol.is_encrypted() {
        return Err(TargetError::FragmentInPlain);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        let certified = match fragment {
            None => ip.to_string(),
            Some(name) if is_host_name(name) => name.to_ascii_lowercase(),
            Some(other) => return Err(TargetError::Fragment(other.to_owned())),
        };
        return Ok((vec![SocketAddr::new(ip, port)], certified));
    }
    if !is_host_name(host) {
        return Err(TargetError::Host(host.to_owned()));
    }
    let bootstrap = fragment.ok_or(TargetError::NoBootstrap)?;
    let address = |text: &str| {
        let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
        bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port))
    };
    let addresses: Result<Vec<_>, _> = bootstrap.split(',').map(address).collect();
    let addresses = addresses.map_err(|_| TargetError::Fragment(bootstrap.to_owned()))?;
    if addresses.len() > MAX_ADDRESSES {
        return Err(TargetError::TooMany);
    }
    Ok((addresses, host.to_ascii_lowercase()))
}

fn checked_path(path: &str, protocol: Protocol) -> Result<String, TargetError> {
    match (protocol, path) {
        (Protocol::Https, "" | "/") => Ok(DEFAULT_PATH.to_owned()),
        (Protocol::Https, _) if path.len() > MAX_PATH_BYTES || !path.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(TargetError::BadPath)
        }
        (Protocol::Https, _) => Ok(path.to_owned()),
        (_, "") => Ok(String::new()),
        _ => Err(TargetError::Path),
    }
}

/// A name that can be in a certificate: `ServerName` takes addresses too, which are not meant here.
fn is_host_name(text: &str) -> bool {
    matches!(ServerName::try_from(text), Ok(ServerName::DnsName(_))) && text.contains(|c: char| c.is_ascii_alphabetic())
}

/// Whether queries to `server` would come to us, who listen on `listen`. Listening on the unspecified address is listening on each of the
/// machine's own, which are those that a socket can be bound to.
pub(crate) fn would_reach(server: SocketAddr, listen: &[SocketAddr]) -> bool {
    listen.iter().filter(|ours| ours.port() == server.port()).any(|ours| {
        let same_family = ours.is_ipv4() == server.is_ipv4();
        ours.ip() == server.ip()
            || (ours.ip().is_unspecified() && same_family && UdpSocket::bind((server.ip(), 0)).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let got = text.parse::<Target>().map(|target| target.to_string()).map_err(|error| error.to_string());
        assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn every_form_is_understood() {
        check("9.9.9.9", Ok("udp://9.9.9.9:53"));
        check("9.9.9.9:5353", Ok("udp://9.9.9.9:5353"));
        check("2620:fe::fe", Ok("udp://[2620:fe::fe]:53"));
        check("[2620:fe::fe]:53", Ok("udp://[2620:fe::fe]:53"));
        check("udp://9.9.9.9", Ok("udp://9.9.9.9:53"));
        check("tcp://[::1]:5300", Ok("tcp://[::1]:5300"));
        check("tls://9.9.9.9", Ok("tls://9.9.9.9:853"));
        check("tls://9.9.9.9:853#dns.quad9.net", Ok("tls://dns.quad9.net:853#9.9.9.9"));
        check("tls://dns.quad9.net#9.9.9.9,149.112.112.112", Ok("tls://dns.quad9.net:853#9.9.9.9"));
        check("https://dns.quad9.net/dns-query#9.9.9.9", Ok("https://dns.quad9.net:443/dns-query#9.9.9.9"));
        check("https://DNS.quad9.net#[2620:fe::fe]", Ok("https://dns.quad9.net:443/dns-query#2620:fe::fe"));
        check("https://[2620:fe::fe]:8443/q", Ok("https://[2620:fe::fe]:8443/q"));
        check("quic://dns.adguard-dns.com#94.140.14.140", Ok("quic://dns.adguard-dns.com:853#94.140.14.140"));
        check("fe80::1%eth0", Ok("udp://[fe80::1%eth0]:53"));
        check("[fe80::1%lo]:53", Ok("udp://[fe80::1%lo]:53"));
        check("tls://[fe80::1%2]#router.example", Ok("tls://router.example:853#fe80::1"));
        check("system", Ok("system"));
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        let host = |host: &str| {
            format!("has a host that is neither an IP address (IPv6 in brackets) nor a host name: \"{host}\"")
        };
        check("h3://9.9.9.9", Err("begins with \"h3\": known are udp, tcp, tls, https and quic"));
        check("UDP://9.9.9.9", Err("begins with \"UDP\": known are udp, tcp, tls, https and quic"));
        check("", Err("names no host"));
        check("tls://", Err("names no host"));
        check("9.9.9.9:0", Err("has \"0\" for a port, which must be 1 to 65535"));
        check("9.9.9.9:99999", Err("has \"99999\" for a port, which must be 1 to 65535"));
        check("9.9.9.9:+53", Err("has \"+53\" for a port, which must be 1 to 65535"));
        check("9.9.9.9:", Err("has \"\" for a port, which must be 1 to 65535"));
        check("9.9.9.999", Err(&host("9.9.9.999")));
        check("tls://2620:fe::fe", Err(&host("2620:fe::fe")));
        check("[9.9.9.9]", Err(&host("9.9.9.9")));
        check("[::1", Err(&host("[::1")));
        check("[::1]x", Err(&host("[::1]x")));
        let interface = "for an interface: only a link-local address (fe80::1%eth0) has one, by name or number";
        check("2620:fe::fe%eth0", Err(&format!("has \"eth0\" {interface}")));
        check("[fe80::1%]:53", Err(&format!("has \"\" {interface}")));
        check("fe80::1%an-interface-too-long", Err(&format!("has \"an-interface-too-long\" {interface}")));
        check("9.9.9.9%eth0", Err(&format!("has \"eth0\" {interface}")));
        check("exa mple", Err(&host("exa mple")));
        check("udp://9.9.9.9#dns.quad9.net", Err("has a \"#\" part, which only tls, https and quic know"));
        check("udp://9.9.9.9/dns-query", Err("has a path, which only https knows"));
        check(
            "https://9.9.9.9/a b",
            Err("has a path that is longer than 256 bytes or holds other than printable ASCII"),
        );
        check(
            "tls://dns.quad9.net",
            Err(
                "has a host name, which needs a bootstrap address behind \"#\", such as \"tls://dns.quad9.net#9.9.9.9\"",
            ),
        );
        let fragment = "behind \"#\": expected is the server's name if the host is an address, else its addresses";
        check("tls://9.9.9.9#9.9.9.9", Err(&format!("has \"9.9.9.9\" {fragment}")));
        check("tls://9.9.9.9#", Err(&format!("has \"\" {fragment}")));
        check("tls://a.example#b.example", Err(&format!("has \"b.example\" {fragment}")));
        check(&format!("tls://a.example#{}", ["9.9.9.9"; 9].join(",")), Err("has more than 8 addresses"));
    }

    #[test]
    fn an_interface_is_looked_up_when_it_is_needed() {
        let server = |text: &str| match text.parse::<Target>() {
            Ok(Target::Server(server)) => server,
            other => panic!("{text}: {other:?}"),
        };
        let scope = |text: &str| match server(text).address(0) {
            Ok(SocketAddr::V6(v6)) => Some(v6.scope_id()),
            _ => None,
        };
        assert_eq!(scope("fe80::1%7"), Some(7));
        assert!(scope("fe80::1%lo").is_some_and(|number| number > 0));
        assert_eq!(scope("fe80::1%no-such-one"), None);
        assert_eq!(scope("2620:fe::fe"), Some(0));
    }

    #[test]
    fn only_what_cannot_be_changed_on_the_way_is_trusted() {
        for (text, trusted) in [
            ("9.9.9.9", false),
            ("tcp://9.9.9.9", false),
            ("127.0.0.53", true),
            ("[::1]:53", true),
            ("tls://9.9.9.9", true),
            ("https://9.9.9.9", true),
            ("quic://9.9.9.9", true),
        ] {
            let Ok(Target::Server(server)) = text.parse::<Target>() else { panic!("{text} is a server") };
            assert_eq!(server.is_trusted(), trusted, "{text}");
        }
    }
}
