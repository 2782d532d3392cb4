//! Orders for shares, and which of them is next.

use std::sync::Arc;

use ledger::{hash::Hash, transaction::Share};
use tokio::sync::oneshot;

use super::meter::Meter;

/// A share wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkOrder {
    /// What the work must commit to (protocol §4.1).
    pub share_commit: Hash,
    /// Expected evaluations that it must be worth.
    pub required_work: u64,
}

impl WorkOrder {
    /// The same with more work, by a factor in 1/256.
    pub fn times(self, ratio: u64) -> Self {
        let work = u128::from(self.required_work) * u128::from(ratio);
        Self { required_work: u64::try_from(work.div_ceil(256)).unwrap_or(u64::MAX), ..self }
    }
}

/// An order not filled yet.
pub(super) struct OpenOrder {
    pub(super) order: WorkOrder,
    pub(super) meter: Arc<Meter>,
    found: oneshot::Sender<Share>,
}

/// Open orders in order of arrival.
#[derive(Default)]
pub(super) struct OrderBook {
    open: Vec<OpenOrder>,
}

impl OrderBook {
    pub(super) fn add(&mut self, order: WorkOrder, meter: Arc<Meter>, found: oneshot::Sender<Share>) {
        self.open.push(OpenOrder { order, meter, found });
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Drops the orders that nobody waits for any more.
    pub(super) fn drop_cancelled(&mut self) {
        self.open.retain(|open| !open.found.is_closed());
    }

    /// The cheapest order, and of equals the oldest: a change that takes seconds does not wait behind a registration
    /// that takes an hour.
    pub(super) fn next(&self) -> Option<&OpenOrder> {
        self.open.iter().filter(|open| !open.found.is_closed()).min_by_key(|open| open.order.required_work)
    }

    /// Hands a share to whoever ordered it. An order for more work commits to the same; it is another order.
    pub(super) fn fill(&mut self, order: &WorkOrder, share: Share) {
        if let Some(index) = self.open.iter().position(|open| open.order == *order && !open.found.is_closed()) {
            // Nobody waiting means that the order was cancelled a moment ago.
            let _ = self.open.remove(index).found.send(share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> Share {
        Share::of(&ledger::params::Network::Local.params().genesis().core)
    }

    fn order(tag: u8, required_work: u64) -> WorkOrder {
        WorkOrder { share_commit: Hash([tag; 32]), required_work }
    }

    #[test]
    fn the_cheapest_is_next_and_of_equals_the_oldest() {
        let mut book = OrderBook::default();
        let next = |book: &OrderBook| book.next().map(|open| open.order.share_commit);
        assert_eq!(next(&book), None);
        let waiters: Vec<_> = [order(1, 50), order(2, 9), order(3, 9)]
            .map(|order| {
                let (found, wait) = oneshot::channel();
                book.add(order, Arc::default(), found);
                wait
            })
            .into();
        assert_eq!(next(&book), Some(Hash([2; 32])));
        book.fill(&order(2, 9), share());
        assert_eq!(next(&book), Some(Hash([3; 32])));
        drop(waiters);
        assert_eq!(next(&book), None, "nobody waits any more");
        book.drop_cancelled();
        assert_eq!(book.len(), 0);
    }

    #[tokio::test]
    async fn an_order_for_more_work_is_another_order() {
        let mut book = OrderBook::default();
        let (low, high) = (order(1, 100), order(1, 100).times(288));
        assert_eq!(high.required_work, 113, "rounded up");
        let (found, first) = oneshot::channel();
        book.add(low, Arc::default(), found);
        drop(first);
        let (found, mut second) = oneshot::channel();
        book.add(high, Arc::default(), found);
        book.fill(&low, share());
        assert!(second.try_recv().is_err(), "a share of less work is not what was ordered");
        book.fill(&high, share());
        assert!(second.await.is_ok());
    }
}
