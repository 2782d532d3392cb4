//! The `[dns.forward]` section: how questions that are not ours travel, and what of the answers is kept and believed.

use std::{collections::HashSet, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    dns::name::{Dname, DnameError},
    policy::target::{Target, TargetError},
    zones::answer,
};

/// The most rules, and the most exceptions from the rebinding guard.
const MAX_RULES: usize = 64;
/// The most upstreams of one rule.
const MAX_RULE_UPSTREAMS: usize = 8;
/// The smallest cache that is one: below it, a single answer would fill a shard.
const MIN_CACHE_BYTES: u64 = 1 << 20;
/// The largest cache, in bytes: more is a mistake in the unit.
const MAX_CACHE_BYTES: u64 = 1 << 36;
/// The longest time for which an answer may be served beyond its TTL, in seconds (RFC 8767 §5 suggests 1 to 3 days).
const MAX_STALE_S: u32 = 7 * 86_400;
/// The longest time that a client waits before it gets a stale answer, in milliseconds: the forwarder gives up then.
const MAX_STALE_AFTER_MS: u64 = 4_000;

/// How other questions are passed on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardConfig {
    /// Bytes of answers to keep. 0 keeps none.
    pub cache_bytes: u64,
    /// Seconds for which an answer may be served beyond its TTL while no upstream answers. 0 for never.
    pub max_stale_s: u32,
    /// Milliseconds after which a client gets a stale answer, if there is one, while upstreams are still being asked.
    pub stale_after_ms: u64,
    /// Whether answers that are still asked for are fetched again shortly before they expire.
    pub prefetch: bool,
    /// Whether forwarded answers that lead into the local network are withheld (DNS rebinding).
    pub rebinding_guard: bool,
    /// Suffixes whose names may have local addresses all the same.
    pub rebinding_allow: Vec<String>,
    /// Whether names of the ledger may have local addresses.
    pub private_ledger_addresses: bool,
    /// Which questions over UDP have random letter case, which answers must repeat, for upstreams that can.
    pub case_randomization: CaseRandomization,
    /// Whether addresses of names without dots are asked for only where a rule says so.
    pub domain_needed: bool,
    /// A file of PEM certificates of authorities to trust for upstreams, besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Where the upstream `system` finds the machine's name servers.
    pub resolv_conf: PathBuf,
    /// Other upstreams for some suffixes; the longest suffix wins.
    pub rules: Vec<Rule>,
}

/// Which questions have letters of random case (0x20), which a forger has to guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseRandomization {
    /// None.
    Never,
    /// Those to upstreams outside of the local network.
    #[default]
    Public,
    /// All.
    Always,
}

/// Also a boolean, as it was written before: `true` is "public", `false` is "never".
impl<'de> Deserialize<'de> for CaseRandomization {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Switch(bool),
            Word(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Switch(false) => Ok(Self::Never),
            Written::Switch(true) => Ok(Self::Public),
            Written::Word(word) => match word.as_str() {
                "never" => Ok(Self::Never),
                "public" => Ok(Self::Public),
                "always" => Ok(Self::Always),
                other => Err(D::Error::unknown_variant(other, &["never", "public", "always"])),
            },
        }
    }
}

/// Where the names below one suffix are asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The suffix. A rule for a special-use name (`home.arpa`, a reverse zone of private addresses) opens it.
    pub suffix: String,
    /// Who is asked. An empty list refuses these names.
    pub upstreams: Vec<String>,
}

/// Why a `[dns.forward]` section cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForwardConfigError {
    /// A list is longer than anybody needs.
    #[error("dns.forward.{key} has {got} entries, at most {max} are allowed")]
    TooMany {
        /// The key.
        key: &'static str,
        /// Its length.
        got: usize,
        /// The most allowed.
        max: usize,
    },
    /// The cache is neither off nor usable.
    #[error(
        "dns.forward.cache_bytes is {0}, it must be 0 (no cache) or {MIN_CACHE_BYTES} (1 MiB) to {MAX_CACHE_BYTES} \
         (64 GiB)"
    )]
    CacheBytes(u64),
    /// Answers would be kept too long.
    #[error("dns.forward.max_stale_s is {0}, at most {MAX_STALE_S} (a week) is allowed; 0 turns stale answers off")]
    MaxStale(u32),
    /// Clients would have given up.
    #[error("dns.forward.stale_after_ms is {0}, at most {MAX_STALE_AFTER_MS} is allowed: clients give up after that")]
    StaleAfter(u64),
    /// A suffix is no domain name.
    #[error("dns.forward.{key}: {suffix:?} is not a domain name: {reason}")]
    Suffix {
        /// The key.
        key: &'static str,
        /// As written.
        suffix: String,
        /// What is wrong.
        reason: DnameError,
    },
    /// A rule for everything.
    #[error("dns.forward.rules: a rule for every name is what dns.upstreams is for")]
    Root,
    /// A rule for our names.
    #[error("dns.forward.rules: {0:?} is within dns.suffixes, whose names are answered from the ledger")]
    Ours(String),
    /// A rule for names that must be answered here.
    #[error("dns.forward.rules: {0:?} is always answered here (RFC 6761, RFC 9462) and cannot be forwarded")]
    NeverForwarded(String),
    /// Two rules for one suffix.
    #[error("dns.forward.rules: there are two rules for {0:?}")]
    Twice(String),
    /// An upstream of a rule cannot be used.
    #[error("dns.forward.rules: upstream {text:?} of {suffix:?} {reason}")]
    Upstream {
        /// The rule.
        suffix: String,
        /// As written.
        text: String,
        /// What is wrong.
        reason: TargetError,
    },
    /// The file of authorities cannot be used.
    #[error("dns.forward.ca_file: {path} {reason}")]
    CaFile {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            max_stale_s: 86_400,
            stale_after_ms: 1_800,
            prefetch: true,
            rebinding_guard: true,
            rebinding_allow: Vec::new(),
            private_ledger_addresses: true,
            case_randomization: CaseRandomization::default(),
            domain_needed: true,
            ca_file: None,
            resolv_conf: "/etc/resolv.conf".into(),
            rules: Vec::new(),
        }
    }
}

impl ForwardConfig {
    /// Checks everything that can be checked without files and sockets. `ours` are the suffixes of the ledger.
    pub(crate) fn validate(&self, ours: &[Dname]) -> Result<(), ForwardConfigError> {
        at_most("rules", self.rules.len(), MAX_RULES)?;
        at_most("rebinding_allow", self.rebinding_allow.len(), MAX_RULES)?;
        if self.cache_bytes != 0 && !(MIN_CACHE_BYTES..=MAX_CACHE_BYTES).contains(&self.cache_bytes) {
            return Err(ForwardConfigError::CacheBytes(self.cache_bytes));
        }
        if self.max_stale_s > MAX_STALE_S {
            return Err(ForwardConfigError::MaxStale(self.max_stale_s));
        }
        if self.stale_after_ms > MAX_STALE_AFTER_MS {
            return Err(ForwardConfigError::StaleAfter(self.stale_after_ms));
        }
        self.allowed()?;
        let mut seen = HashSet::new();
        for rule in &self.rules {
            if !seen.insert(rule.checked_suffix(ours)?) {
                return Err(ForwardConfigError::Twice(rule.suffix.clone()));
            }
            at_most("rules.upstreams", rule.upstreams.len(), MAX_RULE_UPSTREAMS)?;
            rule.targets()?;
        }
        Ok(())
    }

    /// The exceptions from the rebinding guard.
    pub(crate) fn allowed(&self) -> Result<Vec<Dname>, ForwardConfigError> {
        self.rebinding_allow.iter().map(|text| suffix("rebinding_allow", text)).collect()
    }
}

impl Rule {
    /// The suffix as a name.
    pub(crate) fn name(&self) -> Result<Dname, ForwardConfigError> {
        suffix("rules", &self.suffix)
    }

    /// The upstreams, parsed.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, ForwardConfigError> {
        let target = |text: &String| {
            text.parse().map_err(|reason| ForwardConfigError::Upstream {
                suffix: self.suffix.clone(),
                text: text.clone(),
                reason,
            })
        };
        self.upstreams.iter().map(target).collect()
    }

    fn checked_suffix(&self, ours: &[Dname]) -> Result<Dname, ForwardConfigError> {
        let name = self.name()?;
        if name == Dname::root() {
            return Err(ForwardConfigError::Root);
        }
        if ours.iter().any(|zone| name.is_within(zone)) {
            return Err(ForwardConfigError::Ours(self.suffix.clone()));
        }
        if !self.upstreams.is_empty() && answer::must_stay(&name) {
            return Err(ForwardConfigError::NeverForwarded(self.suffix.clone()));
        }
        Ok(name)
    }
}

fn suffix(key: &'static str, text: &str) -> Result<Dname, ForwardConfigError> {
    text.parse().map_err(|reason| ForwardConfigError::Suffix { key, suffix: text.to_owned(), reason })
}

fn at_most(key: &'static str, got: usize, max: usize) -> Result<(), ForwardConfigError> {
    if got > max { Err(ForwardConfigError::TooMany { key, got, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: Result<(), &str>) {
        let config: ForwardConfig = toml::from_str(toml).expect("it parses");
        let ours = ["p2p", "p2p.alt"].map(|text| text.parse().expect("a name"));
        assert_eq!(config.validate(&ours).map_err(|e| e.to_string()), expected.map_err(str::to_owned), "{toml}");
    }

    #[test]
    fn the_default_is_valid_and_survives_toml() {
        let mut config = ForwardConfig::default();
        assert_eq!(config.validate(&[]), Ok(()));
        assert_eq!(toml::from_str::<ForwardConfig>("").expect("empty"), config);
        config.rules = vec![Rule { suffix: "home.arpa".to_owned(), upstreams: vec!["192.168.1.1".to_owned()] }];
        let text = toml::to_string(&config).expect("it can be written");
        assert_eq!(toml::from_str::<ForwardConfig>(&text).expect("it can be read"), config);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<ForwardConfig>("cache = 1").is_err());
        assert!(toml::from_str::<ForwardConfig>("rules = [{ suffix = 'a', upstream = [] }]").is_err());
    }

    #[test]
    fn letter_case_is_a_word_or_a_switch() {
        use CaseRandomization::{Always, Never, Public};
        for (text, expected) in
            [("true", Public), ("false", Never), ("'public'", Public), ("'never'", Never), ("'always'", Always)]
        {
            let config: ForwardConfig = toml::from_str(&format!("case_randomization = {text}")).expect(text);
            assert_eq!(config.case_randomization, expected);
        }
        assert!(toml::from_str::<ForwardConfig>("case_randomization = 'sometimes'").is_err());
    }

    #[test]
    fn each_rule_has_its_sentence() {
        let rule =
            |suffix: &str, upstreams: &str| format!("rules = [{{ suffix = '{suffix}', upstreams = [{upstreams}] }}]");
        check("cache_bytes = 0\nmax_stale_s = 0\nstale_after_ms = 0", Ok(()));
        check(&rule("home.arpa", "'192.168.1.1'"), Ok(()));
        check(&rule("168.192.in-addr.arpa.", "'system'"), Ok(()));
        check(&rule("alt", "'127.0.0.1:5353'"), Ok(()));
        check(&rule("ads.example", ""), Ok(()));
        check(
            "cache_bytes = 1000",
            Err("dns.forward.cache_bytes is 1000, it must be 0 (no cache) or 1048576 (1 MiB) to 68719476736 (64 GiB)"),
        );
        check(
            "max_stale_s = 1000000",
            Err("dns.forward.max_stale_s is 1000000, at most 604800 (a week) is allowed; 0 turns stale answers off"),
        );
        check(
            "stale_after_ms = 5000",
            Err("dns.forward.stale_after_ms is 5000, at most 4000 is allowed: clients give up after that"),
        );
        check(
            "rebinding_allow = ['a..b']",
            Err("dns.forward.rebinding_allow: \"a..b\" is not a domain name: a label is empty"),
        );
        check(&rule("a..b", ""), Err("dns.forward.rules: \"a..b\" is not a domain name: a label is empty"));
        check(&rule(".", ""), Err("dns.forward.rules: a rule for every name is what dns.upstreams is for"));
        check(
            &rule("Bob.P2P", "'192.0.2.1'"),
            Err("dns.forward.rules: \"Bob.P2P\" is within dns.suffixes, whose names are answered from the ledger"),
        );
        check(
            &rule("x.localhost", "'192.0.2.1'"),
            Err(
                "dns.forward.rules: \"x.localhost\" is always answered here (RFC 6761, RFC 9462) and cannot be forwarded",
            ),
        );
        check(
            "rules = [{ suffix = 'lan', upstreams = [] }, { suffix = 'LAN.', upstreams = [] }]",
            Err("dns.forward.rules: there are two rules for \"LAN.\""),
        );
        check(
            &rule("lan", "'router.lan'"),
            Err(
                "dns.forward.rules: upstream \"router.lan\" of \"lan\" has a host name, which needs a bootstrap address \
                 behind \"#\", such as \"tls://dns.quad9.net#9.9.9.9\"",
            ),
        );
    }
}
