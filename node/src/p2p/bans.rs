//! Who is not let in: banned peers, their hosts, and a host that has enough connections already.
//!
//! A peer id costs nothing, so a ban is also one of the host that it came from; a host is a [`Site`]. Home networks are
//! exempt, where half the network may share an address. Sans-IO: the shell closes connections.
//!
//! Guarantees: at most [`MAX_BANS`] peers and as many hosts are remembered; the bans that end first give way.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};

use crate::sync::Millis;

use super::netgroup::{Netgroup, Site};

/// Bans of each kind. Each took a connection to earn; at about 100 bytes each this is half a megabyte.
const MAX_BANS: usize = 4_096;
/// Inbound peers from one public host: a household, not a farm.
const MAX_PER_SITE: usize = 8;

/// Bans that have not ended.
#[derive(Debug, Default)]
pub struct Bans {
    peers: BTreeMap<PeerId, Millis>,
    sites: BTreeMap<Site, Millis>,
}

impl Bans {
    /// Banned peers.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Bans a peer, and the host that it is connected from. Returns the peer whose ban had to end for that, if any.
    pub fn add(&mut self, peer: PeerId, from: Option<&Multiaddr>, until: Millis) -> Option<PeerId> {
        let public = from.filter(|address| !Netgroup::of(address).is_exempt());
        if let Some(site) = public.and_then(Site::of) {
            insert_bounded(&mut self.sites, site, until);
        }
        insert_bounded(&mut self.peers, peer, until)
    }

    /// Ends the bans whose time is over and returns their peers.
    pub fn lift(&mut self, now: Millis) -> Vec<PeerId> {
        self.sites.retain(|_, until| *until > now);
        let over: Vec<_> = self.peers.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        self.peers.retain(|_, until| *until > now);
        over
    }

    /// Whether to turn away an inbound connection from `address`, given where the connected peers are.
    pub fn refuse<'a>(&self, address: &Multiaddr, connected: impl Iterator<Item = &'a Multiaddr>) -> bool {
        if Netgroup::of(address).is_exempt() {
            return false;
        }
        let site = Site::of(address);
        let is_banned = site.is_some_and(|site| self.sites.contains_key(&site));
        is_banned || connected.filter(|other| Site::of(other) == site).count() >= MAX_PER_SITE
    }
}

/// Inserts, and returns what had to go for it. A longer ban is never shortened.
fn insert_bounded<K: Copy + Ord>(bans: &mut BTreeMap<K, Millis>, key: K, until: Millis) -> Option<K> {
    let mut first = None;
    if bans.len() >= MAX_BANS && !bans.contains_key(&key) {
        first = bans.iter().min_by_key(|(_, until)| **until).map(|(key, _)| *key);
    }
    first.map(|key| bans.remove(&key));
    let entry = bans.entry(key).or_insert(until);
    *entry = until.max(*entry);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    /// An address of the host that was given 2001:db8:1:2::/64.
    fn of_one_host(index: usize) -> Multiaddr {
        address(&format!("/ip6/2001:db8:1:2::{index:x}/tcp/1"))
    }

    #[test]
    fn a_host_with_a_prefix_of_addresses_is_one_host() {
        let bans = Bans::default();
        let connected: Vec<_> = (0..MAX_PER_SITE).map(of_one_host).collect();
        assert!(!bans.refuse(&of_one_host(99), connected[1..].iter()));
        assert!(bans.refuse(&of_one_host(99), connected.iter()));
        assert!(!bans.refuse(&address("/ip6/2001:db8:1:3::1/tcp/1"), connected.iter()));
    }

    #[test]
    fn a_ban_holds_for_all_addresses_of_the_host_and_ends() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        bans.add(peer, Some(&of_one_host(1)), Millis(100));
        assert!(bans.refuse(&of_one_host(2), [].iter()));
        assert!(bans.lift(Millis(99)).is_empty() && bans.refuse(&of_one_host(2), [].iter()));
        assert_eq!(bans.lift(Millis(100)), [peer]);
        assert!(!bans.refuse(&of_one_host(2), [].iter()));
    }

    #[test]
    fn home_is_exempt() {
        let (mut bans, home) = (Bans::default(), address("/ip4/127.0.0.1/tcp/1"));
        bans.add(PeerId::random(), Some(&home), Millis(100));
        assert!(!bans.refuse(&home, vec![home.clone(); 100].iter()));
    }

    #[test]
    fn bans_are_bounded_and_the_first_to_end_gives_way() {
        let mut bans = Bans::default();
        let first = PeerId::random();
        assert_eq!(bans.add(first, Some(&of_one_host(1)), Millis(1)), None);
        for index in 1..MAX_BANS {
            let other = address(&format!("/ip6/2001:db8:2:{index:x}::1/tcp/1"));
            assert_eq!(bans.add(PeerId::random(), Some(&other), Millis(10)), None);
        }
        assert_eq!(bans.add(first, None, Millis(1)), None, "known already");
        assert_eq!(bans.add(PeerId::random(), Some(&address("/ip4/198.51.100.7/tcp/1")), Millis(5)), Some(first));
        assert_eq!((bans.len(), bans.sites.len()), (MAX_BANS, MAX_BANS));
        assert!(!bans.refuse(&of_one_host(1), [].iter()));
        assert!(bans.refuse(&address("/ip4/198.51.100.7/tcp/2"), [].iter()));
    }
}
