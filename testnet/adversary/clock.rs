//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time, in seconds.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
