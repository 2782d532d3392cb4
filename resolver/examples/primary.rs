//! A primary with made-up names of every kind, whose chain does what its standard input says; for
//! scripts/tests/transfer.py, which lets real name servers follow it.
//!
//! `primary CONFIG NAMES`, where CONFIG holds the contents of a `[dns]` section. Commands, each answered by one line:
//!
//! - `blocks COUNT CHANGES`: connect so many blocks with so many changed names each;
//! - `reorganise DEPTH COUNT CHANGES`: take back so many blocks, then connect so many others;
//! - `state`: do nothing;
//! - `queries COUNT FILE`: write questions for names that are, were, or could be there.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead as _, Write as _},
    sync::Arc,
    time::Duration,
};

use ledger::{
    name::Name,
    record::{Record, Records},
};
use prometheus::{Registry, TextEncoder};
use resolver::{
    Block, DnsConfig, DnsMetrics, Entry, Filling, Life, NameView as _, Readiness, Resolver, SharedTable, dns::rtype,
};

const HEIGHT: u32 = 10_000;

fn main() {
    let args: Vec<String> = env::args().collect();
    let config: DnsConfig = toml::from_str(&fs::read_to_string(&args[1]).unwrap()).unwrap();
    let table = Arc::new(SharedTable::new(120));
    if let Some(limits) = config.transfer.history() {
        table.keep_history(limits);
    }
    let mut chain = Chain::new(table.clone(), args[2].parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let registry = Registry::new();
    let metrics = Arc::new(DnsMetrics::new(&registry).unwrap());
    let resolver = runtime.block_on(Resolver::bind(&config, table, metrics)).unwrap();
    chain.say(&registry);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "blocks" => chain.connect(number(1), number(2)),
            "reorganise" => {
                chain.disconnect(number(1));
                chain.connect(number(2), number(3));
                chain.table.settle();
            }
            "queries" => chain.write_queries(number(1), words[2]),
            "state" => {}
            other => panic!("{other}?"),
        }
        chain.say(&registry);
    }
    runtime.block_on(resolver.shutdown(Duration::from_secs(5))).unwrap();
}

/// What a name holds: which of its many faces, since which block.
type Face = (u64, u32);
/// Names with the faces that they had.
type Before = Vec<(u64, Option<Face>)>;

struct Chain {
    table: Arc<SharedTable>,
    names: u64,
    faces: HashMap<u64, Face>,
    /// For each block its hash, and what the names that it changed were before.
    blocks: Vec<([u8; 32], Before)>,
    drawn: u64,
}

impl Chain {
    fn new(table: Arc<SharedTable>, names: u64) -> Self {
        let mut chain = Self { table, names, faces: HashMap::new(), blocks: vec![([1; 32], Vec::new())], drawn: 0 };
        let mut filling = Filling::new(120);
        for index in 0..names {
            let face = (0, HEIGHT);
            chain.faces.insert(index, face);
            let (name, entry) = entry(index, face, names);
            filling.push(&name, &entry);
        }
        chain.table.publish_all_of(&chain.tip(), filling);
        chain.table.set_readiness(Readiness::Ready);
        chain
    }

    fn tip(&self) -> Block {
        let above = self.blocks.len() as u32 - 1;
        Block { height: HEIGHT + above, time: 0, hash: Some(self.blocks[above as usize].0) }
    }

    fn connect(&mut self, count: u64, changes: u64) {
        for _ in 0..count {
            let height = self.tip().height + 1;
            let mut before = Vec::new();
            for _ in 0..changes {
                let index = self.draw() % (self.names + self.names / 50);
                let is_gone = self.draw().is_multiple_of(10);
                before.push((index, self.faces.get(&index).copied()));
                match is_gone {
                    true => self.faces.remove(&index),
                    false => self.faces.insert(index, (self.drawn, height)),
                };
            }
            let hash: Vec<u8> = (0..4).flat_map(|_| self.draw().to_be_bytes()).collect();
            let touched: Vec<u64> = before.iter().map(|(index, _)| *index).collect();
            self.blocks.push((hash.try_into().unwrap(), before));
            self.publish(&touched);
        }
    }

    fn disconnect(&mut self, depth: u64) {
        for _ in 0..depth {
            let (_, before) = self.blocks.pop().unwrap();
            for &(index, face) in before.iter().rev() {
                match face {
                    Some(face) => self.faces.insert(index, face),
                    None => self.faces.remove(&index),
                };
            }
            let touched: Vec<u64> = before.iter().map(|(index, _)| *index).collect();
            self.publish(&touched);
        }
    }

    fn publish(&self, touched: &[u64]) {
        let changes = touched.iter().map(|&index| {
            let face = self.faces.get(&index);
            (Name::new(&name(index)).unwrap(), face.map(|&face| entry(index, face, self.names).1))
        });
        self.table.publish_block(&self.tip(), changes);
    }

    fn write_queries(&mut self, count: u64, path: &str) {
        let mut text = String::new();
        for _ in 0..count {
            let index = self.draw() % (self.names + self.names / 10);
            // Every fourth question is about what changed lately.
            let index = match self.draw() % 4 {
                0 => self.recent().unwrap_or(index),
                _ => index,
            };
            let below =
                ["", "", "", "www.", "a.b.", "b.", "x.wild.", "wild.", "ns.", "deep.d.", "d.", "y.x.", "*.wild."];
            let below = below[(self.draw() % below.len() as u64) as usize];
            let types = ["A", "A", "AAAA", "TXT", "MX", "NS", "CNAME", "DS", "SOA", "SRV", "DNAME"];
            let rtype = types[(self.draw() % types.len() as u64) as usize];
            let suffix = ["p2p", "p2p.alt"][(self.draw() % 2) as usize];
            text += &format!("{below}{}.{suffix} {rtype}\n", name(index));
        }
        for suffix in ["p2p", "p2p.alt"] {
            for rtype in ["SOA", "NS", "A", "TXT"] {
                text += &format!("{suffix} {rtype}\nns.nic.{suffix} {rtype}\nnic.{suffix} {rtype}\n");
            }
        }
        fs::write(path, text).unwrap();
    }

    /// A name that one of the last blocks changed.
    fn recent(&mut self) -> Option<u64> {
        let block = (self.blocks.len() as u64).checked_sub(1 + self.draw() % 10)?;
        let drawn = self.draw();
        let (_, changed) = &self.blocks[block as usize];
        let index = drawn.checked_rem(changed.len() as u64)?;
        Some(changed[index as usize].0)
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.drawn)
    }

    fn say(&self, registry: &Registry) {
        let facts = self.table.table().facts();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let counted: Vec<&str> =
            text.lines().filter(|line| line.starts_with("namestead_dns_transfers_total")).collect();
        let serial = facts.version.unwrap().serial;
        println!("height {} serial {serial} names {} {}", facts.height, facts.names, counted.join(" "));
        std::io::stdout().flush().unwrap();
    }
}

/// Spreads numbers over all bits (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn name(index: u64) -> String {
    let letters: String =
        (0..3 + mix(index) % 6).map(|i| char::from(b'a' + (mix(index ^ (i << 32)) % 26) as u8)).collect();
    format!("{letters}{index:05}")
}

/// One of all kinds of entries, contradictory and ending ones included.
fn entry(index: u64, (face, since): Face, names: u64) -> (Name, Entry) {
    let random = mix(index ^ face << 20);
    let below = |number: u64| u32::try_from(random >> 8 & 0xff).unwrap() % number as u32;
    // A third of what the table begins with is settled, a third settles or ends within the next blocks.
    let recent = if face == 0 { since - [5_000, 715 + below(15), 1][index as usize % 3] } else { since };
    let active =
        Life { active_from: 100, expires_at: 200_000, grace_until: 221_600, revoked_until: None, last_change: recent };
    let life = match random % 24 {
        0 => Life { expires_at: since + below(14), grace_until: since + 5_000, ..active },
        1 => Life { expires_at: since - 500, grace_until: since + below(14), ..active },
        2 => Life { active_from: since + below(14), ..active },
        3 => Life { revoked_until: Some(since + 100), ..active },
        _ => active,
    };
    let records = Records::new(records(index, random >> 16, names)).unwrap();
    (Name::new(&name(index)).unwrap(), Entry::new(life, &records))
}

fn records(index: u64, random: u64, names: u64) -> Vec<Record> {
    let own = name(index);
    let full = |text: &str| -> Vec<u8> {
        let labels = text.split('.').filter(|label| !label.is_empty());
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).chain([0]).collect()
    };
    let one = |sub: &str, rtype: u16, rdata: Vec<u8>| {
        let sub = full(sub);
        Record { sub: sub[..sub.len() - 1].to_vec(), rtype, ttl: 300 + (random % 4) as u32 * 900, rdata }
    };
    let a = |sub: &str, last: u8| one(sub, rtype::A, [&[10], &random.to_be_bytes()[6..], &[last]].concat());
    let aaaa =
        |sub: &str| one(sub, rtype::AAAA, [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0], &random.to_be_bytes()[..]].concat());
    let txt = |sub: &str| one(sub, rtype::TXT, [&[4][..], b"text"].concat());
    let other = full(&format!("{}.p2p", name(mix(random) % names)));
    let mut records = vec![a("", 1)];
    match random % 16 {
        0 => records.extend([
            a("", 2),
            aaaa(""),
            txt(""),
            one("", rtype::MX, [&[0, 10], &full(&format!("{own}.p2p"))[..]].concat()),
        ]),
        1 => records.push(one("www", rtype::CNAME, full(&format!("{own}.p2p")))),
        2 => records.push(one("www", rtype::CNAME, other)),
        3 => records.extend([a("*.wild", 3), txt("y.wild")]),
        4 => records.extend([txt("a.b"), aaaa("x")]),
        5 => records.extend([one("d", rtype::DNAME, other), txt("d"), txt("deep.d")]),
        6 => {
            let server = full(&format!("ns.b.{own}.p2p"));
            records.extend([one("b", rtype::NS, server), a("ns.b", 4), txt("ns.b"), txt("b"), txt("a.b")]);
            records.push(one("b", rtype::DS, [&[0, 1, 13, 2][..], &[7; 32]].concat()));
        }
        7 => records.extend([one("", rtype::NS, full(&format!("ns.{own}.p2p"))), a("ns", 5), txt("www")]),
        8 => records.extend([
            one("", rtype::NS, full("ns1.example.net")),
            one("", rtype::NS, full(&format!("NS.{own}.p2p"))),
            aaaa("ns"),
        ]),
        9 => records = vec![one("", rtype::CNAME, other), a("", 6), txt("www")],
        10 => records
            .extend([one("www", rtype::CNAME, full("elsewhere.example")), one("wild", rtype::DNAME, full("example"))]),
        11 => records.extend([one("www", rtype::MX, vec![1]), one("x", rtype::LOC, vec![2; 15]), txt("*")]),
        12 => records.extend([
            one("d", rtype::DNAME, full("a.p2p")),
            one("d", rtype::CNAME, full("b.p2p")),
            txt("deep.d"),
        ]),
        13 => records.extend([
            one("x", rtype::SRV, [&[0, 0, 0, 1, 0x13, 0xc4], &other[..]].concat()),
            one("*", rtype::CNAME, full(&format!("{own}.p2p"))),
        ]),
        14 => records.extend([one("b", 65_280, vec![1, 2, 3]), one("x", rtype::CAA, b"\0\x05issueca".to_vec())]),
        _ => {}
    }
    records
}
