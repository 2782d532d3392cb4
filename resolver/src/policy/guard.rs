//! What stands between strangers and the resolver: who may ask, how much anybody gets over UDP, and how much work can be
//! forced. Nothing here decides what an answer says.
//!
//! A datagram's source can be forged, so an answer may hit somebody who never asked. The guard bounds that:
//!
//! - [`acl`]: who may ask at all, and for whom questions are forwarded.
//! - [`cookie`]: whoever returns a cookie of ours receives what is sent to its address, and is not limited.
//! - [`bucket`]: for everybody else, answers per second and host and network, and bytes per second and network beyond
//!   twice what came from there. Hence the bound: bytes out ≤ 2 × bytes in + `free_bytes` per second, for each network.
//! - [`scan`]: the answer to those beyond the limit, which is about as long as the question.
//! - [`signing`]: a budget of new signatures for datagrams and one for connections, with a share for each network.
//! - [`exposure`]: the lines in the log that say what is open to whom.
//!
//! Nothing is allocated per query, and nothing is locked. Connections are bounded elsewhere.

pub(crate) mod acl;
pub(crate) mod bucket;
mod budget;
pub(crate) mod cookie;
pub(crate) mod exposure;
pub(crate) mod scan;
pub(crate) mod signing;

use std::{
    net::IpAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;

use crate::{
    policy::config::guard::{GuardConfig, Switch},
    zones::query::MAX_UDP_BYTES,
};
use acl::{Acl, Prefixes};
use bucket::{Rate, Subject, Table};
use budget::SigningBudget;
use cookie::{COOKIE_BYTES, Cookie, Jar, Secrets};

/// How many times the rate of one host its network gets.
const HOSTS_PER_NETWORK: u32 = 8;
/// A network may get this many times what it sends, without touching what it gets for free.
const FREE_RATIO: i64 = 2;

/// Decides who is served.
pub(crate) struct Guard {
    started: Instant,
    access: ArcSwap<Access>,
    table: Table,
    host_answers: Option<Rate>,
    network_answers: Option<Rate>,
    network_bytes: Option<Rate>,
    slip: u8,
    udp_bytes_without_cookie: u16,
    jar: Option<Jar>,
    secrets: ArcSwap<Secrets>,
    signing: Option<SigningBudget>,
}

/// Who may ask, for whom questions are forwarded, and who has no limits.
struct Access {
    ask: Acl,
    forward: Acl,
    exempt: Prefixes,
    /// Those among whom questions are forwarded for that have no limits either.
    house: Prefixes,
}

impl Access {
    fn of(config: &GuardConfig) -> Self {
        Self {
            ask: match config.allow.as_slice() {
                [] => Acl::everybody_but(&config.deny),
                allow => Acl::only(allow, &config.deny),
            },
            forward: Acl::only(&config.forward_allow, &config.forward_deny),
            exempt: Prefixes::new(&config.exempt),
            house: Prefixes::new(&config.house()),
        }
    }

    /// Whether there are no limits for `src`. An address that nothing is forwarded for is none of the house.
    fn is_exempt(&self, src: IpAddr) -> bool {
        self.exempt.contains(src) || (self.house.contains(src) && self.forward.allows(src))
    }
}

/// The time, read once for a whole batch of datagrams.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    /// Nanoseconds since the guard was made.
    ns: u64,
    /// Unix seconds.
    unix_s: u64,
    secrets: Secrets,
}

/// What is known of the sender of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its address, which may be forged.
    pub(crate) src: IpAddr,
    pub(crate) cookie: Cookie,
    is_exempt: bool,
    /// The longest datagram to send there, in bytes.
    pub(crate) max_bytes: u16,
}

/// What a datagram deserves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// An answer.
    Answer,
    /// To be told to come by TCP.
    Slip,
    /// Nothing.
    Drop,
}

impl Guard {
    /// A guard for `config`, all buckets full. Fails if there is no randomness for secrets.
    pub(crate) fn new(config: &GuardConfig) -> Result<Self, getrandom::Error> {
        let answers = |hosts: u32| Rate::new(config.rate_limit * hosts, config.rate_limit * hosts);
        let jar = match config.cookies {
            Switch::On => Some(Jar::open()?),
            Switch::Off => None,
        };
        let secrets = jar.as_ref().map(|jar| jar.secrets(unix_s())).unwrap_or_default();
        Ok(Self {
            started: Instant::now(),
            access: ArcSwap::from_pointee(Access::of(config)),
            table: Table::new(),
            host_answers: answers(1),
            network_answers: answers(HOSTS_PER_NETWORK),
            network_bytes: Rate::new(config.free_bytes, config.free_bytes),
            slip: config.slip,
            udp_bytes_without_cookie: config.udp_bytes_without_cookie,
            jar,
            secrets: ArcSwap::from_pointee(secrets),
            signing: SigningBudget::new(config.signatures_per_second),
        })
    }

    /// Takes the lists of prefixes over from `config`, and nothing else. Whoever is connected stays connected.
    pub(crate) fn set_access(&self, config: &GuardConfig) {
        self.access.store(Access::of(config).into());
    }

    /// The time, with the secrets that belong to it.
    pub(crate) fn now(&self) -> Now {
        let unix_s = unix_s();
        let mut secrets = **self.secrets.load();
        if let Some(jar) = self.jar.as_ref().filter(|_| !secrets.are_of(unix_s)) {
            secrets = jar.secrets(unix_s);
            self.secrets.store(secrets.into());
        }
        Now { ns: self.ns(), unix_s, secrets }
    }

    /// What is known of who sent `message` from `src`. Changes nothing.
    pub(crate) fn standing(&self, message: &[u8], src: IpAddr, now: &Now) -> Standing {
        let is_exempt = self.access.load().is_exempt(src);
        let option = self.jar.as_ref().and_then(|_| scan::cookie(message));
        let cookie = option.map_or(Cookie::Absent, |option| now.secrets.judge(option, src, now.unix_s));
        let is_trusted = is_exempt || matches!(cookie, Cookie::Valid(_));
        let max_bytes = if is_trusted { MAX_UDP_BYTES } else { self.udp_bytes_without_cookie };
        Standing { src, cookie, is_exempt, max_bytes }
    }

    /// What a datagram deserves; this counts it.
    pub(crate) fn admit(&self, standing: &Standing, now: &Now) -> Admission {
        if standing.is_trusted() {
            return Admission::Answer;
        }
        let levels = [(Subject::HostAnswers, self.host_answers), (Subject::NetworkAnswers, self.network_answers)];
        for (subject, rate) in levels.into_iter().filter_map(|(subject, rate)| Some((subject, rate?))) {
            let bucket = self.table.bucket(subject, standing.src);
            if bucket.take(rate, now.ns).is_err() {
                let slips = self.slip > 0 && bucket.refuse(self.slip);
                return if slips { Admission::Slip } else { Admission::Drop };
            }
        }
        Admission::Answer
    }

    /// Whether an answer of `answer_bytes` to a datagram of `query_bytes` may be sent; if so this counts it. If not, the
    /// client is to be told to come by TCP.
    pub(crate) fn may_send(&self, standing: &Standing, query_bytes: usize, answer_bytes: usize, now: &Now) -> bool {
        let Some(rate) = self.network_bytes.filter(|_| !standing.is_trusted()) else { return true };
        // Both are lengths of datagrams.
        let beyond = answer_bytes as i64 - FREE_RATIO * query_bytes as i64;
        self.table.bucket(Subject::NetworkBytes, standing.src).spend(rate, beyond, now.ns).is_ok()
    }

    /// Whether `src` may ask here at all.
    pub(crate) fn may_ask(&self, src: IpAddr) -> bool {
        self.access.load().ask.allows(src)
    }

    /// Whether questions of `src` may be forwarded.
    pub(crate) fn may_forward(&self, src: IpAddr) -> bool {
        self.access.load().forward.allows(src)
    }

    fn ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Standing {
    /// The cookie to send back.
    pub(crate) fn cookie_out(&self) -> Option<&[u8; COOKIE_BYTES]> {
        match &self.cookie {
            Cookie::Absent | Cookie::Malformed => None,
            Cookie::Fresh(cookie) | Cookie::Invalid(cookie) | Cookie::Valid(cookie) => Some(cookie),
        }
    }

    /// Whether it is where it says it is, or need not prove it.
    fn is_trusted(&self) -> bool {
        self.is_exempt || matches!(self.cookie, Cookie::Valid(_))
    }
}

/// A clock before 1970 is as wrong as any: cookies are then refused by servers with better ones.
fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
