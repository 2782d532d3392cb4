//! Entries, the tree over them with its proofs, undo data, and the header history.

use ledger::{
    codec::encode,
    hash::{BlockHash, CommitHash, Key, PolicyHash},
    history::{Leaf as HistoryLeaf, Peaks},
    record::Records,
    state::{
        Claim, CommitState, Leaf, NameState, Pending, PendingKind,
        tree::{MemoryPages, PathEnd, leaf_hash, prove, value_hash},
        undo::Undo,
    },
    testing::{name, records},
};

use crate::Vectors;

fn name_state(text: &str) -> NameState {
    NameState {
        name: name(text),
        flags: 0,
        seq: 0x0102_0304_0506_0708,
        commit_height: 0x1112_1314,
        tie: [0x15; 16],
        registered: 0x2122_2324,
        active_from: 0x3132_3334,
        not_before: 0x4142_4344,
        expires_at: 0x5152_5354,
        last_update: 0x6162_6364,
        owner: PolicyHash([0x71; 32]),
        operator: PolicyHash([0x72; 32]),
        pending: None,
        claim: None,
        records: records("hello"),
    }
}

/// Entries in every form.
fn leaves() -> Vec<(&'static str, Leaf)> {
    let plain = name_state("alice");
    let pending =
        |kind| Some(Pending { kind, owner: PolicyHash([0x81; 32]), operator: PolicyHash::ZERO, at: 0x8283_8485 });
    let claim = Some(Claim { anchor: 0xa1a2_a3a4, height: 0xb1b2_b3b4 });
    let moving = NameState { pending: pending(PendingKind::Transfer), ..name_state("moving") };
    let claimed = NameState { flags: 6, claim, records: Records::empty(), ..name_state("claimed") };
    let taken = NameState { flags: 2, pending: pending(PendingKind::Takeover), claim, ..name_state("taken") };
    let everything =
        NameState { flags: 15, pending: pending(PendingKind::WeakTakeover), claim, ..name_state("everything") };
    let commit = CommitState { class: 4, commit_hash: CommitHash([0xc1; 32]), height: 0xd1d2_d3d4, spent: false };
    vec![
        ("name", Leaf::Name(plain)),
        ("name with a transfer", Leaf::Name(moving)),
        ("name with a claim", Leaf::Name(claimed)),
        ("name with a takeover", Leaf::Name(taken)),
        ("name with everything", Leaf::Name(everything)),
        ("commit", Leaf::Commit(commit)),
        ("spent commit", Leaf::Commit(CommitState { class: 10, spent: true, ..commit })),
    ]
}

pub fn vectors() -> Vectors {
    let mut v = Vectors::default();
    let mut pages = MemoryPages::new();
    for (title, leaf) in leaves() {
        let (bytes, key) = (encode(&leaf), leaf.key());
        let value = value_hash(&bytes);
        let root = pages.change(&[(key, Some(value))]).unwrap();
        v.title(title).put("bytes", &bytes).put("key", key).put("val", value).put("leaf", leaf_hash(&key, &value));
        v.put("root with those above", root);
    }
    let present = leaves().remove(0).1;
    // Company enough that some path ends at nothing.
    let mut company: Vec<_> = (0..64).map(|n| (name(&format!("m{n}")).key(), Some(value_hash(&[n])))).collect();
    company.sort();
    pages.change(&company).unwrap();
    let path_ends = |key: &Key, end: PathEnd| prove(&pages, pages.root(), key).unwrap().end == end;
    let into_nothing =
        (0..9_999).map(|n| name(&format!("n{n}")).key()).find(|key| path_ends(key, PathEnd::Empty)).unwrap();
    let absent = [name("nobody").key(), into_nothing, Key([0; 32]), Key([0xff; 32])];
    let proof = |key: &Key, value: Option<&[u8]>| {
        prove(&pages, pages.root(), key).unwrap().into_proof(value).unwrap().to_bytes()
    };
    v.title("proofs").put("root", pages.root());
    v.put(&format!("of {}", present.key()), proof(&present.key(), Some(&encode(&present))));
    for key in absent {
        v.put(&format!("of {key}"), proof(&key, None));
    }
    let undo = Undo(vec![(present.key(), Some(present.clone())), (name("bob").key(), None)]);
    v.title("undo").put("bytes", encode(&undo));
    v
}

pub fn history() -> Vectors {
    let mut v = Vectors::default();
    let mut peaks = Peaks::default();
    v.title("roots").put("of 0", peaks.root().unwrap());
    for height in 0..9u32 {
        let leaf = HistoryLeaf {
            block_hash: BlockHash([height as u8; 32]),
            height,
            time: 1_000 + u64::from(height),
            vtime: 120 * height,
            bits: 0x1e40_0000 + height,
            work: 1 << (20 + height),
        };
        peaks.append(&leaf).unwrap();
        v.put(&format!("of {}", height + 1), peaks.root().unwrap());
    }
    v.put("peaks of 9", peaks.to_bytes());
    v
}
