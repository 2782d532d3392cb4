//! Names that their owners delegate, as a stub resolver and as an iterating one see them.

mod support {
    pub mod upstream;
    #[path = "../support/mod.rs"]
    pub mod world;
}

use std::{sync::Arc, time::Instant};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RecordType, rdata::opt::EdnsCode},
};
use prometheus::Registry;
use resolver::{DnsConfig, DnsMetrics, dns::name::Dname, policy::config::guard::Switch, serve::udp::Responder};
use support::{
    upstream::{Fake, Over, Script, address, encode, record, reply, silence, target},
    world::{
        ACTIVE,
        server::{DEADLINE, request, with_edns},
        table,
    },
};
use tokio::time::timeout;

const CLIENT: &str = "127.0.0.1:4000";
const STRANGER: &str = "192.0.2.1:4000";

/// A node in front of a delegated server and an upstream, both at 127.0.0.1.
struct Setup {
    responder: Responder,
    delegated: Fake,
    upstream: Fake,
}

/// What the owner's server says: it is the authority for `deleg.p2p`, and for whatever else is delegated to it.
fn owner() -> Script {
    Arc::new(|question, over| {
        let mut response = reply(question);
        let query = &question.queries[0];
        let name = query.name().to_lowercase().to_ascii();
        response.metadata.authoritative = true;
        let soa = [target("ns1.deleg.p2p"), target("h.deleg.p2p"), [0, 0, 1, 0].repeat(5)].concat();
        match (name.split('.').next(), query.query_type()) {
            // Where an alias leads is not for this server to say.
            (Some("poison"), _) => {
                response.answers.push(record(&name, 5, 60, &target("www.provider.example")));
                response.answers.push(record("www.provider.example.", 1, 86_400, &[6, 6, 6, 6]));
            }
            (Some(label), _) if label.starts_with("big") && over == Over::Udp => response.metadata.truncation = true,
            (Some("alias"), _) => response.answers.push(record(&name, 5, 60, &target("alice.p2p"))),
            (Some("circle"), _) => response.answers.push(record(&name, 5, 60, &target("d.hunt.p2p"))),
            (Some("refused"), _) => {
                response.metadata.authoritative = false;
                response.metadata.response_code = ResponseCode::Refused;
            }
            (Some("further"), _) => {
                response.metadata.authoritative = false;
                response.authorities.push(record("further.deleg.p2p.", 2, 60, &target("ns.further.deleg.p2p")));
            }
            (Some("nobody"), _) => {
                response.metadata.response_code = ResponseCode::NXDomain;
                response.authorities.push(record("deleg.p2p.", 6, 60, &soa));
            }
            (_, RecordType::A) => response.answers.push(record(&name, 1, 60, &[203, 0, 113, 77])),
            _ => response.authorities.push(record("deleg.p2p.", 6, 60, &soa)),
        }
        vec![encode(&response)]
    })
}

impl Setup {
    async fn new(change: impl FnOnce(&mut DnsConfig)) -> Self {
        let (delegated, upstream) = (Fake::plain(owner()).await, Fake::plain(address([127, 0, 0, 1], 60)).await);
        // As many as a name can hold; the first of the second group is alive.
        let address = |i: usize| if i == 4 { "127.0.0.1".to_owned() } else { format!("127.0.1.{}", i + 1) };
        let many: String = (0..15).map(|i| format!("@ NS n{i}.many.p2p\nn{i} A {}\n", address(i))).collect();
        let victims: String = (0..20).map(|i| format!("@ NS n{i}.victim.example\n")).collect();
        let world = table(&[
            ("alice", ACTIVE, "@ A 192.0.2.1"),
            ("deleg", ACTIVE, "@ NS ns1.deleg.p2p\nns1 A 127.0.0.1"),
            ("hunt", ACTIVE, "d CNAME www.deleg.p2p\nc CNAME circle.deleg.p2p"),
            ("dead", ACTIVE, "@ NS ns.dead.p2p\nns A 127.0.1.99"),
            ("many", ACTIVE, &many),
            ("nxns", ACTIVE, &victims),
            ("out", ACTIVE, "@ NS ns.provider.example"),
            ("onledger", ACTIVE, "@ NS ns.provider.p2p"),
            ("provider", ACTIVE, "ns A 127.0.0.1"),
            // Name servers whose names are delegated to two others each, three times over.
            ("tree", ACTIVE, "@ NS a.treea.p2p\n@ NS a.treeb.p2p"),
            ("treea", ACTIVE, "@ NS a.treec.p2p\n@ NS a.treed.p2p"),
            ("treeb", ACTIVE, "@ NS a.treec.p2p\n@ NS a.treed.p2p"),
            ("treec", ACTIVE, &victims),
            ("treed", ACTIVE, &victims),
            ("loopa", ACTIVE, "@ NS ns.loopb.p2p"),
            ("loopb", ACTIVE, "@ NS ns.loopa.p2p"),
            ("nowhere", ACTIVE, "@ NS ns.nowhere.p2p\nns A 0.0.0.0\nns A 255.255.255.255\nns A 224.0.0.1"),
        ]);
        let mut config = DnsConfig {
            listen: Vec::new(),
            upstreams: vec![upstream.addr.to_string()],
            delegated_port: delegated.addr.port(),
            ..DnsConfig::default()
        };
        config.forward.rebinding_allow = vec!["provider.example".to_owned(), "victim.example".to_owned()];
        change(&mut config);
        let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
        let responder = Responder::new(&config, Arc::new(world), metrics).expect("a valid configuration");
        Self { responder, delegated, upstream }
    }

    async fn say(&self, message: &Message, client: &str) -> Message {
        let (bytes, client) = (encode(message), client.parse().expect("an address"));
        let mut responses = timeout(DEADLINE, self.responder.clone().messages(bytes, client)).await.expect("in time");
        Message::from_vec(&responses.next().expect("a response")).expect("a message")
    }

    async fn ask(&self, name: &str, qtype: RecordType) -> Message {
        self.say(&with_edns(request(name, qtype), 1_232), CLIENT).await
    }
}

fn show(message: &Message) -> String {
    let flags = &message.metadata;
    let bits = [(flags.authoritative, " aa"), (flags.recursion_available, " ra"), (flags.authentic_data, " ad")];
    let bits: String = bits.into_iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).collect();
    let records: String = message.answers.iter().map(|record| format!(" {}", record.data)).collect();
    format!("{:?}{bits}{records}", flags.response_code)
}

/// The extended error: its code and text.
fn why(message: &Message) -> String {
    let option = message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::from(15)).cloned());
    let data: Vec<u8> = option.map(|option| (&option).try_into().expect("bytes")).unwrap_or_default();
    let (code, text) = data.split_at_checked(2).unwrap_or_default();
    format!("{:?} {}", code, String::from_utf8_lossy(text))
}

#[tokio::test]
async fn who_wants_recursion_gets_what_the_delegated_server_says() {
    let setup = Setup::new(|_| {}).await;
    for (name, qtype, expected) in [
        ("www.deleg.p2p.", RecordType::A, "NoError ra 203.0.113.77"),
        ("deleg.p2p.", RecordType::A, "NoError ra 203.0.113.77"),
        ("www.deleg.p2p.", RecordType::AAAA, "NoError ra"),
        ("nobody.deleg.p2p.", RecordType::A, "NXDomain ra"),
        // An alias on either side of the cut, and RFC 6604's AA.
        ("d.hunt.p2p.", RecordType::A, "NoError aa ra www.deleg.p2p. 203.0.113.77"),
        ("alias.deleg.p2p.", RecordType::A, "NoError ra alice.p2p. 192.0.2.1"),
        // Name servers elsewhere: in the ledger, and in the world.
        ("www.onledger.p2p.", RecordType::A, "NoError ra 203.0.113.77"),
        ("www.out.p2p.", RecordType::A, "NoError ra 203.0.113.77"),
        ("www.many.p2p.", RecordType::A, "NoError ra 203.0.113.77"),
        // An alias out of the zone ends with what those who are responsible say.
        ("poison.deleg.p2p.", RecordType::A, "NoError ra www.provider.example. 127.0.0.1"),
    ] {
        let said = setup.ask(name, qtype).await;
        assert_eq!(show(&said), expected, "{name} {qtype}: {}", why(&said));
    }
    // The owner's server is not asked to ask others, and not twice within a TTL.
    let asked = setup.delegated.messages();
    assert!(asked.iter().all(|message| !message.metadata.recursion_desired), "{asked:?}");
    let count = asked.len();
    assert_eq!(show(&setup.ask("www.deleg.p2p.", RecordType::A).await), "NoError ra 203.0.113.77");
    assert_eq!(setup.delegated.messages().len(), count);
}

#[tokio::test]
async fn who_iterates_or_may_not_have_it_gets_the_referral() {
    let setup = Setup::new(|_| {}).await;
    let mut iterating = with_edns(request("www.deleg.p2p.", RecordType::A), 1_232);
    iterating.metadata.recursion_desired = false;
    let stranger = request("www.deleg.p2p.", RecordType::A);
    for (message, client, expected) in [(&iterating, CLIENT, "NoError ra"), (&stranger, STRANGER, "NoError")] {
        let said = setup.say(message, client).await;
        assert_eq!((show(&said).as_str(), said.authorities.len()), (expected, 1));
        assert_eq!(said.authorities[0].record_type(), RecordType::NS);
        assert!(said.additionals.iter().any(|record| record.data.to_string() == "127.0.0.1"), "glue");
    }
    assert!(setup.delegated.messages().is_empty());
}

#[tokio::test]
async fn what_fails_is_said_in_words_and_never_a_bare_referral() {
    let setup = Setup::new(|_| {}).await;
    for (name, reason) in [
        ("www.dead.p2p.", "dead.p2p. is delegated, and asking its servers failed"),
        ("refused.deleg.p2p.", "deleg.p2p. is delegated, and its servers say"),
        ("further.deleg.p2p.", "deleg.p2p. is delegated, and"),
        ("www.loopa.p2p.", "no name server of it has an address that can be asked"),
        ("www.nowhere.p2p.", "no name server of it has an address that can be asked"),
        ("c.hunt.p2p.", ""),
    ] {
        let began = Instant::now();
        let said = setup.ask(name, RecordType::A).await;
        let answers = said.answers.len();
        match name {
            // A circle across the cut: what there is of it, and no more.
            "c.hunt.p2p." => assert!(answers <= 4 || said.metadata.response_code == ResponseCode::ServFail, "{said}"),
            _ => {
                assert_eq!(show(&said), "ServFail ra", "{name}");
                assert!(why(&said).contains(reason), "{name}: {}", why(&said));
            }
        }
        assert!(said.authorities.is_empty(), "{name}: no referral");
        assert!(began.elapsed().as_secs() < 5, "{name}: stub resolvers give up after 5 s");
    }
    let off = Setup::new(|config| config.resolve_delegated = Switch::Off).await;
    let said = off.ask("www.deleg.p2p.", RecordType::A).await;
    assert_eq!(show(&said), "ServFail ra");
    assert!(why(&said).contains("dns.resolve_delegated is off"), "{}", why(&said));
    assert!(off.delegated.messages().is_empty());
}

/// Who the servers are is anybody's choice, so their connections are not kept: a thousand names would hold as many.
#[tokio::test]
async fn connections_to_delegated_servers_end_with_their_question() {
    let setup = Setup::new(|_| {}).await;
    for asked in 1..=3 {
        let said = setup.ask(&format!("big{asked}.deleg.p2p."), RecordType::A).await;
        assert_eq!(show(&said), "NoError ra 203.0.113.77", "{}", why(&said));
        assert_eq!(setup.delegated.connections(), asked);
    }
}

/// Without upstreams names that have glue open all the same: that is the default.
#[tokio::test]
async fn no_upstream_is_needed_for_names_with_glue() {
    let setup = Setup::new(|config| config.upstreams.clear()).await;
    assert_eq!(show(&setup.ask("www.deleg.p2p.", RecordType::A).await), "NoError ra 203.0.113.77");
    assert_eq!(show(&setup.ask("alice.p2p.", RecordType::A).await), "NoError aa 192.0.2.1");
    assert_eq!(show(&setup.ask("www.out.p2p.", RecordType::A).await), "ServFail ra");
}

/// NXNSAttack: twenty name servers below a victim's domain are no reason to ask it twenty times.
#[tokio::test]
async fn a_delegation_makes_few_questions_of_one() {
    let setup = Setup::new(|_| {}).await;
    setup.upstream.behave(Arc::new(|question, _| {
        let mut response = reply(question);
        response.metadata.response_code = ResponseCode::NXDomain;
        vec![encode(&response)]
    }));
    assert_eq!(show(&setup.ask("x.nxns.p2p.", RecordType::A).await), "ServFail ra");
    let first = setup.upstream.messages().len();
    assert!(first <= 4, "{:?}", setup.upstream.asked());
    assert_eq!(show(&setup.ask("x.tree.p2p.", RecordType::A).await), "ServFail ra");
    assert!(setup.upstream.messages().len() - first <= 8, "{:?}", setup.upstream.asked());
    // Silent servers are given up in time.
    setup.delegated.behave(silence());
    let began = Instant::now();
    assert_eq!(show(&setup.ask("other.deleg.p2p.", RecordType::A).await), "ServFail ra");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

/// Where names of the ledger must not lead into the local network, nobody there is asked about them.
#[tokio::test]
async fn servers_in_the_local_network_are_not_asked_where_that_is_forbidden() {
    let setup = Setup::new(|config| config.forward.private_ledger_addresses = false).await;
    assert_eq!(show(&setup.ask("www.deleg.p2p.", RecordType::A).await), "ServFail ra");
    assert!(setup.delegated.messages().is_empty());
}

#[tokio::test]
async fn what_its_servers_said_is_flushed_with_a_name() {
    let setup = Setup::new(|_| {}).await;
    let flush = |name: &str| setup.responder.forwarder().flush(Some(&name.parse::<Dname>().expect("a name")));
    for (name, gone, asked) in [("other.p2p", 0, 1), ("www.deleg.p2p", 1, 2), ("deleg.p2p", 1, 3), ("p2p", 1, 4)] {
        setup.ask("www.deleg.p2p.", RecordType::A).await;
        assert_eq!(flush(name), gone, "{name}");
        setup.ask("www.deleg.p2p.", RecordType::A).await;
        assert_eq!(setup.delegated.asked().len(), asked, "{name}");
    }
}
