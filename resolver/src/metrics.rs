//! Counters of the resolver, for Prometheus. The doc comment of each field is its help text.
//!
//! Labels are bounded: types that are rarely asked for share `other`, and every other label is an enum.

mod connections;
pub(crate) mod forwarding;
pub(crate) mod guard;
mod registering;
mod transfers;

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, local::LocalHistogram,
};

use crate::{
    dns::{answer::Origin, rtype},
    names::view::{Facts, Readiness},
    zones::exchange::{Composed, Via},
};

pub(crate) use connections::{ConnectionMetrics, End};
use forwarding::ForwardMetrics;
use guard::{GuardCounts, GuardMetrics};
use registering::{add, counters, gauge, proto};
pub(crate) use transfers::{Notified, Outcome, TransferMetrics};

/// Types that have a label value of their own.
const NAMED_TYPES: [(u16, &str); 24] = [
    (rtype::A, "A"),
    (rtype::NS, "NS"),
    (rtype::CNAME, "CNAME"),
    (rtype::SOA, "SOA"),
    (rtype::PTR, "PTR"),
    (rtype::HINFO, "HINFO"),
    (rtype::MX, "MX"),
    (rtype::TXT, "TXT"),
    (rtype::AAAA, "AAAA"),
    (rtype::LOC, "LOC"),
    (rtype::SRV, "SRV"),
    (rtype::NAPTR, "NAPTR"),
    (rtype::DNAME, "DNAME"),
    (rtype::DS, "DS"),
    (rtype::SSHFP, "SSHFP"),
    (rtype::TLSA, "TLSA"),
    (48, "DNSKEY"),
    (rtype::SVCB, "SVCB"),
    (rtype::HTTPS, "HTTPS"),
    (rtype::IXFR, "IXFR"),
    (rtype::AXFR, "AXFR"),
    (rtype::ANY, "ANY"),
    (rtype::URI, "URI"),
    (rtype::CAA, "CAA"),
];

/// Response codes that have a label value of their own.
const NAMED_RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
];

/// Bounds of answer times in seconds: microseconds for the ledger, seconds for upstreams.
const DURATION_BUCKETS: [f64; 10] = [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.01, 0.05, 0.25, 1.0, 5.0];
/// Bounds of answer sizes in bytes.
const SIZE_BUCKETS: [f64; 8] = [64.0, 128.0, 256.0, 512.0, 1_232.0, 4_096.0, 16_384.0, 65_535.0];

/// All metrics of the resolver.
pub struct DnsMetrics {
    /// Queries received and looked into, by transport and type; `none` is the type of what has no question that can be
    /// read.
    requests: IntCounterVec,
    /// Responses sent, by response code and the part of the resolver that answered.
    responses: IntCounterVec,
    /// Seconds from a parsed query to its answer being handed to the socket.
    duration: HistogramVec,
    /// Responses sent with the TC bit.
    truncated: IntCounter,
    /// Bytes of DNS message per response.
    response_size: Histogram,
    /// Queries sent on to upstreams, by outcome.
    forwards: IntCounterVec,
    /// Cache and upstreams.
    pub(crate) forwarding: ForwardMetrics,
    /// Height of the newest block in the snapshot that answers come from.
    snapshot_height: IntGauge,
    /// Unix time of the newest block in the snapshot that answers come from.
    snapshot_time: IntGauge,
    /// Whether ledger names are answered (1) or fail with "not ready" (0).
    ready: IntGauge,
    /// Names in the snapshot, whatever their status.
    names: IntGauge,
    /// Records in the snapshot that cannot be served because their data is malformed.
    malformed_records: IntGauge,
    /// Connections: see [`ConnectionMetrics`].
    pub(crate) connections: ConnectionMetrics,
    /// Names in HOSTS files.
    hosts_names: IntGauge,
    /// Lines and names of HOSTS files that are left out because they cannot be understood.
    hosts_skipped: IntGauge,
    /// What the guard did.
    pub(crate) guard: GuardMetrics,
    /// What secondaries ask for and are told.
    pub(crate) transfers: TransferMetrics,
}

/// How an attempt to ask upstreams ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardResult {
    /// An answer came.
    Answered,
    /// No upstream answered in time.
    Unreachable,
    /// Too many queries were already waiting.
    Overloaded,
}

impl DnsMetrics {
    /// Makes the metrics and registers them; fails if they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let duration = "Seconds from a parsed query to its answer being handed to the socket.";
        let duration = HistogramOpts::new("namestead_dns_request_duration_seconds", duration);
        let size = HistogramOpts::new("namestead_dns_response_size_bytes", "Bytes of DNS message per response.");
        Ok(Self {
            requests: counters(registry, "requests_total", "Queries received and looked into.", &["proto", "type"])?,
            responses: counters(registry, "responses_total", "Responses sent.", &["rcode", "source"])?,
            duration: add(registry, HistogramVec::new(duration.buckets(DURATION_BUCKETS.to_vec()), &["source"])?)?,
            truncated: add(
                registry,
                IntCounter::new("namestead_dns_truncated_total", "Responses sent with the TC bit.")?,
            )?,
            response_size: add(registry, Histogram::with_opts(size.buckets(SIZE_BUCKETS.to_vec()))?)?,
            forwards: counters(registry, "forward_requests_total", "Queries sent on to upstreams.", &["result"])?,
            forwarding: ForwardMetrics::new(registry)?,
            snapshot_height: gauge(registry, "snapshot_height", "Height of the newest block in the snapshot.")?,
            snapshot_time: gauge(registry, "snapshot_time_seconds", "Unix time of the newest block in the snapshot.")?,
            ready: gauge(registry, "ready", "Whether ledger names are answered (1) or fail with \"not ready\" (0).")?,
            names: gauge(registry, "names", "Names in the snapshot, whatever their status.")?,
            malformed_records: gauge(
                registry,
                "malformed_records",
                "Records in the snapshot that cannot be served because their data is malformed.",
            )?,
            connections: ConnectionMetrics::new(registry)?,
            hosts_names: gauge(registry, "hosts_names", "Names in HOSTS files.")?,
            hosts_skipped: gauge(
                registry,
                "hosts_skipped",
                "Lines and names of HOSTS files that are left out because they cannot be understood.",
            )?,
            guard: GuardMetrics::new(registry)?,
            transfers: TransferMetrics::new(registry)?,
        })
    }

    /// Metrics that nobody collects.
    #[cfg(test)]
    pub(crate) fn unregistered() -> Self {
        Self::new(&Registry::new()).expect("a fresh registry")
    }

    /// Counts a query. There is no type if there is no one question that can be read.
    pub(crate) fn request(&self, via: Via, qtype: Option<u16>) {
        let named = |qtype| NAMED_TYPES.iter().find(|(number, _)| *number == qtype).map_or("other", |(_, name)| *name);
        self.requests.with_label_values(&[proto(via), qtype.map_or("none", named)]).inc();
    }

    pub(crate) fn response(&self, sent: &Sent) {
        let source = source(sent.origin);
        self.responses.with_label_values(&[rcode_label(sent.rcode), source]).inc();
        if let Some(duration_s) = sent.duration_s {
            self.duration.with_label_values(&[source]).observe(duration_s);
        }
        self.response_size.observe(sent.bytes as f64);
        if sent.truncated {
            self.truncated.inc();
        }
    }

    /// Counters for one UDP worker.
    pub(crate) fn datagram_counts(&self) -> DatagramCounts {
        let names = NAMED_TYPES.iter().map(|(_, name)| *name).chain(["other"]);
        let source = source(Origin::Ledger);
        let responses = |rcode, source| (0, self.responses.with_label_values(&[rcode_label(u16::from(rcode)), source]));
        DatagramCounts {
            requests: names.map(|name| (0, self.requests.with_label_values(&["udp", name]))).collect(),
            answers: [ResponseCode::NoError, ResponseCode::NXDomain].map(|rcode| responses(rcode, source)),
            come_by_tcp: responses(ResponseCode::NoError, self::source(Origin::Policy)),
            truncated: (0, self.truncated.clone()),
            size: self.response_size.local(),
            duration: self.duration.with_label_values(&[source]).local(),
            guard: GuardCounts::default(),
        }
    }

    pub(crate) fn forward(&self, result: ForwardResult) {
        let result = match result {
            ForwardResult::Answered => "answered",
            ForwardResult::Unreachable => "unreachable",
            ForwardResult::Overloaded => "overloaded",
        };
        self.forwards.with_label_values(&[result]).inc();
    }

    /// Takes note of HOSTS files that were read.
    pub(crate) fn hosts(&self, names: usize, skipped: usize) {
        self.hosts_names.set(i64::try_from(names).unwrap_or(i64::MAX));
        self.hosts_skipped.set(i64::try_from(skipped).unwrap_or(i64::MAX));
    }

    pub(crate) fn snapshot(&self, facts: &Facts) {
        self.snapshot_height.set(i64::from(facts.height));
        self.snapshot_time.set(i64::try_from(facts.time).unwrap_or(i64::MAX));
        self.ready.set(i64::from(facts.readiness == Readiness::Ready));
        self.names.set(i64::try_from(facts.names).unwrap_or(i64::MAX));
        self.malformed_records.set(i64::try_from(facts.malformed_records).unwrap_or(i64::MAX));
    }
}

/// What a response was like.
pub(crate) struct Sent {
    pub(crate) rcode: u16,
    pub(crate) origin: Origin,
    /// How long it took; nothing for what is no answer to a parsed query.
    pub(crate) duration_s: Option<f64>,
    pub(crate) bytes: usize,
    pub(crate) truncated: bool,
}

impl Sent {
    /// What the header of `message` says, which has no extended code.
    pub(crate) fn of(message: &[u8], origin: Origin) -> Self {
        let [flags_0, flags_1] = message.get(2..4).and_then(|flags| flags.try_into().ok()).unwrap_or_default();
        let rcode = u16::from(flags_1 & 0x0f);
        Self { rcode, origin, duration_s: None, bytes: message.len(), truncated: flags_0 & 0x02 != 0 }
    }
}

/// What one UDP worker counts by itself and adds to the shared counters once per batch, so that workers do not fight
/// over them for each query.
pub(crate) struct DatagramCounts {
    // In the order of `NAMED_TYPES`, and "other".
    requests: Vec<(u64, IntCounter)>,
    // NOERROR and NXDOMAIN: the fast path says nothing else.
    answers: [(u64, IntCounter); 2],
    come_by_tcp: (u64, IntCounter),
    truncated: (u64, IntCounter),
    size: LocalHistogram,
    duration: LocalHistogram,
    pub(crate) guard: GuardCounts,
}

impl DatagramCounts {
    /// Counts a query that was answered.
    pub(crate) fn request(&mut self, composed: &Composed) {
        let other = self.requests.len() - 1;
        let index = NAMED_TYPES.iter().position(|(number, _)| *number == composed.qtype).unwrap_or(other);
        self.requests[index].0 += 1;
    }

    /// Counts its answer.
    pub(crate) fn response(&mut self, composed: &Composed) {
        self.answers[usize::from(composed.rcode == ResponseCode::NXDomain)].0 += 1;
        self.size.observe(composed.bytes as f64);
    }

    /// Counts a response of `bytes` that only says "come by TCP".
    pub(crate) fn come_by_tcp(&mut self, bytes: usize) {
        self.come_by_tcp.0 += 1;
        self.truncated.0 += 1;
        self.size.observe(bytes as f64);
    }

    /// Adds everything to the shared counters. All answers since the last time took `elapsed`, and leave now.
    pub(crate) fn flush(&mut self, elapsed: Duration) {
        let answers: u64 = self.answers.iter().map(|(count, _)| count).sum();
        let responses = self.answers.iter_mut().chain([&mut self.come_by_tcp, &mut self.truncated]);
        for (count, counter) in self.requests.iter_mut().chain(responses).filter(|(count, _)| *count > 0) {
            counter.inc_by(std::mem::take(count));
        }
        (0..answers).for_each(|_| self.duration.observe(elapsed.as_secs_f64()));
        self.duration.flush();
        self.size.flush();
    }
}

fn rcode_label(rcode: u16) -> &'static str {
    match rcode {
        16 => "BADVERS",
        23 => "BADCOOKIE",
        low => NAMED_RCODES.get(usize::from(low)).copied().unwrap_or("other"),
    }
}

fn source(origin: Origin) -> &'static str {
    match origin {
        Origin::Hosts => "hosts",
        Origin::Ledger => "ledger",
        Origin::Special => "special",
        Origin::Status => "status",
        Origin::Upstream => "upstream",
        Origin::Policy => "policy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_names_are_prefixed() {
        let registry = Registry::new();
        let metrics = DnsMetrics::new(&registry).expect("a fresh registry");
        for qtype in 0..=u16::MAX {
            metrics.request(Via::Udp, Some(qtype));
        }
        metrics.request(Via::Udp, None);
        for rcode in 0..4_096 {
            let sent = Sent { rcode, origin: Origin::Policy, duration_s: Some(0.1), bytes: 12, truncated: true };
            metrics.response(&sent);
        }
        for family in registry.gather() {
            assert!(family.name().starts_with("namestead_dns_"), "{}", family.name());
            assert!(family.get_metric().len() <= NAMED_TYPES.len() + 2, "{}", family.name());
        }
        assert!(DnsMetrics::new(&registry).is_err());
    }
}
