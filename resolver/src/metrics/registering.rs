//! How a metric comes to be.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry, core::Collector};

use crate::zones::exchange::Via;

pub(super) fn proto(via: Via) -> &'static str {
    match via {
        Via::Udp => "udp",
        Via::Tcp => "tcp",
        Via::Tls => "tls",
        Via::Https => "https",
        Via::Quic => "quic",
    }
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    add(registry, IntCounterVec::new(Opts::new(format!("namestead_dns_{name}"), help), labels)?)
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    add(registry, IntGauge::new(format!("namestead_dns_{name}"), help)?)
}

pub(super) fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
