//! Ledger types as the interface shows them.

use ledger::{
    block::Header,
    codec::encode,
    hash::{PolicyHash, to_hex},
    key::to_address,
    params::Params,
    pow::{from_compact, work_of_target},
    record::{Record, Records, type_mnemonic},
    state::{NameState, Pending, Status},
    transaction::Transaction,
};

use crate::{
    api::types::{
        BlockSummary, NameEntry, NameListItem, NameStatus, PendingTransfer, RecordView, SyncState, TransactionSummary,
        rfc3339,
    },
    chain::{PlacedHeader, Tip},
    health,
    zone::{display_sub, rdata_text},
};

/// When a height will be reached, seen from the tip and at the intended pace.
pub(super) fn time_of_height(params: &Params, tip: &Tip, height: u32) -> String {
    let blocks = i64::from(height) - i64::from(tip.height);
    rfc3339(tip.time.saturating_add_signed(blocks.saturating_mul(params.block_interval.into())))
}

pub(super) fn sync_state(state: health::State) -> SyncState {
    match state {
        health::State::Syncing => SyncState::Syncing,
        health::State::Fresh => SyncState::Fresh,
        health::State::Quiet => SyncState::Quiet,
        health::State::Offline => SyncState::Offline,
        health::State::Suspect => SyncState::Suspect,
    }
}

pub(super) fn optional_address(params: &Params, policy: &PolicyHash) -> Option<String> {
    (!policy.is_zero()).then(|| to_address(params, policy))
}

/// The status of an entry in the next block.
pub(super) fn name_status(params: &Params, state: &NameState, next: u32) -> NameStatus {
    match state.status(params, next) {
        Status::Pending => NameStatus::Pending,
        Status::Active => NameStatus::Active,
        Status::Grace => NameStatus::Grace,
        Status::Revoked => NameStatus::Revoked,
        Status::Released => NameStatus::Released,
    }
}

pub(super) fn name_entry(params: &Params, tip: &Tip, state: &NameState) -> NameEntry {
    let state = state.matured(tip.height.saturating_add(1));
    NameEntry {
        owner: to_address(params, &state.owner),
        operator: optional_address(params, &state.operator),
        seq: state.seq,
        registered: state.registered,
        active_from: state.active_from,
        expires_at: state.expires_at,
        expires_time: time_of_height(params, tip, state.expires_at),
        grace_until: state.release_height(params),
        last_update: state.last_update,
        commit_height: state.commit_height,
        not_before: state.not_before,
        revoked: state.is_revoked(),
        pending: state.pending.as_ref().map(|pending| pending_transfer(params, pending)),
        records_hex: to_hex(&state.records.to_bytes()),
        records: record_views(&state.records),
    }
}

fn pending_transfer(params: &Params, pending: &Pending) -> PendingTransfer {
    PendingTransfer {
        owner: to_address(params, &pending.owner),
        operator: optional_address(params, &pending.operator),
        at: pending.at,
    }
}

pub(super) fn name_list_item(params: &Params, tip: &Tip, state: &NameState) -> NameListItem {
    let next = tip.height.saturating_add(1);
    let state = state.matured(next);
    NameListItem {
        name: state.name.to_string(),
        status: name_status(params, &state, next),
        owner: to_address(params, &state.owner),
        seq: state.seq,
        expires_at: state.expires_at,
        expires_time: time_of_height(params, tip, state.expires_at),
        record_count: state.records.as_slice().len() as u32,
        locked_to: params.locked_domain(state.name.as_str()).map(str::to_owned),
    }
}

pub(super) fn record_views(records: &Records) -> Vec<RecordView> {
    records.as_slice().iter().map(record_view).collect()
}

fn record_view(record: &Record) -> RecordView {
    RecordView {
        sub: display_sub(&record.sub),
        rtype: type_mnemonic(record.rtype),
        ttl: record.ttl,
        rdata_hex: to_hex(&record.rdata),
        text: rdata_text(record.rtype, &record.rdata),
    }
}

pub(super) fn block_summary(placed: &PlacedHeader, transactions: Option<usize>) -> BlockSummary {
    let Header { core, ext } = placed.header;
    BlockSummary {
        height: core.height,
        hash: placed.hash.to_string(),
        prev: core.prev.to_string(),
        time: rfc3339(core.time),
        bits: format!("{:08x}", core.bits),
        work: from_compact(core.bits).map_or(0, work_of_target).to_string(),
        weight: ext.weight,
        commit_count: ext.commit_count,
        transaction_count: transactions.map(|count| count as u32),
        price_bytes: ext.price_bytes,
        price_commit: ext.price_commit,
        name_count: ext.name_count,
        share: core.height > 0 && !core.share_commit.is_zero(),
    }
}

pub(super) fn transaction_summary(transaction: &Transaction) -> TransactionSummary {
    TransactionSummary {
        txid: transaction.txid().to_string(),
        kind: transaction.body().type_name().to_owned(),
        name: transaction.body().name().map(ToString::to_string),
        bytes: transaction.byte_len() as u32,
        anchor_height: transaction.anchor().height,
    }
}

pub(super) fn hex_of(transaction: &Transaction) -> String {
    to_hex(&encode(transaction))
}
