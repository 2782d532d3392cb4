//! Which commit stands for a registration (protocol §4.3).
//!
//! The salt of a commit derives from the owner key, the name and an *attempt*: the number of the span of COMMIT_TTL
//! blocks in which it was signed, one more while that commit stands spent. So nothing has to be remembered: a wallet
//! that was restored from its words, or a second device, tries the newest 64 values and finds what is under way.

use ledger::{
    hash::{CommitHash, Hash, PolicyHash},
    key::{Policy, SecretKey},
    name::Name,
    params::Network,
    transaction::commit_hash,
};

use super::{
    seed::Role,
    wallet::{GAP_LIMIT, Wallet},
};

/// How many attempts are tried.
pub const NEWEST_ATTEMPTS: u32 = 64;
/// Commits asked about at once: as many as a node answers.
const BATCH: usize = 512;

/// A commit that a wallet may have made, or could make now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Index of the owner key.
    pub index: u32,
    /// The attempt.
    pub number: u32,
    /// The salt.
    pub salt: [u8; 16],
    /// The owner.
    pub owner: PolicyHash,
    /// The commit.
    pub commit_hash: CommitHash,
}

/// How a commit stands on the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It can be revealed.
    Unspent,
    /// It was revealed.
    Spent,
    /// It was made before the name was free, or dies too soon: published again by a stranger, or forgotten.
    Useless,
}

/// Makes a wallet's attempts to register a name.
#[derive(Clone, Copy)]
pub struct Attempts<'a> {
    /// The wallet.
    pub wallet: &'a Wallet,
    /// The network.
    pub network: Network,
    /// The name.
    pub name: &'a Name,
    /// Height of the tip.
    pub height: u32,
}

impl Attempts<'_> {
    /// The registration that is under way: of the commits that stand unspent, the newest. `standing` says of each
    /// commit how it stands. Asks for the key made for the name, or if there is none for every key that may be in use.
    pub fn under_way<E>(
        &self,
        mut standing: impl FnMut(&[CommitHash]) -> Result<Vec<Option<Standing>>, E>,
    ) -> Result<Option<Attempt>, E> {
        let indices = match self.wallet.owner_index_of(self.network, self.name) {
            Some(index) => index..index + 1,
            None => 0..self.wallet.next_index(self.network, Role::Owner).saturating_add(GAP_LIMIT),
        };
        // One more than the span's own number: that commit may have been spent when this was signed.
        let newest = self.span().saturating_add(1);
        let oldest = newest.saturating_sub(NEWEST_ATTEMPTS);
        let mut asked = Vec::with_capacity(BATCH);
        let mut found: Option<Attempt> = None;
        for index in indices {
            let (secret, chain_id) = self.key(index);
            asked.extend((oldest..=newest).map(|number| self.attempt(&secret, &chain_id, index, number)));
            if asked.len() + NEWEST_ATTEMPTS as usize >= BATCH {
                newest_unspent(&mut asked, &mut standing, &mut found)?;
            }
        }
        newest_unspent(&mut asked, &mut standing, &mut found)?;
        Ok(found)
    }

    /// The attempt to make now with the key at `index`: the span's own, or the next one whose commit does not stand in
    /// vain.
    pub fn fresh<E>(
        &self,
        index: u32,
        mut standing: impl FnMut(&[CommitHash]) -> Result<Vec<Option<Standing>>, E>,
    ) -> Result<Attempt, E> {
        let (secret, chain_id) = self.key(index);
        let mut number = self.span();
        loop {
            let attempt = self.attempt(&secret, &chain_id, index, number);
            let stands = standing(&[attempt.commit_hash])?.first().copied().flatten();
            let is_taken = matches!(stands, Some(Standing::Spent | Standing::Useless));
            // A commit costs the full price, so this loop is as long as somebody has paid for.
            if !is_taken || number == u32::MAX {
                return Ok(attempt);
            }
            number += 1;
        }
    }

    fn span(&self) -> u32 {
        self.height / self.network.params().commit_ttl
    }

    fn key(&self, index: u32) -> (SecretKey, Hash) {
        (self.wallet.secret_key(self.network, Role::Owner, index), self.network.params().chain_id())
    }

    fn attempt(&self, secret: &SecretKey, chain_id: &Hash, index: u32, number: u32) -> Attempt {
        let owner = Policy::single(secret.public()).hash();
        let salt = secret.commit_salt(chain_id, number, self.name);
        let commit_hash = commit_hash(chain_id, &salt, &owner, self.name);
        Attempt { index, number, salt, owner, commit_hash }
    }
}

/// Asks about `asked`, empties it, and keeps the newest that stands unspent.
fn newest_unspent<E>(
    asked: &mut Vec<Attempt>,
    standing: &mut impl FnMut(&[CommitHash]) -> Result<Vec<Option<Standing>>, E>,
    found: &mut Option<Attempt>,
) -> Result<(), E> {
    if asked.is_empty() {
        return Ok(());
    }
    let hashes: Vec<CommitHash> = asked.iter().map(|attempt| attempt.commit_hash).collect();
    let answers = standing(&hashes)?;
    for (attempt, answer) in asked.drain(..).zip(answers) {
        let is_newer = found.as_ref().is_none_or(|found| attempt.number > found.number);
        if answer == Some(Standing::Unspent) && is_newer {
            *found = Some(attempt);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, convert::Infallible};

    use super::*;
    use crate::keys::Seed;

    const NETWORK: Network = Network::Local;

    fn wallet() -> Wallet {
        Wallet::new(Seed::from_entropy(&[9; 16]).expect("length"))
    }

    fn name(text: &str) -> Name {
        Name::new(text).expect("valid")
    }

    fn attempts<'a>(wallet: &'a Wallet, name: &'a Name, height: u32) -> Attempts<'a> {
        Attempts { wallet, network: NETWORK, name, height }
    }

    type Chain = HashMap<CommitHash, Standing>;

    fn asking(chain: &Chain) -> impl FnMut(&[CommitHash]) -> Result<Vec<Option<Standing>>, Infallible> {
        |hashes| {
            assert!(hashes.len() <= BATCH);
            Ok(hashes.iter().map(|hash| chain.get(hash).copied()).collect())
        }
    }

    /// What a wallet does that knows its keys: hands out an index and commits.
    fn commit(wallet: &mut Wallet, chain: &mut Chain, text: &str, height: u32) -> Attempt {
        let name = name(text);
        let index = wallet.index_for(NETWORK, &name).expect("room");
        let Ok(attempt) = attempts(wallet, &name, height).fresh(index, asking(chain));
        chain.insert(attempt.commit_hash, Standing::Unspent);
        attempt
    }

    #[test]
    fn a_restored_wallet_finds_each_of_several_unfinished_registrations() {
        let (mut before, mut chain) = (wallet(), Chain::new());
        let ttl = NETWORK.params().commit_ttl;
        let names = ["alice", "bob", "carol", "dave"];
        let made: Vec<Attempt> =
            (0..).zip(names).map(|(n, text)| commit(&mut before, &mut chain, text, n * ttl)).collect();
        let restored = wallet();
        // In any order, and with others of the same words in between.
        for (text, made) in names.iter().zip(&made).rev() {
            let Ok(found) = attempts(&restored, &name(text), 5 * ttl).under_way(asking(&chain));
            assert_eq!(found.as_ref(), Some(made), "{text}");
        }
        let Ok(none) = attempts(&restored, &name("erin"), 5 * ttl).under_way(asking(&chain));
        assert_eq!(none, None);
    }

    #[test]
    fn the_newest_64_spans_are_tried_and_the_next_one() {
        let (mut before, ttl) = (wallet(), NETWORK.params().commit_ttl);
        let mut chain = Chain::new();
        let made = commit(&mut before, &mut chain, "alice", 100 * ttl);
        for (height, is_found) in [(100 * ttl, true), (163 * ttl - 1, true), (164 * ttl, false), (99 * ttl, true)] {
            let Ok(found) = attempts(&wallet(), &name("alice"), height).under_way(asking(&chain));
            assert_eq!(found.is_some(), is_found, "span {}", height / ttl);
        }
        assert_eq!(made.number, 100);
    }

    /// After a REVEAL the old commit hash is public: whoever pays for it again must not block its former owner.
    #[test]
    fn a_commit_that_stands_spent_is_passed_over() {
        let (mut wallet, mut chain) = (wallet(), Chain::new());
        let first = commit(&mut wallet, &mut chain, "alice", 1);
        chain.insert(first.commit_hash, Standing::Spent);
        let second = commit(&mut wallet, &mut chain, "alice", 1);
        assert_eq!((first.number, second.number), (0, 1));
        assert_ne!(first.commit_hash, second.commit_hash);
        let later = commit(&mut wallet, &mut chain, "alice", 7 * NETWORK.params().commit_ttl);
        assert_ne!(later.commit_hash, first.commit_hash, "the hash that is public is not used again");
    }

    /// One that was published again before the name was free, by whoever, is in the way of nothing.
    #[test]
    fn a_commit_that_can_win_nothing_is_passed_over() {
        let (mut wallet, mut chain) = (wallet(), Chain::new());
        let first = commit(&mut wallet, &mut chain, "alice", 1);
        chain.insert(first.commit_hash, Standing::Useless);
        let Ok(found) = attempts(&wallet, &name("alice"), 1).under_way(asking(&chain));
        assert_eq!(found, None);
        assert_eq!(commit(&mut wallet, &mut chain, "alice", 1).number, 1);
    }

    #[test]
    fn the_same_span_gives_the_same_commit_on_every_device() {
        let (mut one, mut other) = (wallet(), wallet());
        let (mut chain, mut elsewhere) = (Chain::new(), Chain::new());
        let ttl = NETWORK.params().commit_ttl;
        let a = commit(&mut one, &mut chain, "alice", 3 * ttl);
        let b = commit(&mut other, &mut elsewhere, "alice", 4 * ttl - 1);
        assert_eq!(a, b);
    }
}
