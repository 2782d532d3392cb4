//! Answers of upstreams, kept for their TTL, and beyond it for when upstreams fail (RFC 8767).
//!
//! Bounded in bytes; what is used least goes first. Time is an argument. Sharded by the cache below, so threads rarely
//! meet.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use hickory_proto::op::ResponseCode;
use quick_cache::{Weighter, sync};

use super::{Authority, Question};
use crate::dns::{
    answer::Answer,
    ede::{Ede, EdeCode},
    name::Dname,
    rdata,
    rrset::RrSet,
    rtype,
};

/// The longest time that an answer is fresh, in seconds, whatever its TTL (RFC 8767 §4 allows such a cap).
pub const MAX_TTL_S: u32 = 86_400;
/// The longest time that an absence is fresh, in seconds (RFC 2308 §5 suggests one to three hours).
pub const MAX_NEGATIVE_TTL_S: u32 = 3_600;
/// How long a failure that an upstream reported is remembered, in seconds (RFC 9520 §3.2: 1 s to 5 minutes).
pub const FAILURE_TTL_S: u32 = 5;
/// How long it is remembered that nobody answered, in seconds: the least that RFC 9520 allows, for networks come back.
const UNREACHABLE_TTL_S: u32 = 1;
/// How long a withheld answer is remembered, in seconds.
const BLOCKED_TTL_S: u32 = 60;
/// TTL of stale answers, in seconds (RFC 8767 §4).
pub const STALE_TTL_S: u32 = 30;
/// After a failure, stale answers are served for so long without asking again, in milliseconds (RFC 8767 §5).
const RECHECK_MS: u64 = 30_000;
/// The last part of a TTL in which a question fetches the answer again: one tenth.
const PREFETCH_PART: u64 = 10;
/// Answers with shorter TTLs are not prefetched: they would be fetched all the time.
const MIN_PREFETCH_TTL_S: u32 = 10;
/// The largest answer that is kept, in bytes as counted here: about 300 addresses.
pub const MAX_ENTRY_BYTES: u64 = 32 << 10;
/// What the index takes for an entry, its key included, in bytes: measured, half empty as it is on average.
const INDEX_BYTES: usize = 128;
/// Bytes in front of an allocation, its smallest size, and what sizes are multiples of, in glibc and most others.
const ALLOCATION_HEAD_BYTES: usize = 8;
const MIN_ALLOCATION_BYTES: usize = 32;
const ALLOCATION_STEP_BYTES: usize = 16;
/// The counters in front of shared values: of an `Arc`, and of `Bytes`, which have theirs beside the data.
const ARC_BYTES: usize = 16;
const SHARED_BYTES: usize = 24;
/// What an entry weighs on average: only for sizing the index.
const TYPICAL_ENTRY_BYTES: u64 = 768;
/// Where the field MINIMUM of SOA data is, from the end.
const SOA_MINIMUM_FROM_END: usize = 4;

/// The cache.
pub(super) struct Cache {
    entries: Option<sync::Cache<Question, Arc<Kept>, ByBytes>>,
    max_stale_ms: u64,
}

/// What there is for a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An answer within its TTL.
    Fresh {
        answer: Answer,
        /// Whether it expires soon, and is worth fetching again.
        expires_soon: bool,
    },
    /// An answer beyond its TTL.
    Stale {
        answer: Answer,
        /// Whether asking again has failed a moment ago.
        recently_failed: bool,
    },
    /// Nothing.
    Nothing,
}

/// Whose word an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// An upstream's.
    Upstream,
    /// Ours: what upstreams said is withheld.
    Withheld,
}

struct Kept {
    answer: Answer,
    stored_ms: u64,
    ttl_s: u32,
    // Until then nobody asks upstreams again: the last attempt has failed.
    recheck_ms: AtomicU64,
    weight: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Question, Arc<Kept>> for ByBytes {
    fn weight(&self, _: &Question, kept: &Arc<Kept>) -> u64 {
        kept.weight
    }
}

impl Cache {
    /// A cache of at most `bytes`, or none for 0.
    pub(super) fn new(bytes: u64, max_stale_s: u32) -> Self {
        let items = usize::try_from(bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        let entries = (bytes > 0).then(|| sync::Cache::with_weighter(items, bytes, ByBytes));
        Self { entries, max_stale_ms: u64::from(max_stale_s) * 1_000 }
    }

    /// What is known about `question` at `now_ms`.
    pub(super) fn find(&self, question: &Question, now_ms: u64) -> Found {
        let Some(kept) = self.entries.as_ref().and_then(|entries| entries.get(question)) else { return Found::Nothing };
        let age_ms = now_ms.saturating_sub(kept.stored_ms);
        let ttl_ms = u64::from(kept.ttl_s) * 1_000;
        if age_ms < ttl_ms {
            let age_s = u32::try_from(age_ms / 1_000).unwrap_or(u32::MAX);
            let is_due = (ttl_ms - age_ms) * PREFETCH_PART <= ttl_ms && kept.ttl_s >= MIN_PREFETCH_TTL_S;
            let expires_soon = is_due && kept.recheck_ms.load(Ordering::Relaxed) <= now_ms;
            return Found::Fresh { answer: kept.aged(age_s), expires_soon };
        }
        if age_ms - ttl_ms >= self.max_stale_ms || is_failure(&kept.answer) {
            return Found::Nothing;
        }
        Found::Stale { answer: kept.stale(), recently_failed: kept.recheck_ms.load(Ordering::Relaxed) > now_ms }
    }

    /// Keeps an answer if it may be kept, and in any case nothing older: what is known to have changed is neither fresh
    /// nor good enough for when upstreams fail.
    pub(super) fn keep(&self, question: &Question, answer: &Answer, source: Source, now_ms: u64) {
        let Some(entries) = &self.entries else { return };
        let (ttl_s, weight) = (lifetime_s(answer, source), weight(question, answer));
        if ttl_s == 0 || weight > MAX_ENTRY_BYTES {
            entries.remove(question);
            return;
        }
        let recheck_ms = AtomicU64::new(0);
        let kept = Kept { answer: answer.clone(), stored_ms: now_ms, ttl_s, recheck_ms, weight };
        entries.insert(question.clone(), Arc::new(kept));
    }

    /// Notes that asking again has failed.
    pub(super) fn postpone(&self, question: &Question, now_ms: u64) {
        if let Some(kept) = self.entries.as_ref().and_then(|entries| entries.peek(question)) {
            kept.recheck_ms.store(now_ms + RECHECK_MS, Ordering::Relaxed);
        }
    }

    /// Drops what is about `name` and what is below it, also where an alias leads there; everything without a name. Gives
    /// how many answers went.
    pub(super) fn flush(&self, name: Option<&Dname>) -> usize {
        let Some(entries) = &self.entries else { return 0 };
        let gone = AtomicUsize::new(0);
        entries.retain(|question, kept| {
            let stays = name.is_some_and(|name| !is_about(name, question, &kept.answer));
            if !stays {
                gone.fetch_add(1, Ordering::Relaxed);
            }
            stays
        });
        gone.into_inner()
    }

    /// Bytes and answers held.
    pub(super) fn size(&self) -> (u64, usize) {
        self.entries.as_ref().map_or((0, 0), |entries| (entries.weight(), entries.len()))
    }
}

impl Kept {
    fn aged(&self, age_s: u32) -> Answer {
        self.with_ttls(|ttl_s| ttl_s.min(MAX_TTL_S).saturating_sub(age_s))
    }

    fn stale(&self) -> Answer {
        let mut answer = self.with_ttls(|_| STALE_TTL_S);
        // It was validated once; its signatures may have expired since.
        answer.authentic = false;
        let (code, text) = match answer.rcode {
            ResponseCode::NXDomain => (EdeCode::StaleNxdomain, "no upstream answered; the name did not exist before"),
            _ => (EdeCode::StaleAnswer, "no upstream answered; this is what was known before"),
        };
        answer.ede = Some(Ede { code, text: text.into() });
        answer
    }

    fn with_ttls(&self, ttl_s: impl Fn(u32) -> u32) -> Answer {
        let mut answer = self.answer.clone();
        for set in answer.answer.iter_mut().chain(&mut answer.authority) {
            set.ttl_s = ttl_s(set.ttl_s);
        }
        answer
    }
}

/// Whether an answer to `question` says anything about `name` or what is below it.
fn is_about(name: &Dname, question: &Question, answer: &Answer) -> bool {
    let leads_there = |set: &RrSet| {
        let mut targets = set.data.iter().filter(|_| set.rtype == rtype::CNAME).map(|data| rdata::target(data));
        targets.any(|target| target.is_ok_and(|target| target.is_within(name)))
    };
    question.name.is_within(name) || answer.answer.iter().any(|set| set.owner.is_within(name) || leads_there(set))
}

/// Whether an answer says only that there is none.
pub(super) fn is_failure(answer: &Answer) -> bool {
    !matches!(answer.rcode, ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain)
}

/// Seconds for which an answer is fresh; 0 for those that cannot be kept.
fn lifetime_s(answer: &Answer, source: Source) -> u32 {
    let code = answer.ede.as_ref().map(|ede| ede.code);
    if is_failure(answer) {
        let nobody_answered = matches!(code, Some(EdeCode::NoReachableAuthority | EdeCode::NetworkError));
        return if nobody_answered { UNREACHABLE_TTL_S } else { FAILURE_TTL_S };
    }
    let smallest = answer.answer.iter().chain(&answer.authority).map(|set| set.ttl_s).min();
    match (smallest, absence_ttl_s(answer)) {
        (None, _) if source == Source::Withheld => BLOCKED_TTL_S,
        // An absence without SOA does not say for how long (RFC 2308 §5).
        (None, _) => 0,
        (Some(ttl_s), Some(absence_ttl_s)) => ttl_s.min(absence_ttl_s),
        (Some(_), None) if answer.rcode == ResponseCode::NXDomain => 0,
        // An alias to nothing, or one that ends where others are to be asked.
        (Some(_), None) if answer.elsewhere.is_none() && ends_in_alias(answer) => 0,
        (Some(ttl_s), None) => ttl_s.min(MAX_TTL_S),
    }
}

/// Gives what proves an absence the TTL of that absence: others who cache it go by the TTL of the SOA (RFC 2308 §5), and
/// by those of proofs (RFC 9077 §3).
pub(super) fn limit_absence(answer: &mut Answer) {
    if let Some(ttl_s) = absence_ttl_s(answer) {
        answer.authority.iter_mut().for_each(|set| set.ttl_s = set.ttl_s.min(ttl_s));
    }
}

/// For how long something is absent, if the answer says that it is.
fn absence_ttl_s(answer: &Answer) -> Option<u32> {
    let soa = answer.authority.iter().find(|set| set.rtype == rtype::SOA)?;
    Some(soa.ttl_s.min(minimum(soa)).min(MAX_NEGATIVE_TTL_S))
}

fn ends_in_alias(answer: &Answer) -> bool {
    let last = answer.answer.iter().rev().find(|set| set.rtype != rtype::RRSIG);
    // Whoever asked for the alias itself has one set, with or without signatures.
    let sets = answer.answer.iter().filter(|set| set.rtype != rtype::RRSIG).count();
    sets > 1 && last.is_some_and(|set| set.rtype == rtype::CNAME)
}

fn minimum(soa: &RrSet) -> u32 {
    let tail = soa.data.first().and_then(|data| data.len().checked_sub(SOA_MINIMUM_FROM_END).map(|at| &data[at..]));
    tail.and_then(|tail| <[u8; 4]>::try_from(tail).ok()).map_or(0, u32::from_be_bytes)
}

/// The memory that an entry takes, in bytes. Everything in it was cloned, so nothing has room to spare.
fn weight(question: &Question, answer: &Answer) -> u64 {
    let set = |set: &RrSet| {
        let data: usize = set.data.iter().map(|data| allocation(data.len()) + allocation(SHARED_BYTES)).sum();
        allocation(set.owner.as_wire().len()) + allocation(set.data.len() * size_of::<Bytes>()) + data
    };
    let section = |sets: &[RrSet]| allocation(size_of_val(sets)) + sets.iter().map(set).sum::<usize>();
    let text = answer.ede.as_ref().map_or(0, |ede| allocation(ede.text.len()));
    let elsewhere = answer.elsewhere.as_ref().map_or(0, |name| allocation(name.as_wire().len()));
    let sections = section(&answer.answer) + section(&answer.authority) + section(&answer.glue);
    let authority = question.authority.as_ref().map_or(0, |authority| {
        let servers = allocation(size_of_val(&authority.servers[..]));
        let signers: usize =
            authority.signers.iter().map(|data| allocation(data.len()) + allocation(SHARED_BYTES)).sum();
        let signers = allocation(size_of_val(&authority.signers[..])) + signers;
        allocation(ARC_BYTES + size_of::<Authority>()) + allocation(authority.cut.as_wire().len()) + servers + signers
    });
    let key = allocation(question.name.as_wire().len()) + authority;
    let all = INDEX_BYTES + allocation(ARC_BYTES + size_of::<Kept>()) + key + sections + text + elsewhere;
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// What asking the allocator for so many bytes takes.
fn allocation(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + ALLOCATION_HEAD_BYTES).next_multiple_of(ALLOCATION_STEP_BYTES).max(MIN_ALLOCATION_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::answer::Origin;

    const MIB: u64 = 1 << 20;

    fn question(name: &str) -> Question {
        Question {
            name: name.parse().expect("a name"),
            qtype: rtype::A,
            dnssec_ok: false,
            checking_disabled: false,
            authority: None,
        }
    }

    fn positive(ttls: &[u32]) -> Answer {
        let mut answer = Answer::empty(ResponseCode::NoError, Origin::Upstream);
        let set = |ttl_s: &u32| RrSet::one("a.example".parse().expect("a name"), rtype::A, *ttl_s, vec![9, 9, 9, 9]);
        answer.answer = ttls.iter().map(set).collect();
        answer
    }

    fn negative(rcode: ResponseCode, ttl_s: u32, minimum: u32) -> Answer {
        let mut answer = Answer::empty(rcode, Origin::Upstream);
        let data = [&[0; 18][..], &minimum.to_be_bytes()].concat();
        answer.authority = vec![RrSet::one("example".parse().expect("a name"), rtype::SOA, ttl_s, data)];
        answer
    }

    fn keep(cache: &Cache, question: &Question, answer: &Answer, now_ms: u64) {
        cache.keep(question, answer, Source::Upstream, now_ms);
    }

    /// Seconds for which `answer` is fresh.
    fn fresh_s(answer: &Answer) -> u64 {
        fresh_from_s(answer, Source::Upstream)
    }

    fn fresh_from_s(answer: &Answer, source: Source) -> u64 {
        let cache = Cache::new(MIB, 0);
        cache.keep(&question("a.example"), answer, source, 0);
        let is_fresh = |s: u64| matches!(cache.find(&question("a.example"), s * 1_000), Found::Fresh { .. });
        (0..=100_000).find(|s| !is_fresh(*s)).expect("it expires")
    }

    #[test]
    fn lifetimes() {
        assert_eq!(fresh_s(&positive(&[60, 300])), 60);
        assert_eq!(fresh_s(&positive(&[0, 300])), 0);
        assert_eq!(fresh_s(&positive(&[604_800])), 86_400);
        assert_eq!(fresh_s(&negative(ResponseCode::NXDomain, 900, 300)), 300);
        assert_eq!(fresh_s(&negative(ResponseCode::NoError, 300, 900)), 300);
        assert_eq!(fresh_s(&negative(ResponseCode::NXDomain, 86_400, 86_400)), 3_600);
        assert_eq!(fresh_s(&Answer::empty(ResponseCode::NXDomain, Origin::Upstream)), 0);
        assert_eq!(fresh_s(&Answer::empty(ResponseCode::NoError, Origin::Upstream)), 0);
        assert_eq!(fresh_s(&Answer::empty(ResponseCode::ServFail, Origin::Upstream)), 5);
        assert_eq!(fresh_s(&negative(ResponseCode::Refused, 900, 900)), 5);
        let silence = Answer::failure(ResponseCode::ServFail, Origin::Upstream, EdeCode::NoReachableAuthority, "");
        assert_eq!(fresh_s(&silence), 1);
        let blocked = Answer::failure(ResponseCode::NoError, Origin::Upstream, EdeCode::Blocked, "");
        assert_eq!(fresh_from_s(&blocked, Source::Withheld), 60);
        // An upstream's own extended error 15 is an absence that does not say for how long.
        assert_eq!(fresh_s(&blocked), 0);
    }

    #[test]
    fn ttls_count_down_and_never_exceed_a_day() {
        let cache = Cache::new(MIB, 0);
        let asked = question("a.example");
        keep(&cache, &asked, &positive(&[100, 604_800]), 5_000);
        for (now_ms, expected) in
            [(5_000, [100, 86_400]), (5_999, [100, 86_400]), (6_000, [99, 86_399]), (104_999, [1, 86_301])]
        {
            let Found::Fresh { answer, .. } = cache.find(&asked, now_ms) else { panic!("fresh at {now_ms}") };
            assert_eq!(answer.answer.iter().map(|set| set.ttl_s).collect::<Vec<_>>(), expected, "{now_ms}");
        }
        assert_eq!(cache.find(&asked, 105_000), Found::Nothing);
    }

    #[test]
    fn stale_answers_have_their_own_ttl_reason_and_end() {
        let cache = Cache::new(MIB, 3_600);
        for (mut answer, code) in [
            (positive(&[60, 400]), EdeCode::StaleAnswer),
            (negative(ResponseCode::NXDomain, 60, 60), EdeCode::StaleNxdomain),
        ] {
            let asked = question("a.example");
            answer.authentic = true;
            keep(&cache, &asked, &answer, 0);
            let Found::Stale { answer, recently_failed: false } = cache.find(&asked, 60_000) else { panic!("stale") };
            assert!(!answer.authentic, "signatures may have expired since");
            assert!(answer.answer.iter().chain(&answer.authority).all(|set| set.ttl_s == 30));
            assert_eq!(answer.ede.map(|ede| ede.code), Some(code));
            cache.postpone(&asked, 70_000);
            let failed = |now_ms| match cache.find(&asked, now_ms) {
                Found::Stale { recently_failed, .. } => Some(recently_failed),
                _ => None,
            };
            assert_eq!(
                [99_999, 100_000, 3_659_999, 3_660_000].map(failed),
                [Some(true), Some(false), Some(false), None]
            );
        }
        let asked = question("failed.example");
        keep(&cache, &asked, &Answer::empty(ResponseCode::ServFail, Origin::Upstream), 0);
        assert_eq!(cache.find(&asked, 5_000), Found::Nothing);
    }

    #[test]
    fn what_cannot_be_kept_ends_what_was_kept() {
        let mut huge = positive(&[60]);
        huge.answer[0].data = (0..400u32).map(|i| i.to_be_bytes().to_vec().into()).collect();
        for newer in [positive(&[0]), Answer::empty(ResponseCode::NXDomain, Origin::Upstream), huge] {
            let cache = Cache::new(MIB, 3_600);
            let asked = question("a.example");
            keep(&cache, &asked, &positive(&[100]), 0);
            keep(&cache, &asked, &newer, 95_000);
            // Neither fetched before its end again and again, nor served beyond it.
            assert_eq!([95_000, 100_000].map(|now_ms| cache.find(&asked, now_ms)), [Found::Nothing, Found::Nothing]);
        }
    }

    #[test]
    fn the_last_tenth_is_for_prefetching() {
        let cache = Cache::new(MIB, 0);
        let asked = question("a.example");
        let soon = |now_ms| matches!(cache.find(&asked, now_ms), Found::Fresh { expires_soon: true, .. });
        keep(&cache, &asked, &positive(&[100]), 0);
        assert_eq!([0, 89_999, 90_000, 99_999].map(soon), [false, false, true, true]);
        // Not again at once after it has failed.
        cache.postpone(&asked, 90_000);
        assert!(!soon(91_000));
        keep(&cache, &asked, &positive(&[9]), 0);
        assert!(!soon(8_999));
    }

    #[test]
    fn bits_types_and_names_are_different_questions() {
        let cache = Cache::new(MIB, 0);
        let asked = question("a.example");
        keep(&cache, &asked, &positive(&[60]), 0);
        assert_ne!(cache.find(&question("A.Example"), 0), Found::Nothing);
        for other in [
            question("b.example"),
            Question { qtype: rtype::AAAA, ..asked.clone() },
            Question { dnssec_ok: true, ..asked.clone() },
            Question { checking_disabled: true, ..asked.clone() },
            // What former servers of a delegated name said is no answer of its present ones.
            Question { authority: Some(Arc::new(Authority::new(asked.name.clone(), vec![]))), ..asked.clone() },
        ] {
            assert_eq!(cache.find(&other, 0), Found::Nothing);
        }
    }

    #[test]
    fn a_name_is_dropped_with_what_is_below_it_and_what_leads_there() {
        let alias = |owner: &str, to: &str| {
            let to: Dname = to.parse().expect("a name");
            let mut answer = positive(&[60]);
            answer.answer[0] = RrSet::one(owner.parse().expect("a name"), rtype::CNAME, 60, to.as_wire().to_vec());
            answer
        };
        let filled = || {
            let cache = Cache::new(MIB, 0);
            for name in ["b.example", "a.b.example", "ab.example", "example", "b.example.org"] {
                let mut answer = positive(&[60]);
                answer.answer[0].owner = name.parse().expect("a name");
                keep(&cache, &question(name), &answer, 0);
            }
            // With an address behind it, and with nothing there.
            keep(&cache, &question("one.test"), &alias("one.test", "www.b.example"), 0);
            let mut nothing = alias("two.test", "www.b.example");
            nothing.authority = negative(ResponseCode::NoError, 60, 60).authority;
            keep(&cache, &question("two.test"), &nothing, 0);
            keep(&cache, &question("three.test"), &alias("three.test", "other.test"), 0);
            cache
        };
        let left = |name: Option<&str>| {
            let cache = filled();
            assert_eq!(cache.size().1, 8);
            let name = name.map(|name| name.parse::<Dname>().expect("a name"));
            let gone = cache.flush(name.as_ref());
            assert_eq!(cache.size().1, 8 - gone, "what is said to have gone is gone");
            let names = ["b.example", "a.b.example", "ab.example", "example", "b.example.org", "one.test", "two.test"];
            let is_left = |name: &&str| cache.find(&question(name), 0) != Found::Nothing;
            names.into_iter().filter(is_left).collect::<Vec<_>>()
        };
        assert_eq!(left(Some("B.Example.")), ["ab.example", "example", "b.example.org"]);
        assert_eq!(left(Some("a.b.example")).len(), 6);
        assert_eq!(left(Some("www.b.example")).len(), 5);
        assert_eq!(left(Some("nowhere")).len(), 7);
        assert!(left(Some(".")).is_empty() && left(None).is_empty());
        assert_eq!(Cache::new(0, 0).flush(None), 0);
    }

    /// The memory that this process has touched, in bytes.
    fn resident_bytes() -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").expect("procfs");
        let pages = text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok()).expect("a number");
        pages * 4_096
    }

    /// Fills a cache and compares what it counts with what the process has grown by.
    fn check_memory(make: impl Fn(u64) -> Answer) {
        const BYTES: u64 = 48 * MIB;
        let before = resident_bytes();
        let cache = Cache::new(BYTES, 0);
        for i in 0..BYTES / 400 {
            keep(&cache, &question(&format!("name{i}.of-usual-length.example")), &make(i), 0);
        }
        let (counted, taken) = (cache.size().0, resident_bytes().saturating_sub(before));
        assert!(counted > BYTES * 9 / 10, "{counted}");
        assert!(taken <= counted * 6 / 5, "{taken} bytes for {counted} counted");
    }

    #[test]
    fn what_is_counted_is_what_one_address_takes() {
        check_memory(|_| positive(&[60]));
    }

    #[test]
    fn what_is_counted_is_what_an_alias_and_addresses_take() {
        check_memory(|i| {
            let mut answer = positive(&[60, 60]);
            answer.answer[0].data = vec![format!("{i:020}").into_bytes().into()];
            answer.answer[1].data = (0..4u32).map(|last| last.to_be_bytes().to_vec().into()).collect();
            answer
        });
    }

    #[test]
    fn what_is_counted_is_what_an_absence_takes() {
        check_memory(|_| negative(ResponseCode::NXDomain, 60, 60));
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let cache = Cache::new(MIB, 0);
        for i in 0..20_000 {
            keep(&cache, &question(&format!("name{i}.example")), &positive(&[60]), 0);
            assert!(cache.size().0 <= MIB);
        }
        let (bytes, entries) = cache.size();
        assert!(bytes > MIB / 2 && entries > 1_000, "{bytes} {entries}");
        let mut huge = positive(&[60]);
        huge.answer[0].data = (0..400u32).map(|i| i.to_be_bytes().to_vec().into()).collect();
        keep(&cache, &question("huge.example"), &huge, 0);
        assert_eq!(cache.find(&question("huge.example"), 0), Found::Nothing);
        let off = Cache::new(0, 0);
        keep(&off, &question("a.example"), &positive(&[60]), 0);
        assert_eq!((off.find(&question("a.example"), 0), off.size()), (Found::Nothing, (0, 0)));
    }
}
