//! What strangers can reach, said in the log at the start.

use std::net::SocketAddr;

use ipnet::IpNet;
use tracing::{info, warn};

use crate::policy::config::{
    DnsConfig,
    guard::{Switch, is_wide},
};

/// What a listener offers to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Exposure {
    names: String,
    asked_by: String,
    forwarding: String,
    /// Who hears what HOSTS files say, if there are any.
    hosts: String,
    rate_limit: String,
    cookies: &'static str,
    /// What the operator hardly wants.
    warnings: Vec<&'static str>,
}

/// Says for each of `listeners` that is not on loopback what it offers to whom.
pub(crate) fn log(config: &DnsConfig, listeners: &[SocketAddr]) {
    for addr in listeners.iter().filter(|addr| !addr.ip().to_canonical().is_loopback()) {
        let exposure = Exposure::of(config);
        info!(
            %addr,
            names = exposure.names,
            asked_by = exposure.asked_by,
            forwarding = exposure.forwarding,
            hosts = exposure.hosts,
            rate_limit = exposure.rate_limit,
            cookies = exposure.cookies,
            "dns is open beyond this machine"
        );
        for warning in exposure.warnings {
            warn!(%addr, "{warning}");
        }
    }
}

impl Exposure {
    fn of(config: &DnsConfig) -> Self {
        let guard = &config.guard;
        let forwards = config.forwards();
        let rate_limit = match guard.rate_limit {
            0 => "off".to_owned(),
            rate => format!("{rate} a second, slip {}", guard.slip),
        };
        let house = who(&guard.forward_allow, &guard.forward_deny, "nobody");
        Self {
            names: config.suffixes.join(", "),
            asked_by: who(&guard.allow, &guard.deny, "everybody"),
            hosts: if config.hosts.0.is_empty() { "none".into() } else { house.clone() },
            forwarding: if forwards { house } else { "off".into() },
            rate_limit,
            cookies: if guard.cookies == Switch::On { "on" } else { "off" },
            warnings: warnings(config),
        }
    }
}

fn warnings(config: &DnsConfig) -> Vec<&'static str> {
    let (guard, forwards) = (&config.guard, config.forwards());
    let checks = [
        (guard.rate_limit == 0, "dns.guard.rate_limit is 0: anybody can make this server flood somebody else"),
        (guard.free_bytes == 0, "dns.guard.free_bytes is 0: answers may be many times larger than what was asked with"),
        (
            guard.exempt.iter().any(is_wide),
            "dns.guard.exempt holds a large part of the internet: for it there are no limits",
        ),
        (
            guard.cookies == Switch::Off,
            "dns.guard.cookies is off: honest clients are limited together with forged ones",
        ),
        (
            forwards && guard.forward_allow.iter().any(is_wide),
            "dns.guard.forward_allow holds a large part of the internet: this is an open resolver",
        ),
        (
            !config.hosts.0.is_empty() && guard.forward_allow.iter().any(is_wide),
            "dns.guard.forward_allow holds a large part of the internet: it hears the names of dns.hosts",
        ),
        (
            guard.signatures_per_second == 0,
            "dns.guard.signatures_per_second is 0: signing can take all of the processor",
        ),
    ];
    checks.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning).collect()
}

fn who(allow: &[IpNet], deny: &[IpNet], if_empty: &str) -> String {
    let list = |nets: &[IpNet]| nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
    let allowed = if allow.is_empty() { if_empty.to_owned() } else { list(allow) };
    if deny.is_empty() { allowed } else { format!("{allowed} without {}", list(deny)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(toml: &str) -> Exposure {
        Exposure::of(&toml::from_str(toml).expect("it parses"))
    }

    #[test]
    fn the_default_is_moderate() {
        let default = exposure("");
        assert_eq!((default.names.as_str(), default.asked_by.as_str()), ("p2p, p2p.alt", "everybody"));
        assert_eq!((default.forwarding.as_str(), default.rate_limit.as_str()), ("off", "200 a second, slip 2"));
        assert_eq!((default.cookies, default.hosts.as_str(), default.warnings), ("on", "none", Vec::new()));
        let hosts = exposure("hosts = '/etc/hosts'");
        assert!(hosts.hosts.starts_with("127.0.0.0/8, 10.0.0.0/8"), "{hosts:?}");
        let forwarding = exposure("upstreams = ['9.9.9.9']");
        assert!(forwarding.forwarding.starts_with("127.0.0.0/8, 10.0.0.0/8"), "{forwarding:?}");
        assert_eq!(forwarding.warnings, Vec::<&str>::new());
    }

    #[test]
    fn lists_are_shown() {
        let listed = exposure("[guard]\nallow = ['192.0.2.0/24']\ndeny = ['192.0.2.1/32']");
        assert_eq!(listed.asked_by, "192.0.2.0/24 without 192.0.2.1/32");
    }

    #[test]
    fn what_is_hardly_meant_is_warned_of() {
        let check = |toml: &str, word: &str| {
            let warnings = exposure(toml).warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(word), "{toml}: {warnings:?}");
        };
        check("[guard]\nrate_limit = 0", "rate_limit");
        check("[guard]\nfree_bytes = 0", "free_bytes");
        check("[guard]\ncookies = 'off'", "cookies");
        check("[guard]\nexempt = ['0.0.0.0/1']", "exempt");
        check("[guard]\nsignatures_per_second = 0", "signatures_per_second");
        check("upstreams = ['9.9.9.9']\n[guard]\nforward_allow = ['::/0']", "open resolver");
        check("hosts = '/etc/hosts'\n[guard]\nforward_allow = ['::/0']", "hears the names of dns.hosts");
        let rule = "[[forward.rules]]\nsuffix = 'example.org'\nupstreams = ['9.9.9.9']";
        check(&format!("{rule}\n[guard]\nforward_allow = ['0.0.0.0/0']"), "open resolver");
        assert_ne!(exposure(rule).forwarding, "off");
        assert_eq!(exposure("[[forward.rules]]\nsuffix = 'example.org'\nupstreams = []").forwarding, "off");
        assert_eq!(exposure("[guard]\nforward_allow = ['::/0']").warnings, Vec::<&str>::new(), "nothing is forwarded");
    }
}
