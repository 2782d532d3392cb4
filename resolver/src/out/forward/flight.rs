//! Questions on their way to upstreams. The same question is asked once, however many clients wait for it.
//!
//! Places are few, and silent upstreams hold theirs for seconds. So nobody may keep others out: when all places are
//! taken, the oldest question gives way of the client that has the most among those of the pool that has the most. A pool
//! or client that asks little is always served; one that asks too much pushes its own questions out.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::Question;
use crate::dns::answer::Answer;

/// The most clients that wait for answers; each is a task of a few kilobytes.
pub const MAX_CLIENTS: usize = 4_096;
/// The most different questions on their way, and the attempts that go with them; what [`MAX_ATTEMPTS`](super::MAX_ATTEMPTS)
/// allows beyond is for asking second upstreams.
pub const MAX_FLIGHTS: usize = 256;
/// A question that gives way to another of the same client and pool has had at least so long: most are answered by then.
const MIN_AGE: Duration = Duration::from_millis(100);

/// All flights.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    flights: HashMap<Question, Entry>,
    // By number: begun before the cache was emptied. Whoever asks now does not wait for what they bring.
    overtaken: HashMap<u64, Entry>,
    next: u64,
}

struct Entry {
    number: u64,
    answer: Landing,
    asker: Asker,
    began: Instant,
    // Dropped to end it.
    _kept: oneshot::Sender<()>,
}

/// Whose question it is, and which upstreams it is for: what shares are counted by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Asker {
    /// Any number that tells pools apart.
    pub(super) pool: usize,
    pub(super) client: Client,
}

/// A client, as far as shares go: an IPv4 address or a /64 of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Client {
    /// The resolver itself.
    Own,
    Network(IpAddr),
}

/// Where the answer will be.
pub(super) type Landing = watch::Receiver<Option<Arc<Answer>>>;

/// What came of wanting to know something.
pub(super) enum Boarding {
    /// The question is new: the caller has to answer it.
    Leader(Flight, Landing),
    /// It is being asked already.
    Waiter(Landing),
    /// Too many are under way.
    Full,
}

/// A question on its way. Dropping it without landing wakes all who wait, with nothing.
pub(super) struct Flight {
    flights: Flights,
    question: Question,
    number: u64,
    landed: watch::Sender<Option<Arc<Answer>>>,
    cut: oneshot::Receiver<()>,
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn board(&self, question: &Question, asker: Asker) -> Boarding {
        self.board_at(question, asker, Instant::now())
    }

    fn board_at(&self, question: &Question, asker: Asker, now: Instant) -> Boarding {
        let mut state = self.lock();
        if let Some(entry) = state.flights.get(question) {
            return Boarding::Waiter(entry.answer.clone());
        }
        if state.all().count() >= MAX_FLIGHTS {
            let Some(victim) = state.victim(asker, now) else { return Boarding::Full };
            state.remove(victim);
        }
        let (landed, answer) = watch::channel(None);
        let (kept, cut) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        let entry = Entry { number, answer: answer.clone(), asker, began: now, _kept: kept };
        state.flights.insert(question.clone(), entry);
        let flight = Flight { flights: self.clone(), question: question.clone(), number, landed, cut };
        Boarding::Leader(flight, answer)
    }

    /// Lets all that are under way go on for those who wait for them already, and for nobody else: what they bring is as
    /// old as their question.
    pub(super) fn overtake(&self) {
        let mut state = self.lock();
        let begun: Vec<Entry> = state.flights.drain().map(|(_, entry)| entry).collect();
        state.overtaken.extend(begun.into_iter().map(|entry| (entry.number, entry)));
    }
}

impl State {
    /// All that are under way.
    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.flights.values().chain(self.overtaken.values())
    }

    fn remove(&mut self, number: u64) {
        if self.overtaken.remove(&number).is_none() {
            self.flights.retain(|_, entry| entry.number != number);
        }
    }

    /// The number of the question that gives way to one of `asker`.
    fn victim(&self, asker: Asker, now: Instant) -> Option<u64> {
        let askers = || self.all().map(|entry| entry.asker);
        let pool = busiest(askers().map(|one| one.pool), asker.pool);
        let client = busiest(askers().filter(|one| one.pool == pool).map(|one| one.client), asker.client);
        let theirs = Asker { pool, client };
        let oldest = self.all().filter(|entry| entry.asker == theirs).min_by_key(|entry| entry.number)?;
        let has_had_time = now.saturating_duration_since(oldest.began) >= MIN_AGE;
        (theirs != asker || has_had_time).then_some(oldest.number)
    }
}

/// What there is the most of; `own` if nothing is more.
fn busiest<K: Copy + Eq + Hash>(all: impl Iterator<Item = K>, own: K) -> K {
    let mut counts: HashMap<K, usize> = HashMap::new();
    all.for_each(|key| *counts.entry(key).or_default() += 1);
    let most = counts.values().copied().max().unwrap_or(0);
    if counts.get(&own) == Some(&most) {
        return own;
    }
    counts.into_iter().find(|(_, count)| *count == most).map_or(own, |(key, _)| key)
}

impl Flight {
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// Returns when the question has to give way to others.
    pub(super) async fn cut(&mut self) {
        drop((&mut self.cut).await);
    }

    /// Does what an answer is for besides those who wait, unless the flight was overtaken or has given way. None is
    /// overtaken meanwhile.
    pub(super) fn unless_overtaken(&self, act: impl FnOnce()) {
        let state = self.flights.lock();
        if state.flights.get(&self.question).is_some_and(|entry| entry.number == self.number) {
            act();
        }
    }

    /// Gives the answer to all who wait.
    pub(super) fn land(self, answer: Answer) {
        self.landed.send_replace(Some(Arc::new(answer)));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.flights.lock();
        state.overtaken.remove(&self.number);
        // The same question may be on its way again, since this one gave way or was overtaken.
        if state.flights.get(&self.question).is_some_and(|entry| entry.number == self.number) {
            state.flights.remove(&self.question);
        }
    }
}

/// Waits for an answer; `None` if none will come.
pub(super) async fn wait(mut landing: Landing) -> Option<Answer> {
    let landed = landing.wait_for(Option::is_some).await.ok()?;
    landed.as_deref().cloned()
}

/// Clients that wait for answers, counted so that none takes all places.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    total: usize,
    by_client: HashMap<Client, usize>,
}

/// One place, given back when dropped.
pub(super) struct Waiter<'a> {
    waiting: &'a Waiting,
    client: Client,
}

impl Waiting {
    /// A place for `client`: any while half are free, after that few for each.
    pub(super) fn enter(&self, client: Client) -> Option<Waiter<'_>> {
        let mut waiters = self.lock();
        let own = waiters.by_client.get(&client).copied().unwrap_or(0);
        let is_greedy = waiters.total >= MAX_CLIENTS / 2 && own >= MAX_CLIENTS / 8;
        if waiters.total >= MAX_CLIENTS || is_greedy {
            return None;
        }
        waiters.total += 1;
        waiters.by_client.insert(client, own + 1);
        Some(Waiter { waiting: self, client })
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiters = self.waiting.lock();
        waiters.total -= 1;
        match waiters.by_client.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(waiters.by_client.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rtype;

    fn asker(pool: usize, last: u8) -> Asker {
        Asker { pool, client: Client::from(IpAddr::from([192, 0, 2, last])) }
    }

    fn question(number: usize) -> Question {
        let name = format!("a{number}.example").parse().expect("a name");
        Question { name, qtype: rtype::A, dnssec_ok: false, checking_disabled: false, authority: None }
    }

    /// All places taken, the oldest first.
    fn full(asker_of: impl Fn(usize) -> Asker, now: Instant) -> (Flights, Vec<Flight>) {
        let flights = Flights::default();
        let board = |i| match flights.board_at(&question(i), asker_of(i), now) {
            Boarding::Leader(flight, _) => flight,
            _ => panic!("question {i} has a place"),
        };
        let all = (0..MAX_FLIGHTS).map(board).collect();
        (flights, all)
    }

    fn is_cut(flight: &mut Flight) -> bool {
        flight.cut.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    fn cut(all: &mut [Flight]) -> Vec<usize> {
        (0..all.len()).filter(|i| is_cut(&mut all[*i])).collect()
    }

    #[test]
    fn the_largest_pool_and_client_give_way() {
        let now = Instant::now();
        // Pool 2 has most, and there client 7.
        let of = |i: usize| match i {
            0..100 => asker(1, 1),
            100..130 => asker(2, 1),
            _ => asker(2, 7),
        };
        for newcomer in [asker(3, 1), asker(1, 1), asker(2, 1)] {
            let (flights, mut all) = full(of, now);
            let boarded = flights.board_at(&question(999), newcomer, now);
            assert!(matches!(boarded, Boarding::Leader(..)), "{newcomer:?}");
            assert_eq!(cut(&mut all), [130], "{newcomer:?}");
        }
    }

    #[test]
    fn who_has_most_pushes_out_only_what_has_had_its_time() {
        let now = Instant::now();
        let (flights, mut all) = full(|_| asker(1, 1), now);
        assert!(matches!(flights.board_at(&question(999), asker(1, 1), now), Boarding::Full));
        let later = now + MIN_AGE;
        let boarded = flights.board_at(&question(999), asker(1, 1), later);
        assert!(matches!(boarded, Boarding::Leader(..)));
        assert_eq!(cut(&mut all), [0]);
        // Landing after that does not take the place of the same question asked anew.
        let Boarding::Leader(again, _) = flights.board_at(&question(0), asker(1, 1), later) else { panic!("a place") };
        drop(all.remove(0));
        assert!(matches!(flights.board_at(&question(0), asker(1, 1), later), Boarding::Waiter(_)));
        drop(again);
        assert!(flights.lock().flights.len() < MAX_FLIGHTS);
    }

    #[test]
    fn what_is_overtaken_keeps_its_place_and_is_joined_by_nobody() {
        let now = Instant::now();
        let (flights, mut all) = full(|_| asker(1, 1), now);
        flights.overtake();
        assert!(cut(&mut all).is_empty(), "those who wait get their answers");
        all[0].unless_overtaken(|| panic!("it is as old as its question"));
        // They count as before, so the oldest of them gives way to the same question asked anew.
        assert!(matches!(flights.board_at(&question(1), asker(1, 1), now), Boarding::Full));
        let Boarding::Leader(again, _) = flights.board_at(&question(1), asker(1, 1), now + MIN_AGE) else {
            panic!("a place of its own")
        };
        assert_eq!(cut(&mut all), [0]);
        drop(all);
        let acted = std::cell::Cell::new(false);
        again.unless_overtaken(|| acted.set(true));
        assert!(acted.get());
        drop(again);
        let state = flights.lock();
        assert_eq!((state.flights.len(), state.overtaken.len()), (0, 0));
    }

    #[test]
    fn one_client_does_not_take_all_places_of_those_who_wait() {
        let waiting = Waiting::default();
        let (greedy, other) = (asker(0, 1).client, asker(0, 2).client);
        let taken: Vec<_> = std::iter::from_fn(|| waiting.enter(greedy)).collect();
        assert_eq!(taken.len(), MAX_CLIENTS / 2);
        let others: Vec<_> = std::iter::from_fn(|| waiting.enter(other)).collect();
        assert_eq!(others.len(), MAX_CLIENTS / 8);
        drop((taken, others));
        let left = waiting.lock();
        assert_eq!((left.total, left.by_client.len()), (0, 0));
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let client = |text: &str| Client::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }
}
