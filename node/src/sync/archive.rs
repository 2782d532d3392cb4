//! The places that outbound peers leave and get in the search for old bodies ([`super::replace`]).

use super::event::{Millis, PeerKey};

/// A place that changes hands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<P> {
    /// This peer is to leave it.
    Leaving { peer: P, since: Millis },
    /// Nobody has it.
    Open { since: Millis },
    /// This peer got it, and has not delivered yet.
    Trial { peer: P, since: Millis },
}

/// The search for a peer with the whole history.
#[derive(Debug)]
pub struct Archive<P> {
    pub(super) missing: Option<u32>,
    pub(super) places: Vec<Place<P>>,
    /// Peers that the shell does not let go: anchors, and those that an operator named.
    pub(super) kept: Vec<P>,
}

impl<P> Default for Archive<P> {
    fn default() -> Self {
        Self { missing: None, places: Vec::new(), kept: Vec::new() }
    }
}

impl<P: PeerKey> Archive<P> {
    /// The lowest body that is needed and that no connected peer keeps.
    pub fn missing(&self) -> Option<u32> {
        self.missing
    }

    /// A peer connected that this node chose: it gets an open place, if there is one.
    pub fn joined(&mut self, now: Millis, peer: P) {
        if let Some(place) = self.places.iter_mut().find(|place| matches!(place, Place::Open { .. })) {
            *place = Place::Trial { peer, since: now };
        }
    }

    /// A peer has gone; whatever place it had is open.
    pub fn forget_peer(&mut self, peer: &P) {
        self.kept.retain(|other| other != peer);
        for place in &mut self.places {
            match *place {
                Place::Leaving { peer: other, since } | Place::Trial { peer: other, since } if other == *peer => {
                    *place = Place::Open { since };
                }
                Place::Leaving { .. } | Place::Trial { .. } | Place::Open { .. } => {}
            }
        }
    }

    /// A peer gave a good block of this height; if that is what was missing, it has earned its place.
    pub fn delivered(&mut self, peer: &P, height: u32) {
        let is_old = self.missing.is_none_or(|missing| height <= missing);
        self.places.retain(|place| !matches!(place, Place::Trial { peer: other, .. } if other == peer && is_old));
    }

    pub(super) fn is_moving(&self, peer: &P) -> bool {
        self.places.iter().any(|place| match place {
            Place::Leaving { peer: other, .. } | Place::Trial { peer: other, .. } => other == peer,
            Place::Open { .. } => false,
        })
    }
}
