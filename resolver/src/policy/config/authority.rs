//! `[dns.authority."<suffix>"]`: what a zone below a domain of the operator's own says about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use crate::{
    dns::name::Dname,
    zones::site::{Authority, Zone},
};

/// The most name servers of one zone.
const MAX_NAME_SERVERS: usize = 13;

/// The zones that the public DNS delegates to this server, by their suffix.
pub type Authorities = BTreeMap<String, AuthorityConfig>;

/// What a zone that the public DNS delegates says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorityConfig {
    /// Host names of the zone's name servers, the same as in the parent zone, the primary one first. If empty,
    /// `ns.nic.<suffix>` with the addresses of `dns.announce`.
    pub name_servers: Vec<String>,
    /// Mail address, or the same as a domain name, of who is responsible. `hostmaster@nic.<suffix>` if absent.
    pub contact: Option<String>,
}

impl AuthorityConfig {
    /// What `zone` will say.
    fn authority(&self, suffix: &str, zone: &Dname) -> Result<Authority, ConfigError> {
        let wrong = |reason: String| ConfigError::Authority { suffix: suffix.to_owned(), reason };
        if self.name_servers.len() > MAX_NAME_SERVERS {
            return Err(wrong(format!("name_servers has more than {MAX_NAME_SERVERS} entries")));
        }
        let mut name_servers: Vec<Dname> = Vec::new();
        for text in &self.name_servers {
            let name: Dname = text.parse().map_err(|reason| wrong(format!("{text:?} is no domain name: {reason}")))?;
            if name == Dname::root() || text.parse::<std::net::IpAddr>().is_ok() {
                return Err(wrong(format!("{text:?} is no host name: name servers are given by name")));
            }
            if name.is_within(zone) {
                let hint = "leave name_servers out, and set dns.announce: that makes ns.nic below the suffix";
                return Err(wrong(format!(
                    "the name server {text:?} is inside the zone, where names have owners; {hint}"
                )));
            }
            if name_servers.contains(&name) {
                return Err(wrong(format!("name_servers lists {text:?} twice")));
            }
            name_servers.push(name);
        }
        let contact = self.contact.as_deref().map(|text| {
            contact(text).ok_or_else(|| {
                wrong(format!("the contact {text:?} is neither a mail address nor a domain name of two labels or more"))
            })
        });
        Ok(Authority { name_servers, contact: contact.transpose()? })
    }
}

/// Gives each zone its own words, if there are any.
pub(super) fn apply(authorities: &Authorities, zones: Vec<Zone>) -> Result<Vec<Zone>, ConfigError> {
    let mut given = Vec::new();
    for (suffix, config) in authorities {
        let zone: Dname = suffix.parse().map_err(|_| ConfigError::NoSuchZone(suffix.clone()))?;
        if !zones.iter().any(|known| *known.apex() == zone) {
            return Err(ConfigError::NoSuchZone(suffix.clone()));
        }
        let authority = config.authority(suffix, &zone)?;
        given.push((zone, authority));
    }
    let with_words = |zone: Zone| match given.iter().find(|(apex, _)| apex == zone.apex()) {
        Some((_, authority)) => zone.delegated(authority.clone()),
        None => zone,
    };
    Ok(zones.into_iter().map(with_words).collect())
}

/// A mail address as SOA has it: the part before the `@` is the first label, whatever it holds (RFC 1035 §8).
fn contact(text: &str) -> Option<Dname> {
    let name = match text.split_once('@') {
        Some((local, domain)) => {
            let domain: Dname = domain.parse().ok()?;
            Dname::from_labels(std::iter::once(local.as_bytes()).chain(domain.labels())).ok()?
        }
        None => text.parse().ok()?,
    };
    let is_text = text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_text && name.labels().count() >= 2).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts() {
        for (text, expected) in [
            ("hostmaster.example.org", Some("hostmaster.example.org.")),
            ("hostmaster@example.org", Some("hostmaster.example.org.")),
            ("jo.doe@example.org", Some("jo\\.doe.example.org.")),
            ("@example.org", None),
            ("hostmaster@", None),
            ("hostmaster", None),
            ("host master@example.org", None),
            ("", None),
        ] {
            assert_eq!(contact(text).map(|name| name.to_string()).as_deref(), expected, "{text}");
        }
    }
}
