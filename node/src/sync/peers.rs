//! What is remembered of each connected peer.

use std::collections::BTreeMap;

use super::{Claim, Direction, Millis, PeerKey};

/// Questions in a row that may stay unanswered before the connection is given up.
pub const MAX_FAILURES: u32 = 4;

/// One connected peer.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub direction: Direction,
    /// Its best block as it says; dropped when it cannot back it up.
    pub claim: Option<Claim>,
    pub clock_offset_s: Option<i64>,
    /// When to ask for its status next.
    pub status_due: Millis,
    /// Not asked for anything big before this.
    pub rest_until: Millis,
    /// Since when a header question is open.
    pub headers_asked: Option<Millis>,
    /// Unanswered questions in a row.
    pub failures: u32,
    /// Body questions in a row that were taken away because they took too long.
    pub stalls: u32,
}

impl Peer {
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            claim: None,
            clock_offset_s: None,
            status_due: Millis(0),
            rest_until: Millis(0),
            headers_asked: None,
            failures: 0,
            stalls: 0,
        }
    }

    /// Whether it may be asked now.
    pub fn is_rested(&self, now: Millis) -> bool {
        self.rest_until <= now
    }

    /// Work of the chain it claims.
    pub fn claimed_work(&self) -> u128 {
        self.claim.map_or(0, |claim| claim.work)
    }

    /// Height that it claims.
    pub fn claimed_height(&self) -> u32 {
        self.claim.map_or(0, |claim| claim.height)
    }
}

/// All connected peers. Their number is bounded by the connection limits of the shell.
#[derive(Debug)]
pub struct Peers<P>(BTreeMap<P, Peer>);

impl<P> Default for Peers<P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P: PeerKey> Peers<P> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, peer: &P) -> Option<&Peer> {
        self.0.get(peer)
    }

    pub fn get_mut(&mut self, peer: &P) -> Option<&mut Peer> {
        self.0.get_mut(peer)
    }

    pub fn insert(&mut self, peer: P, entry: Peer) {
        self.0.insert(peer, entry);
    }

    pub fn remove(&mut self, peer: &P) {
        self.0.remove(peer);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&P, &Peer)> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&P, &mut Peer)> {
        self.0.iter_mut()
    }
}
