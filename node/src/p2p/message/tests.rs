//! Messages survive the wire, and nothing else does.

use ledger::{
    codec::{decode, encode},
    history::Leaf,
    params::Network,
};
use rand::{Rng, SeedableRng};

use super::*;

fn requests() -> Vec<Request> {
    let status =
        Status { chain_id: Hash([1; 32]), height: 7, hash: BlockHash([2; 32]), work: 1 << 90, time: 9, lowest_body: 3 };
    vec![
        Request::Status(status),
        Request::Headers { locator: vec![BlockHash([3; 32]); MAX_LOCATOR], max: 2_000 },
        Request::Bodies(vec![BlockHash([4; 32]); MAX_BODIES]),
        Request::Transactions(vec![WitnessTxId([5; 32]); MAX_TRANSACTIONS]),
        Request::Proof { key: Key([6; 32]), at: None },
        Request::Proof { key: Key([6; 32]), at: Some(BlockHash([7; 32])) },
        Request::Addresses,
        Request::Start(BlockHash([8; 32])),
        Request::Parts { block: BlockHash([9; 32]), indexes: (1_000..).take(MAX_MISSING).collect() },
    ]
}

fn responses() -> Vec<Response> {
    let headers = HeaderBatch(vec![Network::Local.params().genesis()]);
    vec![
        Response::Headers(headers.clone()),
        Response::Bodies(vec![Some(vec![1; 300]), None]),
        Response::Transactions(vec![vec![2; 90]]),
        Response::Proof(None),
        Response::Proof(Some(ProofAnswer { headers, proof: vec![3; 1_000] })),
        Response::Addresses(vec![vec![4; 40]]),
        Response::Start(None),
        Response::Start(Some(Box::new(StartAnswer { header: Network::Local.params().genesis(), peaks: peaks() }))),
        Response::Parts(None),
        Response::Parts(Some(vec![vec![5; 90], vec![6; 200]])),
        Response::Refused(Refusal::Busy),
        Response::Refused(Refusal::Unsupported),
    ]
}

fn peaks() -> Peaks {
    let leaf = |height| Leaf { block_hash: BlockHash([9; 32]), height, time: 1, vtime: 2, bits: 3, work: 4 };
    let mut peaks = Peaks::new();
    (0..11).for_each(|height| drop(peaks.append(&leaf(height)).expect("in turn")));
    peaks
}

#[test]
fn messages_survive_the_wire() {
    for request in requests() {
        assert_eq!(decode(&encode(&request)), Ok(request));
    }
    for response in responses() {
        assert_eq!(decode(&encode(&response)), Ok(response));
    }
}

#[test]
fn every_cut_is_noticed() {
    for bytes in requests().iter().map(encode) {
        (0..bytes.len()).for_each(|cut| assert!(decode::<Request>(&bytes[..cut]).is_err()));
    }
    for bytes in responses().iter().map(encode) {
        (0..bytes.len()).for_each(|cut| assert!(decode::<Response>(&bytes[..cut]).is_err()));
    }
}

/// Random damage: never a panic, and whatever still decodes is spelled canonically.
#[test]
fn damaged_messages_are_refused_or_canonical() {
    let mut rng = rand::rngs::StdRng::seed_from_u64(5);
    let originals: Vec<_> = responses().iter().map(encode).chain(requests().iter().map(encode)).collect();
    for round in 0..20_000 {
        let mut bytes = originals[round % originals.len()].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        bytes.truncate(rng.random_range(1..=bytes.len()));
        if let Ok(request) = decode::<Request>(&bytes) {
            assert_eq!(encode(&request), bytes);
        }
        if let Ok(response) = decode::<Response>(&bytes) {
            assert_eq!(encode(&response), bytes);
        }
    }
}

#[test]
fn lists_above_their_maximum_are_refused() {
    let many = vec![BlockHash::ZERO; MAX_BODIES + 1];
    assert!(decode::<Request>(&encode(&Request::Bodies(many))).is_err());
    let locator = vec![BlockHash::ZERO; MAX_LOCATOR + 1];
    assert!(decode::<Request>(&encode(&Request::Headers { locator, max: 1 })).is_err());
    let parts = |indexes| decode::<Request>(&encode(&Request::Parts { block: BlockHash::ZERO, indexes }));
    for wrong in [vec![], vec![3, 3], vec![4, 3], (0..=MAX_MISSING as u16).collect()] {
        assert!(parts(wrong).is_err());
    }
    assert!(parts(vec![0, u16::MAX]).is_ok());
}
