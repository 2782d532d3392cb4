//! `GET /v1/names…`.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use ledger::{
    codec::{decode, encode},
    hash::{PolicyHash, to_hex},
    key::{from_address, to_address},
    name::Name,
    params::Params,
    price::{Prices, required_work},
    state::NameState,
    transaction::{Body, Transaction},
};
use serde::Deserialize;

use super::{
    error::Refusal,
    present::{name_entry, name_list_item, name_status, sync_state},
    state::ApiState,
};
use crate::{
    api::types::{
        HistoryEntry, LockedName, NameAnswer, NameHistory, NameList, NamePrice, NameProof, NameStatus, VERSION, rfc3339,
    },
    chain::{self, ChainReader, HistoryCause, TransactionStatus},
    health::unix_s,
    store::StoreError,
};

/// Names in a list if the request does not say.
const DEFAULT_LIMIT: usize = 100;
/// Most names in a list.
const MAX_LIMIT: usize = 1_000;
/// Most locked names in a list.
const MAX_LOCKED: usize = 100;
/// Most changes told of one name.
const MAX_HISTORY: usize = 1_000;

/// One name, whether it exists or not.
#[utoipa::path(get, path = "/v1/names/{name}", tag = "names", params(("name" = String, Path, description = "Without suffix")),
    responses((status = 200, body = NameAnswer)))]
pub(super) async fn name(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<NameAnswer>, Refusal> {
    let name = parse_name(&path?.0)?;
    let (params, tip, health) = (state.params(), state.parts().chain.tip(), state.health());
    let wanted = name.clone();
    let anchor = tip.height.saturating_sub(params.anchor_depth);
    let (entry, prices) = state
        .read(move |reader| {
            let prices = reader.header_at(anchor)?.map(|placed| Prices::from(&placed.header.ext));
            Ok((reader.name_state(&wanted)?, prices))
        })
        .await?;
    let next = tip.height.saturating_add(1);
    Ok(Json(NameAnswer {
        v: VERSION,
        status: status_of(params, &name, entry.as_ref(), next),
        state: entry.as_ref().map(|entry| name_entry(params, &tip, entry)),
        price: prices.and_then(|prices| price_of(params, &name, prices)),
        locked_to: params.locked_domain(name.as_str()).map(str::to_owned),
        name: name.to_string(),
        height: tip.height,
        hash: tip.hash.to_string(),
        tip_age_seconds: health.age_s(tip.time, unix_s()),
        sync_state: sync_state(health.state),
    }))
}

fn status_of(params: &Params, name: &Name, entry: Option<&NameState>, next: u32) -> NameStatus {
    match entry {
        Some(entry) => name_status(params, entry, next),
        None if name.is_reserved() => NameStatus::Reserved,
        None if params.locked_domain(name.as_str()).is_some() => NameStatus::Locked,
        None => NameStatus::Free,
    }
}

fn price_of(params: &Params, name: &Name, prices: Prices) -> Option<NamePrice> {
    let class = name.price_class();
    let body = Body::Commit { class, commit_hash: ledger::hash::CommitHash::ZERO };
    Some(NamePrice { class, expected_hashes: required_work(params, &body, prices)? })
}

/// Query of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Address of the owner.
    owner: Option<String>,
    /// Beginning of the name.
    prefix: Option<String>,
    /// Only names whose term ends within so many blocks.
    expiring_within: Option<u32>,
    /// Only names behind this one.
    after: Option<String>,
    /// At most so many, up to 1,000.
    limit: Option<usize>,
}

/// Names by owner, prefix, or coming end.
#[utoipa::path(get, path = "/v1/names", tag = "names", params(ListQuery), responses((status = 200, body = NameList)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<NameList>, Refusal> {
    let query = query?.0;
    let (params, tip, health) = (state.params(), state.parts().chain.tip(), state.health());
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let selection = Selection::parse(params, query)?;
    let next_height = tip.height.saturating_add(1);
    let found = state.read(move |reader| selection.read(params, reader, next_height, limit)).await?;
    Ok(Json(NameList {
        v: VERSION,
        next: found.next.map(|name| name.to_string()),
        names: found.names.iter().map(|entry| name_list_item(params, &tip, entry)).collect(),
        locked: found.locked,
        height: tip.height,
        hash: tip.hash.to_string(),
        tip_age_seconds: health.age_s(tip.time, unix_s()),
        sync_state: sync_state(health.state),
    }))
}

/// Which names are asked for.
struct Selection {
    owner: Option<PolicyHash>,
    prefix: String,
    expiring_within: Option<u32>,
    after: Option<Name>,
}

struct Found {
    names: Vec<NameState>,
    next: Option<Name>,
    locked: Vec<LockedName>,
}

impl Selection {
    fn parse(params: &Params, query: ListQuery) -> Result<Self, Refusal> {
        let owner = query.owner.map(|text| from_address(params, &text)).transpose();
        let after = query.after.map(|text| parse_name(&text)).transpose()?;
        let prefix = query.prefix.unwrap_or_default();
        if prefix.len() > ledger::name::MAX_NAME_BYTES
            || !prefix.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            return Err(Refusal::bad_request("a prefix is made of a-z, 0-9 and '-'"));
        }
        Ok(Self {
            owner: owner.map_err(|error| Refusal::bad_request(error.to_string()))?,
            prefix,
            expiring_within: query.expiring_within,
            after,
        })
    }

    fn read(&self, params: &Params, reader: &ChainReader, next: u32, limit: usize) -> Result<Found, StoreError> {
        let found = self.read_names(reader, next, limit)?;
        Ok(Found { locked: self.locked(params, reader)?, ..found })
    }

    /// What can only be claimed, and has not been.
    fn locked(&self, params: &Params, reader: &ChainReader) -> Result<Vec<LockedName>, StoreError> {
        let is_by_prefix = self.owner.is_none() && self.expiring_within.is_none() && self.after.is_none();
        if !is_by_prefix || self.prefix.is_empty() {
            return Ok(Vec::new());
        }
        let first = params.locked.partition_point(|(label, _)| *label < self.prefix.as_str());
        let mut locked = Vec::new();
        for (label, domain) in params.locked[first..].iter().take_while(|(label, _)| label.starts_with(&self.prefix)) {
            if locked.len() == MAX_LOCKED {
                break;
            }
            let is_free = match Name::new(label) {
                Ok(name) => reader.name_state(&name)?.is_none(),
                Err(_) => false,
            };
            if is_free {
                locked.push(LockedName { name: (*label).to_owned(), locked_to: (*domain).to_owned() });
            }
        }
        Ok(locked)
    }

    /// Reads pages until `limit` names fit. What an index cannot select is filtered, a bounded number of pages at most.
    fn read_names(&self, reader: &ChainReader, next: u32, limit: usize) -> Result<Found, StoreError> {
        /// Pages looked through for one request.
        const MAX_PAGES: usize = 16;
        if let (Some(blocks), None) = (self.expiring_within, self.owner) {
            let mut names = reader.expiring(blocks, MAX_LIMIT)?;
            names
                .retain(|entry| self.takes(entry, next) && self.after.as_ref().is_none_or(|after| entry.name > *after));
            names.sort_by(|a, b| a.name.cmp(&b.name));
            let next = (names.len() > limit).then(|| names[limit - 1].name.clone());
            names.truncate(limit);
            return Ok(Found { names, next, locked: Vec::new() });
        }
        let (mut names, mut after) = (Vec::new(), self.after.clone());
        for _ in 0..MAX_PAGES {
            let page = self.page(reader, after.as_ref(), limit)?;
            let is_last = page.len() < limit;
            for entry in page {
                after = Some(entry.name.clone());
                if self.takes(&entry, next) {
                    names.push(entry);
                }
                if names.len() == limit {
                    return Ok(Found { names, next: after, locked: Vec::new() });
                }
            }
            if is_last {
                return Ok(Found { names, next: None, locked: Vec::new() });
            }
        }
        Ok(Found { names, next: after, locked: Vec::new() })
    }

    fn page(&self, reader: &ChainReader, after: Option<&Name>, limit: usize) -> Result<Vec<NameState>, StoreError> {
        match &self.owner {
            Some(owner) => reader.names_of_owner(owner, after, limit),
            None => reader.search(&self.prefix, after, limit),
        }
    }

    fn takes(&self, entry: &NameState, next: u32) -> bool {
        let ends_soon = self.expiring_within.is_none_or(|blocks| entry.expires_at <= next.saturating_add(blocks));
        entry.name.as_str().starts_with(&self.prefix) && ends_soon
    }
}

/// What happened to a name, newest first.
#[utoipa::path(get, path = "/v1/names/{name}/history", tag = "names", params(("name" = String, Path, description = "Without suffix")),
    responses((status = 200, body = NameHistory)))]
pub(super) async fn history(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<NameHistory>, Refusal> {
    let name = parse_name(&path?.0)?;
    let (params, wanted) = (state.params(), name.clone());
    let entries = state
        .read(move |reader| {
            let entries = reader.history(&wanted, u32::MAX, MAX_HISTORY)?;
            entries.iter().map(|entry| history_entry(params, reader, entry)).collect()
        })
        .await?;
    Ok(Json(NameHistory { v: VERSION, name: name.to_string(), entries }))
}

fn history_entry(
    params: &Params,
    reader: &ChainReader,
    entry: &chain::HistoryEntry,
) -> Result<HistoryEntry, StoreError> {
    let placed = reader.header_at(entry.height)?;
    let mut shown = HistoryEntry {
        height: entry.height,
        hash: placed.map(|placed| placed.hash.to_string()),
        time: placed.map(|placed| rfc3339(placed.header.core.time)),
        txid: None,
        action: "deleted".to_owned(),
        owner: None,
        seq: None,
    };
    if let HistoryCause::Transaction { txid, .. } = &entry.cause {
        shown.txid = Some(txid.to_string());
        "unknown".clone_into(&mut shown.action);
        if let Some(TransactionStatus::Mined { transaction: Some(transaction), .. }) = reader.transaction(txid)? {
            describe(params, &transaction, &mut shown);
        }
    }
    if let HistoryCause::Transaction { type_id, .. } = &entry.cause {
        shown.action = action_of(*type_id).to_owned();
    }
    Ok(shown)
}

fn describe(params: &Params, transaction: &Transaction, shown: &mut HistoryEntry) {
    shown.seq = transaction.body().seq();
    shown.owner = match transaction.body() {
        Body::Reveal { owner, .. } | Body::Transfer { owner, .. } | Body::Claim { owner, .. } => {
            Some(to_address(params, owner))
        }
        Body::Commit { .. }
        | Body::Update { .. }
        | Body::Cancel { .. }
        | Body::Renew { .. }
        | Body::Revoke { .. }
        | Body::Roll { .. } => None,
    };
}

fn action_of(type_id: u8) -> &'static str {
    match type_id {
        1 => "commit",
        2 => "reveal",
        3 => "update",
        4 => "transfer",
        5 => "cancel",
        6 => "renew",
        7 => "revoke",
        8 => "claim",
        10 => "roll",
        _ => "unknown",
    }
}

/// Proof of a name's entry, or of its absence, under the tip's state root.
#[utoipa::path(get, path = "/v1/names/{name}/proof", tag = "names", params(("name" = String, Path, description = "Without suffix")),
    responses((status = 200, body = NameProof)))]
pub(super) async fn proof(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<NameProof>, Refusal> {
    let name = parse_name(&path?.0)?;
    let key = name.key();
    let wanted = name.clone();
    let (proof, present) =
        state.read(move |reader| Ok((reader.prove(&key)?, reader.name_state(&wanted)?.is_some()))).await?;
    Ok(Json(NameProof {
        v: VERSION,
        name: name.to_string(),
        present,
        height: proof.header.core.height,
        hash: proof.header.hash().to_string(),
        header_hex: to_hex(&encode(&proof.header)),
        proof_hex: to_hex(&proof.bytes),
    }))
}

/// A name as written by people: case is folded, a final suffix is not taken off here.
pub(super) fn parse_name(text: &str) -> Result<Name, Refusal> {
    Name::new(&text.to_ascii_lowercase()).map_err(|error| {
        Refusal::bad_request(format!("{text:?} is not a name: {error}"))
            .why("Names are given without their suffix, in ASCII; other alphabets as xn--….")
    })
}

/// The bytes of a transaction in hexadecimal.
pub(super) fn parse_transaction(hex: &str) -> Result<Transaction, Refusal> {
    let bytes = ledger::hash::from_hex(hex.trim())
        .ok_or_else(|| Refusal::bad_request("the transaction is not an even number of hexadecimal digits"))?;
    decode(&bytes).map_err(|error| Refusal::bad_request(format!("the transaction cannot be read: {error}")))
}
