//! Names that their owners delegate with NS records, resolved for clients that do not follow a referral themselves.
//!
//! Stub resolvers, and forwarders in front of us, take a referral for an empty answer. So whoever wants recursion and may
//! have it gets what the delegated servers say; whoever iterates gets the referral. A failure is said as such.
//!
//! The owner of a name says which servers are asked, so what one question can cause is bounded:
//!
//! - [`MAX_SERVERS`] addresses are considered, and asked one after the other as far as the time that a question has
//!   allows;
//! - the addresses of [`MAX_LOOKED_UP`] name servers of a delegation are looked up, only if the ledger holds none; a
//!   question takes [`MAX_CUTS`] delegations one after the other and [`MAX_LOOKUPS`] lookups in all, however they branch
//!   (NXNSAttack, CVE-2020-12662), and no longer than any other question;
//! - referrals of its servers are followed downwards, as often and to as many addresses as [`REFERRED`] says;
//! - this server itself is never asked, nor an address that cannot be one of a server; where answers about names of the
//!   ledger may not lead into the local network, its servers are not asked either.
//!
//! What they say is validated if the ledger has DS records of the name that can be; those are taken from it whatever a
//! referral holds. The AD bit stays clear.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use hickory_proto::op::ResponseCode;
use tokio::time::Instant;

use crate::{
    dns::{
        answer::{Answer, Origin},
        ede::EdeCode,
        name::Dname,
        rdata,
        rrset::RrSet,
        rtype,
    },
    out::forward::TOTAL,
};

/// The most addresses of name servers that are considered for one question.
pub(crate) const MAX_SERVERS: usize = 12;
/// The most name servers whose addresses are looked up for one question.
pub(crate) const MAX_LOOKED_UP: usize = 2;
/// The most delegations on the way to one answer, those of name servers' names included.
pub(crate) const MAX_CUTS: usize = 4;
/// The most lookups of name servers' addresses for one question, whatever delegations they lead through.
pub(crate) const MAX_LOOKUPS: usize = 8;

/// The most referrals that are followed for one question.
pub(crate) const MAX_REFERRALS: usize = 4;
/// The most addresses that are asked after each: whoever is delegated to can refer to others as well as the owner can.
pub(crate) const MAX_REFERRED: usize = 4;

/// What is left beyond [`TOTAL`] for one question as a whole, so that whoever is asked last can still say that time is up.
const MARGIN: Duration = Duration::from_millis(250);

/// What one question may still cause, wherever its aliases lead.
#[derive(Debug)]
pub(crate) struct Allowance {
    lookups: AtomicUsize,
    referrals: AtomicUsize,
    /// When it has to be answered.
    pub(crate) deadline: Instant,
}

impl Allowance {
    /// All that one question may cause, in little more than [`TOTAL`] from now.
    pub(crate) fn new() -> Self {
        Self {
            lookups: AtomicUsize::new(MAX_LOOKUPS),
            referrals: AtomicUsize::new(MAX_REFERRALS),
            deadline: Instant::now() + TOTAL + MARGIN,
        }
    }

    /// Takes one lookup; false if there is none left.
    pub(crate) fn take_lookup(&self) -> bool {
        take(&self.lookups)
    }

    /// Takes one referral; false if there is none left.
    pub(crate) fn take_referral(&self) -> bool {
        take(&self.referrals)
    }
}

fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Where others are responsible for a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Delegation {
    /// The name that is delegated.
    pub(crate) cut: Dname,
    /// The name that is looked for, at or below it: what was asked for, or where aliases lead.
    pub(crate) name: Dname,
    /// The names of its servers.
    pub(crate) name_servers: Vec<Dname>,
    /// Their addresses, as far as the ledger has them.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Delegation {
    /// Takes the referral out of an answer to a question about `asked`, if it is one. What stays are aliases that lead
    /// there.
    pub(crate) fn take(answer: &mut Answer, asked: &Dname) -> Option<Self> {
        let at = answer.authority.iter().position(is_name_servers)?;
        let servers = answer.authority.swap_remove(at);
        answer.authority.clear();
        let addresses = answer.glue.drain(..).chain(answer.additional.drain(..));
        let addresses = addresses.flat_map(|set| set.addresses()).take(MAX_SERVERS).collect();
        Some(Self {
            cut: servers.owner,
            name: end_of_aliases(&answer.answer, asked),
            name_servers: servers.data.iter().filter_map(|data| rdata::target(data).ok()).take(MAX_SERVERS).collect(),
            addresses,
        })
    }

    /// The DS records in a referral.
    pub(crate) fn signers_in(answer: &Answer) -> Vec<Bytes> {
        let sets = answer.authority.iter().filter(|set| set.rtype == rtype::DS);
        sets.flat_map(|set| set.data.iter().cloned()).collect()
    }

    /// Whether an answer is a referral: nothing else of ours has NS records in its authority section.
    pub(crate) fn is_in(answer: &Answer) -> bool {
        answer.authority.iter().any(is_name_servers)
    }

    /// What is said when nobody answered, or nobody could be asked.
    pub(crate) fn failure(&self, code: EdeCode, why: &str) -> Answer {
        let text = format!("{} is delegated, and {why}", self.cut);
        Answer::failure(ResponseCode::ServFail, Origin::Upstream, code, text)
    }
}

fn is_name_servers(set: &RrSet) -> bool {
    set.rtype == rtype::NS
}

/// Whether a server can be there at all.
pub(crate) fn can_be_asked(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    // Which interface a link-local address belongs to is not said.
    let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !(address.is_unspecified() || address.is_multicast() || is_broadcast || is_link_local)
}

/// Addresses with the port of DNS, each once.
pub(crate) fn sockets(addresses: impl IntoIterator<Item = IpAddr>, port: u16) -> Vec<SocketAddr> {
    let mut sockets: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        let socket = SocketAddr::new(address.to_canonical(), port);
        if !sockets.contains(&socket) && sockets.len() < MAX_SERVERS {
            sockets.push(socket);
        }
    }
    sockets
}

/// At most so many of the servers, of IPv4 and of IPv6 in turn, since a machine may have only one of them. In whatever order
/// they come, they are the same: they are part of what answers are kept by.
pub(crate) fn few(mut servers: Vec<SocketAddr>, most: usize) -> Vec<SocketAddr> {
    if servers.len() <= most {
        return servers;
    }
    servers.sort_unstable();
    let (v4, v6): (Vec<_>, Vec<_>) = servers.into_iter().partition(SocketAddr::is_ipv4);
    let in_turn = (0..v4.len().max(v6.len())).flat_map(|at| [v4.get(at), v6.get(at)]);
    in_turn.flatten().copied().take(most).collect()
}

/// Where a chain of aliases ends. DNAME records come with the CNAME that they mean.
fn end_of_aliases(sets: &[RrSet], asked: &Dname) -> Dname {
    let mut name = asked.clone();
    // As many steps as there are aliases: a circle has been cut before.
    for set in sets.iter().filter(|set| set.rtype == rtype::CNAME) {
        if set.owner == name
            && let Some(Ok(target)) = set.data.first().map(|data| rdata::target(data))
        {
            name = target;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Dname {
        text.parse().expect("a name")
    }

    fn set(owner: &str, rtype: u16, data: &[u8]) -> RrSet {
        RrSet::one(name(owner), rtype, 300, data.to_vec())
    }

    #[test]
    fn a_referral_is_taken_apart_and_its_aliases_stay() {
        let mut answer = Answer {
            answer: vec![
                set("a.x.p2p", rtype::CNAME, name("b.x.p2p").as_wire()),
                set("b.x.p2p", rtype::CNAME, name("www.y.p2p").as_wire()),
            ],
            authority: vec![set("y.p2p", rtype::NS, name("ns.y.p2p").as_wire()), set("y.p2p", 43, b"a key")],
            glue: vec![set("ns.y.p2p", rtype::A, &[192, 0, 2, 1]), set("ns.y.p2p", rtype::AAAA, &[1; 16])],
            additional: vec![set("ns.z.p2p", rtype::A, &[192, 0, 2, 2])],
            ..Answer::empty(ResponseCode::NoError, Origin::Ledger)
        };
        let delegation = Delegation::take(&mut answer, &name("a.x.p2p")).expect("a referral");
        assert_eq!((delegation.cut, delegation.name), (name("y.p2p"), name("www.y.p2p")));
        assert_eq!(delegation.name_servers, [name("ns.y.p2p")]);
        let addresses: Vec<String> = delegation.addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(addresses, ["192.0.2.1", "101:101:101:101:101:101:101:101", "192.0.2.2"]);
        assert_eq!((answer.answer.len(), answer.authority.len(), answer.glue.len()), (2, 0, 0));
        let mut negative = Answer {
            authority: vec![set("p2p", rtype::SOA, b"")],
            ..Answer::empty(ResponseCode::NXDomain, Origin::Ledger)
        };
        assert_eq!(Delegation::take(&mut negative, &name("x.p2p")), None);
        assert_eq!(negative.authority.len(), 1);
    }

    #[test]
    fn lookups_are_few_for_one_question() {
        let allowance = Allowance::new();
        assert_eq!((0..100).filter(|_| allowance.take_lookup()).count(), MAX_LOOKUPS);
        assert_eq!((0..100).filter(|_| allowance.take_referral()).count(), MAX_REFERRALS);
    }

    #[test]
    fn not_every_address_is_one_of_a_server() {
        for (address, expected) in [
            ("192.0.2.1", true),
            ("127.0.0.10", true),
            ("2001:db8::1", true),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("224.0.0.251", false),
            ("::", false),
            ("ff02::fb", false),
            ("fe80::1", false),
            ("::ffff:0.0.0.0", false),
        ] {
            assert_eq!(can_be_asked(address.parse().expect("an address")), expected, "{address}");
        }
        let many = (0..=255).map(|last| IpAddr::from([192, 0, 2, last]));
        assert_eq!(sockets(many.clone().chain(many), 53).len(), MAX_SERVERS);
        let twice = ["::ffff:192.0.2.1", "192.0.2.1"].map(|text| text.parse().expect("an address"));
        assert_eq!(sockets(twice, 53), [SocketAddr::from(([192, 0, 2, 1], 53))]);
    }

    #[test]
    fn few_servers_are_of_both_families_and_always_the_same() {
        let socket = |text: &str| SocketAddr::new(text.parse().expect("an address"), 53);
        let mut servers = ["2001:db8::3", "2001:db8::2", "2001:db8::1", "192.0.2.2", "192.0.2.1"].map(socket).to_vec();
        let expected = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"].map(socket);
        assert_eq!(few(servers.clone(), 4), expected);
        servers.reverse();
        assert_eq!(few(servers.clone(), 4), expected);
        assert_eq!(few(servers.clone(), 5), servers, "all there are");
        assert_eq!(few(servers[..2].to_vec(), 1), [socket("192.0.2.1")]);
    }
}
