//! Counters of connections: how many there are, and why they end.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{add, counters, proto};
use crate::handler::Via;

/// Metrics of connections of all kinds.
pub(crate) struct ConnectionMetrics {
    /// Connections that are open, by transport.
    open: IntGaugeVec,
    /// Connections that ended, by transport and reason.
    closed: IntCounterVec,
}

/// Why a connection ended.
#[allow(dead_code, reason = "encrypted transports come next")]
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
    /// There was no room for it.
    Refused,
    /// No handshake was made, or not in time.
    Handshake,
    /// The client broke the rules of the protocol, or the network failed.
    Error,
    /// The server is stopping.
    Stopped,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let open = Opts::new("namestead_dns_connections", "Connections that are open.");
        Ok(Self {
            open: add(registry, IntGaugeVec::new(open, &["proto"])?)?,
            closed: counters(registry, "connections_closed_total", "Connections that ended.", &["proto", "reason"])?,
        })
    }

    pub(crate) fn opened(&self, via: Via) {
        self.open.with_label_values(&[proto(via)]).inc();
    }

    pub(crate) fn closed(&self, via: Via, end: End) {
        self.open.with_label_values(&[proto(via)]).dec();
        self.closed.with_label_values(&[proto(via), reason(end)]).inc();
    }

    /// Counts a connection that was never open.
    pub(crate) fn refused(&self, via: Via) {
        self.closed.with_label_values(&[proto(via), reason(End::Refused)]).inc();
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
