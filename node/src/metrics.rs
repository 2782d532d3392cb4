//! Metrics of the node, for Prometheus. The doc comment of each is its help text.
//!
//! Most are read off the parts at each scrape ([`Reading`]): the parts count in plain numbers and know nothing of
//! Prometheus. Base units, `_total` for counters, no rates; label values are bounded by enums in the code.

mod list;
mod reading;
mod refresh;

pub use list::Metrics;
pub use reading::Reading;
