//! The dashboard and the alert rules name only metrics that docs/metrics.md documents, and that page matches the code.
//!
//! Static counterpart of `testnet/monitoring/check`, which asks a real Prometheus about a running network.

use std::{collections::BTreeSet, fs, path::Path};

use node::metrics::Metrics;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node lies in the workspace");
    fs::read_to_string(root.join(path)).expect("a file of the repository")
}

/// Words that begin with `namestead_`, without what histograms append.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let plain = |word: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    words.filter(|word| word.starts_with("namestead_")).map(plain).collect()
}

#[test]
fn dashboard_and_alerts_name_documented_metrics() {
    let documented = metrics_in(&read("docs/metrics.md"));
    for file in ["testnet/monitoring/grafana/dashboards/namestead.json", "testnet/monitoring/alerts.yml"] {
        let used = metrics_in(&read(file));
        assert!(used.len() > 10, "{file}: found only {used:?}");
        let unknown: Vec<_> = used.difference(&documented).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which docs/metrics.md does not have");
    }
}

#[test]
fn every_registered_metric_is_documented() {
    let documented = metrics_in(&read("docs/metrics.md"));
    let metrics = Metrics::new().expect("names are unique");
    let registered: BTreeSet<String> =
        metrics.registry().gather().iter().flat_map(|family| metrics_in(family.name())).collect();
    let missing: Vec<_> = registered.difference(&documented).collect();
    assert!(!registered.is_empty() && missing.is_empty(), "docs/metrics.md lacks {missing:?}");
}
