//! Topics and message ids of gossip (protocol §10): on `tx` a transaction, on `block` a compact block.

use std::time::Duration;

use ledger::{
    hash::{self, Hash, Tag, to_hex},
    params::MAX_TRANSACTION_BYTES,
};
use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, TopicHash, ValidationMode,
};

use super::compact::MAX_COMPACT_BYTES;

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
    /// A compact block.
    Block,
}

impl Kind {
    /// The largest message of the kind.
    pub fn max_bytes(self) -> usize {
        match self {
            Self::Transaction => MAX_TRANSACTION_BYTES,
            Self::Block => MAX_COMPACT_BYTES,
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
    use ledger::params::Network;

    use super::*;

    #[test]
    fn the_behaviour_builds() {
        behaviour(&Topics::of(&Network::Local.params().chain_id()));
    }
}
