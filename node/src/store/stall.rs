//! Writes that the database is too busy for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Tells a database that is busy from one that has no room to work in.
///
/// In both cases writes are refused for the moment. RocksDB counts what goes wrong in the background: if that count has
/// grown since the last stall that ended, this one will not end by waiting. (An error of another kind than a full disk
/// makes RocksDB refuse writes with that error instead.)
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Background errors at the beginning of the stall under way, plus one; 0 while there is none.
    under_way: AtomicU64,
    /// Background errors that were overcome.
    overcome: AtomicU64,
}

impl Stall {
    pub(super) fn note_success(&self) {
        let errors = self.under_way.swap(0, Relaxed);
        if errors > 0 {
            self.overcome.store(errors - 1, Relaxed);
        }
    }

    pub(super) fn is_hopeless(&self, errors: u64) -> bool {
        self.under_way.store(errors + 1, Relaxed);
        errors > self.overcome.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_hopeless_only_after_new_errors() {
        let stall = Stall::default();
        assert!(!stall.is_hopeless(0), "busy");
        stall.note_success();
        assert!(stall.is_hopeless(3), "the flush failed");
        assert!(stall.is_hopeless(4));
        stall.note_success();
        assert!(!stall.is_hopeless(4), "those errors were overcome");
        assert!(stall.is_hopeless(5));
    }
}
