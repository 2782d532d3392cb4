//! Topics, message ids and the layout of gossip (protocol §10).
//!
//! ```text
//! topic tx      a transaction
//! topic block   kind:u8 ‖ payload        0 = header only (the body is too large to push)    1 = whole block
//! ```

use std::time::Duration;

use ledger::{
    block::{Block, Header},
    codec::{Decode, DecodeError, Encode, Reader, Writer, encode},
    hash::{self, Hash, Tag, to_hex},
    params::{MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES},
};
use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, TopicHash, ValidationMode,
};

/// Blocks above this are announced by their header alone.
pub const MAX_PUSHED_BLOCK_BYTES: usize = 65_000;
/// Room for the protobuf frame around a message.
const FRAME_BYTES: usize = 1_024;

/// The two topics of one network.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Transactions.
    pub tx: IdentTopic,
    /// Blocks.
    pub block: IdentTopic,
}

/// The first eight hex digits of CHAIN_ID: part of every protocol and topic name.
pub fn chain_prefix(chain_id: &Hash) -> String {
    to_hex(&chain_id.0[..4])
}

impl Topics {
    /// The topics of the network with this chain id.
    pub fn of(chain_id: &Hash) -> Self {
        let topic = |kind: &str| IdentTopic::new(format!("/namestead/{}/{kind}/1", chain_prefix(chain_id)));
        Self { tx: topic("tx"), block: topic("block") }
    }

    /// Which topic a message belongs to.
    pub fn kind(&self, hash: &TopicHash) -> Option<Kind> {
        if *hash == self.tx.hash() {
            Some(Kind::Transaction)
        } else if *hash == self.block.hash() {
            Some(Kind::Block)
        } else {
            None
        }
    }
}

/// What a gossip message is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A transaction.
    Transaction,
    /// A block or its header.
    Block,
}

impl Kind {
    /// The largest message of the kind.
    pub fn max_bytes(self) -> usize {
        match self {
            Self::Transaction => MAX_TRANSACTION_BYTES,
            Self::Block => 1 + MAX_PUSHED_BLOCK_BYTES,
        }
    }
}

/// A message on the block topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Announcement {
    /// A block that is too large to push.
    Header(Box<Header>),
    /// A whole block.
    Block(Box<Block>),
}

impl Announcement {
    /// The bytes that announce a block: its own, or the header's if they are too many.
    pub fn bytes_of(block: &Block) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(1).put(block);
        let bytes = w.finish();
        if bytes.len() <= Kind::Block.max_bytes() {
            return bytes;
        }
        encode(&Self::Header(Box::new(block.header)))
    }
}

impl Encode for Announcement {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Header(header) => w.u8(0).put(header.as_ref()),
            Self::Block(block) => w.u8(1).put(block.as_ref()),
        };
    }
}

impl Decode for Announcement {
    const MAX_BYTES: usize = 1 + MAX_BLOCK_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("kind")? {
            0 => Ok(Self::Header(Box::new(r.get()?))),
            1 => Ok(Self::Block(Box::new(r.get()?))),
            _ => Err(DecodeError::Invalid("kind")),
        }
    }
}

/// Gossip without authors and without automatic forwarding, subscribed to both topics.
pub fn behaviour(topics: &Topics) -> Behaviour {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message: &gossipsub::Message| id_of(&message.data))
        .max_transmit_size(Kind::Block.max_bytes() + FRAME_BYTES)
        .duplicate_cache_time(Duration::from_secs(300))
        .heartbeat_interval(Duration::from_millis(700))
        .history_length(12)
        .history_gossip(6)
        .flood_publish(true)
        // 512 messages of at most 65 kB, shared between peers: a slow reader cannot make us keep more.
        .connection_handler_queue_len(512)
        .build()
        .expect("the values are constants that fit each other");
    let mut gossip =
        Behaviour::new(MessageAuthenticity::Anonymous, config).expect("anonymous messages and validation agree");
    for topic in [&topics.tx, &topics.block] {
        gossip.subscribe(topic).expect("the default filter admits two topics");
    }
    gossip
}

/// `H("gid", bytes)[..20]`.
fn id_of(bytes: &[u8]) -> MessageId {
    MessageId::new(&hash::hash(Tag::GossipId, &[bytes]).0[..20])
}

#[cfg(test)]
mod tests {
    use ledger::{codec::decode, params::Network};

    use super::*;

    #[test]
    fn announcements_round_trip() {
        let block = Block { header: Network::Local.params().genesis(), transactions: Vec::new() };
        assert_eq!(decode(&Announcement::bytes_of(&block)), Ok(Announcement::Block(Box::new(block.clone()))));
        let header = Announcement::Header(Box::new(block.header));
        assert_eq!(decode(&encode(&header)), Ok(header));
        assert!(decode::<Announcement>(&[2]).is_err());
    }

    #[test]
    fn the_behaviour_builds() {
        behaviour(&Topics::of(&Network::Local.params().chain_id()));
    }
}
