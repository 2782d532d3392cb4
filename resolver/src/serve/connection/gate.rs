//! Who may connect: the caps on connections, and who has to go when there is no room.
//!
//! A connection is busy while a query that has come as a whole is in work, and idle otherwise: one that waits for its
//! client to say the rest of a query, or to take an answer, counts as idle. When the server is full, or a client network
//! has its share, a new connection takes the place of the one (of the same network, in the second case) that has been
//! idle the longest. If none is idle, the one that has been busy the longest goes, but not before [`BUSY_LIMIT`]: no
//! honest query takes so long. If none has been, the new one is refused.
//!
//! A connection that has just been accepted may have its query waiting in its socket. Until the socket has been read for
//! the first time it is neither idle nor busy, but unread, and makes room for no other. Reading depends on this server
//! alone, never on the client, and connections are accepted no faster than they are read: there are [`MAX_UNREAD`] unread
//! ones at most, and fewer than half as many as places, so that they cannot hold the places of a network.
//!
//! A connection on which nothing has come when it was read is silent. While nothing has come on more than half of the
//! connections, the silent one that has been idle the longest makes room: connections without number that say nothing end
//! no handshake that takes another round trip. Otherwise being silent makes no difference, so that a client that has yet
//! to speak is not kept out by those that have.
//!
//! What a connection holds at most is bounded by how many queries it may have in work. While there are few connections
//! each may have many; a newcomer to a crowd gets a smaller share, so that all of them together stay small.
//!
//! Over QUIC anybody can begin a connection in somebody else's name. Such a one gets in without proof of its address only
//! while there are few, and never in the place of another.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::policy::config::ConnectionsConfig;

/// For how long a connection that is busy need not make room: longer than forwarding, the slowest work, may take.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// Connections that have been accepted and not been read. More would not be read any sooner; fewer would make the
/// listeners wait for each of them.
const MAX_UNREAD: usize = 32;

/// A client that has not proved its address is let in while its network, and the server, have fewer connections than
/// this: each costs a signature, and handshakes that nobody asked for go to whoever has the address.
const UNPROVEN_PER_CLIENT: usize = 4;
const UNPROVEN: usize = 32;

/// There is a crowd once one of so many places is taken.
const CROWD_DIVISOR: usize = 8;
/// In a crowd a connection may have one of so many of the queries in work that it could have otherwise.
const CROWD_SHARE_DIVISOR: usize = 8;

/// Counts connections of all kinds.
pub(crate) struct Gate {
    limits: ConnectionsConfig,
    inside: Mutex<Inside>,
    unread: Arc<Semaphore>,
    epoch: Instant,
}

/// One of the places for connections that have not been read.
pub(crate) struct Unread {
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Inside {
    next_id: u64,
    seats: HashMap<u64, Arc<Seat>>,
    per_network: HashMap<IpNet, usize>,
}

/// One connection as the gate sees it.
struct Seat {
    network: IpNet,
    /// The milliseconds since the gate's epoch at which it became what it is, shifted by [`KIND_BITS`], and what it is.
    state: AtomicU64,
    is_evicted: AtomicBool,
    leave: Notify,
}

/// What a connection is: the low bits of its seat's state.
const KIND_BITS: u32 = 2;
const KIND: u64 = (1 << KIND_BITS) - 1;
const IDLE: u64 = 0;
const BUSY: u64 = 1;
const UNREAD: u64 = 2;
const SILENT: u64 = 3;

/// The right to be connected, for as long as this lives.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    id: u64,
    seat: Arc<Seat>,
    unread: Mutex<Option<Unread>>,
    max_in_work: usize,
}

impl Gate {
    pub(crate) fn new(limits: ConnectionsConfig) -> Arc<Self> {
        // A newcomer has one of these and no place yet, so less than half of all places are of connections that have not
        // been read: one that has been can always be found.
        let max_unread = MAX_UNREAD.min(limits.max / 2).min(limits.max_per_client / 2).max(1);
        let unread = Arc::new(Semaphore::new(max_unread));
        Arc::new(Self { limits, inside: Mutex::default(), unread, epoch: Instant::now() })
    }

    pub(crate) fn limits(&self) -> &ConnectionsConfig {
        &self.limits
    }

    /// Waits until so few connections have not been read that another one may come. To be called for each that has been
    /// accepted.
    pub(crate) async fn unread(&self) -> Unread {
        Unread { _permit: self.unread.clone().acquire_owned().await.expect("the semaphore is never closed") }
    }

    /// Lets a connection from `ip` in, if need be in the place of another, which is told to leave.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, unread: Unread) -> Option<Pass> {
        let network = self.network(ip);
        let mut inside = self.lock();
        if inside.of(&network) >= self.limits.max_per_client {
            inside.evict(self.now_ms(), |seat| seat.network == network)?;
        }
        if inside.seats.len() >= self.limits.max {
            inside.evict(self.now_ms(), |_| true)?;
        }
        Some(self.seat(&mut inside, network, unread))
    }

    /// Lets a connection in that claims to come from `ip`. `None` if it has to prove that.
    pub(crate) fn enter_unproven(self: &Arc<Self>, ip: IpAddr, unread: Unread) -> Option<Pass> {
        let network = self.network(ip);
        let mut inside = self.lock();
        let is_one_of_few = inside.of(&network) < self.limits.max_per_client.min(UNPROVEN_PER_CLIENT)
            && inside.seats.len() < self.limits.max.min(UNPROVEN);
        is_one_of_few.then(|| self.seat(&mut inside, network, unread))
    }

    fn seat(self: &Arc<Self>, inside: &mut Inside, network: IpNet, unread: Unread) -> Pass {
        let state = AtomicU64::new(self.since_now(UNREAD));
        let seat = Arc::new(Seat { network, state, is_evicted: AtomicBool::new(false), leave: Notify::new() });
        let id = inside.next_id;
        inside.next_id += 1;
        inside.seats.insert(id, seat.clone());
        *inside.per_network.entry(network).or_default() += 1;
        let max_in_work = match inside.seats.len() > self.limits.max / CROWD_DIVISOR {
            true => crowd_share(self.limits.max_in_work),
            false => self.limits.max_in_work,
        };
        Pass { gate: self.clone(), id, seat, unread: Mutex::new(Some(unread)), max_in_work }
    }

    fn network(&self, ip: IpAddr) -> IpNet {
        let ip = ip.to_canonical();
        let bits = if ip.is_ipv4() { self.limits.client_prefix_v4 } else { self.limits.client_prefix_v6 };
        IpNet::new(ip, bits).unwrap_or_else(|_| IpNet::from(ip)).trunc()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX) & (u64::MAX >> KIND_BITS)
    }

    /// The state of a seat that becomes `kind` now.
    fn since_now(&self, kind: u64) -> u64 {
        (self.now_ms() << KIND_BITS) | kind
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// How many connections a network has.
    fn of(&self, network: &IpNet) -> usize {
        self.per_network.get(network).copied().unwrap_or_default()
    }

    /// Tells the idlest of `candidates` to leave; `None` if all have work that may still take its time.
    fn evict(&mut self, now_ms: u64, candidates: impl Fn(&Seat) -> bool) -> Option<()> {
        let (mut count, mut unspoken) = (0, 0);
        // Whether it is busy, since when, and which it is: of the silent ones, and of all.
        let (mut first_silent, mut first) = (None, None);
        for (id, seat) in self.seats.iter().filter(|(_, seat)| candidates(seat)) {
            let state = seat.state.load(Ordering::Relaxed);
            let (kind, since_ms) = (state & KIND, state >> KIND_BITS);
            count += 1;
            unspoken += usize::from(matches!(kind, UNREAD | SILENT));
            let has_time = u128::from(now_ms.saturating_sub(since_ms)) <= BUSY_LIMIT.as_millis();
            if kind == UNREAD || (kind == BUSY && has_time) {
                continue;
            }
            let rank = (kind == BUSY, since_ms, *id);
            first = earlier(first, rank);
            if kind == SILENT {
                first_silent = earlier(first_silent, rank);
            }
        }
        let (_, _, id) = if unspoken > count / 2 { first_silent.or(first)? } else { first? };
        let seat = self.remove(id)?;
        seat.is_evicted.store(true, Ordering::Release);
        seat.leave.notify_one();
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Seat>> {
        let seat = self.seats.remove(&id)?;
        if let Some(count) = self.per_network.get_mut(&seat.network) {
            *count -= 1;
            if *count == 0 {
                self.per_network.remove(&seat.network);
            }
        }
        Some(seat)
    }
}

/// What is left of so many queries in work for one connection in a crowd.
pub(super) fn crowd_share(max_in_work: usize) -> usize {
    max_in_work.div_ceil(CROWD_SHARE_DIVISOR)
}

fn earlier<T: Ord + Copy>(have: Option<T>, other: T) -> Option<T> {
    Some(have.map_or(other, |have| have.min(other)))
}

impl Pass {
    /// Queries of this connection that may be in work at a time.
    pub(crate) fn max_in_work(&self) -> usize {
        self.max_in_work
    }

    /// Marks the connection as read: whatever had come was taken from its socket.
    pub(crate) fn has_been_read(&self) {
        self.change(SILENT, |kind| kind == UNREAD);
        // Another connection may be accepted.
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Marks the connection as one on which something has come: from now on it is idle unless it is busy.
    pub(crate) fn has_spoken(&self) {
        self.change(IDLE, |kind| matches!(kind, UNREAD | SILENT));
        self.has_been_read();
    }

    /// Marks the connection as working: from now on, if it was not.
    pub(crate) fn busy(&self) {
        self.change(BUSY, |kind| kind == IDLE);
    }

    /// Marks the connection as idle from now on, unless nothing has ever come on it.
    pub(crate) fn idle(&self) {
        self.change(IDLE, |kind| matches!(kind, IDLE | BUSY));
    }

    /// Makes it `kind`, if what it is now allows that.
    fn change(&self, kind: u64, from: impl Fn(u64) -> bool) {
        let new = self.gate.since_now(kind);
        // An error means that it does not.
        let _ = self
            .seat
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| from(state & KIND).then_some(new));
    }

    /// Whether this connection's place has been given to another.
    pub(crate) fn is_evicted(&self) -> bool {
        self.seat.is_evicted.load(Ordering::Acquire)
    }

    /// Waits until this connection has to make room for another. To be called from one place at a time.
    pub(crate) async fn evicted(&self) {
        if !self.is_evicted() {
            self.seat.leave.notified().await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests;
