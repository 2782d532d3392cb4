//! Zone transfer without sockets: what a secondary that follows the RFCs is led to is what it would have fetched whole.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name as DnsName, RData, Record as DnsRecord, RecordType, rdata::SOA},
};
use ledger::{
    name::Name,
    record::{Record, Records},
};
use prometheus::{Registry, TextEncoder};
use proptest::prelude::*;
use resolver::{
    Block, DnsConfig, DnsMetrics, Entry, Filling, HistoryLimits, Life, NameSource as _, NameView as _, Readiness,
    SharedTable, dns::rtype, names::table::PastBlock, serve::udp::Responder,
};
use support::{ACTIVE, table};

const LIMITS: HistoryLimits = HistoryLimits { versions: 100, bytes: 1 << 20 };
const CLIENT: &str = "192.0.2.7:4000";

/// Nothing in these tests waits, so one poll is enough.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a transfer waits for nothing"),
    }
}

/// A primary.
struct Primary {
    table: Arc<SharedTable>,
    responder: Responder,
    registry: Registry,
}

impl Primary {
    fn new(table: SharedTable, section: &str) -> Self {
        let registry = Registry::new();
        let metrics = Arc::new(DnsMetrics::new(&registry).expect("a fresh registry"));
        let config = format!("suffixes = ['p2p', 'p2p.alt']\n[transfer]\n{section}");
        let config: DnsConfig = toml::from_str(&config).expect("a configuration");
        config.validate().expect("it makes sense");
        let table = Arc::new(table);
        table.set_readiness(Readiness::Ready);
        let responder = Responder::new(&config, table.clone(), metrics).expect("it starts");
        Self { table, responder, registry }
    }

    fn open(table: SharedTable) -> Self {
        table.keep_history(LIMITS);
        Self::new(table, "allow = ['192.0.2.0/24']")
    }

    fn ask(&self, request: &[u8]) -> Vec<Message> {
        let client: SocketAddr = CLIENT.parse().expect("an address");
        let messages = block_on(self.responder.clone().messages(request.to_vec(), client));
        messages.map(|message| Message::from_vec(&message).expect("a message")).collect()
    }

    /// All records of a transfer, which has to succeed.
    fn transfer(&self, request: &Message) -> Vec<DnsRecord> {
        let messages = self.ask(&request.to_vec().expect("it encodes"));
        for message in &messages {
            assert_eq!(message.metadata.response_code, ResponseCode::NoError);
            assert!(message.metadata.authoritative && message.queries == request.queries);
        }
        messages.into_iter().flat_map(|message| message.answers).collect()
    }

    fn whole(&self, zone: &str) -> Secondary {
        Secondary::fetch(&self.transfer(&request(zone, RecordType::AXFR)))
    }

    fn serial(&self) -> u32 {
        self.table.published().and_then(|published| published.version()).expect("a version").serial
    }

    fn counted(&self, line: &str) -> bool {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics");
        text.lines().any(|one| one == line)
    }
}

/// A secondary that does what RFC 1995 and RFC 5936 say, and is strict about it.
#[derive(Clone)]
struct Secondary {
    soa: DnsRecord,
    records: BTreeSet<String>,
}

impl Secondary {
    fn fetch(records: &[DnsRecord]) -> Self {
        let (soa, rest) = records.split_first().expect("a SOA record");
        let (last, rest) = rest.split_last().expect("another");
        assert!(soa.record_type() == RecordType::SOA && soa == last);
        let mut all = BTreeSet::new();
        for record in rest {
            assert_ne!(record.record_type(), RecordType::SOA);
            assert!(all.insert(record.to_string().to_lowercase()), "{record} comes twice");
        }
        Self { soa: soa.clone(), records: all }
    }

    fn serial(&self) -> u32 {
        self.soa.to_string().split(' ').rev().nth(4).expect("a serial").parse().expect("a number")
    }

    /// Asks for changes and applies them. Gives whether they came as such.
    fn update(&mut self, primary: &Primary, zone: &str) -> bool {
        self.update_saying(primary, zone, self.soa.clone())
    }

    /// The same, saying which version it has by its serial alone, as PowerDNS does.
    fn update_by_serial(&mut self, primary: &Primary, zone: &str) -> bool {
        let root = DnsName::root;
        let bare = DnsRecord::from_rdata(
            self.soa.name.clone(),
            0,
            RData::SOA(SOA::new(root(), root(), self.serial(), 0, 0, 0, 0)),
        );
        self.update_saying(primary, zone, bare)
    }

    fn update_saying(&mut self, primary: &Primary, zone: &str, soa: DnsRecord) -> bool {
        let mut request = request(zone, RecordType::IXFR);
        request.authorities.push(soa);
        let records = primary.transfer(&request);
        match &records[..] {
            [only] => {
                assert_eq!(only, &self.soa, "a lone SOA record says that nothing is new");
                true
            }
            [_, second, ..] if second.record_type() == RecordType::SOA => {
                self.apply(&records);
                true
            }
            _ => {
                *self = Self::fetch(&records);
                false
            }
        }
    }

    fn apply(&mut self, records: &[DnsRecord]) {
        let newest = &records[0];
        let (mut deletes, mut ended) = (false, false);
        for record in &records[1..] {
            assert!(!ended, "something follows the last SOA record");
            if record.record_type() == RecordType::SOA {
                deletes = !deletes;
                match deletes {
                    true if self.soa == *newest && record == newest => ended = true,
                    true => assert_eq!(*record, self.soa, "a difference begins with what is there"),
                    false => self.soa = record.clone(),
                }
            } else {
                let text = record.to_string().to_lowercase();
                match deletes {
                    true => assert!(self.records.remove(&text), "{text} was not there"),
                    false => assert!(self.records.insert(text.clone()), "{text} was there"),
                }
            }
        }
        assert!(ended && self.soa == *newest, "it ends with the newest version");
    }
}

fn request(zone: &str, rtype: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(DnsName::from_ascii(zone).expect("a name"), rtype));
    message
}

/// A chain that can be led anywhere, and the table that follows it.
struct Chain {
    /// States after each block: hash and names.
    blocks: Vec<([u8; 32], BTreeMap<u8, Entry>)>,
    made: u64,
}

const BASE: u32 = 1_000;

impl Chain {
    fn new() -> Self {
        Self { blocks: vec![([0; 32], BTreeMap::new())], made: 0 }
    }

    fn block(&self, index: usize) -> Block {
        Block { height: BASE + index as u32, time: 0, hash: Some(self.blocks[index].0) }
    }

    fn tip(&self) -> Block {
        self.block(self.blocks.len() - 1)
    }

    fn connect(&mut self, table: &SharedTable, changes: &[Change]) {
        self.made += 1;
        let (_, mut names) = self.blocks.last().expect("a tip").clone();
        let height = BASE + self.blocks.len() as u32;
        for change in changes {
            match change.entry(height) {
                Some(entry) => names.insert(change.name, entry),
                None => names.remove(&change.name),
            };
        }
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&self.made.to_be_bytes());
        let touched = changes.iter().map(|change| (name(change.name), names.get(&change.name).cloned()));
        let touched: Vec<_> = touched.collect();
        self.blocks.push((hash, names));
        table.publish_block(&self.tip(), touched);
    }

    fn disconnect(&mut self, table: &SharedTable) {
        let changes = self.before_last();
        self.blocks.pop();
        table.publish_block(&self.tip(), changes);
    }

    /// The names that the last block changed, as they were before.
    fn before_last(&self) -> Vec<(Name, Option<Entry>)> {
        self.before(self.blocks.len() - 1)
    }

    fn before(&self, index: usize) -> Vec<(Name, Option<Entry>)> {
        let (old, new) = (&self.blocks[index - 1].1, &self.blocks[index].1);
        let names: BTreeSet<u8> = old.keys().chain(new.keys()).copied().collect();
        let changed = names.into_iter().filter(|key| old.get(key) != new.get(key));
        changed.map(|key| (name(key), old.get(&key).cloned())).collect()
    }

    /// A table of the tip as a restarted node makes it: from its database, and what it still knows of the past.
    fn restart(&self, last: resolver::Version, depth: usize) -> SharedTable {
        let table = SharedTable::new(120);
        table.keep_history(LIMITS);
        table.resume(last);
        let mut filling = Filling::new(120);
        for (key, entry) in &self.blocks.last().expect("a tip").1 {
            filling.push(&name(*key), entry);
        }
        table.publish_all_of(&self.tip(), filling);
        let past = (1..self.blocks.len()).rev().take(depth);
        table.remember(past.map(|index| PastBlock { parent: self.blocks[index - 1].0, before: self.before(index) }));
        table
    }
}

fn name(key: u8) -> Name {
    Name::new(&format!("n{key}")).expect("a name")
}

/// What a block does to a name.
#[derive(Clone, Debug)]
struct Change {
    name: u8,
    kind: u8,
    data: u8,
    offsets: (u32, u32, u32),
}

impl Change {
    fn entry(&self, height: u32) -> Option<Entry> {
        let &Self { kind, data, offsets: (active, expires, age), .. } = self;
        if kind == 0 {
            return None;
        }
        let expires_at = if data % 3 == 0 { height + expires } else { height + 500 };
        let life = Life {
            active_from: (height + active).saturating_sub(2),
            expires_at,
            grace_until: expires_at + 2,
            revoked_until: (kind == 1).then_some(height + 300),
            last_change: if age < 4 { height } else { height - 720 + (age - 4) },
        };
        let one =
            |sub: &[u8], rtype, rdata: &[u8]| Record { sub: sub.to_vec(), rtype, ttl: 300, rdata: rdata.to_vec() };
        let mut records = vec![one(b"", rtype::A, &[10, 0, 0, data])];
        match kind {
            2 => records.push(one(b"\x03www", rtype::AAAA, &[data; 16])),
            3 => records.push(one(b"\x03www", rtype::CNAME, b"\x01a\x00")),
            4 => records.push(one(b"", rtype::NS, b"\x02ns\x02n1\x03p2p\0")),
            5 => records.push(one(b"\x01d", rtype::DNAME, b"\x01a\x00")),
            6 => records.push(Record { ttl: 600, ..one(b"", rtype::A, &[10, 0, 1, data]) }),
            _ => records.push(one(b"\x01x\x01d", rtype::TXT, &[1, data])),
        }
        Some(Entry::new(life, &Records::new(records).expect("canonical")))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Connect(Vec<Change>),
    /// Undo so many blocks, then connect these.
    Reorganise(usize, Vec<Vec<Change>>),
    /// The chain rests.
    Settle,
    Restart(usize),
    /// A secondary looks for news; the zone is either of ours.
    Poll(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (0_u8..8, 0_u8..8, 0_u8..4, (0_u32..5, 0_u32..6, 0_u32..8));
    prop::collection::vec(change.prop_map(|(name, kind, data, offsets)| Change { name, kind, data, offsets }), 0..4)
        .prop_map(|changes| changes.into_iter().map(|change| (change.name, change)).collect::<BTreeMap<_, _>>())
        .prop_map(|changes| changes.into_values().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => changes().prop_map(Step::Connect),
        2 => (1_usize..5, prop::collection::vec(changes(), 0..6)).prop_map(|(depth, new)| Step::Reorganise(depth, new)),
        2 => Just(Step::Settle),
        1 => (0_usize..8).prop_map(Step::Restart),
        5 => (0_usize..3).prop_map(Step::Poll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever blocks, reorganisations and restarts come in whatever order: changes applied to what a secondary has
    /// give what it would have fetched whole, serials never go back, and no serial means two things.
    #[test]
    fn increments_lead_to_the_whole(steps in prop::collection::vec(step(), 1..40)) {
        let mut chain = Chain::new();
        let first = SharedTable::new(120);
        first.keep_history(LIMITS);
        first.publish_all_of(&chain.tip(), Filling::new(120));
        let mut primary = Primary::new(first, "allow = ['192.0.2.7']");
        let zones = ["p2p.", "p2p.alt.", "p2p."];
        let mut secondaries = zones.map(|zone| primary.whole(zone));
        let mut meanings: HashMap<u32, BTreeSet<String>> = HashMap::new();
        let mut serial = primary.serial();
        let mut deltas_only = true;
        for step in steps {
            match step {
                Step::Connect(changes) => chain.connect(&primary.table, &changes),
                Step::Reorganise(depth, new) => {
                    for _ in 0..depth.min(chain.blocks.len() - 1) {
                        chain.disconnect(&primary.table);
                    }
                    new.iter().for_each(|changes| chain.connect(&primary.table, changes));
                }
                Step::Settle => {
                    primary.table.settle();
                    let published = primary.table.published().expect("a table");
                    let tip = chain.tip();
                    // Only the blocks just above a reorganisation that gave no serial may wait.
                    let is_held = tip.height <= serial && published.table.facts().height < tip.height;
                    prop_assert!(is_held || published.table.facts().height == tip.height);
                }
                Step::Restart(depth) => {
                    let last = primary.table.published().and_then(|published| published.version());
                    let table = chain.restart(last.expect("a version"), depth);
                    primary = Primary::new(table, "allow = ['192.0.2.7']");
                    deltas_only = false;
                }
                Step::Poll(index) => {
                    let whole = primary.whole(zones[index]);
                    let secondary = &mut secondaries[index];
                    if whole.serial() == secondary.serial() {
                        prop_assert_eq!(&secondary.soa, &whole.soa);
                    } else {
                        prop_assert!(whole.serial() > secondary.serial());
                    }
                    let was_delta = match index {
                        2 => secondary.update_by_serial(&primary, zones[index]),
                        _ => secondary.update(&primary, zones[index]),
                    };
                    prop_assert!(was_delta || !deltas_only, "history was there and a whole zone came");
                    prop_assert_eq!(&secondary.soa, &whole.soa);
                    prop_assert_eq!(&secondary.records, &whole.records);
                }
            }
            let now = primary.serial();
            prop_assert!(now >= serial, "the serial went from {} to {}", serial, now);
            serial = now;
            let whole = primary.whole("p2p.");
            let meaning = meanings.entry(now).or_insert_with(|| whole.records.clone());
            prop_assert_eq!(&*meaning, &whole.records, "serial {} means two things", now);
        }
    }
}

fn ready() -> SharedTable {
    table(&[
        ("alice", ACTIVE, "@ A 192.0.2.1\nwww CNAME alice.p2p"),
        ("cut", ACTIVE, "@ NS ns.cut.p2p\nns AAAA 2001:db8::1\nns TXT hidden"),
        ("gone", Life { revoked_until: Some(99_999), ..ACTIVE }, "@ A 192.0.2.2"),
    ])
}

#[test]
fn a_zone_holds_its_apex_and_every_name_and_nothing_hidden() {
    let primary = Primary::open(ready());
    let shown: Vec<String> = primary.whole("P2P.").records.into_iter().collect();
    let expected = [
        "alice.p2p. 3600 in a 192.0.2.1",
        "cut.p2p. 3600 in ns ns.cut.p2p.",
        "ns.cut.p2p. 3600 in aaaa 2001:db8::1",
        "ns.nic.p2p. 3600 in a 127.0.0.1",
        "ns.nic.p2p. 3600 in aaaa ::1",
        "p2p. 3600 in ns ns.nic.p2p.",
        "www.alice.p2p. 3600 in cname alice.p2p.",
    ];
    assert_eq!(shown, expected);
    for line in [
        "namestead_dns_transfers_total{result=\"whole\",type=\"AXFR\"} 1",
        "namestead_dns_requests_total{proto=\"tcp\",type=\"AXFR\"} 1",
        "namestead_dns_responses_total{rcode=\"NOERROR\",source=\"ledger\"} 1",
    ] {
        assert!(primary.counted(line), "{line}");
    }
}

#[test]
fn a_large_zone_comes_in_many_messages_each_within_bounds() {
    let names: Vec<String> = (0..5_000).map(|i| format!("name{i}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), ACTIVE, "@ A 192.0.2.1\n@ AAAA ::1")).collect();
    let primary = Primary::open(table(&entries));
    let request = request("p2p.", RecordType::AXFR).to_vec().expect("it encodes");
    let client: SocketAddr = CLIENT.parse().expect("an address");
    let messages: Vec<Vec<u8>> = block_on(primary.responder.clone().messages(request, client)).collect();
    assert!(messages.len() > 10 && messages.iter().all(|message| message.len() <= 16_000));
    assert_eq!(primary.whole("p2p.").records.len(), 10_003);
}

#[test]
fn an_unfinished_transfer_is_counted_and_frees_its_place() {
    let table = ready();
    table.keep_history(LIMITS);
    let primary = Primary::new(table, "allow = ['192.0.2.7']\nmax_transfers = 1");
    let request = request("p2p.", RecordType::AXFR).to_vec().expect("it encodes");
    let client: SocketAddr = CLIENT.parse().expect("an address");
    let running = block_on(primary.responder.clone().messages(request.clone(), client));
    assert_eq!(primary.ask(&request)[0].metadata.response_code, ResponseCode::ServFail);
    drop(running);
    assert_eq!(primary.ask(&request)[0].metadata.response_code, ResponseCode::NoError);
    assert!(primary.counted("namestead_dns_transfers_total{result=\"busy\",type=\"AXFR\"} 1"));
    assert!(primary.counted("namestead_dns_transfers_total{result=\"aborted\",type=\"AXFR\"} 1"));
}

#[test]
fn a_snapshot_stays_whole_while_blocks_come() {
    let primary = Primary::open(ready());
    let request = request("p2p.", RecordType::AXFR).to_vec().expect("it encodes");
    let client: SocketAddr = CLIENT.parse().expect("an address");
    let before = primary.whole("p2p.");
    let running = block_on(primary.responder.clone().messages(request, client));
    primary.table.publish(support::HEIGHT + 1, 0, [(Name::new("alice").expect("a name"), None)]);
    let records: Vec<DnsRecord> =
        running.flat_map(|message| Message::from_vec(&message).expect("a message").answers).collect();
    let fetched = Secondary::fetch(&records);
    assert_eq!((fetched.soa, fetched.records), (before.soa.clone(), before.records));
    assert_ne!(primary.whole("p2p.").soa, before.soa);
}

#[test]
fn who_may_not_gets_nothing() {
    let axfr = request("p2p.", RecordType::AXFR);
    assert_eq!(code(&Primary::new(ready(), ""), &axfr), ResponseCode::Refused, "nobody by default");
    assert_eq!(code(&Primary::new(ready(), "allow = ['192.0.2.8', '2001:db8::/32']"), &axfr), ResponseCode::Refused);
    let open = Primary::open(ready());
    assert_eq!(code(&open, &request("alice.p2p.", RecordType::AXFR)), ResponseCode::NotAuth, "no zone");
    assert_eq!(code(&open, &request("example.", RecordType::AXFR)), ResponseCode::NotAuth, "not ours");
    open.table.set_readiness(Readiness::NotReady { height: 1, target: None });
    assert_eq!(code(&open, &axfr), ResponseCode::ServFail, "not while the ledger is incomplete");
    assert!(open.counted("namestead_dns_responses_total{rcode=\"NOTAUTH\",source=\"policy\"} 2"));
    assert!(open.counted("namestead_dns_responses_total{rcode=\"SERVFAIL\",source=\"policy\"} 1"));
}

#[test]
fn over_udp_changes_are_one_soa_record_and_zones_are_refused() {
    let primary = Primary::open(ready());
    let mut has = primary.whole("p2p.");
    primary.table.publish(support::HEIGHT + 1, 0, [(Name::new("alice").expect("a name"), None)]);
    let client: SocketAddr = CLIENT.parse().expect("an address");
    let udp = |message: &Message| {
        let bytes = message.to_vec().expect("it encodes");
        let response = {
            let standing = primary.responder.standing(&bytes, client.ip());
            block_on(primary.responder.clone().full(bytes, client, standing)).expect("a response")
        };
        Message::from_vec(&response).expect("a message")
    };
    let mut ixfr = request("p2p.", RecordType::IXFR);
    ixfr.authorities.push(has.soa.clone());
    let response = udp(&ixfr);
    assert_eq!(response.answers, [primary.whole("p2p.").soa]);
    assert_ne!(response.answers[0], has.soa);
    assert_eq!(udp(&request("p2p.", RecordType::AXFR)).metadata.response_code, ResponseCode::Refused);
    assert!(primary.counted("namestead_dns_transfers_total{result=\"wrong_transport\",type=\"AXFR\"} 1"));
    let without_soa = request("p2p.", RecordType::IXFR);
    assert_eq!(udp(&without_soa).metadata.response_code, ResponseCode::FormErr);
    assert_eq!(code(&primary, &without_soa), ResponseCode::FormErr);
    assert_eq!(code(&Primary::new(ready(), ""), &without_soa), ResponseCode::Refused, "not even this");
    // This table knows no block hashes, so no version is recognised.
    assert!(!has.update(&primary, "p2p."));
}

/// Two primaries whose newest blocks differ: the serial of one is no base for the other.
#[test]
fn a_version_of_another_branch_is_not_taken_for_ours() {
    let mut chains = [Chain::new(), Chain::new()];
    chains[1].made = 100;
    let change = |data| Change { name: 1, kind: 7, data, offsets: (0, 0, 0) };
    let primaries = [0, 1].map(|_| {
        let table = SharedTable::new(120);
        table.keep_history(LIMITS);
        Primary::new(table, "allow = ['192.0.2.7']")
    });
    for (primary, chain) in primaries.iter().zip(&mut chains) {
        primary.table.publish_all_of(&chain.tip(), Filling::new(120));
    }
    chains[0].connect(&primaries[0].table, &[change(1)]);
    chains[1].connect(&primaries[1].table, &[change(2)]);
    let mut secondary = primaries[0].whole("p2p.");
    let other = primaries[1].whole("p2p.");
    assert!(secondary.serial() == other.serial() && secondary.records != other.records);
    chains[1].connect(&primaries[1].table, &[]);
    assert!(!secondary.update(&primaries[1], "p2p."), "the whole zone, not a wrong change");
    assert_eq!(secondary.records, primaries[1].whole("p2p.").records);
}

/// The SOA record that anybody gets is that of the version that secondaries get, also while a block is held back.
#[test]
fn there_is_one_soa_record() {
    let mut chain = Chain::new();
    let table = SharedTable::new(120);
    let primary = Primary::open(table);
    primary.table.publish_all_of(&chain.tip(), Filling::new(120));
    let check = |primary: &Primary, serial: u32| {
        let asked = primary.ask(&request("p2p.", RecordType::SOA).to_vec().expect("it encodes"));
        assert_eq!(asked[0].answers, [primary.whole("p2p.").soa]);
        assert_eq!(primary.serial(), serial);
    };
    check(&primary, BASE);
    chain.connect(&primary.table, &[]);
    check(&primary, BASE + 1);
    chain.disconnect(&primary.table);
    chain.connect(&primary.table, &[]);
    check(&primary, BASE + 1);
    primary.table.settle();
    check(&primary, BASE + 2);
    chain.connect(&primary.table, &[]);
    primary.table.settle();
    check(&primary, BASE + 2);
    chain.connect(&primary.table, &[]);
    check(&primary, BASE + 3);
}

fn code(primary: &Primary, request: &Message) -> ResponseCode {
    let messages = primary.ask(&request.to_vec().expect("it encodes"));
    assert!(messages.len() == 1 && messages[0].answers.is_empty());
    messages[0].metadata.response_code
}

/// A node that has lost its database but kept its serial fetches the chain anew: what it holds meanwhile is nothing
/// that a secondary may get under a serial above the one it has.
#[test]
fn what_was_fetched_before_the_end_of_the_chain_is_no_version() {
    let mut chain = Chain::new();
    let table = SharedTable::new(120);
    table.keep_history(LIMITS);
    let last = resolver::Version { serial: BASE + 20, tag: Some(1) };
    table.resume(last);
    for _ in 0..3 {
        // The chain ran ahead, the table is filled again: no serial is used up.
        table.clear();
        table.publish_all_of(&chain.tip(), Filling::new(120));
        assert_eq!(table.published().and_then(|published| published.version()), None);
    }
    for index in 0..15 {
        chain.connect(&table, &[Change { name: index % 8, kind: 7, data: 1, offsets: (0, 0, 0) }]);
        table.settle();
        assert_eq!(table.published().and_then(|published| published.version()), None);
    }
    let primary = Primary::new(table, "allow = ['192.0.2.7']");
    let mut secondary = primary.whole("p2p.");
    assert_eq!((secondary.serial(), secondary.records.len()), (BASE + 21, 3 + 16));
    // Five blocks wait for their turn, and the next leads on.
    for waiting in [true, true, true, true, true, true, false] {
        chain.connect(&primary.table, &[Change { name: 1, kind: 7, data: 77, offsets: (0, 0, 0) }]);
        assert_eq!(primary.serial() == BASE + 21, waiting);
    }
    assert!(secondary.update(&primary, "p2p."));
    assert_eq!(secondary.records, primary.whole("p2p.").records);
}

/// The serial file is of a much longer chain: the zone follows the blocks all the same.
#[test]
fn no_more_than_a_few_blocks_wait() {
    let mut chain = Chain::new();
    let table = SharedTable::new(120);
    table.keep_history(LIMITS);
    table.resume(resolver::Version { serial: 1_000_000, tag: Some(1) });
    table.publish_all_of(&chain.tip(), Filling::new(120));
    let primary = Primary::new(table, "allow = ['192.0.2.7']");
    for _ in 0..50 {
        chain.connect(&primary.table, &[]);
        let published = primary.table.published().expect("a table");
        assert!(chain.tip().height - published.table.facts().height <= 6);
    }
    assert_eq!(primary.serial(), 1_000_001 + 50 / 7);
}

/// The same block as before, after the database lost the last ones: it has the serial that it had.
#[test]
fn a_block_that_was_given_out_keeps_its_serial() {
    let mut chain = Chain::new();
    let table = SharedTable::new(120);
    table.publish_all_of(&chain.tip(), Filling::new(120));
    chain.connect(&table, &[]);
    chain.connect(&table, &[]);
    let last = table.published().and_then(|published| published.version()).expect("a version");
    let newest = chain.blocks.pop().expect("a block");
    let table = chain.restart(last, 9);
    assert_eq!(table.published().and_then(|published| published.version()), None);
    chain.blocks.push(newest);
    table.publish_block(&chain.tip(), []);
    assert_eq!(table.published().and_then(|published| published.version()), Some(last));
}

#[test]
fn a_cleared_table_is_not_ready_whoever_says_so() {
    let primary = Primary::open(ready());
    primary.table.clear();
    assert!(primary.table.published().is_some_and(|published| published.version().is_none()));
    primary.table.set_readiness(Readiness::Ready);
    assert_eq!(code(&primary, &request("p2p.", RecordType::AXFR)), ResponseCode::ServFail);
    assert_eq!(code(&primary, &request("alice.p2p.", RecordType::A)), ResponseCode::ServFail);
    primary.table.publish(support::HEIGHT + 1, 0, []);
    primary.table.set_readiness(Readiness::Ready);
    assert_eq!(primary.whole("p2p.").records.len(), 3);
}

/// However it came about: a version far behind what is answered from is not given away.
#[test]
fn a_version_that_lags_is_not_on_offer() {
    struct Lagging(SharedTable, SharedTable);
    impl resolver::NameSource for Lagging {
        fn view(&self) -> Arc<dyn resolver::NameView> {
            self.0.view()
        }
        fn published(&self) -> Option<Arc<resolver::names::table::Published>> {
            self.1.published()
        }
    }
    let config: DnsConfig = toml::from_str("[transfer]\nallow = ['192.0.2.7']").expect("a configuration");
    for (height, expected) in [(6, ResponseCode::NoError), (7, ResponseCode::ServFail)] {
        let (ahead, behind) = (ready(), ready());
        ahead.publish(support::HEIGHT + height, 0, []);
        let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("fresh"));
        let responder = Responder::new(&config, Arc::new(Lagging(ahead, behind)), metrics).expect("it starts");
        let bytes = request("p2p.", RecordType::AXFR).to_vec().expect("it encodes");
        let first = block_on(responder.messages(bytes, CLIENT.parse().expect("an address"))).next();
        let first = Message::from_vec(&first.expect("a response")).expect("a message");
        assert_eq!(first.metadata.response_code, expected, "{height}");
    }
}

mod tsig {
    use std::time::{SystemTime, UNIX_EPOCH};

    use hickory_proto::rr::{TSigner, rdata::tsig::TsigAlgorithm};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
    }

    fn signer(name: &str, secret: &[u8], algorithm: TsigAlgorithm) -> TSigner {
        TSigner::new(secret.to_vec(), algorithm, DnsName::from_ascii(name).expect("a name"), 300).expect("a signer")
    }

    /// A primary that gives its zone to holders of the key `fleet`.
    fn primary(algorithm: &str) -> Primary {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fleet.key");
        let secret = data_encoding::BASE64.encode(SECRET);
        fs::write(&path, format!("{algorithm}:fleet:{secret}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("private");
        let section = format!("allow_keys = ['fleet']\nallow = ['192.0.2.7']\nkey_files = ['{}']", path.display());
        let names: Vec<String> = (0..3_000).map(|i| format!("name{i}")).collect();
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), ACTIVE, "@ A 192.0.2.1")).collect();
        Primary::new(table(&entries), &section)
    }

    fn ask(primary: &Primary, bytes: &[u8]) -> Vec<Vec<u8>> {
        let client: SocketAddr = CLIENT.parse().expect("an address");
        block_on(primary.responder.clone().messages(bytes.to_vec(), client)).collect()
    }

    #[test]
    fn hickory_and_we_agree_over_many_messages() {
        for (name, algorithm) in [
            ("hmac-sha256", TsigAlgorithm::HmacSha256),
            ("hmac-sha384", TsigAlgorithm::HmacSha384),
            ("hmac-sha512", TsigAlgorithm::HmacSha512),
        ] {
            let primary = primary(name);
            let mut message = request("p2p.", RecordType::AXFR);
            let mut verifier =
                message.finalize(&signer("fleet.", SECRET, algorithm), now()).expect("signed").expect("a verifier");
            let messages = ask(&primary, &message.to_vec().expect("it encodes"));
            assert!(messages.len() > 2);
            for message in &messages {
                verifier.verify(message).expect("the signature holds");
            }
            let mut altered = messages[0].clone();
            altered[20] ^= 1;
            let mut message = request("p2p.", RecordType::SOA);
            let signer = signer("fleet.", SECRET, TsigAlgorithm::HmacSha256);
            let mut verifier = message.finalize(&signer, now()).expect("signed").expect("a verifier");
            assert!(verifier.verify(&altered).is_err());
        }
    }

    #[test]
    fn ordinary_questions_may_be_signed_too() {
        let primary = primary("hmac-sha256");
        let mut message = request("name1.p2p.", RecordType::A);
        let signer = signer("fleet.", SECRET, TsigAlgorithm::HmacSha256);
        let mut verifier = message.finalize(&signer, now()).expect("signed").expect("a verifier");
        let response = ask(&primary, &message.to_vec().expect("it encodes")).remove(0);
        let response = verifier.verify(&response).expect("the signature holds");
        assert_eq!(response.answers.len(), 1);
    }

    /// The key's holder from elsewhere, and whoever is here without it.
    #[test]
    fn both_must_fit_if_both_are_asked_for() {
        let primary = primary("hmac-sha256");
        let unsigned = request("p2p.", RecordType::AXFR).to_vec().expect("it encodes");
        let refused = |messages: Vec<Vec<u8>>| {
            let message = Message::from_vec(&messages[0]).expect("a message");
            assert_eq!((messages.len(), message.metadata.response_code), (1, ResponseCode::Refused));
        };
        refused(ask(&primary, &unsigned));
        let mut message = request("p2p.", RecordType::AXFR);
        let signer = signer("fleet.", SECRET, TsigAlgorithm::HmacSha256);
        message.finalize(&signer, now()).expect("signed");
        let elsewhere: SocketAddr = "192.0.2.8:4000".parse().expect("an address");
        let bytes = message.to_vec().expect("it encodes");
        refused(block_on(primary.responder.clone().messages(bytes, elsewhere)).collect());
    }

    /// RFC 8945 §5.2: NOTAUTH, with the error in the TSIG record.
    #[test]
    fn signatures_that_do_not_hold() {
        let primary = primary("hmac-sha256");
        let check = |signer: TSigner, time: u64, error: u16, label: &str| {
            let mut message = request("p2p.", RecordType::AXFR);
            message.finalize(&signer, time).expect("signed");
            let messages = ask(&primary, &message.to_vec().expect("it encodes"));
            let bytes = &messages[0];
            let response = Message::from_vec(bytes).expect("a message");
            assert_eq!(messages.len(), 1);
            assert_eq!(response.metadata.response_code, ResponseCode::NotAuth);
            assert_eq!(response.metadata.message_type, MessageType::Response);
            assert_eq!(response.metadata.op_code, OpCode::Query);
            let tail = match error {
                18 => &bytes[bytes.len() - 10..bytes.len() - 8],
                _ => &bytes[bytes.len() - 4..bytes.len() - 2],
            };
            assert_eq!(tail, error.to_be_bytes(), "{label}");
            assert!(primary.counted(&format!("namestead_dns_tsig_errors_total{{error=\"{label}\"}} 1")));
        };
        let sha256 = TsigAlgorithm::HmacSha256;
        check(signer("other.", SECRET, sha256.clone()), now(), 17, "BADKEY");
        check(signer("fleet.", b"another secret of some length", sha256.clone()), now(), 16, "BADSIG");
        check(signer("fleet.", SECRET, sha256), now() - 1_000, 18, "BADTIME");
        assert!(primary.counted("namestead_dns_requests_total{proto=\"tcp\",type=\"AXFR\"} 3"));
        assert!(primary.counted("namestead_dns_responses_total{rcode=\"NOTAUTH\",source=\"policy\"} 3"));
    }

    /// A question, signed by a key that nobody knows: the names of key and algorithm point to that of the question.
    fn signed_with_pointers(name: &str) -> Vec<u8> {
        let question = request(name, RecordType::A).to_vec().expect("it encodes");
        let fixed = [0, 250, 0, 255, 0, 0, 0, 0, 0, 18];
        // Time, fudge, no signature, ID, error, nothing else.
        let data = [&[0xc0, 12][..], &now().to_be_bytes()[2..], &[1, 44, 0, 0, 0, 7, 0, 0, 0, 0]].concat();
        let mut bytes = [&question[..], &[0xc0, 12], &fixed, &data].concat();
        bytes[11] = 1;
        bytes
    }

    /// Names that came compressed are longer when they are repeated. Over UDP the sender may be forged.
    #[test]
    fn a_refusal_of_an_unknown_key_is_no_amplifier() {
        let primary = primary("hmac-sha256");
        let src: SocketAddr = "192.0.2.9:4000".parse().expect("an address");
        let over_udp = |bytes: &[u8]| {
            let standing = primary.responder.standing(bytes, src.ip());
            block_on(primary.responder.clone().full(bytes.to_vec(), src, standing)).expect("a response")
        };
        let longest = format!("{}{}.", format!("{}.", "x".repeat(63)).repeat(3), "y".repeat(61));
        // With names that fit, the response has its TSIG record.
        for (name, records) in [(longest.as_str(), 0), ("other.", 1)] {
            let bytes = signed_with_pointers(name);
            let response = over_udp(&bytes);
            assert_eq!((response[3] & 15, response[11]), (9, records), "NOTAUTH for {name}");
            assert!(response.len() <= 512, "{} bytes for {}", response.len(), bytes.len());
            let question = bytes[12..].windows(5).position(|end| *end == [0, 0, 1, 0, 1]).expect("a question");
            assert_eq!(response[12..12 + question], bytes[12..12 + question]);
        }
        // On a connection nobody is forged.
        let bytes = signed_with_pointers(&longest);
        let response = ask(&primary, &bytes).remove(0);
        assert_eq!((response[3] & 15, response[11]), (9, 1));
        assert!(bytes.len() < 320 && response.len() > 800, "{} bytes for {}", response.len(), bytes.len());
    }

    #[test]
    fn no_byte_of_a_signed_request_can_be_altered() {
        let primary = primary("hmac-sha256");
        let mut message = request("p2p.", RecordType::AXFR);
        let signer = signer("fleet.", SECRET, TsigAlgorithm::HmacSha256);
        message.finalize(&signer, now()).expect("signed");
        let bytes = message.to_vec().expect("it encodes");
        for at in 2..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let messages = ask(&primary, &altered);
            // At most one: a question, an error, or nothing; and never the zone.
            assert!(messages.len() <= 1, "byte {at}");
            let served = messages.first().and_then(|message| Message::from_vec(message).ok());
            assert!(served.is_none_or(|message| message.answers.is_empty()), "byte {at}");
        }
    }

    #[test]
    fn keys_that_are_named_must_be_there() {
        let config: DnsConfig = toml::from_str("[transfer]\nallow_keys = ['fleet']").expect("it parses");
        let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("fresh"));
        let error = Responder::new(&config, Arc::new(ready()), metrics).expect_err("no such key").to_string();
        assert!(error.contains("no file in dns.transfer.key_files holds a key of that name"), "{error}");
    }
}
