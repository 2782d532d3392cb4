//! Proptest strategies for everything that has bytes. All values are structurally right and nothing more: signatures
//! are random, work is missing, heights do not fit together.

use proptest::{array::uniform32, collection::vec, option, prelude::*, sample::select};

use crate::{
    block::{Block, Header, HeaderBatch, HeaderCore, HeaderExt},
    hash::{BlockHash, CommitHash, Hash, Key, PolicyHash},
    key::{Policy, PublicKey, Signature, Witness},
    name::Name,
    record::{MAX_RECORDS_BYTES, MAX_TTL, MIN_TTL, PRIVATE_TYPES, RECORD_TYPES, Record, Records},
    state::{Claim, CommitState, Leaf, NameState, Pending, PendingKind, undo::Undo},
    transaction::{Anchor, Body, RevokeMode, Share, Transaction},
};

/// Any 32-byte newtype.
pub fn any_hash<T: From<[u8; 32]> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    uniform32(any::<u8>()).prop_map(T::from)
}

/// A well-spelled name; short ones are as likely as long ones.
pub fn any_name() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|[a-z0-9]{1,4}|xn--[a-z0-9]{1,20}"
        .prop_filter_map("not a name", |text| Name::new(&text).ok())
}

/// One record of any allowed type.
pub fn any_record() -> impl Strategy<Value = Record> {
    let sub = prop_oneof![Just(vec![]), Just(b"\x03www".to_vec()), Just(b"\x01*".to_vec()), labels()];
    let rtype = prop_oneof![4 => select(&RECORD_TYPES[..]).prop_map(|(_, number)| number), 1 => PRIVATE_TYPES];
    (sub, rtype, MIN_TTL..=MAX_TTL, vec(any::<u8>(), 0..80)).prop_map(|(sub, rtype, ttl, mut rdata)| {
        match rtype {
            1 => rdata.resize(4, 0),
            28 => rdata.resize(16, 0),
            _ => {}
        }
        Record { sub, rtype, ttl, rdata }
    })
}

fn labels() -> impl Strategy<Value = Vec<u8>> {
    vec("[a-z0-9_]{1,9}", 1..5)
        .prop_map(|labels| labels.iter().flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect())
}

/// A canonical record set.
pub fn any_records() -> impl Strategy<Value = Records> {
    vec(any_record(), 0..8).prop_map(|mut records| {
        records.sort_by(|a, b| (&a.sub, a.rtype, &a.rdata).cmp(&(&b.sub, b.rtype, &b.rdata)));
        records.dedup_by(|a, b| (&a.sub, a.rtype, &a.rdata) == (&b.sub, b.rtype, &b.rdata));
        while 1 + records.iter().map(|r| 9 + r.sub.len() + r.rdata.len()).sum::<usize>() > MAX_RECORDS_BYTES {
            records.pop();
        }
        Records::new(records).expect("sorted, unique and short")
    })
}

/// A policy of one to eight keys that are not on the curve.
pub fn any_policy() -> impl Strategy<Value = Policy> {
    vec((2u8..=3, uniform32(any::<u8>())), 1..=8).prop_flat_map(|keys| {
        let keys: Vec<PublicKey> = keys
            .into_iter()
            .map(|(parity, x)| {
                let mut bytes = [parity; 33];
                bytes[1..].copy_from_slice(&x);
                PublicKey::from_bytes(bytes).expect("begins with 02 or 03")
            })
            .collect();
        let most = keys.len() as u8;
        (1..=most).prop_map(move |threshold| Policy::new(threshold, keys.clone()).expect("random keys differ"))
    })
}

/// A witness with random signatures.
pub fn any_witness() -> impl Strategy<Value = Witness> {
    any_policy().prop_flat_map(|policy| {
        let (m, n) = (usize::from(policy.threshold()), policy.keys().len() as u8);
        let indices = proptest::sample::subsequence((0..n).collect::<Vec<_>>(), m);
        let signatures = vec((uniform32(any::<u8>()), uniform32(any::<u8>())), m);
        (Just(policy), indices, signatures).prop_map(|(policy, indices, signatures)| {
            let signatures = indices.into_iter().zip(signatures).map(|(index, (r, s))| {
                let mut bytes = [0; 64];
                bytes[..32].copy_from_slice(&r);
                bytes[32..].copy_from_slice(&s);
                (index, Signature(bytes))
            });
            Witness::new(policy, signatures.collect()).expect("m ascending indices below n")
        })
    })
}

/// A body of any type, CLAIM and ROLL included.
pub fn any_body() -> impl Strategy<Value = Body> {
    let owner = || any_hash::<PolicyHash>();
    let update = (any_name(), any::<u64>(), option::of(owner()), option::of(any_records()))
        .prop_filter("an update changes something", |(_, _, operator, records)| {
            operator.is_some() || records.is_some()
        });
    prop_oneof![
        (any::<u8>(), any_hash::<CommitHash>()).prop_map(|(class, commit_hash)| Body::Commit { class, commit_hash }),
        (any::<u8>(), any_name(), any::<[u8; 16]>(), owner(), owner(), any_records()).prop_map(
            |(class, name, salt, owner, operator, records)| Body::Reveal {
                class,
                name,
                salt,
                owner,
                operator,
                records
            }
        ),
        update.prop_map(|(name, seq, operator, records)| Body::Update { name, seq, operator, records }),
        (any_name(), any::<u64>(), owner(), owner()).prop_map(|(name, seq, owner, operator)| Body::Transfer {
            name,
            seq,
            owner,
            operator
        }),
        (any_name(), any::<u64>()).prop_map(|(name, seq)| Body::Cancel { name, seq }),
        (any_name(), any::<u32>()).prop_map(|(name, expires_at)| Body::Renew { name, expires_at }),
        vec(any::<u8>(), 0..300).prop_map(|proof| Body::Roll { proof }),
        (any_name(), any::<u64>(), select(vec![RevokeMode::Burn, RevokeMode::Release]))
            .prop_map(|(name, seq, mode)| Body::Revoke { name, seq, mode }),
        (any_name(), "[a-z.]{0,40}", owner(), owner(), any_records(), vec(any::<u8>(), 0..300)).prop_map(
            |(name, target, owner, operator, records, proof)| Body::Claim {
                name,
                target,
                owner,
                operator,
                records,
                proof
            }
        ),
    ]
}

/// A share of random fields.
pub fn any_share() -> impl Strategy<Value = Share> {
    any_core().prop_map(|core| Share::of(&core))
}

/// A transaction of any type.
pub fn any_transaction() -> impl Strategy<Value = Transaction> {
    (any_body(), any::<u32>(), any::<[u8; 8]>(), any_share(), any_witness()).prop_map(
        |(body, height, tag, share, witness)| {
            let share = body.needs_work().then_some(share);
            let witness = body.needs_signature().then_some(witness);
            Transaction::new(Anchor { height, tag }, body, share, witness).expect("parts as the type needs them")
        },
    )
}

fn any_core() -> impl Strategy<Value = HeaderCore> {
    let small = (any::<u32>(), any::<u32>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>());
    (small, any_hash::<BlockHash>(), any_hash::<Hash>(), any_hash::<Hash>()).prop_map(
        |((version, height, time, vtime, bits, nonce), prev, ext_root, share_commit)| HeaderCore {
            version,
            height,
            time,
            vtime,
            bits,
            prev,
            ext_root,
            share_commit,
            nonce,
        },
    )
}

fn any_ext() -> impl Strategy<Value = HeaderExt> {
    let roots = (any_hash::<Hash>(), any_hash::<Hash>(), any_hash::<Hash>(), any_hash::<Hash>());
    (roots, any::<[u32; 4]>(), any::<u64>()).prop_map(|(roots, numbers, name_count)| HeaderExt {
        tx_root: roots.0,
        witness_root: roots.1,
        state_root: roots.2,
        history_root: roots.3,
        weight: numbers[0],
        commit_count: numbers[1],
        price_bytes: numbers[2],
        price_commit: numbers[3],
        name_count,
    })
}

/// A header of random fields whose core commits to its extension.
pub fn any_header() -> impl Strategy<Value = Header> {
    (any_core(), any_ext()).prop_map(|(core, ext)| Header { core: HeaderCore { ext_root: ext.root(), ..core }, ext })
}

/// Headers each of which names the one before it as its parent.
pub fn any_header_batch() -> impl Strategy<Value = HeaderBatch> {
    vec(any_header(), 0..6).prop_map(|mut headers| {
        for index in 1..headers.len() {
            headers[index].core.prev = headers[index - 1].hash();
        }
        HeaderBatch(headers)
    })
}

/// A block of up to six random transactions in random order.
pub fn any_block() -> impl Strategy<Value = Block> {
    (any_header(), vec(any_transaction(), 0..6)).prop_map(|(header, transactions)| Block { header, transactions })
}

/// The entry of a name, of random content.
pub fn any_name_state() -> impl Strategy<Value = NameState> {
    let owner = || any_hash::<PolicyHash>();
    let kind = select(vec![PendingKind::Transfer, PendingKind::Takeover, PendingKind::WeakTakeover]);
    let pending = (kind, owner(), owner(), any::<u32>()).prop_map(|(kind, owner, operator, at)| Pending {
        kind,
        owner,
        operator,
        at,
    });
    let claim = (any::<u32>(), any::<u32>()).prop_map(|(anchor, height)| Claim { anchor, height });
    let head = (any_name(), 0u8..16, any::<u64>(), any::<[u8; 16]>(), any::<[u32; 6]>());
    (head, owner(), owner(), option::of(pending), option::of(claim), any_records()).prop_map(
        |((name, flags, seq, tie, heights), owner, operator, pending, claim, records)| NameState {
            name,
            flags,
            seq,
            commit_height: heights[0],
            tie,
            registered: heights[1],
            active_from: heights[2],
            not_before: heights[3],
            expires_at: heights[4],
            last_update: heights[5],
            owner,
            operator,
            pending,
            claim,
            records,
        },
    )
}

/// An entry of either kind.
pub fn any_leaf() -> impl Strategy<Value = Leaf> {
    let commit = (any::<u8>(), any_hash::<CommitHash>(), any::<u32>(), any::<bool>())
        .prop_map(|(class, commit_hash, height, spent)| CommitState { class, commit_hash, height, spent });
    prop_oneof![any_name_state().prop_map(Leaf::Name), commit.prop_map(Leaf::Commit)]
}

/// Undo data of a few entries.
pub fn any_undo() -> impl Strategy<Value = Undo> {
    vec((any_hash::<Key>(), option::of(any_leaf())), 0..6).prop_map(Undo)
}
