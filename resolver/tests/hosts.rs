//! HOSTS files in front of everything: what is answered from them, that both paths agree, and that a running server
//! follows a file that changes.

mod support;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query as Question, ResponseCode},
    rr::{Name, RecordType},
};
use prometheus::{Registry, TextEncoder};
use proptest::{collection::vec, prelude::*, sample::select};
use resolver::{
    DnsConfig, DnsMetrics, HostsPaths, NameSource, Readiness, Resolver, SharedTable,
    dns::rtype,
    serve::udp::{Composer, FallThrough, Responder, SendBuffer},
    zones::{
        answer::{Answer, Origin, Verdict, answer_with_hosts},
        hosts::{Hosts, MAX_ADDRESSES, Reading, TTL_S},
        query::{Query, Transport},
        sign::ZoneKey,
    },
};
use support::{ACTIVE, dname, query, show, site, table};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const SUFFIXES: [&str; 2] = ["p2p", "p2p.alt"];
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const HOSTS: &str = "\
192.0.2.200   alice.p2p nas printer.local   # over the ledger, without a dot, over a special-use name
2001:db8::200 nas
0.0.0.0       ads.example
::            ads.example
127.0.0.1     tracker.example localhost
127.0.1.1     box.example box
";

fn world() -> SharedTable {
    table(&[(
        "alice",
        ACTIVE,
        "@ A 192.0.2.1\n@ AAAA 2001:db8::1\n@ MX mail.alice.p2p\nwww CNAME alice.p2p\nmail A 192.0.2.2\n\
         nas CNAME nas\nads CNAME ads.example\nout CNAME www.example.com",
    )])
}

fn read(text: &str) -> Hosts {
    let mut reading = Reading::default();
    let skipped = reading.add(text.as_bytes(), &site(&SUFFIXES));
    assert_eq!(skipped.first, []);
    reading.finish()
}

fn ask(table: &SharedTable, query: &Query, hosts: &Hosts) -> Option<Answer> {
    match answer_with_hosts(query, &*table.view(), &site(&SUFFIXES), hosts) {
        Verdict::Local(answer) => Some(answer),
        Verdict::Elsewhere => None,
    }
}

fn check(table: &SharedTable, change: impl Fn(Query) -> Query, cases: &[(&str, &str)]) {
    let hosts = read(HOSTS);
    for (text, expected) in cases {
        let shown = ask(table, &change(query(text)), &hosts).map_or("elsewhere".to_owned(), |answer| show(&answer));
        assert_eq!(shown, *expected, "{text}");
    }
}

#[test]
fn names_in_files_come_first() {
    check(
        &world(),
        |query| query,
        &[
            // In front of the ledger, of special-use names and of forwarding.
            ("alice.p2p A", "NoError aa | alice.p2p. A 192.0.2.200"),
            ("ALICE.P2P A", "NoError aa | alice.p2p. A 192.0.2.200"),
            ("printer.local A", "NoError aa | printer.local. A 192.0.2.200"),
            ("nas A", "NoError aa | nas. A 192.0.2.200"),
            ("nas AAAA", "NoError aa | nas. AAAA 2001:db8::200"),
            ("nas ANY", "NoError aa | nas. A 192.0.2.200"),
            // Sinks lead nowhere, under no type.
            ("ads.example A", "NoError aa | ads.example. A 0.0.0.0"),
            ("ads.example AAAA", "NoError aa | ads.example. AAAA ::"),
            ("ads.example HTTPS", "NoError aa | @ads.example. SOA"),
            ("tracker.example A", "NoError aa | tracker.example. A 127.0.0.1"),
            ("tracker.example AAAA", "NoError aa | @tracker.example. SOA"),
            // What the ledger has under other types is hidden, or an address would have the wrong mail server.
            ("alice.p2p AAAA", "NoError aa | @alice.p2p. SOA"),
            ("alice.p2p MX", "NoError aa | @alice.p2p. SOA"),
            ("alice.p2p DS", "NoError aa | @alice.p2p. SOA"),
            ("alice.p2p RRSIG", "NoError aa | @alice.p2p. SOA"),
            // Nothing else is touched: neither names below nor the other suffix.
            ("mail.alice.p2p A", "NoError aa | mail.alice.p2p. A 192.0.2.2"),
            ("alice.p2p.alt AAAA", "NoError aa | alice.p2p.alt. AAAA 2001:db8::1"),
            ("x.ads.example A", "elsewhere"),
            ("example A", "elsewhere"),
            // Aliases of the ledger lead to them.
            ("www.alice.p2p A", "NoError aa | www.alice.p2p. CNAME alice.p2p. | alice.p2p. A 192.0.2.200"),
            ("www.alice.p2p TXT", "NoError aa | www.alice.p2p. CNAME alice.p2p. | @alice.p2p. SOA"),
            ("nas.alice.p2p A", "NoError aa | nas.alice.p2p. CNAME nas. | nas. A 192.0.2.200"),
            ("ads.alice.p2p A", "NoError aa | ads.alice.p2p. CNAME ads.example. | ads.example. A 0.0.0.0"),
            ("out.alice.p2p A", "NoError aa | out.alice.p2p. CNAME www.example.com. | >www.example.com."),
            // Reverse names: the first name of an address. Sinks and loopback have none of their own.
            ("200.2.0.192.in-addr.arpa PTR", "NoError aa | 200.2.0.192.in-addr.arpa. PTR alice.p2p."),
            ("200.2.0.192.in-addr.arpa A", "NoError aa | @200.2.0.192.in-addr.arpa. SOA"),
            (
                "0.0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR",
                "NoError aa | 0.0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR nas.",
            ),
            ("1.1.0.127.in-addr.arpa PTR", "NoError aa | 1.1.0.127.in-addr.arpa. PTR box.example."),
            ("1.0.0.127.in-addr.arpa PTR", "NoError aa | 1.0.0.127.in-addr.arpa. PTR localhost."),
            ("0.0.0.0.in-addr.arpa PTR", "NXDomain aa | @0.in-addr.arpa. SOA"),
            // RFC 6761 §6.3: localhost is this machine under both types, whatever a file leaves out.
            ("localhost AAAA", "NoError aa | localhost. AAAA ::1"),
            ("alice.p2p AXFR", "Refused | !18 zone transfer: not over this transport, or not for you"),
        ],
    );
}

#[test]
fn addresses_and_absences_are_cached_for_a_minute() {
    let hosts = read(HOSTS);
    let found = ask(&world(), &query("nas A"), &hosts).expect("in the file");
    let absent = ask(&world(), &query("nas TXT"), &hosts).expect("in the file");
    assert_eq!((found.answer[0].ttl_s, absent.authority[0].ttl_s, TTL_S), (60, 60, 60));
    assert!(absent.authority[0].data[0].ends_with(&60u32.to_be_bytes()), "the SOA MINIMUM");
    assert_eq!((found.origin, absent.origin), (Origin::Hosts, Origin::Hosts));
    let alias = ask(&world(), &query("www.alice.p2p A"), &hosts).expect("ours");
    assert_eq!(alias.origin, Origin::Hosts);
}

#[test]
fn over_a_connection_any_is_everything() {
    let stream = |query| Query { transport: Transport::Stream, ..query };
    check(&world(), stream, &[("nas ANY", "NoError aa | nas. A 192.0.2.200 | nas. AAAA 2001:db8::200")]);
}

#[test]
fn files_do_not_wait_for_the_ledger() {
    let table = world();
    table.set_readiness(Readiness::NotReady { height: 1, target: None });
    check(&table, |query| query, &[("alice.p2p A", "NoError aa | alice.p2p. A 192.0.2.200")]);
}

#[test]
fn other_classes_are_not_in_files() {
    let chaos = |query| Query { qclass: rtype::CLASS_CH, ..query };
    check(&world(), chaos, &[("nas A", "Refused | !21 no such status name")]);
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written is answered, whatever blanks, case and remarks are around it.
    #[test]
    fn what_is_written_is_answered(
        lines in vec((addresses(), vec(select(vec!["a", "b.example", "x-1.a", "C"]), 1..4),
            select(vec![" ", "\t", "  \t "]), select(vec!["\n", "\r\n", " # remark\n", "\n\n#\n"])), 0..20),
    ) {
        let line = |(address, names, blank, end): &(IpAddr, Vec<&str>, &str, &str)| {
            format!("{address}{blank}{}{end}", names.join(blank))
        };
        let hosts = read(&lines.iter().map(line).collect::<String>());
        let table = SharedTable::new(120);
        for (address, names, ..) in &lines {
            for name in names {
                let qtype = if address.is_ipv4() { rtype::A } else { rtype::AAAA };
                let asked = Query { name: dname(name), qtype, ..query("a A") };
                let found = ask(&table, &asked, &hosts).expect("in the file").answer;
                let bytes = match address {
                    IpAddr::V4(v4) => v4.octets().to_vec(),
                    IpAddr::V6(v6) => v6.octets().to_vec(),
                };
                prop_assert!(found[0].data.len() <= MAX_ADDRESSES);
                prop_assert!(found[0].data.iter().filter(|data| ***data == bytes[..]).count() == 1, "{name} {address}");
            }
        }
    }

    /// Any bytes are read, and whatever came of them is answered.
    #[test]
    fn any_bytes_are_read(
        parts in vec(prop_oneof![
            vec(any::<u8>(), 0..30),
            select(vec![&b"192.0.2.1 "[..], b"::1", b"\n", b" ", b"#", b"a.b", b".", b"%", b"p2p", b"localhost", b"\xef\xbb\xbf"])
                .prop_map(<[u8]>::to_vec),
        ], 0..40),
    ) {
        let text = parts.concat();
        let mut reading = Reading::default();
        let skipped = reading.add(&text, &site(&SUFFIXES));
        let hosts = reading.finish();
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
        prop_assert!(hosts.len() + skipped.count <= words + 1);
        prop_assert!(skipped.first.len() <= skipped.count.min(10));
        let lines = text.split(|byte| *byte == b'\n').count();
        prop_assert!(skipped.first.iter().all(|error| (1..=lines).contains(&error.line)));
    }
}

fn config(hosts: &std::path::Path) -> DnsConfig {
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    DnsConfig { listen, hosts: HostsPaths(vec![hosts.to_owned()]), ..DnsConfig::default() }
}

/// A query without EDNS.
fn datagram(name: &str, qtype: u16) -> Vec<u8> {
    let wire = dname(name).as_wire().to_vec();
    [&[0xab, 0xcd, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0], &wire[..], &qtype.to_be_bytes(), &[0, 1]].concat()
}

#[tokio::test]
async fn the_fast_path_leaves_names_of_files_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hosts");
    fs::write(&path, HOSTS).expect("written");
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    let table = Arc::new(world());
    let responder = Responder::new(&config(&path), table.clone(), metrics).expect("a valid configuration");
    let mut composer = Composer::default();
    for (name, qtype, expected) in [
        ("alice.p2p", rtype::A, Err(FallThrough::Hosts)),
        ("alice.p2p", rtype::AAAA, Err(FallThrough::Hosts)),
        ("nas", rtype::A, Err(FallThrough::Elsewhere)),
        ("mail.alice.p2p", rtype::A, Ok(1)),
        ("alice.p2p.alt", rtype::A, Ok(1)),
    ] {
        let mut out: SendBuffer = [0; 1232];
        let datagram = datagram(name, qtype);
        let standing = responder.standing(&datagram, CLIENT);
        let composed = responder.fast(&mut composer, &*table.view(), (&datagram, &standing), &mut out);
        assert_eq!(composed.map(|_| out[7]), expected, "{name}");
        let full = responder.clone().full(datagram, (CLIENT, 4_000).into(), standing).await.expect("an answer");
        if let Ok(composed) = composed {
            assert_eq!(full, out[..composed.bytes], "{name}");
        }
    }
}

struct Running {
    resolver: Resolver,
    registry: Registry,
}

impl Running {
    async fn start(config: &DnsConfig, key: Option<ZoneKey>) -> Self {
        let registry = Registry::new();
        let metrics = Arc::new(DnsMetrics::new(&registry).expect("a fresh registry"));
        let resolver = Resolver::bind_with_key(config, Arc::new(world()), metrics, key).await.expect("it binds");
        Self { resolver, registry }
    }

    fn addr(&self) -> SocketAddr {
        self.resolver.local_addrs()[0]
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics")
    }
}

fn request(name: &str, qtype: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(Name::from_ascii(name).expect("a name"), qtype));
    message
}

async fn udp(addr: SocketAddr, request: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(&request.to_vec().expect("encodes"), addr).await.expect("sent");
    let mut buffer = [0; 2048];
    let len = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("in time").expect("received");
    Message::from_vec(&buffer[..len]).expect("a message")
}

async fn tcp(addr: SocketAddr, request: &Message) -> Message {
    let mut stream = TcpStream::connect(addr).await.expect("connected");
    let bytes = request.to_vec().expect("encodes");
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes(), &bytes[..]].concat()).await.expect("written");
    let len = timeout(DEADLINE, stream.read_u16()).await.expect("in time").expect("a length");
    let mut bytes = vec![0; usize::from(len)];
    timeout(DEADLINE, stream.read_exact(&mut bytes)).await.expect("in time").expect("a message");
    Message::from_vec(&bytes).expect("a message")
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn a_running_server_follows_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hosts");
    fs::write(&path, "192.0.2.7 Nas\nnonsense\n").expect("written");
    let running = Running::start(&config(&path), None).await;
    let asked = request("nAs.", RecordType::A);
    for answer in [udp(running.addr(), &asked).await, tcp(running.addr(), &asked).await] {
        assert_eq!(data(&answer), ["192.0.2.7"]);
        assert!(answer.metadata.authoritative);
        assert_eq!(answer.answers[0].name.to_ascii(), "nAs.", "in the case that was asked in");
    }
    let absent = request("alice.p2p.", RecordType::A);
    assert_eq!(data(&udp(running.addr(), &absent).await), ["192.0.2.1"]);
    for line in [
        "namestead_dns_responses_total{rcode=\"NOERROR\",source=\"hosts\"} 2",
        "namestead_dns_hosts_names 1",
        "namestead_dns_hosts_skipped 1",
    ] {
        assert!(running.metrics().contains(line), "{line}");
    }
    fs::write(&path, "192.0.2.8 nas\n192.0.2.9 alice.p2p\n").expect("written");
    let changed = async { while data(&udp(running.addr(), &absent).await) != ["192.0.2.9"] {} };
    timeout(DEADLINE, changed).await.expect("in time");
    assert_eq!(data(&udp(running.addr(), &asked).await), ["192.0.2.8"]);
    running.resolver.shutdown(DEADLINE).await.expect("it stops");
}

#[tokio::test]
async fn names_of_files_are_never_signed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hosts");
    fs::write(&path, HOSTS).expect("written");
    let running = Running::start(&config(&path), Some(ZoneKey::generate().expect("random"))).await;
    let signatures = async |name, qtype| {
        let mut asked = request(name, qtype);
        let mut edns = Edns::new();
        edns.set_max_payload(1_232).set_dnssec_ok(true);
        asked.set_edns(edns);
        let answer = udp(running.addr(), &asked).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        let records = answer.answers.iter().chain(&answer.authorities);
        records.filter(|record| record.record_type() == RecordType::RRSIG).count()
    };
    assert_eq!(signatures("alice.p2p.", RecordType::A).await, 0);
    assert_eq!(signatures("alice.p2p.", RecordType::MX).await, 0);
    assert_eq!(signatures("www.alice.p2p.", RecordType::A).await, 0);
    assert_eq!(signatures("mail.alice.p2p.", RecordType::A).await, 1);
    running.resolver.shutdown(DEADLINE).await.expect("it stops");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("absent");
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    let error = Resolver::bind(&config(&path), Arc::new(world()), metrics).await.map(drop).expect_err("no file");
    assert!(error.to_string().starts_with(&format!("dns.hosts: {path:?} cannot be read: No such file")), "{error}");
}
