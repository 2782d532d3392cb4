//! The `[dns.guard]` section: who is served, and how much strangers get.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::addresses;
use crate::zones::query::{MAX_UDP_BYTES, MIN_UDP_BYTES};

/// The most prefixes in one list: each query may be compared with all of them.
const MAX_PREFIXES: usize = 256;
/// The highest rate that can be set, in answers, signatures or bytes per second: no more than one of them in a
/// nanosecond can be counted, and nobody needs nearly as many.
const MAX_RATE: u32 = 100_000_000;
/// The largest `slip`.
pub(crate) const MAX_SLIP: u8 = 15;
/// What `forward_allow` is by default: loopback, private and link-local addresses (RFC 1918, 3927, 4193, 4291).
const LOCAL: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Who is served, and how much strangers get.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Address prefixes that may ask. An empty list means everybody.
    #[serde(deserialize_with = "addresses::list")]
    pub allow: Vec<IpNet>,
    /// Prefixes that may not ask, even if they are also in `allow`.
    #[serde(deserialize_with = "addresses::list")]
    pub deny: Vec<IpNet>,
    /// Prefixes whose other questions are forwarded to `dns.upstreams`.
    #[serde(deserialize_with = "addresses::list")]
    pub forward_allow: Vec<IpNet>,
    /// Prefixes for which nothing is forwarded, even if they are also in `forward_allow`.
    #[serde(deserialize_with = "addresses::list")]
    pub forward_deny: Vec<IpNet>,
    /// Prefixes without limits on UDP, neither on the rate nor on the size of answers, and without a share of the
    /// signatures: they may have all.
    #[serde(deserialize_with = "addresses::list")]
    pub exempt: Vec<IpNet>,
    /// Whether clients that questions are forwarded for have no limits on UDP either: they are the house, and limits are
    /// for strangers. Prefixes that hold a large part of the internet are no house, whatever this says.
    pub exempt_forwarded: Switch,
    /// UDP answers per second for one IPv4 address or one /64 of IPv6 without a valid cookie; eight times as many for a
    /// /24 or a /56. 0 turns the limit off.
    pub rate_limit: u32,
    /// Of the queries beyond the limit, every how manieth is answered with "come by TCP"; the others get nothing. 0
    /// means that none is answered.
    pub slip: u8,
    /// UDP bytes per second that a /24 or /56 without valid cookies may get beyond twice what it sends; what exceeds
    /// that is answered with "come by TCP". 0 turns the limit off.
    pub free_bytes: u32,
    /// Whether DNS cookies are given and honoured (RFC 7873, RFC 9018).
    pub cookies: Switch,
    /// The longest UDP answer without a valid cookie, in bytes.
    pub udp_bytes_without_cookie: u16,
    /// New signatures per second for UDP, and as many for connections; a quarter of each for a /24 or a /56. One takes
    /// about 0.13 ms of a core. 0 means no limit.
    pub signatures_per_second: u32,
}

/// Whether something is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is.
    #[default]
    On,
    /// It is not.
    Off,
}

/// Why a `[dns.guard]` section cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GuardConfigError {
    /// A list is longer than what can be looked through for each query.
    #[error("dns.guard.{key} has {got} entries, at most {MAX_PREFIXES} are allowed")]
    TooMany {
        /// The key.
        key: &'static str,
        /// Its length.
        got: usize,
    },
    /// Neither what every client can take nor what we ever send.
    #[error("dns.guard.udp_bytes_without_cookie is {0}, it must be {MIN_UDP_BYTES} to {MAX_UDP_BYTES}")]
    UdpBytes(u16),
    /// A rate beyond counting.
    #[error("dns.guard.{key} is {got}, it must be at most {MAX_RATE}")]
    Rate {
        /// The key.
        key: &'static str,
        /// Its value.
        got: u32,
    },
    /// So rare that nobody would ever be told.
    #[error("dns.guard.slip is {0}, it must be at most {MAX_SLIP}")]
    Slip(u8),
}

/// Prefixes that are no longer than this hold a large part of the internet; fc00::/7, which is local, is longer.
const WIDE_V4_BITS: u8 = 7;
const WIDE_V6_BITS: u8 = 6;

/// Whether a prefix holds a large part of the internet.
pub(crate) fn is_wide(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() <= WIDE_V4_BITS,
        IpNet::V6(net) => net.prefix_len() <= WIDE_V6_BITS,
    }
}

impl GuardConfig {
    /// The networks that are forwarded for and have no limits for that reason.
    pub(crate) fn house(&self) -> Vec<IpNet> {
        match self.exempt_forwarded {
            Switch::On => self.forward_allow.iter().copied().filter(|net| !is_wide(net)).collect(),
            Switch::Off => Vec::new(),
        }
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        let prefixes = |texts: &[&str]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            forward_allow: prefixes(&LOCAL),
            forward_deny: Vec::new(),
            exempt: prefixes(&["127.0.0.0/8", "::1/128"]),
            exempt_forwarded: Switch::On,
            rate_limit: 200,
            slip: 2,
            free_bytes: 8_000,
            cookies: Switch::On,
            udp_bytes_without_cookie: MIN_UDP_BYTES,
            signatures_per_second: 2_000,
        }
    }
}

impl GuardConfig {
    /// Checks everything.
    pub fn validate(&self) -> Result<(), GuardConfigError> {
        let lists = [
            ("allow", &self.allow),
            ("deny", &self.deny),
            ("forward_allow", &self.forward_allow),
            ("forward_deny", &self.forward_deny),
            ("exempt", &self.exempt),
        ];
        if let Some((key, list)) = lists.into_iter().find(|(_, list)| list.len() > MAX_PREFIXES) {
            return Err(GuardConfigError::TooMany { key, got: list.len() });
        }
        if !(MIN_UDP_BYTES..=MAX_UDP_BYTES).contains(&self.udp_bytes_without_cookie) {
            return Err(GuardConfigError::UdpBytes(self.udp_bytes_without_cookie));
        }
        let rates = [
            ("rate_limit", self.rate_limit),
            ("free_bytes", self.free_bytes),
            ("signatures_per_second", self.signatures_per_second),
        ];
        if let Some((key, got)) = rates.into_iter().find(|(_, got)| *got > MAX_RATE) {
            return Err(GuardConfigError::Rate { key, got });
        }
        if self.slip > MAX_SLIP {
            return Err(GuardConfigError::Slip(self.slip));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: Result<(), &str>) {
        let config: GuardConfig = toml::from_str(toml).expect("it parses");
        assert_eq!(config.validate().map_err(|e| e.to_string()), expected.map_err(str::to_owned), "{toml}");
    }

    #[test]
    fn the_default_is_valid_and_whole() {
        let config = GuardConfig::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.forward_allow.len(), config.exempt.len()), (LOCAL.len(), 2), "all prefixes can be read");
        assert_eq!(toml::from_str::<GuardConfig>(""), Ok(config.clone()));
        let text = toml::to_string(&config).expect("it can be written");
        assert_eq!(toml::from_str::<GuardConfig>(&text), Ok(config));
    }

    #[test]
    fn each_rule_has_its_sentence() {
        check("allow = ['192.0.2.0/24', '2001:db8::/32']\ndeny = ['192.0.2.1/32']\ncookies = 'off'", Ok(()));
        check("rate_limit = 0\nfree_bytes = 0\nsignatures_per_second = 0\nslip = 0", Ok(()));
        check(
            "udp_bytes_without_cookie = 511",
            Err("dns.guard.udp_bytes_without_cookie is 511, it must be 512 to 1232"),
        );
        check("rate_limit = 100000001", Err("dns.guard.rate_limit is 100000001, it must be at most 100000000"));
        check("slip = 16", Err("dns.guard.slip is 16, it must be at most 15"));
        let many: Vec<String> = (0..257).map(|i| format!("'10.{}.{}.0/24'", i / 256, i % 256)).collect();
        check(&format!("deny = [{}]", many.join(",")), Err("dns.guard.deny has 257 entries, at most 256 are allowed"));
    }

    #[test]
    fn what_is_no_prefix_and_no_key_is_refused() {
        let error = toml::from_str::<GuardConfig>("allow = ['192.0.2.300/24']").expect_err("no address").to_string();
        assert!(error.contains("\"192.0.2.300/24\" is not a network or an address, such as"), "{error}");
        let error = toml::from_str::<GuardConfig>("rate = 3").expect_err("a typo").to_string();
        assert!(error.contains("`rate_limit`"), "{error}");
    }
}
