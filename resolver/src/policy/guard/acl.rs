//! Lists of address prefixes: who is allowed, who is denied.

use std::net::IpAddr;

use ipnet::IpNet;

/// Address prefixes, ready to be compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefixes {
    /// Network and mask.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// Who may do something: whom `allow` names and `deny` does not.
#[derive(Clone, Debug)]
pub(crate) struct Acl {
    /// Nobody in particular: everybody.
    allow: Option<Prefixes>,
    deny: Prefixes,
}

impl Prefixes {
    pub(crate) fn new(nets: &[IpNet]) -> Self {
        let mut prefixes = Self::default();
        for net in nets {
            match net {
                IpNet::V4(net) => prefixes.v4.push((net.network().to_bits(), net.netmask().to_bits())),
                IpNet::V6(net) => prefixes.v6.push((net.network().to_bits(), net.netmask().to_bits())),
            }
        }
        prefixes
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.iter().any(|(network, mask)| v4.to_bits() & mask == *network),
            IpAddr::V6(v6) => self.v6.iter().any(|(network, mask)| v6.to_bits() & mask == *network),
        }
    }
}

impl Acl {
    /// Everybody but `deny`.
    pub(crate) fn everybody_but(deny: &[IpNet]) -> Self {
        Self { allow: None, deny: Prefixes::new(deny) }
    }

    /// Those in `allow` that are not in `deny`.
    pub(crate) fn only(allow: &[IpNet], deny: &[IpNet]) -> Self {
        Self { allow: Some(Prefixes::new(allow)), deny: Prefixes::new(deny) }
    }

    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(address)) && !self.deny.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::config::guard::GuardConfig;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect("a prefix")).collect()
    }

    fn check(acl: &Acl, address: &str, expected: bool) {
        assert_eq!(acl.allows(address.parse().expect("an address")), expected, "{address}");
    }

    #[test]
    fn deny_wins() {
        let acl = Acl::only(&nets(&["192.0.2.77/24", "2001:db8::/32"]), &nets(&["192.0.2.128/25", "2001:db8:1::/48"]));
        check(&acl, "192.0.2.127", true);
        check(&acl, "::ffff:192.0.2.127", true);
        check(&acl, "192.0.2.128", false);
        check(&acl, "192.0.3.1", false);
        check(&acl, "2001:db8:2::1", true);
        check(&acl, "2001:db8:1::1", false);
        check(&acl, "2001:db9::1", false);
    }

    #[test]
    fn everybody_and_nobody() {
        check(&Acl::everybody_but(&[]), "198.51.100.1", true);
        check(&Acl::everybody_but(&nets(&["198.51.100.1/32"])), "198.51.100.1", false);
        check(&Acl::everybody_but(&nets(&["0.0.0.0/0"])), "198.51.100.1", false);
        check(&Acl::everybody_but(&nets(&["0.0.0.0/0"])), "::1", true);
        check(&Acl::only(&[], &[]), "127.0.0.1", false);
    }

    #[test]
    fn local_clients_are_forwarded_for_by_default() {
        let config = GuardConfig::default();
        let acl = Acl::only(&config.forward_allow, &config.forward_deny);
        for (address, local) in [
            ("127.0.0.1", true),
            ("192.168.1.2", true),
            ("169.254.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("100.64.0.1", false),
            ("9.9.9.9", false),
            ("::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:9.9.9.9", false),
        ] {
            check(&acl, address, local);
        }
    }
}
