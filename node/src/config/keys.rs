//! A configuration as a list of keys with their values: what differs between two of them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Config;

impl Config {
    /// The keys whose values differ, such as `dns.guard.allow`, sorted.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.keys(), other.keys());
        // A key without a value is missing on its side.
        let all = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
        let mut keys: Vec<String> = all.filter(|key| ours.get(*key) != theirs.get(*key)).cloned().collect();
        keys.sort();
        keys
    }

    fn keys(&self) -> BTreeMap<String, Value> {
        let mut keys = BTreeMap::new();
        let mut put = |key: &str, value: Value| flatten(key, value, &mut keys);
        put("network", Value::from(self.network.as_str()));
        put("role", Value::from(self.role.as_str()));
        put("data_dir", Value::from(self.data_dir.display().to_string()));
        put("p2p", value_of(&self.p2p));
        put("mining", value_of(&self.mining));
        put("dns", value_of(&self.dns));
        put("api", value_of(&self.api));
        put("metrics", value_of(&self.metrics));
        put("log", value_of(&self.log));
        keys
    }
}

fn value_of(section: &impl Serialize) -> Value {
    serde_json::to_value(section).expect("sections are plain tables with text for keys")
}

fn flatten(key: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                flatten(&format!("{key}.{name}"), value, into);
            }
        }
        value => drop(into.insert(key.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    fn check(before: &str, after: &str, expected: &[&str]) {
        let overrides = Overrides { data_dir: Some("/data".into()), ..Overrides::default() };
        let parse = |text| Config::parse(text, Path::new("n.toml"), overrides.clone()).expect(text);
        let (before, after) = (parse(before), parse(after));
        assert_eq!(before.differences(&after), expected);
        assert_eq!(after.differences(&before), expected);
    }

    #[test]
    fn every_changed_key_is_named() {
        check("", "", &[]);
        check("", crate::config::EXAMPLE, &[]);
        check("", "role = 'archive'\n[log]\nlevel = 'debug'", &["log.level", "role"]);
        check("[dns.guard]\nslip = 3", "[dns.guard]\nallow = ['192.0.2.0/24']", &["dns.guard.allow", "dns.guard.slip"]);
        check("[mining]\nduty = 5", "[metrics]\nlisten = 'off'", &["metrics.listen", "mining.duty"]);
        check("", "[api]\nlisten = '127.0.0.1:1'\nsocket = '/s'", &["api.listen", "api.socket"]);
    }
}
