//! What this node tells everybody: new blocks and new transactions, again if nobody listened the first time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::gossipsub::PublishError;
use tokio::sync::broadcast::error::RecvError;

use crate::{
    chain::ChainEvent,
    p2p::{gossip::Kind, stats::count},
    sync::Input,
};

use super::state::Service;

/// Messages kept for when somebody listens: at most 128 × 65 kB.
const MAX_WAITING: usize = 128;
/// Older news are of no interest; whoever comes later asks for headers and bodies.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Time between attempts.
const RETRY: Duration = Duration::from_secs(1);

impl Service {
    pub(super) fn chain_event(&mut self, event: Result<Arc<ChainEvent>, RecvError>) {
        match event {
            Ok(event) => match event.as_ref() {
                ChainEvent::Connected(connected) => {
                    self.announce(connected);
                    if let Some((peer, number)) = self.bringers.connected(connected.block.hash()) {
                        self.brought_block(peer, number);
                    }
                    self.feed(Input::ChainMoved);
                }
                ChainEvent::TransactionAdded(tx) => {
                    self.transaction_came(tx.wtxid());
                    self.publish(Kind::Transaction, tx.to_bytes());
                }
                ChainEvent::Disconnected(_) => self.feed(Input::ChainMoved),
                ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => {}
            },
            // Events were lost, not the chain: look at it afresh.
            Err(RecvError::Lagged(_)) => self.feed(Input::ChainMoved),
            Err(RecvError::Closed) => {}
        }
    }

    /// Tells everybody. What came by gossip was passed on with its verdict already and counts as a duplicate here.
    pub(super) fn publish(&mut self, kind: Kind, bytes: Vec<u8>) {
        let topic = match kind {
            Kind::Transaction => self.topics.tx.hash(),
            Kind::Block => self.topics.block.hash(),
        };
        match self.swarm.behaviour_mut().gossip.publish(topic, bytes.clone()) {
            Ok(_) => count(&self.stats.gossip_published_total),
            Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => self.keep(kind, bytes),
            Err(error) => tracing::debug!(%error, ?kind, "not published"),
        }
    }

    fn keep(&mut self, kind: Kind, bytes: Vec<u8>) {
        if self.outbox.waiting.len() == MAX_WAITING {
            self.outbox.waiting.pop_front();
        }
        self.outbox.waiting.push_back((Instant::now(), kind, bytes));
    }

    /// Tries again, at once when somebody subscribed.
    pub(super) fn somebody_listens(&mut self) {
        self.outbox.last_try = None;
        self.retry_outbox();
    }

    pub(super) fn retry_outbox(&mut self) {
        if self.outbox.waiting.is_empty() || self.outbox.last_try.is_some_and(|at| at.elapsed() < RETRY) {
            return;
        }
        self.outbox.last_try = Some(Instant::now());
        for (since, kind, bytes) in std::mem::take(&mut self.outbox.waiting) {
            if since.elapsed() < MAX_AGE {
                let before = self.outbox.waiting.len();
                self.publish(kind, bytes);
                if let Some(kept) = self.outbox.waiting.get_mut(before) {
                    kept.0 = since;
                }
            }
        }
    }
}
