//! `GET /v1/status`.

use axum::{Json, extract::State};
use ledger::{block::Header, params::Params};

use super::{error::Refusal, peers::problems, present::sync_state, state::ApiState};
use crate::{
    api::types::{MempoolSummary, MiningMode, MiningStatus, ParamsView, RecentBlock, Status, VERSION, rfc3339},
    chain::Tip,
    health::unix_s,
    miner,
    p2p::Route,
};

/// The node at a glance.
#[utoipa::path(get, path = "/v1/status", tag = "node", responses((status = 200, body = Status)))]
pub(super) async fn status(State(state): State<ApiState>) -> Result<Json<Status>, Refusal> {
    let parts = state.parts();
    let (tip, health, now) = (parts.chain.tip(), state.health(), unix_s());
    let recent = recent(&state, &tip).await?;
    let mempool = parts.chain.mempool();
    let surroundings = parts.p2p.surroundings().await;
    Ok(Json(Status {
        v: VERSION,
        network: state.params().network.to_string(),
        chain_id: state.chain_id().to_string(),
        height: tip.height,
        hash: tip.hash.to_string(),
        time: rfc3339(tip.time),
        total_work: tip.total_work.to_string(),
        tip_age_seconds: health.age_s(tip.time, now),
        state: sync_state(health.state),
        synced: health.is_synced(),
        sync_reason: health.unsynced_because(now),
        target_height: health.target_height.max(tip.height),
        // Who is only met through a relay is none.
        peers: parts.p2p.peers().await.iter().filter(|peer| peer.route != Route::Relayed).count() as u32,
        network_problems: problems(&surroundings),
        reachable: Some(surroundings.reachable.as_str().to_owned()),
        names: tip.name_count,
        price_bytes: tip.prices.bytes,
        price_commit: tip.prices.commit,
        mempool: MempoolSummary { count: mempool.count() as u64, bytes: mempool.bytes() as u64 },
        mining: mining(&parts.miner),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: state.uptime_seconds(),
        params: params_view(state.params()),
        recent,
        dns_listen: parts.dns_listen.iter().map(ToString::to_string).collect(),
        suffixes: parts.suffixes.clone(),
    }))
}

async fn recent(state: &ApiState, tip: &Tip) -> Result<Vec<RecentBlock>, Refusal> {
    let window = state.params().anchor_window;
    let from = tip.height.saturating_sub(window.saturating_sub(1));
    let headers = state.read(move |reader| reader.headers_from(from, window as usize)).await?;
    Ok(headers.iter().rev().map(recent_block).collect())
}

fn recent_block(header: &Header) -> RecentBlock {
    RecentBlock {
        height: header.core.height,
        hash: header.hash().to_string(),
        price_bytes: header.ext.price_bytes,
        price_commit: header.ext.price_commit,
    }
}

fn mining(miner: &miner::MinerHandle) -> MiningStatus {
    let status = miner.status();
    MiningStatus {
        mode: match status.mode {
            miner::MiningMode::Auto => MiningMode::Auto,
            miner::MiningMode::On => MiningMode::On,
            miner::MiningMode::Off => MiningMode::Off,
        },
        active: status.active,
        hashrate: status.hashrate,
        threads: status.threads as u32,
        blocks_found: status.blocks_found,
    }
}

fn params_view(p: &Params) -> ParamsView {
    ParamsView {
        maturity: p.maturity,
        contest: p.contest,
        commit_ttl: p.commit_ttl,
        term: p.term,
        renew_window: p.renew_window,
        grace: p.grace,
        transfer_delay: p.transfer_delay,
        release_delay: p.release_delay,
        burn_lock: p.burn_lock,
        anchor_window: p.anchor_window,
        anchor_depth: p.anchor_depth,
        block_interval_seconds: p.block_interval,
        p_commit: p.p_commit,
    }
}
