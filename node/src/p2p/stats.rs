//! Counters of the network, as plain numbers; whoever exports metrics reads a [`StatsSnapshot`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The live counters. Relaxed: each is right by itself, they are not a consistent set.
        #[derive(Debug, Default)]
        pub struct Stats { $(pub(super) $name: AtomicU64),+ }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64),+ }

        impl Stats {
            /// The counters now.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Relaxed)),+ }
            }
        }
    };
}

counters! {
    /// Connected peers now that the others opened.
    peers_inbound,
    /// Connected peers now that this node dialled.
    peers_outbound,
    /// Connections of light clients now.
    clients,
    /// Configured peers that are not reached now.
    configured_failing,
    /// Whether another node with this node's identity was noticed: 0 or 1.
    identity_copied,
    /// Whether it is not known if others can reach this node: 0 or 1.
    reachable_unknown,
    /// Whether others can reach this node: 0 or 1.
    reachable_yes,
    /// Whether others cannot reach this node: 0 or 1.
    reachable_no,
    /// Reservations of others at this node, which is their relay, now.
    relay_reservations,
    /// Circuits through this node now.
    relay_circuits,
    /// Reservations given to others, renewals included.
    relay_reservations_total,
    /// Circuits of others through this node.
    relay_circuits_total,
    /// Reservations and circuits of others that were refused.
    relay_refused_total,
    /// Relays that lead others to this node now.
    relays,
    /// Relayed connections now.
    relayed_connections,
    /// Relayed connections that a direct one has replaced.
    relayed_upgraded_total,
    /// Relayed connections of which no direct one came.
    relayed_failed_total,
    /// Peers in the address book now.
    known_peers,
    /// Peers banned now.
    banned_peers,
    /// Connections opened since the start.
    connections_opened_total,
    /// Connections closed since the start.
    connections_closed_total,
    /// Dials that failed.
    dial_failures_total,
    /// Inbound connections that failed before a peer was known, junk on the port included.
    inbound_failures_total,
    /// Peers of other networks and of other programs that were let go.
    foreign_peers_total,
    /// Inbound peers that gave way to others because all places were taken.
    inbound_evicted_total,
    /// Short dials to find out who is there.
    feelers_total,
    /// Questions asked.
    requests_sent_total,
    /// Questions that got no answer.
    requests_failed_total,
    /// Questions of others that were served.
    requests_served_total,
    /// Questions of others that were refused because they ask too much.
    requests_refused_total,
    /// Bytes of answers given.
    answer_bytes_total,
    /// Gossip messages received.
    gossip_received_total,
    /// Gossip messages passed on.
    gossip_accepted_total,
    /// Gossip messages that no honest peer could have sent.
    gossip_rejected_total,
    /// Gossip messages dropped without blame.
    gossip_ignored_total,
    /// Verdicts that came too late for gossipsub to act on.
    gossip_late_total,
    /// Messages published.
    gossip_published_total,
    /// Bytes of compact blocks received, without the copies that gossip drops unseen.
    block_bytes_compact_total,
    /// Bytes of transactions that were asked for to complete announced blocks.
    block_bytes_parts_total,
    /// Bytes of whole blocks that were asked for.
    block_bytes_whole_total,
    /// Announced blocks put together from what was here.
    blocks_rebuilt_total,
    /// Announced blocks completed by whoever announced them.
    blocks_completed_total,
    /// Announced blocks left to be fetched as a whole.
    blocks_fetched_total,
    /// Offences noted, of any kind.
    offences_total,
    /// Bans imposed.
    bans_total,
    /// Jobs running beside the network task now.
    jobs,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds several.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

/// Sets a level.
pub(super) fn set(counter: &AtomicU64, level: usize) {
    counter.store(level as u64, Relaxed);
}
