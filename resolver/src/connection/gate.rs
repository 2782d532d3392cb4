//! Who may connect: the caps on connections, and who has to go when there is no room.
//!
//! A connection is busy while a query that has come as a whole is in work, and idle otherwise: one that waits for its
//! client to say the rest of a query, or to take an answer, counts as idle. When the server is full, or a client network
//! has its share, a new connection takes the place of the one (of the same network, in the second case) that has been
//! idle the longest. If none is idle, the one that has been busy the longest goes, but not before [`BUSY_LIMIT`]: no
//! honest query takes so long. If none has been, the new one is refused.
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
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::sync::Notify;

use crate::config::ConnectionsConfig;

/// For how long a connection that is busy need not make room: longer than forwarding, the slowest work, may take.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

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
    epoch: Instant,
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
    /// Twice the milliseconds since the gate's epoch at which it became idle or busy, and [`BUSY`] if it is busy.
    state: AtomicU64,
    leave: Notify,
}

/// The bit of a busy seat's state.
const BUSY: u64 = 1;

/// The right to be connected, for as long as this lives.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    id: u64,
    seat: Arc<Seat>,
    max_in_work: usize,
}

impl Gate {
    pub(crate) fn new(limits: ConnectionsConfig) -> Arc<Self> {
        Arc::new(Self { limits, inside: Mutex::default(), epoch: Instant::now() })
    }

    pub(crate) fn limits(&self) -> &ConnectionsConfig {
        &self.limits
    }

    /// Lets a connection from `ip` in, if need be in the place of another, which is told to leave.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Pass> {
        let network = self.network(ip);
        let mut inside = self.lock();
        if inside.of(&network) >= self.limits.max_per_client {
            inside.evict(self.now_ms(), |seat| seat.network == network)?;
        }
        if inside.seats.len() >= self.limits.max {
            inside.evict(self.now_ms(), |_| true)?;
        }
        Some(self.seat(&mut inside, network))
    }

    /// Lets a connection in that claims to come from `ip`. `None` if it has to prove that.
    pub(crate) fn enter_unproven(self: &Arc<Self>, ip: IpAddr) -> Option<Pass> {
        let network = self.network(ip);
        let mut inside = self.lock();
        let is_one_of_few = inside.of(&network) < self.limits.max_per_client.min(UNPROVEN_PER_CLIENT)
            && inside.seats.len() < self.limits.max.min(UNPROVEN);
        is_one_of_few.then(|| self.seat(&mut inside, network))
    }

    fn seat(self: &Arc<Self>, inside: &mut Inside, network: IpNet) -> Pass {
        let seat = Arc::new(Seat { network, state: AtomicU64::new(self.now_ms() << 1), leave: Notify::new() });
        let id = inside.next_id;
        inside.next_id += 1;
        inside.seats.insert(id, seat.clone());
        *inside.per_network.entry(network).or_default() += 1;
        let max_in_work = match inside.seats.len() > self.limits.max / CROWD_DIVISOR {
            true => self.limits.max_in_work.div_ceil(CROWD_SHARE_DIVISOR),
            false => self.limits.max_in_work,
        };
        Pass { gate: self.clone(), id, seat, max_in_work }
    }

    fn network(&self, ip: IpAddr) -> IpNet {
        let ip = ip.to_canonical();
        let bits = if ip.is_ipv4() { self.limits.client_prefix_v4 } else { self.limits.client_prefix_v6 };
        IpNet::new(ip, bits).unwrap_or_else(|_| IpNet::from(ip)).trunc()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX) & (u64::MAX >> 1)
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
        let evictable = self.seats.iter().filter(|(_, seat)| candidates(seat)).filter_map(|(id, seat)| {
            let state = seat.state.load(Ordering::Relaxed);
            let (is_busy, since_ms) = (state & BUSY == BUSY, state >> 1);
            let may_stay = is_busy && u128::from(now_ms.saturating_sub(since_ms)) <= BUSY_LIMIT.as_millis();
            (!may_stay).then_some((is_busy, since_ms, *id))
        });
        let (_, _, id) = evictable.min()?;
        let seat = self.remove(id)?;
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

impl Pass {
    /// Queries of this connection that may be in work at a time.
    pub(crate) fn max_in_work(&self) -> usize {
        self.max_in_work
    }

    /// Marks the connection as working: from now on, if it was not.
    pub(crate) fn busy(&self) {
        let since_now = (self.gate.now_ms() << 1) | BUSY;
        // An error means that it was.
        let _ = self
            .seat
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| (state & BUSY == 0).then_some(since_now));
    }

    /// Marks the connection as idle from now on.
    pub(crate) fn idle(&self) {
        self.seat.state.store(self.gate.now_ms() << 1, Ordering::Relaxed);
    }

    /// Waits until this connection has to make room for another. To be called from one place at a time.
    pub(crate) async fn evicted(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn gate(max: usize, max_per_client: usize) -> Arc<Gate> {
        Gate::new(ConnectionsConfig { max, max_per_client, ..ConnectionsConfig::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    async fn is_evicted(pass: &Pass) -> bool {
        timeout(Duration::from_millis(1), pass.evicted()).await.is_ok()
    }

    fn set_idle_since(pass: &Pass, ms: u64) {
        pass.seat.state.store(ms << 1, Ordering::Relaxed);
    }

    fn set_busy_since(pass: &Pass, ms: u64) {
        pass.seat.state.store((ms << 1) | BUSY, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn the_idlest_makes_room() {
        let gate = gate(3, 3);
        let passes: Vec<Pass> =
            (0..3).map(|i| gate.enter(ip(&format!("192.0.{i}.1"))).expect("there is room")).collect();
        passes.iter().zip([20, 10, 30]).for_each(|(pass, ms)| set_idle_since(pass, ms));
        let newest = gate.enter(ip("198.51.100.1")).expect("in the place of the second");
        assert!(is_evicted(&passes[1]).await && !is_evicted(&passes[0]).await && !is_evicted(&passes[2]).await);
        for pass in [&passes[0], &passes[2], &newest] {
            pass.busy();
        }
        assert!(gate.enter(ip("198.51.100.1")).is_none(), "nobody is idle");
        passes[2].idle();
        assert!(gate.enter(ip("198.51.100.1")).is_some());
    }

    #[tokio::test]
    async fn a_network_makes_room_among_its_own() {
        let gate = gate(10, 2);
        let stranger = gate.enter(ip("2001:db8:0:100::1")).expect("room");
        set_idle_since(&stranger, 0);
        let one = gate.enter(ip("2001:db8:0:1::1")).expect("room");
        let two = gate.enter(ip("2001:db8:0:ff:ffff::2")).expect("room");
        set_idle_since(&one, 6);
        set_idle_since(&two, 5);
        let three = gate.enter(ip("2001:db8:0:1::3")).expect("in the place of the second");
        assert!(is_evicted(&two).await && !is_evicted(&one).await && !is_evicted(&stranger).await);
        one.busy();
        three.busy();
        assert!(gate.enter(ip("2001:db8:0:1::1")).is_none());
    }

    #[tokio::test]
    async fn who_is_busy_for_very_long_makes_room_if_nobody_is_idle() {
        let limit_ms = u64::try_from(BUSY_LIMIT.as_millis()).expect("short");
        let mut gate = gate(3, 3);
        // The gate has been open for a while.
        Arc::get_mut(&mut gate).expect("nobody has it").epoch -= 3 * BUSY_LIMIT;
        let passes: Vec<Pass> =
            (0..3).map(|i| gate.enter(ip(&format!("192.0.{i}.1"))).expect("there is room")).collect();
        passes.iter().zip([2, 1, limit_ms]).for_each(|(pass, ms)| set_busy_since(pass, ms));
        // Working on further queries does not make it look fresh.
        passes[1].busy();
        set_idle_since(&passes[2], 2 * limit_ms);
        gate.enter(ip("198.51.100.1")).expect("in the place of the idle one").busy();
        assert!(is_evicted(&passes[2]).await && !is_evicted(&passes[0]).await && !is_evicted(&passes[1]).await);
        let third = gate.enter(ip("198.51.100.1")).expect("the last one has left again");
        third.busy();
        let fourth = gate.enter(ip("198.51.100.1")).expect("in the place of the second");
        assert!(is_evicted(&passes[1]).await && !is_evicted(&passes[0]).await && !is_evicted(&third).await);
        fourth.busy();
        set_busy_since(&passes[0], 3 * limit_ms);
        assert!(gate.enter(ip("198.51.100.1")).is_none(), "all have work that may still take its time");
    }

    #[tokio::test]
    async fn who_has_proved_nothing_takes_nobodys_place() {
        let many = gate(1_000, 1_000);
        let strangers: Vec<Pass> =
            (0..UNPROVEN_PER_CLIENT).map(|_| many.enter_unproven(ip("192.0.2.1")).expect("few")).collect();
        assert!(many.enter_unproven(ip("192.0.2.2")).is_none(), "its network has its share");
        let _elsewhere: Vec<Pass> = (UNPROVEN_PER_CLIENT..UNPROVEN)
            .map(|i| many.enter_unproven(ip(&format!("198.51.{i}.1"))).expect("few"))
            .collect();
        assert!(many.enter_unproven(ip("203.0.113.1")).is_none(), "there are many by now");
        let _proven = many.enter(ip("192.0.2.1")).expect("there is room");
        assert!(!is_evicted(&strangers[0]).await);
        for small in [gate(1, 3), gate(3, 1)] {
            let first = small.enter_unproven(ip("192.0.2.1")).expect("the first");
            assert!(small.enter_unproven(ip("192.0.2.1")).is_none());
            assert!(!is_evicted(&first).await);
        }
    }

    #[test]
    fn a_newcomer_to_a_crowd_gets_a_smaller_share() {
        let gate = gate(16, 16);
        let shares: Vec<(usize, Pass)> = (0..4)
            .map(|i| gate.enter(ip(&format!("192.0.{i}.1"))).expect("room"))
            .map(|pass| (pass.max_in_work(), pass))
            .collect();
        assert_eq!(shares.iter().map(|(share, _)| *share).collect::<Vec<_>>(), [64, 64, 8, 8]);
        drop(shares);
        assert_eq!(gate.enter(ip("192.0.2.1")).expect("room").max_in_work(), 64, "the crowd has gone");
        let limits = ConnectionsConfig { max: 1, max_in_work: 3, ..ConnectionsConfig::default() };
        assert_eq!(Gate::new(limits).enter(ip("192.0.2.1")).expect("room").max_in_work(), 1, "never none");
    }

    #[test]
    fn leaving_gives_the_place_back() {
        let gate = gate(2, 1);
        for _ in 0..5 {
            let pass = gate.enter(ip("192.0.2.1")).expect("room");
            pass.busy();
            // A mapped address is the same client.
            assert!(gate.enter(ip("::ffff:192.0.2.200")).is_none());
            assert!(gate.enter(ip("192.0.3.1")).is_some());
        }
        assert!(gate.lock().seats.is_empty() && gate.lock().per_network.is_empty());
    }
}
