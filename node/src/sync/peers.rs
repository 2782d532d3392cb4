//! What is remembered of each connected peer.

use std::collections::BTreeMap;

use ledger::hash::BlockHash;

use super::event::{Claim, Direction, Millis, PeerKey};

/// Questions in a row that may stay unanswered before the connection is given up.
pub const MAX_FAILURES: u32 = 4;

/// A question for headers, as it was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderQuestion {
    /// The block that the peer claimed at that moment, if it was not known here: what an honest answer leads to, whatever
    /// is claimed later. `None` for a question about something it announced.
    pub claimed: Option<BlockHash>,
    /// Height of the best header at that moment.
    pub best_height: u32,
    /// Where the answer should go on, if not where the peer's chain leaves the best one.
    pub after: Option<Mark>,
}

/// A header of some chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub height: u32,
    pub hash: BlockHash,
}

/// What an answer was good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worth {
    /// It led on, and it was all there is.
    Something,
    /// It was as long as an answer may be, and ended here: there may be more.
    Full(Mark),
    /// The same, and all of it was known.
    KnownFull(Mark),
    /// It was the end of a chain that is stored when it is asked for again.
    Again,
    /// All of it was known, or nothing was in it, or it hung in the air.
    Nothing,
}

/// How far a peer is with a question for headers. There is at most one at a time, and it is over only when the chain has
/// been looked at after the answer was judged: before that, nobody can say what the answer was worth, and the next
/// question would be the same again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderTalk {
    /// May be asked from this moment on.
    Idle(Millis),
    /// Was asked.
    Asked { since: Millis, question: HeaderQuestion },
    /// Was asked so long ago that others are asked instead; the answer may still come.
    Overdue(HeaderQuestion),
    /// Its answer is being judged.
    Judging(HeaderQuestion),
    /// Its answer is judged, and a view that shows what came of it is under way.
    Settling {
        /// Views to come, the last of which is newer than the answer.
        views: u8,
        question: HeaderQuestion,
        worth: Worth,
    },
}

impl HeaderTalk {
    /// The block that the answer should lead to.
    pub fn claimed(self) -> Option<BlockHash> {
        match self {
            Self::Idle(_) => None,
            Self::Asked { question, .. } | Self::Settling { question, .. } => question.claimed,
            Self::Overdue(question) | Self::Judging(question) => question.claimed,
        }
    }

    /// Whether a question may be put.
    pub fn is_free(self, now: Millis) -> bool {
        matches!(self, Self::Idle(from) if from <= now)
    }

    /// Whether the peer takes one of the places for parallel questions.
    pub fn is_open(self) -> bool {
        match self {
            Self::Asked { .. } | Self::Judging(_) | Self::Settling { .. } => true,
            Self::Idle(_) | Self::Overdue(_) => false,
        }
    }
}

/// One connected peer.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub direction: Direction,
    /// Its best block as it says.
    pub claim: Option<Claim>,
    /// The last good header or block that it handed over: it has at least that, whatever it last said.
    pub shown: Option<BlockHash>,
    /// The lowest height from which on it keeps every body, as it says.
    pub lowest_body: u32,
    pub clock_offset_s: Option<i64>,
    /// When it last told its status.
    pub told_at: Option<Millis>,
    /// When to ask for its status next.
    pub status_due: Millis,
    /// Not asked for anything big before this.
    pub rest_until: Millis,
    pub header_talk: HeaderTalk,
    /// Where to go on in a chain that is so long that its first headers alone do not make it the best.
    pub headers_after: Option<Mark>,
    /// Full answers in a row that told nothing new, while the best header did not rise.
    pub known_answers: u32,
    /// Unanswered questions in a row.
    pub failures: u32,
    /// Body questions in a row that were taken away because they took too long.
    pub stalls: u32,
    /// When it was last given another chance with bodies that it had not given.
    pub forgiven_at: Option<Millis>,
}

impl Peer {
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            claim: None,
            shown: None,
            lowest_body: 0,
            clock_offset_s: None,
            told_at: None,
            status_due: Millis(0),
            rest_until: Millis(0),
            header_talk: HeaderTalk::Idle(Millis(0)),
            headers_after: None,
            known_answers: 0,
            failures: 0,
            stalls: 0,
            forgiven_at: None,
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

    /// The blocks that it has, as far as it says or has shown.
    pub fn blocks(&self) -> impl Iterator<Item = BlockHash> {
        self.claim.map(|claim| claim.hash).into_iter().chain(self.shown)
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
