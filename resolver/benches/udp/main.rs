//! A table of a million names: its memory, how soon it is ready, what a block costs, and UDP at full speed.
//!
//! `cargo bench -p resolver --bench udp` prints what one process can know of itself, in processor time.
//! scripts/tests/dns_compare.py runs the same table beside other name servers: `udp zone DIRECTORY` writes it as a zone
//! file, with a list of queries for dnsperf; `udp serve WORKERS` answers from it, on the address that it prints, until its
//! standard input ends. `udp serve WORKERS blocks` publishes a block of 1,000 changes every 200 ms as well, and says how
//! long the slowest so far took to be visible. `udp bare THREADS` answers everything alike, as fast as the kernel lets a
//! server. `udp ask PORT RATE SECONDS` is a client for any of these servers, and prints how long answers took.

#![allow(clippy::unwrap_used)]

mod ask;
mod bare;

use std::{
    env, fs,
    io::{BufWriter, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{
    name::Name,
    record::{Record, Records},
};
use prometheus::Registry;
use resolver::{
    DnsConfig, DnsMetrics, Entry, Filling, Life, NameSource, Readiness, Resolver, SharedTable,
    dns::rtype,
    serve::udp::{Composer, Responder, SendBuffer},
};

const NAMES: u64 = 1_000_000;
const QUERIES: u64 = 300_000;
const HEIGHT: u32 = 10_000;
const TTL_S: u32 = 3_600;
const LIFE: Life =
    Life { active_from: 100, expires_at: 200_000, grace_until: 221_600, revoked_until: None, last_change: 100 };

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("zone") => write_zone(Path::new(&args[1])),
        Some("ask") => ask(&args[1..]),
        Some("serve") => serve(args[1].parse().unwrap(), args.get(2).is_some_and(|arg| arg == "blocks")),
        Some("bare") => bare(args[1].parse().unwrap()),
        _ => measure(),
    }
}

/// The processor time of this thread: what remains of a figure when other work runs beside.
struct Clock(Duration);

impl Clock {
    fn start() -> Self {
        Self(Self::now())
    }

    fn now() -> Duration {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    fn seconds(&self) -> f64 {
        (Self::now() - self.0).as_secs_f64()
    }
}

/// Spreads numbers over all bits (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Name number `index`, of 8 to 15 letters and digits, different for different numbers.
fn name(index: u64) -> String {
    let letter = |i: u64| char::from(b'a' + (mix(index ^ (i << 32)) % 26) as u8);
    let letters: String = (0..3 + mix(index) % 8).map(letter).collect();
    format!("{letters}{index:05x}")
}

/// A for every name, AAAA for a third, TXT for a fifth: type and data.
fn records(index: u64) -> Vec<(u16, Vec<u8>)> {
    let mut records = vec![(rtype::A, [&[10], &index.to_be_bytes()[5..]].concat())];
    if index.is_multiple_of(5) {
        let text = format!("v=1 id={index:010}");
        records.push((rtype::TXT, [&[text.len() as u8], text.as_bytes()].concat()));
    }
    if index.is_multiple_of(3) {
        records.push((rtype::AAAA, [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0], &index.to_be_bytes()[..]].concat()));
    }
    records
}

fn entry(index: u64) -> (Name, Entry) {
    let record = |(rtype, rdata)| Record { sub: Vec::new(), rtype, ttl: TTL_S, rdata };
    let records = Records::new(records(index).into_iter().map(record).collect()).unwrap();
    (Name::new(&name(index)).unwrap(), Entry::new(LIFE, &records))
}

fn table() -> SharedTable {
    let started = Clock::start();
    let mut filling = Filling::new(120);
    for index in 0..NAMES {
        let (name, entry) = entry(index);
        filling.push(&name, &entry);
    }
    let table = SharedTable::new(120);
    table.publish_all(HEIGHT, 1_800_000_000, filling);
    table.set_readiness(Readiness::Ready);
    println!("{NAMES} names made and filled in: {:.3} s", started.seconds());
    table
}

/// Four of five queries are for names that exist. Two thirds ask for A, and one in twenty for a type no name has.
fn question(number: u64) -> (String, &'static str) {
    let random = mix(number ^ 0xabcd_ef00_0000);
    let is_absent = (random >> 40) & 255 < 51;
    let qtype = match (random >> 48) & 255 {
        0..170 => "A",
        170..221 => "AAAA",
        221..243 => "TXT",
        _ => "MX",
    };
    (name(random % NAMES + if is_absent { NAMES } else { 0 }), qtype)
}

fn write_zone(directory: &Path) {
    let mut zone = BufWriter::new(fs::File::create(directory.join("p2p.zone")).unwrap());
    writeln!(zone, "$ORIGIN p2p.\n$TTL {TTL_S}").unwrap();
    writeln!(zone, "@ 60 IN SOA ns.nic hostmaster.nic {HEIGHT} 120 60 604800 60\n@ IN NS ns.nic").unwrap();
    writeln!(zone, "ns.nic IN A 127.0.0.1").unwrap();
    for index in 0..NAMES {
        let owner = name(index);
        for (rtype, data) in records(index) {
            let text = match rtype {
                rtype::A => format!("A {}", Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap())),
                rtype::TXT => format!("TXT \"{}\"", str::from_utf8(&data[1..]).unwrap()),
                _ => format!("AAAA {}", Ipv6Addr::from(<[u8; 16]>::try_from(data).unwrap())),
            };
            writeln!(zone, "{owner} IN {text}").unwrap();
        }
    }
    let mut queries = BufWriter::new(fs::File::create(directory.join("queries")).unwrap());
    for (name, qtype) in (0..QUERIES).map(question) {
        writeln!(queries, "{name}.p2p {qtype}").unwrap();
    }
}

fn serve(workers: usize, with_blocks: bool) {
    let table = Arc::new(table());
    if with_blocks {
        let table = table.clone();
        std::thread::spawn(move || publish_blocks(&table));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let config = DnsConfig { listen, udp_workers: workers, ..DnsConfig::default() };
        let metrics = Arc::new(DnsMetrics::new(&Registry::new()).unwrap());
        let resolver = Resolver::bind(&config, table, metrics).await.unwrap();
        println!("listening on: {}", resolver.local_addrs()[0]);
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        resolver.shutdown(Duration::from_secs(5)).await.unwrap();
    });
}

fn bare(threads: usize) {
    println!("listening on: {}", bare::start(threads));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// This share of the answers took at most as long as printed.
fn ask(args: &[String]) {
    let [port, rate, seconds] = args else { panic!("ask PORT RATE SECONDS") };
    let (rate, lasting) = (rate.parse().unwrap(), Duration::from_secs(seconds.parse().unwrap()));
    let seen = ask::ask(port.parse().unwrap(), datagrams(), rate, lasting);
    for (what, parts) in [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)] {
        println!("{what} ms: {:.3}", seen.taken[seen.taken.len() * parts / 1_000].as_secs_f64() * 1e3);
    }
    println!("asked: {}", seen.asked);
    println!("lost: {}", seen.asked - seen.taken.len());
    println!("latest ms: {:.3}", seen.latest.as_secs_f64() * 1e3);
}

/// What the `block`th block changes: 1,000 names, of which a third is new.
fn changes(block: u64) -> Vec<(Name, Option<Entry>)> {
    let change = |i| entry(mix(i + block * 1_000) % (NAMES + NAMES / 2));
    (0..1_000).map(change).map(|(name, entry)| (name, Some(entry))).collect()
}

/// Never ends; prints each time that is longer than all before.
fn publish_blocks(table: &SharedTable) {
    let mut slowest = Duration::ZERO;
    for block in 1.. {
        let changes = changes(block);
        let started = Instant::now();
        table.publish(HEIGHT + block as u32, 0, changes);
        assert_eq!(table.view().facts().height, HEIGHT + block as u32);
        let took = started.elapsed();
        if took > slowest {
            slowest = took;
            println!("block {block} of 1000 changes visible after: {:.1} ms", took.as_secs_f64() * 1e3);
        }
        std::thread::sleep(Duration::from_millis(200).saturating_sub(took));
    }
}

fn measure() {
    let started = Clock::start();
    let bytes: usize = (0..NAMES).map(|index| entry(index).0.as_bytes().len()).sum();
    println!("{NAMES} names of {bytes} bytes made in: {:.3} s", started.seconds());
    let table = Arc::new(table());
    println!("bytes per name: {}, {}", table.table().heap_bytes() as u64 / NAMES, resident());
    for block in 1..=5 {
        let changes = changes(block);
        let started = Clock::start();
        table.publish(HEIGHT + block as u32, 0, changes);
        println!("a block of 1000 changes published in: {:.2} ms", started.seconds() * 1e3);
    }
    compose(table);
}

/// The fast path without sockets.
fn compose(table: Arc<SharedTable>) {
    let datagrams = datagrams();
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).unwrap());
    let responder = Responder::new(&DnsConfig::default(), table.clone(), metrics).unwrap();
    let (mut composer, mut out): (_, SendBuffer) = (Composer::default(), [0; 1232]);
    let view = table.view();
    let client = responder.standing(&datagrams[0], Ipv4Addr::LOCALHOST.into());
    let started = Clock::start();
    for datagram in &datagrams {
        responder.fast(&mut composer, &*view, (datagram, &client), &mut out).unwrap();
    }
    let each = started.seconds() / QUERIES as f64;
    println!("an answer composed in: {:.0} ns", each * 1e9);
}

fn datagrams() -> Vec<Vec<u8>> {
    (0..QUERIES).map(question).map(|(name, qtype)| datagram(&name, qtype)).collect()
}

fn datagram(name: &str, qtype: &str) -> Vec<u8> {
    let qtype = match qtype {
        "A" => rtype::A,
        "AAAA" => rtype::AAAA,
        "TXT" => rtype::TXT,
        _ => rtype::MX,
    };
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header, &[name.len() as u8][..], name.as_bytes(), b"\x03p2p\0", &qtype.to_be_bytes(), &[0, 1]].concat()
}

fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS unknown").to_owned()
}
