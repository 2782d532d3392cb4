//! Tagged hashes, keys, policies, addresses, names, commits; and the networks' genesis.

use ledger::{
    codec::encode,
    hash::{Hash, Tag, hash},
    key::{Policy, Witness, to_address},
    params::Network,
    state::commit_key,
    testing::{key, name, records_of, txt},
    transaction::commit_hash,
};

use crate::Vectors;

const TAGS: [(&str, Tag); 29] = [
    ("hdr", Tag::Header),
    ("ext", Tag::Extension),
    ("pow-in", Tag::PowIn),
    ("pow-out", Tag::PowOut),
    ("chain", Tag::Chain),
    ("txid", Tag::TxId),
    ("wtx", Tag::WitnessTxId),
    ("share", Tag::Share),
    ("sig", Tag::Signature),
    ("policy", Tag::Policy),
    ("commit", Tag::Commit),
    ("tie", Tag::Tie),
    ("key", Tag::Key),
    ("leaf", Tag::Leaf),
    ("val", Tag::Value),
    ("node", Tag::Node),
    ("txl", Tag::TxLeaf),
    ("txn", Tag::TxNode),
    ("mmr-leaf", Tag::MmrLeaf),
    ("mmr-node", Tag::MmrNode),
    ("mmr-root", Tag::MmrRoot),
    ("gid", Tag::GossipId),
    ("sid", Tag::ShortId),
    ("salt", Tag::Salt),
    ("claim", Tag::Claim),
    ("params", Tag::Params),
    ("fly", Tag::FlyClient),
    ("file", Tag::ProofFile),
    ("pick", Tag::Pick),
];

const NETWORKS: [Network; 3] = [Network::Main, Network::Test, Network::Local];

pub fn vectors() -> Vectors {
    let mut v = Vectors::default();
    let message: Vec<u8> = (0..=200).collect();
    v.title("tags").put("message", &message);
    for (text, tag) in TAGS {
        v.put(&format!("{text} of nothing"), hash(tag, &[]));
        v.put(&format!("{text} of message"), hash(tag, &[&message]));
    }
    v.title("merkle");
    for count in 0..8u8 {
        v.put(&format!("root of {count}"), ledger::merkle::root((0..count).map(|n| [n; 32])));
    }
    policies(&mut v);
    commits(&mut v);
    let mut www = txt("");
    (www.sub, www.rtype, www.rdata) = (b"\x03www".to_vec(), 1, vec![192, 0, 2, 1]);
    let records = records_of(vec![www, txt("hello"), txt("again")]);
    v.title("records").put("bytes", records.to_bytes());
    v
}

fn policies(v: &mut Vectors) {
    let secrets = [key(1), key(2), key(3)];
    let digest = hash(Tag::Signature, &[b"digest"]);
    for (threshold, count) in [(1u8, 1usize), (2, 3)] {
        let keys = secrets[..count].iter().map(|secret| secret.public()).collect();
        let policy = Policy::new(threshold, keys).unwrap();
        let witness = Witness::sign(policy.clone(), &secrets.iter().collect::<Vec<_>>(), &digest).unwrap();
        v.title(&format!("policy {threshold} of {count}")).put("policy", encode(&policy)).put("hash", policy.hash());
        for network in NETWORKS {
            v.text(&format!("address {network}"), to_address(network.params(), &policy.hash()));
        }
        v.put("digest", digest).put("witness", encode(&witness));
    }
}

fn commits(v: &mut Vectors) {
    let chain = Hash([3; 32]);
    for (text, seed, attempt) in [("alice", 1, 0), ("xn--bcher-kva", 2, 0x0102_0304)] {
        let (name, secret) = (name(text), key(seed));
        let owner = Policy::single(secret.public()).hash();
        let salt = secret.commit_salt(&chain, attempt, &name);
        let commit = commit_hash(&chain, &salt, &owner, &name);
        v.title(&format!("commit to {text}")).put("chain_id", chain).put("name", encode(&name));
        v.put("secret", &secret.to_bytes()[..])
            .text("attempt", attempt)
            .put("salt", salt)
            .put("owner", owner)
            .put("commit_hash", commit);
        let class = name.price_class();
        v.text("class", class).put("name key", name.key()).put("commit key", commit_key(class, &commit));
    }
}

pub fn networks() -> Vectors {
    let mut v = Vectors::default();
    for network in NETWORKS {
        let params = network.params();
        let genesis = params.genesis();
        v.title(network.as_str()).put("params", encode(params));
        v.put("genesis core", encode(&genesis.core)).put("genesis ext", encode(&genesis.ext));
        v.put("genesis hash", params.genesis_hash()).put("chain_id", params.chain_id());
    }
    v
}
