//! `GET` and `POST /v1/transactions`.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use ledger::{
    hash::{BlockHash, TxId},
    key::to_address,
    transaction::Transaction,
};

use super::{
    error::{Body, Refusal, from_json},
    names::parse_transaction,
    present::{hex_of, transaction_summary},
    state::ApiState,
};
use crate::{
    api::types::{SubmitTransaction, Submitted, TransactionPlace, TransactionView, VERSION},
    chain::TransactionStatus,
    mempool::TxOrigin,
};

/// Takes a complete transaction into the mempool and tells the network.
#[utoipa::path(post, path = "/v1/transactions", tag = "transactions", request_body = SubmitTransaction,
    responses((status = 200, body = Submitted), (status = 409, body = crate::api::types::ErrorEnvelope),
    (status = 422, body = crate::api::types::ErrorEnvelope)), security(("token" = [])))]
pub(super) async fn submit(State(state): State<ApiState>, body: Body) -> Result<Json<Submitted>, Refusal> {
    let request: SubmitTransaction = from_json(&body?)?;
    let transaction = parse_transaction(&request.hex)?;
    let txid = state.parts().chain.submit_transaction(transaction, TxOrigin::Local).await?;
    Ok(Json(Submitted { v: VERSION, txid: txid.to_string() }))
}

/// One transaction of the mempool or of the active chain.
#[utoipa::path(get, path = "/v1/transactions/{txid}", tag = "transactions",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    responses((status = 200, body = TransactionView), (status = 404, body = crate::api::types::ErrorEnvelope)))]
pub(super) async fn transaction(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<TransactionView>, Refusal> {
    let text = path?.0;
    let txid: TxId = text.parse().map_err(|_| Refusal::bad_request(format!("{text:?} is not a transaction id")))?;
    let unknown = || Refusal::not_found("transaction_not_found", format!("no transaction {txid} is known"));
    let found = state.read(move |reader| reader.transaction(&txid)).await?.ok_or_else(unknown)?;
    let tip = state.parts().chain.tip();
    let (transaction, place) = match found {
        TransactionStatus::Pooled(entry) => (entry.transaction().clone(), TransactionPlace::Mempool),
        TransactionStatus::Mined { height, block, transaction, .. } => {
            (transaction.ok_or_else(|| pruned(height))?, in_block(height, &block, tip.height))
        }
    };
    Ok(Json(view(&state, &transaction, place)))
}

fn in_block(height: u32, block: &BlockHash, tip: u32) -> TransactionPlace {
    let confirmations = tip.saturating_sub(height).saturating_add(1);
    TransactionPlace::Block { height, hash: block.to_string(), confirmations }
}

fn pruned(height: u32) -> Refusal {
    Refusal::not_found("body_pruned", format!("the transaction is in block {height}, whose body is no longer kept"))
        .fix("ask an archive node (role = \"archive\")")
}

fn view(state: &ApiState, transaction: &Transaction, place: TransactionPlace) -> TransactionView {
    TransactionView {
        v: VERSION,
        summary: transaction_summary(transaction),
        wtxid: transaction.wtxid().to_string(),
        place,
        seq: transaction.body().seq(),
        signer: transaction.witness().map(|witness| to_address(state.params(), &witness.signer())),
        hex: hex_of(transaction),
    }
}
