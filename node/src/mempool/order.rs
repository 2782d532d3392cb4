//! What a builder takes into the next block, and in which order (protocol §6, "Builders").
//!
//! Of the transactions for one name the first by kind; across names by work, REVEALs of names in their contest before
//! others, then shorter, then age. A quarter of the block is offered to REVEALs first and another to REVOKE burn and
//! CANCEL, so that neither flood delays the other; what does not fit there competes for the rest.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use ledger::hash::Key;

use super::{Kind, Mempool, PoolTransaction, Precedence, Standing};

/// Room in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRoom {
    /// Bytes of transactions.
    pub bytes: usize,
    /// Transactions.
    pub count: usize,
}

impl BlockRoom {
    fn quarter(self) -> Self {
        Self { bytes: self.bytes / 4, count: self.count / 4 }
    }

    fn less(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), count: self.count.saturating_sub(other.count) }
    }

    fn at_most(self, other: Self) -> Self {
        Self { bytes: self.bytes.min(other.bytes), count: self.count.min(other.count) }
    }

    fn fits(self, entry: &PoolTransaction) -> bool {
        self.count > 0 && entry.bytes <= self.bytes
    }
}

/// The transactions of one name, the first to be taken at the end.
type Rivals<'a> = Vec<&'a Arc<PoolTransaction>>;

/// Transactions for the next block, in the order in which they were chosen. `accepts` says whether the state takes a
/// transaction; if not, the next one for the same name gets its turn.
pub fn select<E>(
    pool: &Mempool,
    room: BlockRoom,
    mut accepts: impl FnMut(&PoolTransaction) -> Result<bool, E>,
) -> Result<Vec<Arc<PoolTransaction>>, E> {
    let mut names = by_name(pool);
    let mut chosen = Vec::new();
    let mut left = room;
    for (kinds, offered) in
        [(Offer::Reveals, room.quarter()), (Offer::EndsOfThefts, room.quarter()), (Offer::Everything, room)]
    {
        let offered = offered.at_most(left);
        let rest = fill(&mut names, kinds, offered, &mut accepts, &mut chosen)?;
        left = left.less(offered.less(rest));
    }
    Ok(chosen)
}

/// To whom a part of the block is offered.
#[derive(Clone, Copy)]
enum Offer {
    Reveals,
    EndsOfThefts,
    Everything,
}

impl Offer {
    fn includes(self, kind: Kind) -> bool {
        match self {
            Self::Reveals => kind == Kind::Reveal,
            Self::EndsOfThefts => kind.ends_a_theft(),
            Self::Everything => true,
        }
    }
}

fn by_name(pool: &Mempool) -> Vec<Rivals<'_>> {
    let mut names: HashMap<Key, Rivals<'_>> = HashMap::new();
    for entry in pool.entries().filter(|entry| entry.standing == Standing::Ready) {
        names.entry(entry.subject).or_default().push(entry);
    }
    let mut names: Vec<_> = names.into_values().collect();
    names.iter_mut().for_each(|rivals| rivals.sort_by_key(|entry| Reverse(place_within_name(entry))));
    names
}

/// Smaller goes first: kind, then precedence for REVEALs and work for others, then age.
fn place_within_name(entry: &PoolTransaction) -> (Kind, Option<Precedence>, Reverse<u64>, u64) {
    let precedence = entry.purpose.reveal().map(|reveal| reveal.precedence);
    (entry.kind(), precedence, Reverse(entry.work_ratio()), entry.number)
}

/// A name's place among the others: that of the transaction whose turn it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    work_ratio: u64,
    is_contested: bool,
    bytes: Reverse<usize>,
    number: Reverse<u64>,
    name: usize,
}

impl Turn {
    fn of(name: usize, entry: &PoolTransaction) -> Self {
        Self {
            work_ratio: entry.work_ratio(),
            is_contested: entry.purpose.reveal().is_some_and(|reveal| reveal.is_contested),
            bytes: Reverse(entry.bytes),
            number: Reverse(entry.number),
            name,
        }
    }
}

/// Fills `room` with transactions of the kinds that it is offered to, and returns what remains of it. Names that were
/// served, or have nothing left, lose their transactions.
fn fill<E>(
    names: &mut [Rivals<'_>],
    offer: Offer,
    mut room: BlockRoom,
    accepts: &mut impl FnMut(&PoolTransaction) -> Result<bool, E>,
    chosen: &mut Vec<Arc<PoolTransaction>>,
) -> Result<BlockRoom, E> {
    let turn = |name: usize, rivals: &Rivals<'_>| {
        rivals.last().filter(|entry| offer.includes(entry.kind())).map(|entry| Turn::of(name, entry))
    };
    let mut turns: BinaryHeap<Turn> =
        names.iter().enumerate().filter_map(|(name, rivals)| turn(name, rivals)).collect();
    while let Some(Turn { name, .. }) = turns.pop() {
        let rivals = &mut names[name];
        let Some(entry) = rivals.last().filter(|entry| room.fits(entry)) else { continue };
        if accepts(entry)? {
            room = BlockRoom { bytes: room.bytes - entry.bytes, count: room.count - 1 };
            chosen.push((*entry).clone());
            rivals.clear();
        } else {
            rivals.pop();
            turns.extend(turn(name, rivals));
        }
        if room.count == 0 {
            break;
        }
    }
    Ok(room)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn turns_are_by_work_then_contest_then_length_then_age() {
        let turn = |work_ratio, is_contested, bytes, number| Turn {
            work_ratio,
            is_contested,
            bytes: Reverse(bytes),
            number: Reverse(number),
            name: 0,
        };
        let order = [
            turn(300, false, 900, 9),
            turn(256, true, 900, 8),
            turn(256, false, 200, 7),
            turn(256, false, 300, 5),
            turn(256, false, 300, 6),
        ];
        for pair in order.windows(2) {
            assert_eq!(pair[0].cmp(&pair[1]), Ordering::Greater);
        }
    }
}
