//! Servers that names of the ledger are delegated to, asked like upstreams: through the same cache, flights and limits.
//!
//! Who they are is up to the owner of a name, so there is no list of them. Each set of servers is a pool of its own, kept
//! while it is used: what is known of its members' health, and connections to them, is worth keeping.

use std::{net::SocketAddr, sync::Arc};

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use super::{
    pool::{Member, Pool},
    upstream::{Context, Upstream},
};
use crate::policy::target::Server;

/// Sets of servers that are remembered. What is used least goes first.
const MAX_POOLS: usize = 1_024;
/// Attempts beyond the first of each question, and as many datagrams sent again, for all of them together.
pub(super) const PLACES: usize = 16;
/// The label of all of them in metrics: they are anybody's choice, and labels must be few.
const LABEL: &str = "delegated";

/// What is known of delegated servers.
pub(super) struct Delegated {
    context: Arc<Context>,
    pools: Cache<Vec<SocketAddr>, Arc<Pool>>,
}

/// Where an answer may lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Anywhere.
    Anywhere,
    /// Not into the local network.
    Outside,
}

impl Delegated {
    /// With the metrics, clock and habits of `context`, and places of its own: silent servers that strangers choose must
    /// not keep configured upstreams from being asked a second time.
    pub(super) fn new(context: &Context) -> Self {
        let places = || Arc::new(Semaphore::new(PLACES));
        let context = Context { spare_attempts: places(), resends: places(), ..context.clone() };
        Self { context: Arc::new(context), pools: Cache::new(MAX_POOLS) }
    }

    /// Forgets all of them, with what was learnt.
    pub(super) fn forget(&self) {
        self.pools.clear();
    }

    pub(super) fn pool(&self, servers: &[SocketAddr]) -> Arc<Pool> {
        let key = servers.to_vec();
        if let Some(pool) = self.pools.get(&key) {
            return pool;
        }
        let member =
            |address: &SocketAddr| Member::Fixed(Upstream::new(Server::authority(*address), LABEL, &self.context));
        let pool = Arc::new(Pool::new(servers.iter().map(member).collect(), self.context.clone()).of_delegation());
        self.pools.insert(key, pool.clone());
        pool
    }
}
