//! What a running node takes over from a configuration that has changed: what is cheap and safe, and nothing that would
//! need sockets, threads or the database made anew.
//!
//! HOSTS files and the certificate of encrypted DNS are noticed when they change; a reload does not wait for that.

use resolver::serve::server::Reread;

use crate::{config::Config, reload::Reloaded};

/// What `old` becomes with as much of `new` as can be taken over.
pub(super) fn reloaded(old: &Config, new: &Config) -> (Config, Reloaded) {
    let (changed, needs_restart) = old.differences(new).into_iter().partition(|key: &String| is_reloadable(key));
    (merged(old, new), Reloaded { changed, needs_restart, ..Reloaded::default() })
}

/// Adds what came of reading files again.
pub(super) fn add(reloaded: &mut Reloaded, reread: Reread) {
    match reread.hosts {
        Some(Ok(names)) => reloaded.hosts_names = Some(names),
        Some(Err(error)) => reloaded.problems.push(error.to_string()),
        None => {}
    }
    if let Some(Err(error)) = reread.certificate {
        reloaded.problems.push(error.to_string());
    }
}

/// Whether a key can be changed while the node runs.
fn is_reloadable(key: &str) -> bool {
    const KEYS: [&str; 10] = [
        // The program applies this one: the node does not own the log.
        "log.level",
        "mining.mode",
        "mining.duty",
        "p2p.peers",
        "dns.guard.allow",
        "dns.guard.deny",
        "dns.guard.forward_allow",
        "dns.guard.forward_deny",
        "dns.guard.exempt",
        "dns.guard.exempt_forwarded",
    ];
    KEYS.contains(&key)
}

/// The configuration that holds: `new` where that is possible, else `old`.
fn merged(old: &Config, new: &Config) -> Config {
    let mut config = old.clone();
    config.log.level.clone_from(&new.log.level);
    (config.mining.mode, config.mining.duty) = (new.mining.mode, new.mining.duty);
    config.p2p.peers.clone_from(&new.p2p.peers);
    let (guard, wanted) = (&mut config.dns.guard, &new.dns.guard);
    guard.allow.clone_from(&wanted.allow);
    guard.deny.clone_from(&wanted.deny);
    guard.forward_allow.clone_from(&wanted.forward_allow);
    guard.forward_deny.clone_from(&wanted.forward_deny);
    guard.exempt.clone_from(&wanted.exempt);
    guard.exempt_forwarded = wanted.exempt_forwarded;
    config
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    fn parse(text: &str) -> Config {
        let overrides = Overrides { data_dir: Some("/data".into()), ..Overrides::default() };
        Config::parse(text, Path::new("n.toml"), overrides).expect(text)
    }

    /// What is called reloadable is taken over, and nothing else is.
    #[test]
    fn what_is_taken_over_is_what_is_said() {
        let old = parse("");
        let new = parse(
            "role = 'archive'\n[mining]\nmode = 'off'\nduty = 7\nthreads = 3\n[log]\nlevel = 'debug'\nformat = 'json'\n\
             [p2p]\npeers = ['/ip4/192.0.2.1/tcp/9353']\noutbound = 7\n\
             [dns]\nsuffixes = ['other']\n[dns.guard]\nallow = ['192.0.2.0/24']\ndeny = ['192.0.2.1']\nslip = 5\n\
             forward_allow = ['192.0.2.2']\nforward_deny = ['192.0.2.3']\nexempt = ['192.0.2.4']",
        );
        let (left, taken) = (merged(&old, &new).differences(&new), old.differences(&merged(&old, &new)));
        assert_eq!(left, ["dns.guard.slip", "dns.suffixes", "log.format", "mining.threads", "p2p.outbound", "role"]);
        assert_eq!(taken.len(), 9);
        assert!(taken.iter().all(|key| is_reloadable(key)), "{taken:?}");
        assert!(!left.iter().any(|key| is_reloadable(key)), "{left:?}");
    }
}
