//! Reading HOSTS files, line by line.
//!
//! A line that cannot be understood is left out and reported with its number; the lines around it count. Guarantees:
//! any bytes are read without a panic, and memory is bounded by [`MAX_NAMES`] and [`MAX_ADDRESSES`] whatever they are.

use std::{collections::HashMap, net::IpAddr, str::SplitAsciiWhitespace};

use foldhash::quality::RandomState;

use super::names::{Hosts, has_no_pointer, is_for_this_machine, reverse_name};
use crate::{
    dns::name::{Dname, DnameError},
    zones::site::Site,
};

/// The most names in all files together. The largest public blocking lists have about 200,000.
pub const MAX_NAMES: usize = 500_000;
/// The most addresses of one name.
pub const MAX_ADDRESSES: usize = 32;
/// The longest line in bytes: an address and a dozen of the longest names.
pub const MAX_LINE_BYTES: usize = 4_096;
/// Reports that are kept of one file; the others are only counted.
const MAX_REPORTS: usize = 10;
/// Characters of a word that a report repeats.
const MAX_QUOTE: usize = 40;

/// Reads files into a [`Hosts`].
#[derive(Debug, Default)]
pub struct Reading {
    names: HashMap<Box<[u8]>, Vec<IpAddr>, RandomState>,
    pointers: HashMap<Box<[u8]>, Dname, RandomState>,
}

/// What was left out of one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Skipped {
    /// How many lines or names.
    pub count: usize,
    /// The first of them.
    pub first: Vec<LineError>,
}

/// Why something of a line was left out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// It is not UTF-8.
    #[error("it is no text: save the file as UTF-8")]
    NoText,
    /// Nobody writes such lines by hand.
    #[error("it is longer than {MAX_LINE_BYTES} bytes: spread the names over several lines")]
    TooLong,
    /// It does not begin with an address.
    #[error("{0:?} is no IP address; a line is an address and then names")]
    Address(String),
    /// `fe80::1%eth0`: a zone of this machine means nothing to a client.
    #[error("{0:?} has a zone ('%'), which DNS cannot give: leave it out")]
    Scoped(String),
    /// There is an address and nothing else.
    #[error("no name follows the address")]
    NoName,
    /// A name of too many bytes, or with an empty label.
    #[error("{name:?} is no host name: {reason}")]
    Name {
        /// As written.
        name: String,
        /// What is wrong.
        reason: DnameError,
    },
    /// A name with a byte that host names do not have.
    #[error("{name:?} is no host name: it has a {character:?}{}", hint(*character))]
    Character {
        /// As written.
        name: String,
        /// The first that is wrong.
        character: char,
    },
    /// The apex of a zone, or a name below its `nic`.
    #[error("{0:?} is a name of this server itself: set dns.announce or [dns.authority] for it")]
    Own(String),
    /// More than [`MAX_ADDRESSES`].
    #[error("{0:?} has more than {MAX_ADDRESSES} addresses")]
    TooManyAddresses(String),
    /// More than [`MAX_NAMES`].
    #[error("the files have more than {MAX_NAMES} names: split the list, or use a name server made for it")]
    TooManyNames,
}

/// A line that says something.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The address.
    pub address: IpAddr,
    /// The names, as written; at least one.
    pub names: SplitAsciiWhitespace<'a>,
}

/// The lines that are neither empty nor remarks, with their numbers from 1.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Result<Line<'_>, Problem>)> {
    // Editors of some systems begin a file with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines.filter_map(|(index, line)| Some((index + 1, read_line(line).transpose()?)))
}

fn read_line(line: &[u8]) -> Result<Option<Line<'_>>, Problem> {
    let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    if line.len() > MAX_LINE_BYTES {
        return Err(Problem::TooLong);
    }
    let line = str::from_utf8(line).map_err(|_| Problem::NoText)?;
    let mut words = line.split_ascii_whitespace();
    let Some(first) = words.next() else { return Ok(None) };
    let address = match first.parse() {
        Ok(address) => address,
        Err(_) if first.contains('%') => return Err(Problem::Scoped(quote(first))),
        Err(_) => return Err(Problem::Address(quote(first))),
    };
    if words.clone().next().is_none() {
        return Err(Problem::NoName);
    }
    Ok(Some(Line { address, names: words }))
}

impl Reading {
    /// Adds all names of a file. Those of the `site` itself cannot be given other addresses.
    pub fn add(&mut self, text: &[u8], site: &Site) -> Skipped {
        let mut skipped = Skipped::default();
        for (line, read) in lines(text) {
            let mut report = |problem| skipped.note(LineError { line, problem });
            match read {
                Ok(read) => {
                    let names = read.names.map(|word| self.add_name(word, read.address, site));
                    names.filter_map(Result::err).for_each(report);
                }
                Err(problem) => report(problem),
            }
        }
        skipped
    }

    /// All that was read.
    pub fn finish(self) -> Hosts {
        let mut hosts = Hosts { pointers: self.pointers, ..Hosts::default() };
        hosts.names.reserve(self.names.len());
        let mut known: HashMap<Box<[IpAddr]>, u32, RandomState> = HashMap::default();
        let mut index_of = |lists: &mut Vec<Box<[IpAddr]>>, addresses: Vec<IpAddr>| {
            let next = lists.len() as u32;
            *known.entry(addresses.into()).or_insert_with_key(|addresses| {
                lists.push(addresses.clone());
                next
            })
        };
        for (name, addresses) in self.names {
            if addresses.iter().any(is_for_this_machine) {
                let others = addresses.iter().copied().filter(|address| !is_for_this_machine(address)).collect();
                let index = index_of(&mut hosts.lists, others);
                hosts.told_to_house.insert(name.clone(), index);
            }
            let index = index_of(&mut hosts.lists, addresses);
            hosts.names.insert(name, index);
        }
        hosts
    }

    fn add_name(&mut self, word: &str, address: IpAddr, site: &Site) -> Result<(), Problem> {
        let name = host_name(word)?;
        if is_localhost(&name) {
            return Ok(());
        }
        if site.is_own(&name) {
            return Err(Problem::Own(quote(word)));
        }
        let key = &name.as_wire()[..name.as_wire().len() - 1];
        let is_full = self.names.len() >= MAX_NAMES;
        match self.names.get_mut(key) {
            Some(addresses) if addresses.contains(&address) => {}
            Some(addresses) if addresses.len() >= MAX_ADDRESSES => return Err(Problem::TooManyAddresses(quote(word))),
            Some(addresses) => addresses.push(address),
            None if is_full => return Err(Problem::TooManyNames),
            None => {
                self.names.insert(key.into(), vec![address]);
            }
        }
        if !has_no_pointer(address) {
            self.pointers.entry(reverse_name(address).into()).or_insert(name);
        }
        Ok(())
    }
}

impl Skipped {
    fn note(&mut self, error: LineError) {
        self.count += 1;
        if self.first.len() < MAX_REPORTS {
            self.first.push(error);
        }
    }
}

/// A name as HOSTS files have them: letters, digits, `-`, and `_` as people do use it.
fn host_name(word: &str) -> Result<Dname, Problem> {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(character) = word.chars().find(|c| !is_usual(*c)) {
        return Err(Problem::Character { name: quote(word), character });
    }
    let wrong = |reason| Problem::Name { name: quote(word), reason };
    match word.parse::<Dname>() {
        Ok(name) if name == Dname::root() => Err(wrong(DnameError::EmptyLabel)),
        parsed => parsed.map_err(wrong),
    }
}

/// `localhost` means this machine whatever a file says (RFC 6761 §6.3), so what files say about it is passed over.
fn is_localhost(name: &Dname) -> bool {
    name.labels().last() == Some(b"localhost")
}

fn hint(character: char) -> &'static str {
    match character {
        '*' => "; HOSTS files have no wildcards",
        c if !c.is_ascii() => "; write it in its ASCII form (xn--…)",
        _ => "",
    }
}

fn quote(word: &str) -> String {
    match word.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zones::{hosts::Audience, site::Zone};

    fn site() -> Site {
        Site::new(vec![Zone::new("p2p".parse().expect("a name"), Vec::new()).expect("short")], None)
    }

    fn read(text: &[u8]) -> (Hosts, Vec<String>) {
        let mut reading = Reading::default();
        let skipped = reading.add(text, &site());
        (reading.finish(), skipped.first.iter().map(LineError::to_string).collect())
    }

    fn addresses(hosts: &Hosts, name: &str) -> String {
        let name: Dname = name.parse().expect("a name");
        let key = &name.as_wire()[..name.as_wire().len() - 1];
        let list = hosts.names.get(key).map(|index| &hosts.lists[*index as usize]);
        list.into_iter().flatten().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_usual_lines() {
        let text = b"\xef\xbb\xbf# a remark\r\n\
            192.0.2.1\tnas NAS.home.arpa. # its names\r\n\
            2001:db8::1   nas\n\
            \n\
            192.0.2.1 nas\n\
            0.0.0.0 ads.example tracker_1.example\n\
            127.0.0.1 localhost localhost.localdomain x.localhost\n\
            ::1 localhost ip6-loopback\n\
            192.0.2.9 alice.p2p\n\
            192.0.2.1 second";
        let (hosts, problems) = read(text);
        assert_eq!(problems, [""; 0]);
        for (name, expected) in [
            ("nas", "192.0.2.1 2001:db8::1"),
            ("nas.home.arpa", "192.0.2.1"),
            ("ads.example", "0.0.0.0"),
            ("tracker_1.example", "0.0.0.0"),
            ("localhost", ""),
            ("x.localhost", ""),
            ("localhost.localdomain", "127.0.0.1"),
            ("ip6-loopback", "::1"),
            ("alice.p2p", "192.0.2.9"),
            ("second", "192.0.2.1"),
            ("home.arpa", ""),
        ] {
            assert_eq!(addresses(&hosts, name), expected, "{name}");
        }
        // 192.0.2.1 and .9, and 2001:db8::1; sinks and loopback have none. The first name of an address counts.
        assert_eq!(hosts.pointers.len(), 3);
        let nas = hosts.pointers.get(&b"\x011\x012\x010\x03192\x07in-addr\x04arpa"[..]);
        assert_eq!(nas.map(Dname::to_string).as_deref(), Some("nas."));
        // Two names with one address share it.
        assert!(hosts.lists.len() < hosts.len());
    }

    /// Debian's installer writes such a line; a house is not to hear that a machine in it is at 127.0.1.1.
    #[test]
    fn what_a_machine_says_to_itself_is_not_told_to_others() {
        let (hosts, _) =
            read(b"127.0.1.1 myhost.lan myhost\n192.168.7.8 myhost\n127.0.0.1 ads.example\n192.168.7.9 nas");
        let told = |audience: Audience, name: &str| {
            let host = hosts.told_to(audience).find(&name.parse().expect("a name"));
            host.map(|host| {
                (host.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "), host.pointer.is_some())
            })
        };
        for (name, here, there) in [
            ("myhost.lan", Some(("127.0.1.1", false)), None),
            ("myhost", Some(("127.0.1.1 192.168.7.8", false)), Some(("192.168.7.8", false))),
            ("ads.example", Some(("127.0.0.1", false)), Some(("127.0.0.1", false))),
            ("nas", Some(("192.168.7.9", false)), Some(("192.168.7.9", false))),
            ("1.1.0.127.in-addr.arpa", Some(("", true)), None),
            ("9.7.168.192.in-addr.arpa", Some(("", true)), Some(("", true))),
            ("other", None, None),
        ] {
            let owned =
                |told: Option<(&str, bool)>| told.map(|(addresses, has_pointer)| (addresses.to_owned(), has_pointer));
            assert_eq!(told(Audience::ThisMachine, name), owned(here), "{name}");
            assert_eq!(told(Audience::House, name), owned(there), "{name}");
        }
    }

    #[test]
    fn each_problem_has_its_sentence() {
        for (line, expected) in [
            (&b"nas 192.0.2.1"[..], "\"nas\" is no IP address; a line is an address and then names"),
            (b"192.0.2.256 nas", "\"192.0.2.256\" is no IP address; a line is an address and then names"),
            (b"192.0.2.1:80 nas", "\"192.0.2.1:80\" is no IP address; a line is an address and then names"),
            (b"fe80::1%lo0 localhost", "\"fe80::1%lo0\" has a zone ('%'), which DNS cannot give: leave it out"),
            (b"192.0.2.1", "no name follows the address"),
            (b"192.0.2.1 # nas", "no name follows the address"),
            (b"192.0.2.1 .", "\".\" is no host name: a label is empty"),
            (b"192.0.2.1 a..b", "\"a..b\" is no host name: a label is empty"),
            (b"0.0.0.0 *.example", "\"*.example\" is no host name: it has a '*'; HOSTS files have no wildcards"),
            (
                "192.0.2.1 b\u{fc}cher".as_bytes(),
                "\"b\u{fc}cher\" is no host name: it has a '\u{fc}'; write it in its ASCII form (xn--…)",
            ),
            (b"192.0.2.1 a/b", "\"a/b\" is no host name: it has a '/'"),
            (b"192.0.2.1 b\xfccher", "it is no text: save the file as UTF-8"),
            (b"192.0.2.1 P2P", "\"P2P\" is a name of this server itself: set dns.announce or [dns.authority] for it"),
            (
                b"192.0.2.1 ns.nic.p2p.",
                "\"ns.nic.p2p.\" is a name of this server itself: set dns.announce or [dns.authority] for it",
            ),
            (&[b'1'; MAX_LINE_BYTES + 1], "it is longer than 4096 bytes: spread the names over several lines"),
        ] {
            let (hosts, problems) = read(&[b"192.0.2.1 before\n", line, b"\n192.0.2.1 after"].concat());
            assert_eq!(problems, [format!("line 2: {expected}")]);
            assert_eq!(hosts.len(), 2, "the lines around it count");
        }
        let long = format!("192.0.2.1 {}", "a".repeat(64));
        let expected = format!("line 1: \"{}…\" is no host name: ", "a".repeat(40));
        assert!(read(long.as_bytes()).1[0].starts_with(&expected));
    }

    #[test]
    fn good_names_of_a_bad_line_count() {
        let (hosts, problems) = read(b"192.0.2.1 a *.b c");
        assert_eq!((hosts.len(), problems.len()), (2, 1));
    }

    #[test]
    fn addresses_and_reports_are_bounded() {
        let text: String = (0..=MAX_ADDRESSES).map(|i| format!("192.0.2.{i} many\n")).collect();
        let (hosts, problems) = read(text.as_bytes());
        assert_eq!(addresses(&hosts, "many").split(' ').count(), MAX_ADDRESSES);
        assert_eq!(problems, ["line 33: \"many\" has more than 32 addresses"]);
        let mut reading = Reading::default();
        let skipped = reading.add(&b"x\n".repeat(100), &site());
        assert_eq!((skipped.count, skipped.first.len()), (100, MAX_REPORTS));
    }

    #[test]
    fn names_are_bounded() {
        let mut reading = Reading::default();
        let text: String = (0..=MAX_NAMES).map(|i| format!("0.0.0.0 n{i}\n")).collect();
        let skipped = reading.add(text.as_bytes(), &site());
        assert_eq!(skipped.first, [LineError { line: MAX_NAMES + 1, problem: Problem::TooManyNames }]);
        let hosts = reading.finish();
        assert_eq!((hosts.len(), hosts.lists.len()), (MAX_NAMES, 1));
    }
}
