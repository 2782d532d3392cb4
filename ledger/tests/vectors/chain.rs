//! Headers with their work, and one transaction of each type with its ids.

use ledger::{
    block::{Block, Header, HeaderBatch, HeaderCore, HeaderExt},
    codec::encode,
    hash::{BlockHash, CommitHash, Hash, PolicyHash, to_hex},
    key::sighash,
    params::Network,
    pow::{Algorithm, Scratch, pow_value},
    price::{Prices, required_work},
    record::{Record, Records},
    rules::transaction::AnchorBlock,
    testing::{Maker, build::BASE_PRICES, key, name, owner, policy, records},
    transaction::{Body, RevokeMode, Transaction, share_commit},
};

use crate::Vectors;

/// A header with another byte in each field.
fn header(fill: u8) -> Header {
    let ext = HeaderExt {
        tx_root: Hash([fill + 1; 32]),
        witness_root: Hash([fill + 2; 32]),
        state_root: Hash([fill + 3; 32]),
        history_root: Hash([fill + 4; 32]),
        weight: 0x0102_0304,
        commit_count: 0x0506_0708,
        price_bytes: 0x090a_0b0c,
        price_commit: 0x0d0e_0f10,
        name_count: 0x1112_1314_1516_1718,
    };
    let core = HeaderCore {
        version: 0x0100_0001,
        height: 0x2122_2324,
        time: 0x3132_3334_3536_3738,
        vtime: 0x4142_4344,
        bits: 0x1e40_0000,
        prev: BlockHash([fill + 5; 32]),
        ext_root: ext.root(),
        share_commit: Hash([fill + 6; 32]),
        nonce: 0x5152_5354_5556_5758,
    };
    Header { core, ext }
}

pub fn headers() -> Vectors {
    let mut v = Vectors::default();
    let chain_id = Hash([9; 32]);
    // One scratch for all: what an evaluation leaves behind must not change the next.
    let mut scratch = Scratch::default();
    for fill in [0xa0, 0xb0, 0xc0] {
        let header = header(fill);
        v.title(&format!("header {fill:02x}")).put("core", encode(&header.core)).put("ext", encode(&header.ext));
        v.put("wire", encode(&header)).put("hash", header.hash()).put("chain_id", chain_id);
        for (name, algorithm) in [("sha3", Algorithm::Sha3), ("argon2d", Algorithm::Argon2d)] {
            let value = pow_value(algorithm, &chain_id, &header.core, &mut scratch);
            v.put(&format!("pow {name}"), value.to_big_endian());
        }
    }
    let first = header(0xa0);
    let mut second = header(0xb0);
    second.core.prev = first.hash();
    v.title("batch").put("bytes", encode(&HeaderBatch(vec![first, second])));
    v
}

/// Shares of the local network, so that their work is real and cheap to find.
fn maker() -> Maker<'static> {
    let params = Network::Local.params();
    let anchor = AnchorBlock { hash: BlockHash([0x77; 32]), prices: BASE_PRICES };
    Maker { params, chain_id: params.chain_id(), height: 0x0001_0203, anchor }
}

fn bodies(maker: &Maker<'_>) -> Vec<Body> {
    let name = || name("alice");
    let (next, operator) = (owner(2), owner(3));
    vec![
        maker.commit_body(&name(), 1),
        maker.reveal_body(&name(), 1, records("hello")),
        Body::Update { name: name(), seq: 2, operator: Some(operator), records: None },
        Body::Update { name: name(), seq: 3, operator: None, records: Some(records("hello")) },
        Body::Update { name: name(), seq: 4, operator: Some(PolicyHash::ZERO), records: Some(Records::empty()) },
        Body::Transfer { name: name(), seq: 5, owner: next, operator },
        Body::Cancel { name: name(), seq: 6 },
        Body::Renew { name: name(), expires_at: 20_000 },
        Body::Revoke { name: name(), seq: 8, mode: RevokeMode::Burn },
        Body::Revoke { name: name(), seq: 9, mode: RevokeMode::Release },
        Body::Claim {
            name: name(),
            target: "alice.example".to_owned(),
            owner: owner(1),
            operator,
            records: records("hello"),
            proof: vec![1, 2, 3],
        },
        Body::Roll { proof: vec![4, 5, 6] },
    ]
}

pub fn transactions() -> Vectors {
    let mut v = Vectors::default();
    let maker = maker();
    let transactions: Vec<Transaction> = bodies(&maker).into_iter().map(|body| made(&maker, body)).collect();
    for (number, tx) in transactions.iter().enumerate() {
        let txid = tx.txid();
        let anchor = &maker.anchor_of(tx.body()).1;
        v.title(&format!("{number} {}", tx.body().type_name())).put("chain_id", maker.chain_id);
        v.put("anchor_hash", anchor).put("bytes", encode(tx)).put("body", tx.body().to_bytes());
        v.put("txid", txid).put("wtxid", tx.wtxid());
        v.put("share_commit", share_commit(&maker.chain_id, anchor, &txid));
        v.put("sighash", sighash(&maker.chain_id, anchor, &txid));
        let work = required_work(maker.params, tx.body(), Prices { bytes: 300, commit: 700 });
        v.text("work at 300 and 700", work.unwrap_or_default());
    }
    let block = Block { header: header(0xd0), transactions };
    v.title("block").put("bytes", encode(&block));
    v
}

/// Work required on main, where `P_COMMIT` and `P_OP` differ: `TYPE body price_bytes price_commit = evaluations`.
pub fn work() -> Vectors {
    let mut v = Vectors::default();
    v.title("main");
    let prices = [(256, 256), (257, 300), (300, 1_024), (4_096, 1_025), (1_000, 16_384)];
    for (body, (bytes, commit)) in priced_bodies().iter().flat_map(|body| prices.map(|prices| (body, prices))) {
        let needed = required_work(Network::Main.params(), body, Prices { bytes, commit }).unwrap_or_default();
        v.text(&format!("{} {} {bytes} {commit}", body.type_name(), to_hex(&body.to_bytes())), needed);
    }
    v
}

/// One body of each type, commits of each class, renewals of each length, and updates around 256 bytes.
fn priced_bodies() -> Vec<Body> {
    let commit = |class| Body::Commit { class, commit_hash: CommitHash([7; 32]) };
    let renewal = |text: &str| Body::Renew { name: name(text), expires_at: 9 };
    let update = |text: usize| Body::Update {
        name: name("n"),
        seq: 2,
        operator: None,
        records: Some(Records::new(vec![Record { sub: vec![], rtype: 16, ttl: 60, rdata: vec![0; text] }]).unwrap()),
    };
    let room = 256 - update(0).to_bytes().len();
    let mut all = bodies(&maker());
    all.extend([0, 1, 2, 4, 6, 8, 10].map(commit));
    let names = ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh", "xn--a", "xn--abcdefgh"];
    all.extend(names.map(renewal));
    all.extend([update(room), update(room + 1)]);
    all
}

/// Complete, with two evaluations' worth of work at least.
fn made(maker: &Maker<'_>, body: Body) -> Transaction {
    let share = body.needs_work().then(|| maker.work(&body, 2));
    let witness = body.needs_signature().then(|| maker.sign(&body, policy(1), &[&key(1)]));
    maker.assemble(body, share, witness)
}
