//! Counters of forwarding. The labels are the configured upstreams and enums, so they are bounded.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};

/// All metrics of forwarding.
pub struct ForwardMetrics {
    /// Forwardable queries, by what the cache had for them.
    lookups: IntCounterVec,
    /// Answers fetched again shortly before they expired.
    prefetches: IntCounter,
    /// Answers withheld because they lead into the local network.
    blocked: IntCounter,
    /// Bytes of cached answers.
    cache_bytes: IntGauge,
    /// Cached answers.
    cache_entries: IntGauge,
    /// Questions sent to each upstream, by outcome.
    upstream_requests: IntCounterVec,
    /// Usual seconds until each upstream answers, smoothed.
    upstream_seconds: GaugeVec,
    /// Whether each upstream is alive (1) or taken for dead (0).
    upstream_up: IntGaugeVec,
}

/// What the cache had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    /// An answer within its TTL.
    Hit,
    /// Nothing, so upstreams were asked.
    Miss,
    /// Nothing, but the same question was already on its way.
    Joined,
    /// An answer beyond its TTL, which was given.
    Stale,
}

/// Counters of one upstream.
pub(crate) struct UpstreamMetrics {
    pub(crate) answered: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) failed: IntCounter,
    pub(crate) seconds: Gauge,
    pub(crate) up: IntGauge,
}

impl ForwardMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let lookups = opts("forward_lookups_total", "Forwardable queries, by what the cache had for them.");
        let prefetches = opts("forward_prefetches_total", "Answers fetched again shortly before they expired.");
        let blocked =
            opts("forward_blocked_total", "Answers withheld because they lead into the local network (DNS rebinding).");
        let bytes = opts("forward_cache_bytes", "Bytes of cached answers of upstreams.");
        let entries = opts("forward_cache_entries", "Cached answers of upstreams.");
        let requests = opts("upstream_requests_total", "Questions sent to each upstream, by outcome.");
        let seconds = opts("upstream_latency_seconds", "Usual seconds until each upstream answers, smoothed.");
        let up = opts("upstream_up", "Whether each upstream is alive (1) or taken for dead (0).");
        Ok(Self {
            lookups: add(registry, IntCounterVec::new(lookups, &["result"])?)?,
            prefetches: add(registry, IntCounter::with_opts(prefetches)?)?,
            blocked: add(registry, IntCounter::with_opts(blocked)?)?,
            cache_bytes: add(registry, IntGauge::with_opts(bytes)?)?,
            cache_entries: add(registry, IntGauge::with_opts(entries)?)?,
            upstream_requests: add(registry, IntCounterVec::new(requests, &["upstream", "result"])?)?,
            upstream_seconds: add(registry, GaugeVec::new(seconds, &["upstream"])?)?,
            upstream_up: add(registry, IntGaugeVec::new(up, &["upstream"])?)?,
        })
    }

    pub(crate) fn lookup(&self, lookup: Lookup) {
        let result = match lookup {
            Lookup::Hit => "hit",
            Lookup::Miss => "miss",
            Lookup::Joined => "joined",
            Lookup::Stale => "stale",
        };
        self.lookups.with_label_values(&[result]).inc();
    }

    pub(crate) fn prefetch(&self) {
        self.prefetches.inc();
    }

    pub(crate) fn blocked(&self) {
        self.blocked.inc();
    }

    pub(crate) fn cache_size(&self, (bytes, entries): (u64, usize)) {
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// The counters of the upstream that is configured as `label`.
    pub(crate) fn upstream(&self, label: &str) -> UpstreamMetrics {
        let up = self.upstream_up.with_label_values(&[label]);
        up.set(1);
        let requests = |result| self.upstream_requests.with_label_values(&[label, result]);
        UpstreamMetrics {
            answered: requests("answered"),
            refused: requests("refused"),
            failed: requests("failed"),
            seconds: self.upstream_seconds.with_label_values(&[label]),
            up,
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("namestead_dns_{name}"), help)
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
