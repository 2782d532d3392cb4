//! Counters of what the guard did.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::registering::counters;
use crate::{policy::guard::cookie::Cookie, zones::query::Transport};

/// All counters of the guard. They are there from the start, at 0.
pub(crate) struct GuardMetrics {
    limited: [IntCounter; 3],
    cookies: [IntCounter; 4],
    refused: [IntCounter; 2],
    unsigned: [IntCounter; 2],
}

/// What was done to a datagram beyond a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limited {
    /// It got nothing.
    Dropped,
    /// It was told to come by TCP, because of too many queries.
    Slipped,
    /// It was told to come by TCP, because of too many bytes.
    Shortened,
}

/// Who was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// A client that may not ask here.
    Query,
    /// A client for whom nothing is forwarded.
    Forward,
}

/// What one UDP worker counts by itself.
#[derive(Default)]
pub(crate) struct GuardCounts {
    limited: [u64; 3],
    cookies: [u64; 4],
}

impl GuardMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let limited = counters(registry, "limited_total", "UDP queries beyond a limit.", &["action"])?;
        let cookies = counters(registry, "cookies_total", "Queries with a DNS cookie.", &["state"])?;
        let refused = counters(registry, "acl_refused_total", "Queries of clients that may not ask.", &["list"])?;
        let help = "Queries whose signatures would have been one too many for the budget.";
        let unsigned = counters(registry, "signing_refused_total", help, &["proto"])?;
        Ok(Self {
            limited: handles(&limited, ["dropped", "slipped", "shortened"]),
            cookies: handles(&cookies, ["fresh", "valid", "invalid", "malformed"]),
            refused: handles(&refused, ["query", "forward"]),
            unsigned: handles(&unsigned, ["udp", "stream"]),
        })
    }

    pub(crate) fn limited(&self, limited: Limited) {
        self.limited[limited as usize].inc();
    }

    pub(crate) fn cookie(&self, cookie: &Cookie) {
        if let Some(state) = state(cookie) {
            self.cookies[state].inc();
        }
    }

    pub(crate) fn refused(&self, refused: Refused) {
        self.refused[refused as usize].inc();
    }

    pub(crate) fn unsigned(&self, transport: Transport) {
        self.unsigned[usize::from(transport == Transport::Stream)].inc();
    }

    /// Adds what a worker has counted, and starts it anew.
    pub(crate) fn add(&self, counts: &mut GuardCounts) {
        let pairs = counts.limited.iter_mut().zip(&self.limited).chain(counts.cookies.iter_mut().zip(&self.cookies));
        for (count, counter) in pairs.filter(|(count, _)| **count > 0) {
            counter.inc_by(std::mem::take(count));
        }
    }
}

impl GuardCounts {
    pub(crate) fn limited(&mut self, limited: Limited) {
        self.limited[limited as usize] += 1;
    }

    pub(crate) fn cookie(&mut self, cookie: &Cookie) {
        if let Some(state) = state(cookie) {
            self.cookies[state] += 1;
        }
    }
}

fn state(cookie: &Cookie) -> Option<usize> {
    match cookie {
        Cookie::Absent => None,
        Cookie::Fresh(_) => Some(0),
        Cookie::Valid(_) => Some(1),
        Cookie::Invalid(_) => Some(2),
        Cookie::Malformed => Some(3),
    }
}

fn handles<const N: usize>(counters: &IntCounterVec, labels: [&str; N]) -> [IntCounter; N] {
    labels.map(|label| counters.with_label_values(&[label]))
}
