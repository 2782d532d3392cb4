//! The vocabulary of [`Sync`](super::Sync): what it is told and what it asks for.

use std::{fmt, sync::Arc};

use ledger::{
    block::{Block, Header},
    hash::BlockHash,
    rules::Fault,
};

use super::offence::Offence;

pub use crate::chain::{Point, Sight, View, WantedBranch};

/// How the shell names a peer: the same peer has the same key when it comes back.
pub trait PeerKey: Copy + Ord + fmt::Debug {}

impl<T: Copy + Ord + fmt::Debug> PeerKey for T {}

/// A point on a clock that never jumps, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This many milliseconds later.
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, zero if that lies ahead.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The other side.
    Inbound,
    /// This side.
    Outbound,
}

/// What a peer says is its best block.
pub type Claim = Point;

/// An open question to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// [`Output::AskStatus`].
    Status,
    /// [`Output::AskHeaders`].
    Headers,
    /// [`Output::AskBodies`], by its number.
    Bodies(u64),
}

/// Why a question got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nothing came in time.
    Timeout,
    /// The peer is busy.
    Busy,
    /// The peer does not speak the protocol, or serves no such thing.
    Unsupported,
    /// The answer was not in canonical form or of another kind.
    Malformed,
    /// The connection ended.
    Closed,
}

impl Failure {
    /// How long the peer is left alone afterwards.
    pub(super) fn rest_ms(self) -> u64 {
        match self {
            Self::Timeout | Self::Closed => 5_000,
            Self::Busy => 2_000,
            Self::Unsupported | Self::Malformed => 60_000,
        }
    }
}

/// Where headers or a block came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source<P> {
    /// This node asked this peer for it.
    Answer(P),
    /// This peer announced it.
    Gossip(P),
    /// Came from this peer, and waited here until its time had come.
    Waited(P),
}

impl<P: PeerKey> Source<P> {
    /// The peer.
    pub fn peer(&self) -> P {
        match self {
            Self::Answer(peer) | Self::Gossip(peer) | Self::Waited(peer) => *peer,
        }
    }
}

/// Something to be judged by the chain.
#[derive(Clone, Debug)]
pub enum Submission {
    /// Consecutive headers.
    Headers(Vec<Header>),
    /// A block.
    Block(Arc<Block>),
}

/// What the chain made of headers or a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judged {
    /// New and good, whether connected or kept aside.
    Accepted,
    /// There already.
    Known,
    /// Its parent is not.
    UnknownParent(BlockHash),
    /// Its time lies too far ahead; try again at this Unix time.
    Deferred {
        /// When.
        until: u64,
    },
    /// It breaks a rule.
    Invalid {
        /// Whose fault that is.
        fault: Fault,
        /// The broken rule.
        code: &'static str,
    },
    /// It is known to be invalid, or builds on something that is. Who sends it may not know.
    OnInvalid,
    /// It was announced and is too far from the tip to be of interest.
    FarFromTip,
    /// Its chain has too little work to be stored.
    LowWork,
    /// The same as yet, and what follows these headers will be judged.
    Walked,
    /// The same as yet, and asked for again from the beginning they will be stored.
    WalkedEnough,
    /// The body is not the one that the header commits to; another peer may have that.
    WrongBody {
        /// How that shows.
        code: &'static str,
    },
    /// The chain could not say: it is stopping, or the disk failed.
    Unjudged,
}

/// What to do with a message that others may want.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relay {
    /// Pass it on.
    Accept,
    /// No honest peer could have sent it: drop it and hold it against the sender.
    Reject,
    /// Drop it; it may be our fault.
    Ignore,
}

/// The verdict on a gossiped message, from what the chain made of it (protocol §10).
pub fn relay_of(judged: Judged) -> Relay {
    match judged {
        Judged::Accepted | Judged::Known => Relay::Accept,
        Judged::UnknownParent(_) | Judged::Deferred { .. } | Judged::Unjudged => Relay::Ignore,
        Judged::OnInvalid | Judged::FarFromTip | Judged::LowWork => Relay::Ignore,
        Judged::Walked | Judged::WalkedEnough => Relay::Ignore,
        Judged::WrongBody { .. } => Relay::Reject,
        Judged::Invalid { fault, .. } => match fault {
            Fault::Relayer => Relay::Reject,
            Fault::Sender | Fault::Nobody => Relay::Ignore,
        },
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A peer connected.
    Connected {
        /// Who.
        peer: P,
        /// Who opened the connection.
        direction: Direction,
    },
    /// This node has now chosen a connected peer itself: it counts as outbound from here on.
    Chosen {
        /// Who.
        peer: P,
    },
    /// The last connection to a peer ended.
    Disconnected {
        /// Who.
        peer: P,
    },
    /// A peer told its status, asked or not.
    Status {
        /// Who.
        peer: P,
        /// Its best block.
        claim: Claim,
        /// The lowest height from which on it keeps every body.
        lowest_body: u32,
        /// Its clock minus ours, in seconds.
        clock_offset_s: i64,
    },
    /// The answer to [`Output::AskHeaders`].
    Headers {
        /// Who.
        peer: P,
        /// Consecutive headers.
        headers: Vec<Header>,
    },
    /// The answer to [`Output::AskBodies`].
    Bodies {
        /// Who.
        peer: P,
        /// The question's number.
        batch: u64,
        /// One entry per hash asked for, in order; may be shorter.
        bodies: Vec<Option<Arc<Block>>>,
    },
    /// A question got no answer.
    Failed {
        /// Who.
        peer: P,
        /// Which question.
        question: Question,
        /// Why.
        why: Failure,
    },
    /// What came of [`Output::SubmitHeaders`], or of an announced header.
    HeadersJudged {
        /// Where from.
        source: Source<P>,
        /// The headers.
        headers: Vec<Header>,
        /// The result.
        judged: Judged,
    },
    /// What came of [`Output::SubmitBlock`], or of an announced block.
    BlockJudged {
        /// Where from.
        source: Source<P>,
        /// The block.
        block: Arc<Block>,
        /// The result.
        judged: Judged,
    },
    /// The shell puts an announced block together from transactions that are here: nobody is asked for it meanwhile.
    RebuildBegan {
        /// The block.
        hash: BlockHash,
    },
    /// It could not: the block has to be asked for like any other.
    RebuildFailed {
        /// The block.
        hash: BlockHash,
    },
    /// The answer to [`Output::RefreshView`].
    View(View),
    /// The tip or a branch changed by other means (mining, announcements, the operator).
    ChainMoved,
    /// The shell caught a peer doing wrong.
    Misbehaved {
        /// Who.
        peer: P,
        /// What.
        offence: Offence,
    },
    /// Time passed; about once per 100 ms is enough.
    Tick {
        /// The wall clock, for what was deferred.
        unix_now: u64,
    },
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Output<P> {
    /// Exchange status.
    AskStatus {
        /// With whom.
        peer: P,
    },
    /// Ask for headers.
    AskHeaders {
        /// Whom.
        peer: P,
        /// After the newest of these that the peer has.
        locator: Vec<BlockHash>,
    },
    /// Ask for blocks.
    AskBodies {
        /// Whom.
        peer: P,
        /// Number of this question, to be given back with the answer.
        batch: u64,
        /// Which.
        hashes: Vec<BlockHash>,
    },
    /// Let the chain judge headers; answer with [`Input::HeadersJudged`].
    SubmitHeaders {
        /// Where from.
        source: Source<P>,
        /// Consecutive headers.
        headers: Vec<Header>,
    },
    /// Let the chain judge a block; answer with [`Input::BlockJudged`].
    SubmitBlock {
        /// Where from.
        source: Source<P>,
        /// The block.
        block: Arc<Block>,
    },
    /// Make a new [`View`] and give it in.
    RefreshView {
        /// Blocks that peers claim to have, to be looked up.
        claims: Vec<BlockHash>,
    },
    /// Close the connections to a peer; it may come back.
    Disconnect {
        /// Whom.
        peer: P,
    },
    /// Give the place of an outbound peer to another one: it lacks old bodies that this node needs and that no connected
    /// peer keeps. Anchors stay (protocol §9). At most two such places are open at a time.
    Replace {
        /// Whom.
        peer: P,
    },
    /// Close the connections to a peer and refuse it for a while.
    Ban {
        /// Whom.
        peer: P,
        /// For how long.
        for_ms: u64,
        /// What for.
        offence: Offence,
    },
    /// Our clock is off by this many seconds by the median of the outbound peers; `None` when it is right again.
    ClockAlarm(Option<i64>),
}
