//! What a job beside the network task is for, and what it comes to.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    hash::BlockHash,
};
use libp2p::{PeerId, gossipsub::MessageId, request_response::ResponseChannel};

use crate::{
    p2p::{
        compact::{CompactBlock, Next},
        gossip::Kind,
        message::Response,
    },
    sync::{Judged, Offence, Relay, Source, View},
};

/// A gossip message that waits for its verdict.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub message: MessageId,
    pub from: PeerId,
}

/// What a running job owes if it dies.
pub enum Pending {
    Gossip(Kind, Ticket),
    Headers(Source<PeerId>),
    Block(Source<PeerId>, Arc<Block>),
    Rebuild(BlockHash),
    View(Vec<BlockHash>),
    Serve,
    Decode { peer: PeerId, batch: u64 },
    Pool,
    Save,
}

/// What a job came to.
pub enum Done {
    Gossip { ticket: Ticket, relay: Relay, offence: Option<Offence> },
    Compact { ticket: Ticket, compact: Box<CompactBlock>, judged: Judged, is_here: bool },
    Rebuilt { hash: BlockHash, next: Next },
    Completed { peer: PeerId, hash: BlockHash, completed: Result<Option<Block>, Offence> },
    Headers { source: Source<PeerId>, headers: Vec<Header>, judged: Judged },
    Block { source: Source<PeerId>, block: Arc<Block>, judged: Judged },
    View(Option<View>),
    Served { peer: PeerId, channel: ResponseChannel<Response>, response: Response },
    Bodies { peer: PeerId, batch: u64, bodies: Option<Vec<Option<Arc<Block>>>> },
    Pool { peer: PeerId, offence: Option<Offence> },
    Saved,
}
