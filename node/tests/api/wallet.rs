//! What a wallet does: reads the status, anchors, signs, and hands the rest to the node.

use ledger::{
    codec::encode,
    hash::{BlockHash, Hash, PolicyHash, to_hex},
    key::{Policy, SecretKey, Witness, sighash, to_address},
    params::{Network, Params},
    record::Records,
    testing::{key, records},
    transaction::{Anchor, Body, Share, Transaction, commit_hash, txid},
};
use node::api::{
    client::Client,
    types::{CommitRequest, NewOperation},
};

/// One key.
pub struct Wallet {
    secret: SecretKey,
    params: &'static Params,
}

impl Wallet {
    pub fn new(seed: u64) -> Self {
        Self { secret: key(seed), params: Network::Local.params() }
    }

    pub fn address(&self) -> String {
        to_address(self.params, &self.owner())
    }

    /// A request to register `name` with one TXT record.
    pub async fn register(&self, client: &Client, name: &str, text: &str) -> NewOperation {
        let (chain_id, name) = (self.params.chain_id(), ledger::testing::name(name));
        let salt = self.secret.commit_salt(&chain_id, 0, &name);
        let class = name.price_class();
        let body = Body::Reveal {
            class,
            name: name.clone(),
            salt,
            owner: self.owner(),
            operator: PolicyHash::ZERO,
            records: records(text),
        };
        let (height, _) = self.anchor(client).await;
        let reveal = self.sign(0, &self.params.genesis_hash(), body);
        let commit_hash = commit_hash(&chain_id, &salt, &self.owner(), &name).to_string();
        let commit = CommitRequest { class, commit_hash, anchor_height: height };
        NewOperation::Register { name: name.to_string(), commit, reveal_hex: to_hex(&encode(&reveal)) }
    }

    /// A request to replace the records of `name`.
    pub async fn update(&self, client: &Client, name: &str, seq: u64, text: &str) -> NewOperation {
        let records: Records = records(text);
        let body = Body::Update { name: ledger::testing::name(name), seq, operator: None, records: Some(records) };
        let (height, hash) = self.anchor(client).await;
        NewOperation::Change { transaction_hex: to_hex(&encode(&self.sign(height, &hash, body))) }
    }

    fn owner(&self) -> PolicyHash {
        Policy::single(self.secret.public()).hash()
    }

    async fn anchor(&self, client: &Client) -> (u32, BlockHash) {
        let status = client.status().await.expect("an answer");
        let depth = (status.params.anchor_depth as usize).min(status.recent.len() - 1);
        let block = &status.recent[depth];
        (block.height, block.hash.parse().expect("a hash"))
    }

    /// Signs; the share, where one is needed, is left to the node.
    fn sign(&self, height: u32, anchor: &BlockHash, body: Body) -> Transaction {
        let digest = sighash(&self.params.chain_id(), anchor, &txid(height, &body));
        let witness = Witness::sign(Policy::single(self.secret.public()), &[&self.secret], &digest);
        let nothing = Share {
            version: 0,
            height: 0,
            time: 0,
            vtime: 0,
            bits: 0,
            prev: BlockHash::ZERO,
            ext_root: Hash::ZERO,
            nonce: 0,
        };
        let share = body.needs_work().then_some(nothing);
        Transaction::new(Anchor::to_block(height, anchor), body, share, witness).expect("complete")
    }
}
