//! Which listeners are up, and which have no address to listen on.
//!
//! A listener for one address is up when it says so. A listener for all addresses of a family is up as soon as it is
//! open, and names an address whenever the machine gets one: that may be never (IPv6 switched off, no cable), so nothing
//! waits for it. Sans-IO.

use std::{collections::HashMap, net::IpAddr};

use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol};

use crate::sync::Millis;

/// A listener that has named no address for this long is mentioned in the log.
const QUIET_MS: u64 = 2_000;

/// The listeners that have named no address yet.
#[derive(Debug, Default)]
pub struct Listeners {
    nameless: HashMap<ListenerId, Multiaddr>,
    told: bool,
}

impl Listeners {
    /// A listener was opened.
    pub fn opened(&mut self, id: ListenerId, address: &Multiaddr) {
        self.nameless.insert(id, address.clone());
    }

    /// A listener named an address that it listens on, or closed.
    pub fn settled(&mut self, id: ListenerId) -> Option<Multiaddr> {
        self.nameless.remove(&id)
    }

    /// Whether a listener is open that is still to say whether it works.
    pub fn must_wait(&self) -> bool {
        self.nameless.values().any(|address| !is_wildcard(address))
    }

    /// The configured addresses for which the machine has no address, `since_start_ms` after the start; told once.
    pub fn quiet(&mut self, since_start: Millis) -> Vec<Multiaddr> {
        if self.told || since_start.0 < QUIET_MS {
            return Vec::new();
        }
        self.told = true;
        let mut quiet: Vec<_> = self.nameless.values().cloned().collect();
        quiet.sort();
        quiet
    }
}

/// Whether the address stands for all addresses of its family.
fn is_wildcard(address: &Multiaddr) -> bool {
    let ip = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return false,
    };
    ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    #[test]
    fn nothing_waits_for_a_family_that_is_not_there() {
        let mut listeners = Listeners::default();
        let (all4, all6, one) = (ListenerId::next(), ListenerId::next(), ListenerId::next());
        listeners.opened(all4, &address("/ip4/0.0.0.0/tcp/1"));
        listeners.opened(all6, &address("/ip6/::/udp/1/quic-v1"));
        assert!(!listeners.must_wait());
        listeners.opened(one, &address("/ip4/127.0.0.1/tcp/1"));
        assert!(listeners.must_wait());
        assert_eq!(listeners.settled(one), Some(address("/ip4/127.0.0.1/tcp/1")));
        assert!(!listeners.must_wait());
        listeners.settled(all4);
        assert!(listeners.quiet(Millis(QUIET_MS - 1)).is_empty());
        assert_eq!(listeners.quiet(Millis(QUIET_MS)), [address("/ip6/::/udp/1/quic-v1")]);
        assert!(listeners.quiet(Millis(2 * QUIET_MS)).is_empty(), "told once");
        assert_eq!(listeners.settled(all6), Some(address("/ip6/::/udp/1/quic-v1")), "it may come later");
    }
}
