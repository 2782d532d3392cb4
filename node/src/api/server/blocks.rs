//! `GET /v1/blocks…`.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use ledger::{block::Block, hash::BlockHash};
use serde::Deserialize;

use super::{
    error::Refusal,
    present::{block_summary, transaction_summary},
    state::ApiState,
};
use crate::{
    api::types::{BlockDetail, BlockList, BlockSummary, VERSION},
    chain::{ChainReader, PlacedHeader},
    store::StoreError,
};

/// Blocks in a list if the request does not say.
const DEFAULT_LIMIT: u32 = 20;
/// Most blocks in a list: each body is read for its count of transactions.
const MAX_LIMIT: u32 = 100;

/// Query of a list of blocks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only blocks below this height.
    before: Option<u32>,
    /// At most so many, up to 100.
    limit: Option<u32>,
}

/// Blocks of the active chain, newest first.
#[utoipa::path(get, path = "/v1/blocks", tag = "blocks", params(ListQuery), responses((status = 200, body = BlockList)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<BlockList>, Refusal> {
    let query = query?.0;
    let end = state.parts().chain.tip().height.saturating_add(1);
    let before = query.before.unwrap_or(end).min(end);
    let from = before.saturating_sub(query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT));
    let blocks = state.read(move |reader| summaries(reader, from, before)).await?;
    Ok(Json(BlockList { v: VERSION, blocks, next: (from > 0).then_some(from) }))
}

fn summaries(reader: &ChainReader, from: u32, before: u32) -> Result<Vec<BlockSummary>, StoreError> {
    let mut summaries = Vec::new();
    for height in (from..before).rev() {
        // A height can vanish between two reads when the chain is reorganised.
        let Some(placed) = reader.header_at(height)? else { continue };
        let body = body_of(reader, &placed)?;
        summaries.push(block_summary(&placed, body.map(|block| block.transactions.len())));
    }
    Ok(summaries)
}

/// Genesis has no body to store; its list of transactions is known to be empty.
fn body_of(reader: &ChainReader, placed: &PlacedHeader) -> Result<Option<Block>, StoreError> {
    if placed.header.core.height == 0 {
        return Ok(Some(Block { header: placed.header, transactions: Vec::new() }));
    }
    reader.block(&placed.hash)
}

/// One block, of any branch if it is named by its hash.
#[utoipa::path(get, path = "/v1/blocks/{height_or_hash}", tag = "blocks",
    params(("height_or_hash" = String, Path, description = "Decimal height or 64 hexadecimal digits")),
    responses((status = 200, body = BlockDetail)))]
pub(super) async fn block(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<BlockDetail>, Refusal> {
    let text = path?.0;
    let which = Which::parse(&text)?;
    let tip = state.parts().chain.tip();
    let found = state
        .read(move |reader| {
            let Some(placed) = which.find(reader)? else { return Ok(None) };
            let is_active = reader.hash_at(placed.header.core.height)? == Some(placed.hash);
            Ok(Some((placed, body_of(reader, &placed)?, is_active)))
        })
        .await?;
    let (placed, body, is_active) =
        found.ok_or_else(|| Refusal::not_found("block_not_found", format!("no block {text} is known")))?;
    let depth = tip.height.saturating_sub(placed.header.core.height).saturating_add(1);
    Ok(Json(detail(&placed, body, if is_active { depth } else { 0 })))
}

fn detail(placed: &PlacedHeader, body: Option<Block>, confirmations: u32) -> BlockDetail {
    let (core, ext) = (placed.header.core, placed.header.ext);
    BlockDetail {
        v: VERSION,
        summary: block_summary(placed, body.as_ref().map(|block| block.transactions.len())),
        confirmations,
        vtime: core.vtime,
        nonce: core.nonce.to_string(),
        state_root: ext.state_root.to_string(),
        tx_root: ext.tx_root.to_string(),
        witness_root: ext.witness_root.to_string(),
        history_root: ext.history_root.to_string(),
        share_commit: core.share_commit.to_string(),
        transactions: body.map(|block| block.transactions.iter().map(transaction_summary).collect()),
    }
}

/// A block named by a person.
#[derive(Clone, Copy)]
enum Which {
    Height(u32),
    Hash(BlockHash),
}

impl Which {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let height = text.parse().map(Self::Height).ok();
        height
            .or_else(|| text.parse().map(Self::Hash).ok())
            .ok_or_else(|| Refusal::bad_request(format!("{text:?} is neither a height nor a block hash")))
    }

    fn find(self, reader: &ChainReader) -> Result<Option<PlacedHeader>, StoreError> {
        match self {
            Self::Height(height) => reader.header_at(height),
            Self::Hash(hash) => reader.header(&hash),
        }
    }
}
