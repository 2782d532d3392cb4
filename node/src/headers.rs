//! What full and light nodes do with headers alike: prove their work on several cores, and say with a few hashes where a
//! chain is.

use std::cell::RefCell;

use ledger::{
    hash::Hash,
    params::Params,
    pow::Scratch,
    rules::{
        Violation,
        header::{HeaderContext, Linked},
    },
};

/// How many headers have their work proved together. Small at first, so that whoever sends headers without work costs
/// one evaluation and not thousands; then as many as keep both cores busy for some 40 ms.
const BATCHES: [usize; 4] = [1, 16, 64, 256];
/// The least headers that are worth a thread.
const LEAST_SHARE: usize = 8;

/// Working memory of this thread: clearing a fresh mebibyte for every block would cost as much as evaluating it.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
    }
    SCRATCH.with_borrow_mut(work)
}

/// Cuts a run of headers into pieces that are proved one after the other.
pub(crate) fn batches(linked: Vec<Linked>) -> impl Iterator<Item = Vec<Linked>> {
    let sizes = BATCHES.into_iter().chain(std::iter::repeat(BATCHES[BATCHES.len() - 1]));
    let mut rest = linked.into_iter();
    sizes.map(move |size| rest.by_ref().take(size).collect::<Vec<_>>()).take_while(|batch| !batch.is_empty())
}

/// Proves the work of headers, on at most so many threads.
pub(crate) fn prove_all(
    params: &Params,
    chain_id: &Hash,
    linked: Vec<Linked>,
    threads: usize,
) -> Vec<Result<HeaderContext, Violation>> {
    let one = |linked: Linked| with_scratch(|scratch| linked.prove(params, chain_id, scratch));
    let threads = threads.min(linked.len() / LEAST_SHARE);
    if threads <= 1 {
        return linked.into_iter().map(one).collect();
    }
    let share = linked.len().div_ceil(threads);
    let mut rest = linked.into_iter();
    let parts: Vec<Vec<Linked>> = (0..threads).map(|_| rest.by_ref().take(share).collect()).collect();
    std::thread::scope(|scope| {
        let prove = |part: Vec<Linked>| scope.spawn(move || part.into_iter().map(one).collect::<Vec<_>>());
        let running: Vec<_> = parts.into_iter().map(prove).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("proving does not panic")).collect()
    })
}

/// Ten heights down from `top`, then ever further apart, none below `lowest`; the last one is `lowest` itself.
pub(crate) fn thinned(top: u32, lowest: u32) -> impl Iterator<Item = u32> {
    let mut next = (top >= lowest).then_some((top, 1u32, 0u32));
    std::iter::from_fn(move || {
        let (height, step, count) = next?;
        let step = if count < 9 { step } else { step.saturating_mul(2) };
        next = (height > lowest).then(|| (height.saturating_sub(step).max(lowest), step, count + 1));
        Some(height)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_thin_out_and_end_at_the_lowest() {
        let heights = |top, lowest| thinned(top, lowest).collect::<Vec<_>>();
        assert_eq!(heights(3, 0), [3, 2, 1, 0]);
        assert_eq!(heights(30, 0), [30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 19, 15, 7, 0]);
        assert_eq!(heights(7, 7), [7]);
        assert!(heights(6, 7).is_empty());
        assert!(heights(u32::MAX, 0).len() < 45);
    }
}
