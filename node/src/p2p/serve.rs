//! Answers to the questions of others, from what the chain has stored.
//!
//! Runs beside the network task and reads the database only; never waits for the chain thread.

use ledger::{
    block::{Block, Header, HeaderBatch},
    codec::encode,
    hash::{BlockHash, Key, WitnessTxId},
};

use rand::{SeedableRng, seq::SliceRandom};

use crate::chain::ChainReader;

use super::message::{MAX_BODIES_BYTES, MAX_TRANSACTIONS, ProofAnswer, Refusal, Request, Response, StartAnswer};

/// The answer to `request`. Status and addresses are answered by the network task, which has them at hand.
pub fn answer(reader: &ChainReader, request: Request) -> Response {
    let answer = match request {
        Request::Headers { locator, max } => headers(reader, &locator, max),
        Request::Bodies(hashes) => bodies(reader, &hashes),
        Request::Transactions(ids) => transactions(reader, &ids),
        Request::Proof { key, at } => proof(reader, &key, at),
        Request::Start(hash) => start(reader, &hash),
        Request::Parts { block, indexes } => parts(reader, &block, &indexes),
        Request::Status(_) | Request::Addresses => None,
    };
    answer.unwrap_or(Response::Refused(Refusal::Unsupported))
}

fn headers(reader: &ChainReader, locator: &[BlockHash], max: u16) -> Option<Response> {
    let max = usize::from(max).min(HeaderBatch::MAX_HEADERS);
    Some(Response::Headers(HeaderBatch(reader.headers_after(locator, max).ok()?)))
}

/// As many bodies as fit, in the order asked for.
fn bodies(reader: &ChainReader, hashes: &[BlockHash]) -> Option<Response> {
    let (mut bodies, mut bytes) = (Vec::with_capacity(hashes.len()), 0);
    for hash in hashes {
        let body = reader.block_bytes(hash).ok()?;
        bytes += body.as_ref().map_or(0, Vec::len);
        if bytes > MAX_BODIES_BYTES && !bodies.is_empty() {
            break;
        }
        bodies.push(body);
    }
    Some(Response::Bodies(bodies))
}

/// Some transactions of a block. To ask for one that it does not have is no mistake of an honest peer, and gets no part.
fn parts(reader: &ChainReader, block: &BlockHash, indexes: &[u16]) -> Option<Response> {
    let block = reader.block(block).ok()?;
    let pick = |block: Block| {
        let places = indexes.iter().map(|index| block.transactions.get(usize::from(*index)).map(encode));
        places.collect::<Option<Vec<_>>>()
    };
    Some(Response::Parts(block.and_then(pick)))
}

/// The pooled transactions with these ids; without ids, some of the pool, at random so that askers get to all in time.
fn transactions(reader: &ChainReader, ids: &[WitnessTxId]) -> Option<Response> {
    let pool = reader.mempool();
    let found = if ids.is_empty() {
        let mut all = pool.all();
        all.shuffle(&mut rand::rngs::StdRng::seed_from_u64(seed()?));
        all
    } else {
        pool.with_bytes(ids)
    };
    Some(Response::Transactions(found.iter().take(MAX_TRANSACTIONS).map(|tx| tx.to_bytes()).collect()))
}

fn seed() -> Option<u64> {
    getrandom::u64().ok()
}

/// A proof against the newest root. Only that version of the tree is kept, so a question about an older root is answered
/// with "no proof", and the asker asks again without naming one.
fn proof(reader: &ChainReader, key: &Key, at: Option<BlockHash>) -> Option<Response> {
    let proof = reader.prove(key).ok()?;
    let header: Header = proof.header;
    if at.is_some_and(|hash| hash != header.hash()) {
        return Some(Response::Proof(None));
    }
    Some(Response::Proof(Some(ProofAnswer { headers: HeaderBatch(vec![header]), proof: proof.bytes })))
}

/// A block of the best chain to check headers from. Of other branches the history before them is not kept.
fn start(reader: &ChainReader, hash: &BlockHash) -> Option<Response> {
    let found = reader.start_at(hash).ok()?;
    Some(Response::Start(found.map(|(header, peaks)| Box::new(StartAnswer { header, peaks }))))
}

/// Bytes of an answer on the wire, for limits.
pub fn size(response: &Response) -> usize {
    match response {
        Response::Bodies(bodies) => bodies.iter().flatten().map(Vec::len).sum(),
        Response::Headers(batch) => batch.0.len() * Header::WIRE_BYTES,
        Response::Status(_)
        | Response::Transactions(_)
        | Response::Proof(_)
        | Response::Addresses(_)
        | Response::Start(_)
        | Response::Parts(_)
        | Response::Refused(_) => encode(response).len(),
    }
}
