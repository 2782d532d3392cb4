//! Which metric shows which number of a reading.

use prometheus::TextEncoder;

use super::{list::Metrics, reading::Reading};
use crate::{
    chain::{StatsSnapshot, Tip},
    health::{self, Health},
    miner::MinerStatus,
    p2p,
    sync::Verdict,
};

/// Sets a counter to what a part has counted.
macro_rules! count {
    ($counter:expr, $value:expr) => {{
        $counter.reset();
        $counter.inc_by($value);
    }};
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Takes a reading over and writes everything in the text format.
    pub fn render(&self, reading: &Reading) -> prometheus::Result<String> {
        let _scraping = self.scraping.lock();
        self.refresh(reading);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Takes the numbers of a reading over.
    fn refresh(&self, reading: &Reading) {
        self.refresh_tip(&reading.tip, &reading.verdict, &reading.health);
        self.refresh_chain(&reading.chain);
        self.refresh_p2p(&reading.p2p);
        self.refresh_miner(&reading.miner);
        for (state, count) in reading.operations {
            self.operations.with_label_values(&[state.as_str()]).set(gauge(count as u64));
        }
        self.store_bytes.set(gauge(reading.store_bytes));
        if let Some(free) = reading.disk_free_bytes {
            self.store_disk_free_bytes.set(gauge(free));
        }
        self.store_memory_bytes.set(gauge(reading.store_memory_bytes));
    }

    fn refresh_tip(&self, tip: &Tip, verdict: &Verdict, health: &Health) {
        self.chain_height.set(tip.height.into());
        self.chain_header_height.set(tip.best_header.max(tip.height).into());
        self.chain_target_height.set(verdict.target_height.max(tip.height).into());
        self.chain_tip_timestamp_seconds.set(tip.time as f64);
        self.chain_synced.set(health.is_synced().into());
        for state in health::State::ALL {
            self.chain_state.with_label_values(&[state.as_str()]).set((state == health.state).into());
        }
        self.chain_tip_age_seconds.set(health.age_s(tip.time, health::unix_s()) as f64);
        self.chain_names.set(gauge(tip.name_count));
        self.chain_price_bytes.set(tip.prices.bytes.into());
        self.chain_price_commit.set(tip.prices.commit.into());
        self.chain_work_hashes.set(tip.total_work as f64);
        self.clock_offset_seconds.set(verdict.clock_offset_s.unwrap_or(0) as f64);
        self.clock_alarm.set(verdict.clock_alarm.into());
    }

    fn refresh_chain(&self, stats: &StatsSnapshot) {
        let block = |result| self.chain_blocks_total.with_label_values(&[result]);
        count!(block("connected"), stats.blocks_connected);
        count!(block("disconnected"), stats.blocks_disconnected);
        count!(block("invalid"), stats.blocks_invalid);
        let header = |result| self.chain_headers_total.with_label_values(&[result]);
        count!(header("accepted"), stats.headers_accepted);
        count!(header("invalid"), stats.headers_invalid);
        self.chain_bodies_waiting.set(gauge(stats.bodies_waiting));
        count!(self.chain_reorgs_total, stats.reorgs);
        self.chain_reorg_depth_max_blocks.set(gauge(stats.reorg_depth_max));
        count!(self.chain_reorg_owner_changes_total, stats.reorg_owner_changes);
        count!(self.chain_deep_fork_alarms_total, stats.deep_fork_alarms);
        count!(self.chain_corruption_alarms_total, stats.corruption_alarms);
        count!(self.chain_block_import_seconds_total, stats.connect_nanoseconds as f64 / 1e9);
        count!(self.store_commit_seconds_total, stats.write_nanoseconds as f64 / 1e9);
        self.store_readonly.set(gauge(stats.disk_full));
        let check = |result| self.chain_transaction_checks_total.with_label_values(&[result]);
        count!(check("made"), stats.transactions_checked);
        count!(check("saved"), stats.transaction_checks_saved);
        let page = |from| self.chain_page_reads_total.with_label_values(&[from]);
        count!(page("cache"), stats.page_cache_hits);
        count!(page("disk"), stats.page_cache_misses);
        self.mempool_transactions.set(gauge(stats.mempool_transactions));
        self.mempool_bytes.set(gauge(stats.mempool_bytes));
        let offer = |result| self.mempool_offers_total.with_label_values(&[result]);
        count!(offer("accepted"), stats.transactions_accepted);
        count!(offer("rejected"), stats.transactions_rejected);
    }

    fn refresh_relays(&self, stats: &p2p::StatsSnapshot) {
        self.p2p_relay_reservations.set(gauge(stats.relay_reservations));
        self.p2p_relay_circuits.set(gauge(stats.relay_circuits));
        let request = |result| self.p2p_relay_requests_total.with_label_values(&[result]);
        count!(request("reserved"), stats.relay_reservations_total);
        count!(request("connected"), stats.relay_circuits_total);
        count!(request("refused"), stats.relay_refused_total);
        self.p2p_relays.set(gauge(stats.relays));
        self.p2p_relayed_connections.set(gauge(stats.relayed_connections));
        let ended = |result| self.p2p_relayed_ended_total.with_label_values(&[result]);
        count!(ended("upgraded"), stats.relayed_upgraded_total);
        count!(ended("failed"), stats.relayed_failed_total);
    }

    fn refresh_p2p(&self, stats: &p2p::StatsSnapshot) {
        self.p2p_peers.with_label_values(&["inbound"]).set(gauge(stats.peers_inbound));
        self.p2p_peers.with_label_values(&["outbound"]).set(gauge(stats.peers_outbound));
        self.p2p_clients.set(gauge(stats.clients));
        self.p2p_configured_failing.set(gauge(stats.configured_failing));
        self.p2p_identity_copied.set(gauge(stats.identity_copied));
        let reachable = |state| self.p2p_reachable.with_label_values(&[state]);
        reachable("unknown").set(gauge(stats.reachable_unknown));
        reachable("yes").set(gauge(stats.reachable_yes));
        reachable("no").set(gauge(stats.reachable_no));
        self.refresh_relays(stats);
        self.p2p_known_addresses.set(gauge(stats.known_peers));
        self.p2p_banned_peers.set(gauge(stats.banned_peers));
        let connection = |event| self.p2p_connections_total.with_label_values(&[event]);
        count!(connection("opened"), stats.connections_opened_total);
        count!(connection("closed"), stats.connections_closed_total);
        count!(connection("dial_failed"), stats.dial_failures_total);
        count!(connection("inbound_failed"), stats.inbound_failures_total);
        count!(connection("foreign"), stats.foreign_peers_total);
        count!(connection("evicted"), stats.inbound_evicted_total);
        count!(connection("feeler"), stats.feelers_total);
        let request = |result| self.p2p_requests_total.with_label_values(&[result]);
        count!(request("sent"), stats.requests_sent_total);
        count!(request("failed"), stats.requests_failed_total);
        count!(request("served"), stats.requests_served_total);
        count!(request("refused"), stats.requests_refused_total);
        count!(self.p2p_answer_bytes_total, stats.answer_bytes_total);
        let verdict = |verdict| self.p2p_gossip_verdicts_total.with_label_values(&[verdict]);
        count!(verdict("accept"), stats.gossip_accepted_total);
        count!(verdict("reject"), stats.gossip_rejected_total);
        count!(verdict("ignore"), stats.gossip_ignored_total);
        count!(verdict("late"), stats.gossip_late_total);
        count!(self.p2p_gossip_received_total, stats.gossip_received_total);
        count!(self.p2p_gossip_published_total, stats.gossip_published_total);
        let received = |form| self.p2p_block_bytes_received_total.with_label_values(&[form]);
        count!(received("compact"), stats.block_bytes_compact_total);
        count!(received("parts"), stats.block_bytes_parts_total);
        count!(received("whole"), stats.block_bytes_whole_total);
        let announced = |made| self.p2p_announced_blocks_total.with_label_values(&[made]);
        count!(announced("rebuilt"), stats.blocks_rebuilt_total);
        count!(announced("completed"), stats.blocks_completed_total);
        count!(announced("fetched"), stats.blocks_fetched_total);
        count!(self.p2p_offences_total, stats.offences_total);
        count!(self.p2p_bans_total, stats.bans_total);
        self.p2p_jobs.set(gauge(stats.jobs));
    }

    fn refresh_miner(&self, status: &MinerStatus) {
        self.miner_active.set(status.active.into());
        self.miner_threads.set(gauge(status.threads as u64));
        self.miner_orders.set(gauge(status.orders as u64));
        count!(self.miner_hashes_total, status.hashes);
        count!(self.miner_blocks_total, status.blocks_found);
    }
}
