//! How often a peer may ask and announce: token buckets per peer and per address group.
//!
//! Costs are paid in tokens. An answer's size is charged afterwards, so a bucket can go into debt and has to be refilled
//! before the next question is served. Home networks have no group limit: there, one group is everybody.

use std::collections::BTreeMap;

use libp2p::PeerId;

use crate::sync::Millis;

use super::{message::Request, netgroup::Netgroup};

/// Bytes of an answer per token.
const BYTES_PER_TOKEN: i64 = 16_384;
/// A peer's burst and its sustained rate: 64 MiB at once, then 8 MiB a second, which feeds a fresh node.
const PEER: Rate = Rate { burst: 4_096, per_second: 512 };
/// A group may use as much as four peers.
const GROUP: Rate = Rate { burst: 16_384, per_second: 2_048 };
/// Gossip of one peer: a full mempool in a minute.
const GOSSIP: Rate = Rate { burst: 2_000, per_second: 200 };
/// Refused questions that are forgiven before they count as a flood.
const PATIENCE: Rate = Rate { burst: 200, per_second: 5 };
/// Groups remembered. A bucket fills in eight seconds and is forgotten then, so this takes a thousand groups at once; the
/// peers of further groups have their own limits only.
const MAX_GROUPS: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: i64,
    per_second: i64,
}

/// Tokens in thousandths, so that short intervals count.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    millitokens: i64,
    at: Millis,
}

impl Bucket {
    fn full(rate: Rate, now: Millis) -> Self {
        Self { rate, millitokens: rate.burst * 1_000, at: now }
    }

    fn refill(&mut self, now: Millis) {
        let gained = (now.since(self.at).min(3_600_000) as i64) * self.rate.per_second;
        self.millitokens = (self.millitokens + gained).min(self.rate.burst * 1_000);
        self.at = now;
    }

    fn is_open(&mut self, now: Millis) -> bool {
        self.refill(now);
        self.millitokens > 0
    }

    fn pay(&mut self, tokens: i64) {
        self.millitokens = (self.millitokens - tokens * 1_000).max(-self.rate.burst * 1_000);
    }

    fn take(&mut self, now: Millis, tokens: i64) -> bool {
        let open = self.is_open(now);
        if open {
            self.pay(tokens);
        }
        open
    }
}

#[derive(Clone, Copy, Debug)]
struct PeerBuckets {
    group: Netgroup,
    questions: Bucket,
    gossip: Bucket,
    patience: Bucket,
}

/// What to do with a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Serve it.
    Serve,
    /// Say "busy".
    Refuse,
    /// Say "busy" and hold it against the peer: it was told often enough.
    Flood,
}

/// The buckets of all connected peers.
#[derive(Debug, Default)]
pub struct Limits {
    peers: BTreeMap<PeerId, PeerBuckets>,
    groups: BTreeMap<Netgroup, Bucket>,
}

impl Limits {
    /// A peer connected.
    pub fn add(&mut self, now: Millis, peer: PeerId, group: Netgroup) {
        let buckets = PeerBuckets {
            group,
            questions: Bucket::full(PEER, now),
            gossip: Bucket::full(GOSSIP, now),
            patience: Bucket::full(PATIENCE, now),
        };
        self.peers.insert(peer, buckets);
        if !group.is_exempt() && self.groups.len() < MAX_GROUPS {
            self.groups.entry(group).or_insert(Bucket::full(GROUP, now));
        }
    }

    /// A peer has gone. Its group's bucket stays, or reconnecting would refill it.
    pub fn remove(&mut self, now: Millis, peer: &PeerId) {
        self.peers.remove(peer);
        self.groups.retain(|_, bucket| {
            bucket.refill(now);
            bucket.millitokens < bucket.rate.burst * 1_000
        });
    }

    /// Whether to serve a question.
    pub fn admit(&mut self, now: Millis, peer: &PeerId, request: &Request) -> Admission {
        let Some(buckets) = self.peers.get_mut(peer) else { return Admission::Refuse };
        let cost = cost(request);
        let group_is_open = self.groups.get_mut(&buckets.group).is_none_or(|group| group.take(now, cost));
        if group_is_open && buckets.questions.take(now, cost) {
            Admission::Serve
        } else if buckets.patience.take(now, 1) {
            Admission::Refuse
        } else {
            Admission::Flood
        }
    }

    /// Charges the bytes of an answer.
    pub fn charge(&mut self, peer: &PeerId, bytes: usize) {
        let Some(buckets) = self.peers.get_mut(peer) else { return };
        let tokens = bytes as i64 / BYTES_PER_TOKEN;
        buckets.questions.pay(tokens);
        if let Some(group) = self.groups.get_mut(&buckets.group) {
            group.pay(tokens);
        }
    }

    /// Whether to look at a gossiped message.
    pub fn admit_gossip(&mut self, now: Millis, peer: &PeerId) -> bool {
        self.peers.get_mut(peer).is_none_or(|buckets| buckets.gossip.take(now, 1))
    }
}

/// What a question costs before its answer is known.
fn cost(request: &Request) -> i64 {
    match request {
        Request::Status(_) => 1,
        Request::Headers { .. } => 4,
        Request::Bodies(hashes) => 1 + hashes.len() as i64 / 4,
        // Without ids the whole pool is looked through for some of it.
        Request::Transactions(ids) if ids.is_empty() => 16,
        Request::Transactions(ids) => 2 + ids.len() as i64 / 8,
        // A block is read and decoded for some of it.
        Request::Proof { .. } | Request::Start(_) | Request::Parts { .. } => 4,
        Request::Addresses => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooder_is_refused_and_then_blamed() {
        let (mut limits, peer) = (Limits::default(), PeerId::random());
        limits.add(Millis(0), peer, Netgroup::V4([8, 8]));
        let mut seen = Vec::new();
        for _ in 0..1_000 {
            seen.push(limits.admit(Millis(0), &peer, &Request::Addresses));
        }
        seen.dedup();
        assert_eq!(seen, [Admission::Serve, Admission::Refuse, Admission::Flood]);
        assert_eq!(limits.admit(Millis(60_000), &peer, &Request::Addresses), Admission::Serve);
    }

    #[test]
    fn questions_about_the_pool_cost_what_they_take() {
        let ids = |count| Request::Transactions(vec![ledger::hash::WitnessTxId([7; 32]); count]);
        assert_eq!([0, 1, 64].map(|count| cost(&ids(count))), [16, 2, 10]);
    }

    #[test]
    fn reconnecting_does_not_refill_the_group() {
        let mut limits = Limits::default();
        let mut served = 0;
        for _ in 0..100 {
            let peer = PeerId::random();
            limits.add(Millis(0), peer, Netgroup::V4([8, 8]));
            served +=
                (0..100).filter(|_| limits.admit(Millis(0), &peer, &Request::Addresses) == Admission::Serve).count();
            limits.remove(Millis(0), &peer);
        }
        assert!(served <= 1 + GROUP.burst as usize / 64, "{served}");
    }

    #[test]
    fn large_answers_are_charged() {
        let (mut limits, peer) = (Limits::default(), PeerId::random());
        limits.add(Millis(0), peer, Netgroup::Home);
        let ask = Request::Bodies(Vec::new());
        limits.charge(&peer, 65 << 20);
        assert_eq!(limits.admit(Millis(0), &peer, &ask), Admission::Refuse);
        assert_eq!(limits.admit(Millis(2_000), &peer, &ask), Admission::Serve);
    }
}
