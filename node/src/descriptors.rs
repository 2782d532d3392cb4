//! File descriptors: the limit of the process, and who gets how many of them.
//!
//! Everything that opens descriptors on behalf of others gets a bound, so that what strangers do to one part takes none
//! from the others: a crowd on DNS cannot keep the node's user from its API. Where the limit is too low for what is
//! configured, all bounds shrink in proportion.

use std::io;

use tracing::{info, warn};

/// What is open whatever happens: listeners, event queues, pipes, logs and locks of the database, files being read, dials
/// and questions to upstreams under way.
const BASE: u64 = 96;
/// The limit is not raised beyond this: nothing here needs more, and some systems refuse it.
const MOST: u64 = 1 << 20;
/// Below this something will fail sooner or later.
const ENOUGH: u64 = 256;

/// Connections that each listener of the API may have: enough for pages, wallets and readers of events of one machine.
pub const API_CONNECTIONS: usize = 128;
/// Listeners of the API: the socket, TCP, metrics.
const API_LISTENERS: usize = 3;

/// How many descriptors the parts may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Connections for DNS, of all kinds together.
    pub dns: usize,
    /// Connections of each listener of the API.
    pub api: usize,
    /// Peers, in both directions.
    pub peers: u32,
    /// Files that the database holds open.
    pub database: u32,
}

/// The least that each part can do with. The database's own minimum is 20.
const LEAST: Budget = Budget { dns: 16, api: 8, peers: 8, database: 20 };

impl Budget {
    /// What all of it together takes.
    fn total(&self) -> u64 {
        (self.dns + self.api * API_LISTENERS) as u64 + u64::from(self.peers) + u64::from(self.database)
    }

    /// As much of this as fits into `limit` descriptors: the least for everybody, and of the rest in proportion.
    pub fn within(self, limit: u64) -> Self {
        let available = limit.saturating_sub(BASE);
        if self.total() <= available {
            return self;
        }
        let least = Self {
            dns: self.dns.min(LEAST.dns),
            api: self.api.min(LEAST.api),
            peers: self.peers.min(LEAST.peers),
            database: self.database.min(LEAST.database),
        };
        let (rest, wanted) = (available.saturating_sub(least.total()), self.total() - least.total());
        // Nothing beyond the least is wanted if the division would be by zero.
        let part = |wanted_here: u64, least: u64| least + (wanted_here - least) * rest / wanted.max(1);
        Self {
            dns: part(self.dns as u64, least.dns as u64) as usize,
            api: part(self.api as u64, least.api as u64) as usize,
            peers: part(self.peers.into(), least.peers.into()) as u32,
            database: part(self.database.into(), least.database.into()) as u32,
        }
    }

    /// Says at the start what there is, and whether it is less than `wanted`.
    pub fn announce(&self, wanted: &Self, limit: u64) {
        let Self { dns, api, peers, database } = *self;
        info!(limit, dns, api, peers, database, "file descriptors");
        if limit < ENOUGH {
            warn!(limit, enough = ENOUGH, "far too few file descriptors: raise the limit (ulimit -n, LimitNOFILE=)");
        } else if self != wanted {
            let enough = wanted.total() + BASE;
            warn!(limit, enough, "fewer connections than configured: raise the limit (ulimit -n, LimitNOFILE=)");
        }
    }
}

/// Raises the soft limit of this process to the hard one, and gives the limit that holds.
#[allow(unsafe_code)] // Two system calls that the standard library does not offer.
pub fn raise_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for what the call writes, and lives across it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let soft = limit.rlim_cur;
    let wanted = limit.rlim_max.min(MOST);
    if soft >= wanted {
        return Ok(soft);
    }
    limit.rlim_cur = wanted;
    // SAFETY: the call only reads `limit`, which lives across it.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0;
    Ok(if raised { wanted } else { soft })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Budget = Budget { dns: 512, api: API_CONNECTIONS, peers: 64, database: 256 };

    #[test]
    fn plenty_changes_nothing() {
        for limit in [WANTED.total() + BASE, 65_536, u64::MAX] {
            assert_eq!(WANTED.within(limit), WANTED, "{limit}");
        }
        assert_ne!(WANTED.within(WANTED.total() + BASE - 1), WANTED);
    }

    #[test]
    fn what_is_given_fits_and_everybody_gets_something() {
        for limit in 0..2_000 {
            let given = WANTED.within(limit);
            assert!(given.total() + BASE <= limit.max(LEAST.total() + BASE), "{limit}: {given:?}");
            assert!(given.dns >= LEAST.dns && given.api >= LEAST.api, "{limit}: {given:?}");
            assert!(given.peers >= LEAST.peers && given.database >= LEAST.database, "{limit}: {given:?}");
        }
        let few = Budget { dns: 3, api: 2, peers: 1, database: 256 };
        assert_eq!(
            (few.within(100).dns, few.within(100).api, few.within(100).peers),
            (3, 2, 1),
            "never more than wanted"
        );
    }

    #[test]
    fn a_limit_is_found() {
        assert!(raise_limit().expect("the system tells") > 0);
    }
}
