//! Properties of every byte layout: one value, one encoding; nothing else decodes; nothing makes a decoder panic.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use ledger::{
    block::{Block, Header, HeaderBatch},
    codec::{Decode, DecodeError, decode, encode},
    history::{MmrProof, Peaks},
    key::{Policy, Witness, from_address, to_address},
    name::Name,
    params::Network,
    pow::{from_compact, meets, to_compact, work_of_target},
    record::Records,
    state::{
        Leaf,
        tree::{Page, Proof},
        undo::Undo,
    },
    testing::strategy::{
        any_block, any_body, any_hash, any_header, any_header_batch, any_leaf, any_name, any_policy, any_records,
        any_transaction, any_undo, any_witness,
    },
    transaction::{Share, Transaction},
};
use primitive_types::U256;
use proptest::{prelude::*, sample::Index, test_runner::TestCaseError};

/// `decode ∘ encode` is the identity, nothing longer or shorter decodes, and the stated maximum holds.
fn round_trips<T: Decode + PartialEq + std::fmt::Debug>(value: &T, cut: Index) -> Result<(), TestCaseError> {
    let bytes = encode(value);
    prop_assert!(bytes.len() <= T::MAX_BYTES);
    prop_assert_eq!(&decode::<T>(&bytes), &Ok(decode_once(&bytes)));
    prop_assert_eq!(&decode_once::<T>(&bytes), value);
    prop_assert!(decode::<T>(&bytes[..cut.index(bytes.len())]).is_err());
    prop_assert!(decode::<T>(&[&bytes[..], &[0]].concat()).is_err());
    Ok(())
}

fn decode_once<T: Decode>(bytes: &[u8]) -> T {
    decode(bytes).expect("an encoding decodes")
}

/// Whatever decodes encodes to the same bytes; whatever does not is an error and no panic.
fn is_canonical<T: Decode>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = decode::<T>(bytes) {
        prop_assert_eq!(encode(&value), bytes);
    }
    Ok(())
}

fn every_decoder(bytes: &[u8]) -> Result<(), TestCaseError> {
    is_canonical::<Transaction>(bytes)?;
    is_canonical::<Share>(bytes)?;
    is_canonical::<Block>(bytes)?;
    is_canonical::<Header>(bytes)?;
    is_canonical::<HeaderBatch>(bytes)?;
    is_canonical::<Name>(bytes)?;
    is_canonical::<Records>(bytes)?;
    is_canonical::<Policy>(bytes)?;
    is_canonical::<Witness>(bytes)?;
    is_canonical::<Leaf>(bytes)?;
    is_canonical::<Undo>(bytes)?;
    is_canonical::<Proof>(bytes)?;
    is_canonical::<MmrProof>(bytes)?;
    is_canonical::<Peaks>(bytes)?;
    if let Ok(records) = Records::from_bytes(bytes) {
        prop_assert_eq!(records.to_bytes(), bytes);
    }
    if let Ok(page) = Page::from_bytes(bytes) {
        prop_assert_eq!(page.as_bytes(), bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    prop_assert_eq!(Name::new(&text).is_ok(), Name::new(&text).is_ok_and(|name| name.as_str() == text));
    let _ = from_address(Network::Main.params(), &text);
    let _ = text.parse::<ledger::hash::Hash>();
    Ok(())
}

/// Valid bytes with one byte changed, some removed and some doubled: nearer to the edge than random bytes.
fn damaged(mut bytes: Vec<u8>, at: Index, byte: u8, cut: Index) -> Vec<u8> {
    if !bytes.is_empty() {
        let position = at.index(bytes.len());
        bytes[position] = byte;
        let start = cut.index(bytes.len());
        if byte.is_multiple_of(3) {
            bytes.drain(start..(start + usize::from(byte % 7)).min(bytes.len()));
        } else if byte % 3 == 1 {
            let tail = bytes[start..].to_vec();
            bytes.extend(&tail[..tail.len().min(40)]);
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn transactions_round_trip(tx in any_transaction(), cut: Index) {
        round_trips(&tx, cut)?;
        prop_assert_eq!(tx.byte_len(), encode(&tx).len());
        prop_assert_eq!(tx.body().encoded_len(), tx.body().to_bytes().len());
    }

    #[test]
    fn small_things_round_trip(
        name in any_name(),
        records in any_records(),
        policy in any_policy(),
        witness in any_witness(),
        header in any_header(),
        leaf in any_leaf(),
        cut: Index,
    ) {
        round_trips(&name, cut)?;
        round_trips(&records, cut)?;
        round_trips(&policy, cut)?;
        round_trips(&witness, cut)?;
        round_trips(&header, cut)?;
        round_trips(&leaf, cut)?;
    }

    #[test]
    fn random_bytes_never_panic_a_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        every_decoder(&bytes)?;
    }

    #[test]
    fn damaged_bytes_never_panic_a_decoder(
        tx in any_transaction(), leaf in any_leaf(), at: Index, byte: u8, cut: Index,
    ) {
        every_decoder(&damaged(encode(&tx), at, byte, cut))?;
        every_decoder(&damaged(encode(&leaf), at, byte, cut))?;
    }

    #[test]
    fn equal_ids_mean_equal_meaning(one in any_body(), two in any_body(), height: u32, other: u32) {
        let id = |body, height| ledger::transaction::txid(height, body);
        prop_assert_eq!(id(&one, height) == id(&two, other), one == two && height == other);
    }

    #[test]
    fn compact_targets_lose_less_than_one_part_in_32768(limbs in proptest::array::uniform4(any::<u64>()), shift in 0usize..256) {
        let target = U256(limbs) >> shift;
        prop_assume!(!target.is_zero());
        let effective = from_compact(to_compact(target)).expect("canonical by construction");
        prop_assert!(effective <= target && target - effective <= target >> 15);
        prop_assert_eq!(from_compact(to_compact(effective)), Some(effective));
        prop_assert!(work_of_target(effective) >= work_of_target(target));
    }

    #[test]
    fn compact_bits_have_one_form(bits: u32) {
        if let Some(target) = from_compact(bits) {
            prop_assert_eq!(to_compact(target), bits);
            prop_assert_eq!(bits & 0x0080_0000, 0);
        }
    }

    #[test]
    fn more_work_is_never_easier(limbs in proptest::array::uniform4(any::<u64>()), work: u64, shift in 0usize..256) {
        let value = U256(limbs) >> shift;
        prop_assert!(!meets(value, work) || meets(value, work.saturating_sub(1)));
        prop_assert!(!meets(value, work) || value.is_zero() || meets(value - 1, work));
    }

    #[test]
    fn addresses_have_one_spelling(hash in any_hash(), at: Index, with in "[qpzry9x8gf2tvdw0s3jn54khce6mua7l]") {
        let params = Network::Test.params();
        let address = to_address(params, &hash);
        prop_assert_eq!(from_address(params, &address), Ok(hash));
        prop_assert_eq!(from_address(params, &address.to_uppercase()), Ok(hash));
        let at = at.index(address.len());
        let mut other = address.clone();
        other.replace_range(at..at + 1, &with);
        prop_assert_eq!(from_address(params, &other).is_ok(), other == address);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn large_things_round_trip(block in any_block(), batch in any_header_batch(), undo in any_undo(), cut: Index) {
        round_trips(&block, cut)?;
        round_trips(&undo, cut)?;
        round_trips(&batch, cut)?;
    }

    #[test]
    fn damaged_large_bytes_never_panic_a_decoder(
        block in any_block(), batch in any_header_batch(), undo in any_undo(), at: Index, byte: u8, cut: Index,
    ) {
        every_decoder(&damaged(encode(&block), at, byte, cut))?;
        every_decoder(&damaged(encode(&batch), at, byte, cut))?;
        every_decoder(&damaged(encode(&undo), at, byte, cut))?;
    }

    #[test]
    fn every_cut_of_a_transaction_is_refused(tx in any_transaction()) {
        let bytes = encode(&tx);
        prop_assert!((0..bytes.len()).all(|end| decode::<Transaction>(&bytes[..end]).is_err()));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_flipped_bit_of_a_transaction_is_refused_or_another_transaction(tx in any_transaction()) {
        let (bytes, txid, wtxid) = (encode(&tx), tx.txid(), tx.wtxid());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(other) = decode::<Transaction>(&flipped) else { continue };
            prop_assert_ne!(other.wtxid(), wtxid, "bit {}", bit);
            let same_meaning = other.body() == tx.body() && other.anchor().height == tx.anchor().height;
            prop_assert_eq!(other.txid() == txid, same_meaning, "bit {}", bit);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_another_block(header in any_header()) {
        let (bytes, hash) = (encode(&header), header.hash());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let other: Header = decode(&flipped).expect("every header of the right length decodes");
            prop_assert_ne!(other.hash(), hash, "bit {}", bit);
        }
    }
}

#[test]
fn a_claim_whose_parts_fit_and_whose_whole_does_not_cannot_be_made() {
    let claim = |proof: usize| {
        let records =
            Records::new(vec![ledger::record::Record { sub: vec![], rtype: 16, ttl: 60, rdata: vec![0; 500] }]);
        let body = ledger::transaction::Body::Claim {
            name: Name::new("locked").unwrap(),
            target: "x".repeat(255),
            owner: ledger::testing::owner(1),
            operator: ledger::testing::owner(2),
            records: records.unwrap(),
            proof: vec![0; proof],
        };
        let share = Some(Share::of(&Network::Main.params().genesis().core));
        let policy = ledger::testing::policy(1);
        let witness = Witness::sign(policy, &[&ledger::testing::key(1)], &ledger::hash::Hash::ZERO);
        Transaction::new(ledger::transaction::Anchor { height: 0, tag: [0; 8] }, body, share, witness)
    };
    let largest = (0..=8_192).rev().find_map(claim).unwrap();
    assert_eq!(largest.byte_len(), 9_216);
    assert_eq!(decode::<Transaction>(&encode(&largest)), Ok(largest));
}

#[test]
fn lengths_beyond_the_maximum_are_refused_unread() {
    let huge = vec![0; 4 << 20];
    assert!(matches!(decode::<Transaction>(&huge), Err(DecodeError::TooLong { max: 9_216, .. })));
    assert!(matches!(decode::<Block>(&huge), Err(DecodeError::TooLong { max: 262_144, .. })));
    assert!(matches!(decode::<Name>(&huge), Err(DecodeError::TooLong { max: 64, .. })));
}
