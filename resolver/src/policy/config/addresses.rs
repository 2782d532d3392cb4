//! Lists of addresses and networks in the configuration: what cannot be read is quoted, beside what could be.

use std::{
    fmt,
    marker::PhantomData,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

/// What such a list can hold.
pub(super) trait Address: Sized {
    /// Continues "… is not".
    const KIND: &str;

    fn read(text: &str) -> Option<Self>;
}

impl Address for SocketAddr {
    const KIND: &str = "an address with a port, such as \"127.0.0.1:53\", \"[::1]:53\" or, with an interface of this machine, \
         \"[fe80::1%eth0]:53\"";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().or_else(|| with_interface(text))
    }
}

/// A link-local address with the name of its interface, which must be there.
fn with_interface(text: &str) -> Option<SocketAddr> {
    let (address, rest) = text.strip_prefix('[')?.split_once('%')?;
    let (interface, port) = rest.split_once("]:")?;
    let index = nix::net::if_::if_nametoindex(interface).ok()?;
    Some(SocketAddrV6::new(address.parse().ok()?, port.parse().ok()?, 0, index).into())
}

impl Address for IpAddr {
    const KIND: &str = "an address, such as \"192.0.2.1\" or \"2001:db8::1\"";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Address for IpNet {
    const KIND: &str = "a network or an address, such as \"192.0.2.0/24\" or \"2001:db8::1\"";

    fn read(text: &str) -> Option<Self> {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(Self::from)).ok()
    }
}

/// Reads a list; for `serde(deserialize_with)`.
pub(super) fn list<'de, D: Deserializer<'de>, A: Address>(deserializer: D) -> Result<Vec<A>, D::Error> {
    deserializer.deserialize_seq(ListVisitor(PhantomData))
}

struct ListVisitor<A>(PhantomData<A>);

impl<'de, A: Address> Visitor<'de> for ListVisitor<A> {
    type Value = Vec<A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list in brackets; each part of it is {}", A::KIND)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut parts: S) -> Result<Self::Value, S::Error> {
        let mut list = Vec::new();
        while let Some(Part(address)) = parts.next_element()? {
            list.push(address);
        }
        Ok(list)
    }
}

struct Part<A>(A);

impl<'de, A: Address> Deserialize<'de> for Part<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = A::read(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not {}", A::KIND)))?;
        Ok(Self(address))
    }
}

#[cfg(test)]
mod tests {
    use crate::DnsConfig;

    #[test]
    fn each_kind_has_its_sentence() {
        for (toml, expected) in [
            ("listen = ['localhost:53']", "\"localhost:53\" is not an address with a port, such as \"127.0.0.1:53\""),
            ("listen = ['127.0.0.1']", "\"127.0.0.1\" is not an address with a port"),
            ("listen = '127.0.0.1:53'", "a list in brackets; each part of it is an address with a port"),
            ("listen = [53]", "invalid type: integer `53`, expected a string"),
            ("announce = ['192.0.2.1:53']", "\"192.0.2.1:53\" is not an address, such as"),
            ("[tls]\nlisten = ['::1:853']", "\"::1:853\" is not an address with a port"),
            ("[tls]\nhttps_listen = ['x']", "\"x\" is not an address with a port"),
            ("[tls]\nquic_listen = ['x']", "\"x\" is not an address with a port"),
            ("[guard]\nallow = ['10.0.0.0/33']", "\"10.0.0.0/33\" is not a network or an address, such as"),
            ("[guard]\nexempt = ['home']", "\"home\" is not a network or an address"),
        ] {
            let error = toml::from_str::<DnsConfig>(toml).expect_err(toml).to_string();
            assert!(error.contains(expected), "{toml}: {error}");
        }
    }

    #[test]
    fn link_local_addresses_may_name_their_interface() {
        let read = |text: &str| toml::from_str::<DnsConfig>(&format!("listen = ['{text}']")).map(|dns| dns.listen);
        let index = nix::net::if_::if_nametoindex("lo").expect("there is always one");
        let by_name = read("[fe80::1%lo]:53").expect("an address");
        assert_eq!(by_name, read(&format!("[fe80::1%{index}]:53")).expect("an address"));
        assert_ne!(by_name, read("[fe80::1]:53").expect("an address"));
        for wrong in ["[fe80::1%no such thing]:53", "[fe80::1%lo]", "[fe80::1%lo]:x", "[192.0.2.1%lo]:53", "fe80::1%lo"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        let read = |text: &str| toml::from_str::<DnsConfig>(text).expect(text).guard.allow;
        assert_eq!(read("[guard]\nallow = ['192.0.2.1', '::1']"), read("[guard]\nallow = ['192.0.2.1/32', '::1/128']"));
    }
}
