//! All names of all files, and what is told of them to whom.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
};

use foldhash::quality::RandomState;

use crate::dns::name::Dname;
use crate::zones::inside::is_inside;

/// TTL of what is answered from here, in seconds: short, because files are edited.
pub const TTL_S: u32 = 60;

/// All names of all files.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    // Keyed by names in lower-cased wire form without the root byte. Blocking lists give 100,000 names one address, so
    // lists of addresses are shared.
    pub(super) names: HashMap<Box<[u8]>, u32, RandomState>,
    pub(super) lists: Vec<Box<[IpAddr]>>,
    // Of names that have addresses which only this machine hears of: the list of the others.
    pub(super) told_to_house: HashMap<Box<[u8]>, u32, RandomState>,
    // From the reverse name of an address to a name.
    pub(super) pointers: HashMap<Box<[u8]>, Dname, RandomState>,
}

/// To whom something of the files is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Clients on loopback: everything.
    ThisMachine,
    /// Other clients that questions are forwarded for: everything but what a machine says to itself, which is the line
    /// of its own name that Debian writes (`127.0.1.1 myhost`) and others like it.
    House,
}

/// The files as one audience hears them.
#[derive(Clone, Copy, Debug)]
pub struct HostsView<'a> {
    hosts: &'a Hosts,
    audience: Audience,
}

/// What the files say about one name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host<'a> {
    /// Its addresses, in the order of the files.
    pub(crate) addresses: &'a [IpAddr],
    /// If it is the reverse name of an address, the name of that.
    pub(crate) pointer: Option<&'a Dname>,
}

static NONE: LazyLock<Hosts> = LazyLock::new(Hosts::default);

impl Hosts {
    /// No names.
    pub fn none() -> &'static Self {
        &NONE
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What is told to clients of a kind.
    pub fn told_to(&self, audience: Audience) -> HostsView<'_> {
        HostsView { hosts: self, audience }
    }
}

impl<'a> From<&'a Hosts> for HostsView<'a> {
    fn from(hosts: &'a Hosts) -> Self {
        hosts.told_to(Audience::ThisMachine)
    }
}

impl<'a> HostsView<'a> {
    /// Whether there is something to say about a lower-cased name without its root byte.
    pub(crate) fn has(self, name: &[u8]) -> bool {
        self.find_key(name).is_some()
    }

    /// Whether the files give `name` an address of the local network.
    pub(crate) fn leads_inside(self, name: &Dname) -> bool {
        let is_inside = |address: &IpAddr| is_inside(*address);
        self.find(name).is_some_and(|host| host.addresses.iter().any(is_inside))
    }

    /// What the files say about `name`; `None` if it is in no file.
    pub(crate) fn find(self, name: &Dname) -> Option<Host<'a>> {
        let wire = name.as_wire();
        self.find_key(&wire[..wire.len() - 1])
    }

    fn find_key(self, key: &[u8]) -> Option<Host<'a>> {
        let Hosts { names, lists, told_to_house, pointers } = self.hosts;
        let is_told = self.audience == Audience::ThisMachine || !key.ends_with(LOOPBACK_ZONE);
        let pointer = pointers.get(key).filter(|_| is_told);
        let index = match self.audience {
            Audience::ThisMachine => names.get(key),
            Audience::House => told_to_house.get(key).or_else(|| names.get(key)),
        };
        let addresses = index.and_then(|index| lists.get(*index as usize)).map(|list| &**list).unwrap_or_default();
        (!addresses.is_empty() || pointer.is_some()).then_some(Host { addresses, pointer })
    }
}

/// Where the reverse names of 127.0.0.0/8 are, without the root byte.
const LOOPBACK_ZONE: &[u8] = b"\x03127\x07in-addr\x04arpa";

/// Whether an address means the machine that the file is on, and nothing to others. 127.0.0.1 is not among them: lists
/// of names that lead nowhere give it to all of them.
pub(super) fn is_for_this_machine(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_loopback() && *v4 != Ipv4Addr::LOCALHOST)
}

/// The name below `in-addr.arpa` or `ip6.arpa` that asks for the name of `address` (RFC 1035 §3.5, RFC 3596 §2.5), in
/// wire form without its root byte.
pub(super) fn reverse_name(address: IpAddr) -> Vec<u8> {
    let mut name = Vec::with_capacity(74);
    let mut push = |label: &[u8]| {
        name.push(label.len() as u8);
        name.extend_from_slice(label);
    };
    match address {
        IpAddr::V4(v4) => {
            v4.octets().iter().rev().for_each(|byte| push(byte.to_string().as_bytes()));
            push(b"in-addr");
        }
        IpAddr::V6(v6) => {
            let digits = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            digits.for_each(|digit| push(&[b"0123456789abcdef"[usize::from(digit)]]));
            push(b"ip6");
        }
    }
    push(b"arpa");
    name
}

/// Addresses that blocking lists give to thousands of names, and the loopback addresses, whose name is `localhost`
/// whatever a file says (RFC 6761 §6.3).
pub(super) fn has_no_pointer(address: IpAddr) -> bool {
    let is_v6_loopback = matches!(address, IpAddr::V6(v6) if v6.is_loopback());
    address.is_unspecified() || is_v6_loopback || address == IpAddr::V4(Ipv4Addr::LOCALHOST)
}
