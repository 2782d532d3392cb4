//! Every constant of the protocol, with its reason (protocol §3, §4, §5, §13).
//!
//! Rules take a [`Params`] and read no constant from anywhere else, so a test can move one number without touching a
//! rule. The consensus part is hashed into the genesis header: other parameters make another network.

use std::{fmt, str::FromStr, sync::LazyLock};

use primitive_types::U256;

use crate::{
    codec::{Encode, Writer, encode},
    hash::{self, BlockHash, Hash, Tag},
    header::{Header, HeaderCore, HeaderExt},
    locked::{self, Lock},
    name::RESERVED,
    pow::{Algorithm, to_compact},
    record::MAX_RECORDS_BYTES,
};

/// The three networks, and one for simulations (feature `testing`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Network {
    /// The public ledger.
    Main,
    /// The public rehearsal: cheap work, names may vanish.
    Test,
    /// One machine or one LAN: two-second blocks.
    Local,
    /// Simulations: work is read from the nonce.
    #[cfg(feature = "testing")]
    Simulated,
}

impl Network {
    /// The network's name in configuration and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Test => "test",
            Self::Local => "local",
            #[cfg(feature = "testing")]
            Self::Simulated => "simulated",
        }
    }

    /// The network's parameters.
    pub fn params(self) -> &'static Params {
        static MAIN: LazyLock<Params> = LazyLock::new(Params::main);
        static TEST: LazyLock<Params> = LazyLock::new(Params::test);
        static LOCAL: LazyLock<Params> = LazyLock::new(Params::local);
        match self {
            Self::Main => &MAIN,
            Self::Test => &TEST,
            Self::Local => &LOCAL,
            #[cfg(feature = "testing")]
            Self::Simulated => {
                static SIMULATED: LazyLock<Params> = LazyLock::new(Params::simulated);
                &SIMULATED
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown network {0:?}: expected main, test or local")]
pub struct UnknownNetwork(String);

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        match text {
            "main" => Ok(Self::Main),
            "test" => Ok(Self::Test),
            "local" => Ok(Self::Local),
            other => Err(UnknownNetwork(other.to_owned())),
        }
    }
}

const DAY_SECONDS: u32 = 86_400;

/// SHA-256 DS digests of the DNS root's two keys of 2026: tags 38696 (of 2024) and 20326 (of 2017).
const ROOT_ANCHORS: [Hash; 2] = [
    Hash(
        *b"\x68\x3d\x2d\x0a\xcb\x8c\x9b\x71\x2a\x19\x48\xb2\x7f\x74\x12\x19\
            \x29\x8d\x0a\x45\x0d\x61\x2c\x48\x3a\xf4\x44\xa4\xc0\xfb\x2b\x16",
    ),
    Hash(
        *b"\xe0\x6d\x44\xb8\x0b\x8f\x1d\x39\xa9\x5c\x0b\x0d\x7c\x65\xd0\x84\
            \x58\xe8\x80\x40\x9b\xbc\x68\x34\x57\x10\x42\x37\xc7\xf8\xec\x8d",
    ),
];

/// The constants of one network. Times are in seconds and spans in blocks unless a line says otherwise.
#[derive(Clone, Debug)]
pub struct Params {
    /// Which network this is.
    pub network: Network,
    /// Human-readable part of addresses (bech32m).
    pub address_prefix: &'static str,
    /// The one work function of this network; headers and shares name it in their version.
    pub algorithm: Algorithm,
    /// Mean time between blocks that the difficulty aims for.
    pub block_interval: u32,
    /// Least time between a block and its parent: keeps a hash burst from collapsing windows counted in blocks.
    pub min_gap: u32,
    /// How far ahead of the local clock a header may be before it is deferred.
    pub future_limit: u32,
    /// Time constant of ASERT: the schedule error that changes the difficulty by a factor of two.
    pub tau: u32,
    /// The longest gap between two blocks that the difficulty clock counts.
    pub gap_clip: u32,
    /// Silence after which the target is relaxed for the next block.
    pub relief_start: u32,
    /// Each further span of this length doubles the relaxed target again.
    pub relief_step: u32,
    /// The easiest target.
    pub pow_limit: U256,
    /// The target of block 1 and the anchor of ASERT.
    pub genesis_target: U256,
    /// The hardest target.
    pub min_target: U256,
    /// Unix time in the genesis header.
    pub genesis_time: u64,
    /// Expected work evaluations that a registration of the cheapest class costs at price 256: about 20 minutes of an
    /// eight-thread laptop. It alone sets how many names a squatter can keep.
    pub p_commit: u64,
    /// Expected work evaluations from which every other price is derived.
    pub p_op: u64,
    /// `price_commit` in the genesis block, and its lower bound there.
    pub launch_price: u32,
    /// Blocks in which the lower bound of `price_commit` halves, until it is the base price: a rush for the best names
    /// in the first days costs more than they are worth to most.
    pub launch_halving: u32,
    /// Blocks after a commit before it may be revealed: a reorg of this depth is needed to snipe a reveal.
    pub maturity: u32,
    /// Blocks after the first reveal in which an earlier commit still wins.
    pub contest: u32,
    /// Blocks after which a commit can no longer be revealed.
    pub commit_ttl: u32,
    /// Blocks that a registration or renewal lasts.
    pub term: u32,
    /// Blocks before expiry from which a renewal is accepted.
    pub renew_window: u32,
    /// Blocks after expiry in which only the owner can act and the name still resolves.
    pub grace: u32,
    /// Blocks between a transfer and its effect, in which the owner can cancel it.
    pub transfer_delay: u32,
    /// Blocks between a release and the name being free.
    pub release_delay: u32,
    /// Blocks for which a burned name stays blocked at least.
    pub burn_lock: u32,
    /// Blocks between a claim of a locked name and its effect.
    pub claim_delay: u32,
    /// The same for a claim that rests on a weak key.
    pub claim_delay_weak: u32,
    /// Oldest block that the TXT record of a claim may name, in blocks.
    pub claim_anchor_window: u32,
    /// Blocks between two claims of a name.
    pub claim_gap: u32,
    /// Blocks for which a new root key is seen before it is trusted.
    pub roll_hold: u32,
    /// Seconds for which a new root key is seen before it is trusted.
    pub roll_hold_time: u32,
    /// Height from which CLAIM and ROLL transactions are accepted.
    pub claim_height: u32,
    /// Height from which unlocked names can be claimed too.
    pub charter_height: u32,
    /// Blocks after release at which a leaf is deleted. At least `commit_ttl`: while the entry stands it refuses
    /// commits older than the release, and afterwards none is alive.
    pub delete_after: u32,
    /// Deepest reorganisation that needs no lead.
    pub free_reorg: u32,
    /// Lead, in average blocks of work, that a deeper reorganisation needs.
    pub deep_lead: u32,
    /// Blocks in which that lead fades to nothing while the other chain stays the heavier one.
    pub lead_fades: u32,
    /// Oldest anchor of a transaction, in blocks: work cannot be stockpiled for longer.
    pub anchor_window: u32,
    /// Policy, not consensus: how far below the tip wallets anchor.
    pub anchor_depth: u32,
    /// Names that only a DNSSEC claim can obtain, with their domain. Ascending by label.
    pub locked: &'static [Lock],
    /// Digests of the root keys that claims are trusted by from the genesis block on. Ascending.
    pub root_anchors: &'static [Hash],
}

/// Largest encoded block, in bytes.
pub const MAX_BLOCK_BYTES: usize = 262_144;
/// Most transactions in a block.
pub const MAX_BLOCK_TRANSACTIONS: usize = 2_048;
/// Largest encoded transaction, in bytes.
pub const MAX_TRANSACTION_BYTES: usize = 9_216;
/// Most CLAIMs in a block.
pub const MAX_BLOCK_CLAIMS: usize = 4;
/// Most ROLLs in a block.
pub const MAX_BLOCK_ROLLS: usize = 1;
/// Longest DNSSEC proof in a CLAIM, in bytes.
pub const MAX_CLAIM_PROOF_BYTES: usize = 8_192;
/// Longest root key set in a ROLL, in bytes.
pub const MAX_ROLL_PROOF_BYTES: usize = 4_096;
/// Largest encoded transaction of any type but CLAIM and ROLL, in bytes.
pub const MAX_PLAIN_TRANSACTION_BYTES: usize = 2_560;
/// The price that means "base price" in 1/256 units.
pub const BASE_PRICE: u32 = 256;
/// Upper bound of `price_bytes`.
pub const MAX_PRICE_BYTES: u32 = 1 << 12;
/// Upper bound of `price_commit`.
pub const MAX_PRICE_COMMIT: u32 = 1 << 14;
/// A renewal costs at most this price, whatever a registration costs: keeping a name must not depend on a rush.
pub const MAX_RENEW_PRICE: u32 = 4 * BASE_PRICE;
/// A price moves by at most this fraction of itself with a block.
pub const PRICE_STEP: u32 = 64;
/// Bytes of transactions per block at which `price_bytes` stays as it is.
pub const TARGET_WEIGHT: u32 = 32_768;
/// An owner may skip at most this many sequence numbers at once.
pub const MAX_SEQ_STEP: u64 = 1 << 16;

impl Params {
    fn main() -> Self {
        Self {
            network: Network::Main,
            address_prefix: "name",
            algorithm: Algorithm::Argon2d,
            block_interval: 120,
            min_gap: 20,
            future_limit: 120,
            tau: 7_200,
            gap_clip: 7_200,
            relief_start: 2_400,
            relief_step: 1_200,
            pow_limit: U256::one() << 244,
            genesis_target: U256::one() << 238,
            min_target: U256::one() << 168,
            genesis_time: 1_798_761_600,
            p_commit: 1 << 24,
            p_op: 1 << 22,
            launch_price: 1 << 12,
            launch_halving: 3_240,
            maturity: 12,
            contest: 24,
            commit_ttl: 720,
            term: 262_800,
            renew_window: 43_200,
            grace: 21_600,
            transfer_delay: 1_440,
            release_delay: 1_440,
            burn_lock: 64_800,
            claim_delay: 5_040,
            claim_delay_weak: 20_160,
            claim_anchor_window: 21_600,
            claim_gap: 720,
            roll_hold: 21_600,
            roll_hold_time: 30 * DAY_SECONDS,
            claim_height: u32::MAX,
            charter_height: u32::MAX,
            delete_after: 720,
            free_reorg: 720,
            deep_lead: 2_160,
            lead_fades: 5_040,
            anchor_window: 180,
            anchor_depth: 12,
            locked: locked::list(),
            root_anchors: &ROOT_ANCHORS,
        }
    }

    fn test() -> Self {
        Self {
            network: Network::Test,
            address_prefix: "tname",
            pow_limit: U256::one() << 246,
            genesis_target: U256::one() << 242,
            genesis_time: 1_793_491_200,
            p_commit: 1 << 15,
            p_op: 1 << 15,
            launch_price: BASE_PRICE,
            roll_hold: 720,
            roll_hold_time: DAY_SECONDS,
            ..Self::main()
        }
    }

    fn local() -> Self {
        Self {
            network: Network::Local,
            address_prefix: "lname",
            algorithm: Algorithm::Sha3,
            block_interval: 2,
            min_gap: 1,
            future_limit: 10,
            tau: 60,
            gap_clip: 60,
            relief_start: 20,
            relief_step: 10,
            pow_limit: U256::one() << 255,
            genesis_target: U256::one() << 240,
            genesis_time: 1_793_491_200,
            p_commit: 1 << 16,
            p_op: 1 << 16,
            launch_price: BASE_PRICE,
            maturity: 3,
            contest: 3,
            commit_ttl: 120,
            term: 20_000,
            renew_window: 5_000,
            grace: 2_000,
            transfer_delay: 5,
            release_delay: 10,
            burn_lock: 500,
            claim_delay: 5,
            claim_delay_weak: 20,
            claim_anchor_window: 600,
            claim_gap: 5,
            roll_hold: 30,
            roll_hold_time: 60,
            delete_after: 120,
            anchor_window: 60,
            anchor_depth: 3,
            // Chosen together with the test root that the claims of this network will be proved under.
            root_anchors: &[],
            ..Self::main()
        }
    }

    #[cfg(feature = "testing")]
    fn simulated() -> Self {
        Self { network: Network::Simulated, algorithm: Algorithm::Simulated, ..Self::local() }
    }

    /// `version` of every header and share: `algo<<24 | 1`.
    pub fn header_version(&self) -> u32 {
        u32::from(self.algorithm.id()) << 24 | 1
    }

    /// The genesis header (protocol §2.1). Its work is never checked.
    pub fn genesis(&self) -> Header {
        let ext = HeaderExt {
            history_root: crate::history::Peaks::default().root().expect("no leaves, no sum to overflow"),
            price_bytes: BASE_PRICE,
            price_commit: self.launch_price,
            ..HeaderExt::default()
        };
        let core = HeaderCore {
            version: self.header_version(),
            height: 0,
            time: self.genesis_time,
            vtime: 0,
            bits: to_compact(self.genesis_target),
            prev: BlockHash::ZERO,
            ext_root: ext.root(),
            share_commit: hash::hash(Tag::Params, &[&encode(self)]),
            nonce: 0,
        };
        Header { core, ext }
    }

    /// Hash of the genesis block.
    pub fn genesis_hash(&self) -> BlockHash {
        self.genesis().hash()
    }

    /// `CHAIN_ID`, computed anew at each call: keep it. It enters every signature, share and commit, so nothing replays on another network.
    pub fn chain_id(&self) -> Hash {
        let genesis = self.genesis();
        hash::hash(Tag::Chain, &[&encode(&genesis.core), &encode(&genesis.ext)])
    }

    /// The number that enters the salt of a commit signed at `height` (protocol §4.3). It changes with time, so that a
    /// commit that was made public by its reveal cannot be published again to block its author.
    pub fn commit_attempt(&self, height: u32) -> u32 {
        height / self.commit_ttl
    }

    /// The domain whose owner alone may claim `label`, if the label is locked.
    pub fn locked_domain(&self, label: &str) -> Option<&'static str> {
        let index = self.locked.binary_search_by_key(&label, |(l, _)| l).ok()?;
        Some(self.locked[index].1)
    }
}

fn put_target(w: &mut Writer, target: U256) {
    w.raw(&target.to_big_endian());
}

/// The canonical form that genesis commits to: every consensus constant in declaration order, then RESERVED, LOCKED and
/// the root anchors. Left out are `claim_height` and `charter_height`, so that claims can be activated on a running
/// network, and `free_reorg`, `deep_lead` and `lead_fades`, which choose between valid chains and make none invalid.
impl Encode for Params {
    fn encode(&self, w: &mut Writer) {
        w.b8(self.network.as_str().as_bytes()).u8(self.algorithm.id());
        for value in [
            self.block_interval,
            self.min_gap,
            self.future_limit,
            self.tau,
            self.gap_clip,
            self.relief_start,
            self.relief_step,
        ] {
            w.u32(value);
        }
        put_target(w, self.pow_limit);
        put_target(w, self.genesis_target);
        put_target(w, self.min_target);
        w.u64(self.genesis_time).u64(self.p_commit).u64(self.p_op);
        for value in [
            self.launch_price,
            self.launch_halving,
            self.maturity,
            self.contest,
            self.commit_ttl,
            self.term,
            self.renew_window,
            self.grace,
            self.transfer_delay,
            self.release_delay,
            self.burn_lock,
            self.claim_delay,
            self.claim_delay_weak,
            self.claim_anchor_window,
            self.claim_gap,
            self.roll_hold,
            self.roll_hold_time,
            self.delete_after,
            self.anchor_window,
            MAX_BLOCK_BYTES as u32,
            MAX_BLOCK_TRANSACTIONS as u32,
            MAX_TRANSACTION_BYTES as u32,
            MAX_PLAIN_TRANSACTION_BYTES as u32,
            MAX_BLOCK_CLAIMS as u32,
            MAX_BLOCK_ROLLS as u32,
            MAX_CLAIM_PROOF_BYTES as u32,
            MAX_ROLL_PROOF_BYTES as u32,
            MAX_RECORDS_BYTES as u32,
            BASE_PRICE,
            MAX_PRICE_BYTES,
            MAX_PRICE_COMMIT,
            MAX_RENEW_PRICE,
            PRICE_STEP,
            TARGET_WEIGHT,
        ] {
            w.u32(value);
        }
        w.u64(MAX_SEQ_STEP);
        w.u16(RESERVED.len() as u16);
        RESERVED.iter().for_each(|label| {
            w.b8(label.as_bytes());
        });
        w.u16(self.locked.len() as u16);
        for (label, domain) in self.locked {
            w.b8(label.as_bytes()).b8(domain.as_bytes());
        }
        w.u16(self.root_anchors.len() as u16);
        for digest in self.root_anchors {
            w.raw(digest.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_satisfy_what_the_rules_rely_on() {
        for network in [Network::Main, Network::Test, Network::Local] {
            let p = network.params();
            assert!(p.commit_ttl >= p.anchor_window, "a commit could be replayed after its deletion");
            assert!(p.delete_after >= p.commit_ttl, "a commit older than the release could outlive the entry");
            assert!(p.min_gap < p.block_interval && p.relief_start > p.block_interval);
            assert!(p.min_target <= p.genesis_target && p.genesis_target <= p.pow_limit);
            assert!(p.p_op.is_multiple_of(1024), "prices divide P_OP by up to 1024");
            assert!(BASE_PRICE <= p.launch_price && p.launch_price <= MAX_PRICE_COMMIT);
            assert!(p.launch_halving > 0 && p.claim_delay_weak == 4 * p.claim_delay);
            assert!(p.locked.is_sorted_by(|a, b| a.0 < b.0) && p.root_anchors.is_sorted());
            assert_eq!(network.as_str().parse(), Ok(network));
        }
        assert_ne!(Network::Main.params().chain_id(), Network::Test.params().chain_id());
    }
}
