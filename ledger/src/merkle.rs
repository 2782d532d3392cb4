//! The Merkle root over a block's transaction ids (protocol §4.6): `tx_root` and `witness_root`.
//!
//! Not the state tree (see `state::tree`) and not the header history (see `history`): this one is over a short ordered
//! list, is rebuilt whole, and has no proofs.
//!
//! Guarantees: leaves and nodes are hashed under different tags, so a node can never be passed off as a leaf; an odd
//! node is promoted, never paired with itself, so two different lists never share a root (Bitcoin's CVE-2012-2459).

use crate::hash::{Hash, Tag, hash};

/// The root over 32-byte `ids` in the order given: [`Hash::ZERO`] for none, the leaf itself for one.
pub fn root<I>(ids: I) -> Hash
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut level: Vec<Hash> = ids.into_iter().map(|id| hash(Tag::TxLeaf, &[id.as_ref()])).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(join).collect();
    }
    level.first().copied().unwrap_or(Hash::ZERO)
}

/// The node over a pair, or the odd last node promoted as it is.
fn join(pair: &[Hash]) -> Hash {
    match pair {
        [left, right] => hash(Tag::TxNode, &[left.as_ref(), right.as_ref()]),
        odd => odd[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::TxId;

    fn ids(count: u8) -> Vec<TxId> {
        (0..count).map(|n| TxId([n; 32])).collect()
    }

    fn leaf(n: u8) -> Hash {
        hash(Tag::TxLeaf, &[&[n; 32]])
    }

    fn node(left: Hash, right: Hash) -> Hash {
        hash(Tag::TxNode, &[left.as_ref(), right.as_ref()])
    }

    #[test]
    fn small_lists_by_hand() {
        let pair = node(leaf(0), leaf(1));
        assert_eq!(root(ids(0)), Hash::ZERO);
        assert_eq!(root(ids(1)), leaf(0));
        assert_eq!(root(ids(2)), pair);
        assert_eq!(root(ids(3)), node(pair, leaf(2)), "the odd leaf is promoted");
        let four = node(pair, node(leaf(2), leaf(3)));
        assert_eq!(root(ids(5)), node(four, leaf(4)), "and promoted again");
        assert_eq!(root(ids(6)), node(four, node(leaf(4), leaf(5))));
    }

    #[test]
    fn repeating_the_last_id_changes_the_root() {
        for count in 1..40 {
            let mut longer = ids(count);
            longer.push(TxId([count - 1; 32]));
            assert_ne!(root(ids(count)), root(longer));
        }
    }

    #[test]
    fn order_matters() {
        let mut swapped = ids(7);
        swapped.swap(2, 5);
        assert_ne!(root(ids(7)), root(swapped));
    }
}
