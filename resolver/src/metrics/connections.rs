//! Counters of connections: how many there are, and why they end.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::registering::{add, counters, proto};
use crate::zones::exchange::Via;

/// Metrics of connections of all kinds.
pub(crate) struct ConnectionMetrics {
    /// Connections that are open, by transport.
    open: IntGaugeVec,
    /// Connections that ended, by transport and reason.
    closed: IntCounterVec,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The client closed it.
    Client,
    /// Nothing was asked for too long.
    Idle,
    /// The client did not take its answers in time.
    Slow,
    /// It was the idlest one when another client came and there was no room.
    Evicted,
    /// There was no room for it, or its client may not ask.
    Refused,
    /// No handshake was made, or not in time.
    Handshake,
    /// The client broke the rules of the protocol, or the network failed.
    Error,
    /// The server is stopping.
    Stopped,
}

/// A connection that is counted as open.
pub(crate) struct Open<'a> {
    metrics: &'a ConnectionMetrics,
    via: Via,
    /// Why it ends. Stopping needs not be told: tasks are dropped then.
    pub(crate) end: End,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let open = Opts::new("namestead_dns_connections", "Connections that are open.");
        let metrics = Self {
            open: add(registry, IntGaugeVec::new(open, &["proto"])?)?,
            closed: counters(registry, "connections_closed_total", "Connections that ended.", &["proto", "reason"])?,
        };
        // So that both are there, at zero, before the first connection.
        metrics.open.with_label_values(&[proto(Via::Tcp)]);
        metrics.closed.with_label_values(&[proto(Via::Tcp), "client"]);
        Ok(metrics)
    }

    /// Counts a connection for as long as the value lives, which is told why it ends.
    pub(crate) fn open(&self, via: Via) -> Open<'_> {
        self.open.with_label_values(&[proto(via)]).inc();
        Open { metrics: self, via, end: End::Stopped }
    }

    /// Counts a connection that was never open.
    pub(crate) fn refused(&self, via: Via) {
        self.closed.with_label_values(&[proto(via), reason(End::Refused)]).inc();
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.metrics.open.with_label_values(&[proto(self.via)]).dec();
        self.metrics.closed.with_label_values(&[proto(self.via), reason(self.end)]).inc();
    }
}

fn reason(end: End) -> &'static str {
    match end {
        End::Client => "client",
        End::Idle => "idle",
        End::Slow => "slow",
        End::Evicted => "evicted",
        End::Refused => "refused",
        End::Handshake => "handshake",
        End::Error => "error",
        End::Stopped => "stopped",
    }
}
