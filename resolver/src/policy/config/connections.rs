//! `[dns.connections]`: how many connections there may be, and how long each may do nothing.

use serde::{Deserialize, Serialize};

/// The most connections of all kinds together that can be allowed. Each takes a file descriptor.
const MAX_CONNECTIONS: usize = 65_536;
/// The most queries of one connection that can be worked on at a time.
const MAX_IN_WORK: usize = 1_024;
/// The shortest and the longest time limit, in milliseconds.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

/// Limits of connections: TCP, and those over it or like it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsConfig {
    /// The most connections at a time. Another one takes the place of the one that has been idle the longest, of those on
    /// which nothing has ever come if they are more than half; if none is idle, of one that has been busy for more than
    /// five seconds; and is refused if there is none either.
    pub max: usize,
    /// The most connections from one client network at a time, with the same rule among its own.
    pub max_per_client: usize,
    /// Bits of an IPv4 address that make a client network.
    pub client_prefix_v4: u8,
    /// Bits of an IPv6 address that make a client network.
    pub client_prefix_v6: u8,
    /// Queries of one connection that are worked on at a time; further ones are read when one of these is answered. An
    /// eighth as many for TCP, TLS and HTTPS connections that come when an eighth of `max` are open.
    pub max_in_work: usize,
    /// A connection on which nothing has been answered for so long is closed, in milliseconds.
    pub idle_timeout_ms: u64,
    /// A client that does not take an answer, or over HTTPS and QUIC say all of a query, within so long is cut off, in
    /// milliseconds.
    pub write_timeout_ms: u64,
}

/// Why the limits cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectionsError {
    /// A number is zero or beyond reason.
    #[error("dns.connections.{key} is {got}, it must be 1 to {max}")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        got: usize,
        /// The largest allowed.
        max: usize,
    },
    /// A prefix is longer than an address.
    #[error("dns.connections.{key} is {got}, an address has {max} bits")]
    Prefix {
        /// The key.
        key: &'static str,
        /// Its value.
        got: u8,
        /// Bits of an address.
        max: u8,
    },
    /// A time limit is too short or too long.
    #[error("dns.connections.{key} is {got}, it must be {} to {} milliseconds", TIMEOUT_MS.start(), TIMEOUT_MS.end())]
    Timeout {
        /// The key.
        key: &'static str,
        /// Its value.
        got: u64,
    },
}

impl Default for ConnectionsConfig {
    fn default() -> Self {
        Self {
            max: 512,
            max_per_client: 128,
            client_prefix_v4: 24,
            client_prefix_v6: 56,
            max_in_work: 64,
            idle_timeout_ms: 10_000,
            write_timeout_ms: 10_000,
        }
    }
}

impl ConnectionsConfig {
    pub(super) fn validate(&self) -> Result<(), ConnectionsError> {
        let numbers = [
            ("max", self.max, MAX_CONNECTIONS),
            ("max_per_client", self.max_per_client, MAX_CONNECTIONS),
            ("max_in_work", self.max_in_work, MAX_IN_WORK),
        ];
        if let Some((key, got, max)) = numbers.into_iter().find(|(_, got, max)| !(1..=*max).contains(got)) {
            return Err(ConnectionsError::Number { key, got, max });
        }
        let prefixes =
            [("client_prefix_v4", self.client_prefix_v4, 32), ("client_prefix_v6", self.client_prefix_v6, 128)];
        if let Some((key, got, max)) = prefixes.into_iter().find(|(_, got, max)| got > max) {
            return Err(ConnectionsError::Prefix { key, got, max });
        }
        let timeouts = [("idle_timeout_ms", self.idle_timeout_ms), ("write_timeout_ms", self.write_timeout_ms)];
        match timeouts.into_iter().find(|(_, got)| !TIMEOUT_MS.contains(got)) {
            Some((key, got)) => Err(ConnectionsError::Timeout { key, got }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: Result<(), &str>) {
        let config: ConnectionsConfig = toml::from_str(toml).expect("it parses");
        let got = config.validate().map_err(|error| error.to_string());
        assert_eq!(got, expected.map_err(|error| format!("dns.connections.{error}")), "{toml}");
    }

    #[test]
    fn each_rule_has_its_sentence() {
        check("", Ok(()));
        check("client_prefix_v4 = 0\nclient_prefix_v6 = 128", Ok(()));
        check("max = 0", Err("max is 0, it must be 1 to 65536"));
        check("max_per_client = 70000", Err("max_per_client is 70000, it must be 1 to 65536"));
        check("max_in_work = 0", Err("max_in_work is 0, it must be 1 to 1024"));
        check("client_prefix_v4 = 33", Err("client_prefix_v4 is 33, an address has 32 bits"));
        check("client_prefix_v6 = 129", Err("client_prefix_v6 is 129, an address has 128 bits"));
        check("idle_timeout_ms = 99", Err("idle_timeout_ms is 99, it must be 100 to 600000 milliseconds"));
        check("write_timeout_ms = 0", Err("write_timeout_ms is 0, it must be 100 to 600000 milliseconds"));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<ConnectionsConfig>("maxx = 1").expect_err("a typo").to_string();
        assert!(error.contains("maxx"), "{error}");
    }
}
