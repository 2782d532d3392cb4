//! The HTTP interface of a whole node on the local network, in this process, with mined blocks.

#[path = "api/adopt.rs"]
mod adopt;
#[path = "api/harness.rs"]
mod harness;
#[path = "api/resolver.rs"]
mod resolver;

use std::time::{Duration, Instant};

use harness::{TestNode, in_time, wallet};
use node::{
    api::{
        client::{Client, ClientError, Endpoint, EventStream, NameQuery},
        types::{CommitQuery, Event, NameStatus, NewOperation, Operation, SyncState, TransactionPlace},
    },
    ops::OperationState,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

/// A registration takes some ten blocks of one to two seconds; a busy machine may need several times that.
const JOURNEY: Duration = Duration::from_secs(180);
/// How often a node is stopped and started again to see that it lets go of its database.
const RESTARTS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_registered_changed_and_released_over_http() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'on'\nthreads = 1").await;
        let client = node.client();
        let mut events = client.events().await.expect("a stream");
        let wallet = wallet::Wallet::new(7);

        let request = wallet.register(&client, "greenhouse", "hello").await;
        let started = client.start_operation(&request).await.expect("accepted");
        assert_eq!(client.start_operation(&request).await.expect("the same").id, started.id, "asked for twice");
        let done = harness::finish(&client, &mut events, &started.id).await;
        assert_eq!(done.state, OperationState::Done, "{done:?}");

        let NewOperation::Register { commit, .. } = &request else { panic!("{request:?}") };
        let commit_hashes = vec!["0".repeat(64), commit.commit_hash.clone()];
        let asked = CommitQuery { class: commit.class, commit_hashes };
        let standing = client.commits(&asked).await.expect("an answer").commits;
        assert_eq!(standing.len(), 1, "{standing:?}");
        assert_eq!((&standing[0].commit_hash, standing[0].spent), (&commit.commit_hash, true));
        let many = CommitQuery { commit_hashes: vec!["0".repeat(64); 513], ..asked };
        harness::refused(client.commits(&many).await, 400, "bad_request");

        let answer = client.name("greenhouse").await.expect("there");
        let entry = answer.state.expect("an entry");
        assert_eq!((answer.status, &entry.owner), (NameStatus::Active, &wallet.address()));
        assert_eq!(entry.records[0].text, "\"hello\"");
        assert_eq!(Some(entry.active_from), done.active_from);

        let owned = client.names(&NameQuery { owner: Some(wallet.address()), ..NameQuery::default() }).await;
        assert_eq!(owned.expect("a list").names[0].name, "greenhouse");
        let reveal = &done.txids[1].txid;
        let transaction = client.transaction(reveal).await.expect("kept");
        let TransactionPlace::Block { height, .. } = transaction.place else { panic!("{transaction:?}") };
        let block = client.block(&height.to_string()).await.expect("kept");
        assert!(block.transactions.expect("a body").iter().any(|tx| tx.txid == *reveal));
        let history = client.history("greenhouse").await.expect("kept");
        assert_eq!((history.entries.len(), history.entries[0].action.as_str()), (1, "reveal"));

        let update = wallet.update(&client, "greenhouse", entry.seq + 256, "bye").await;
        let started = client.start_operation(&update).await.expect("accepted");
        let done = harness::finish(&client, &mut events, &started.id).await;
        assert_eq!((done.state, done.action.as_str()), (OperationState::Done, "update"));
        let entry = client.name("greenhouse").await.expect("there").state.expect("an entry");
        assert_eq!((entry.records[0].text.as_str(), entry.seq), ("\"bye\"", 257));

        let taken = wallet::Wallet::new(8).register(&client, "greenhouse", "mine").await;
        harness::refused(client.start_operation(&taken).await, 409, "name_taken");
        let stale = wallet.update(&client, "greenhouse", 2, "again").await;
        harness::refused(client.start_operation(&stale).await, 409, "sequence");
        let foreign = wallet::Wallet::new(8).update(&client, "greenhouse", 258, "stolen").await;
        harness::refused(client.start_operation(&foreign).await, 409, "not_authorised");
        let renew = |name: &str| NewOperation::Renew { name: name.to_owned() };
        harness::refused(client.start_operation(&renew("greenhouse")).await, 409, "too_early");
        harness::refused(client.start_operation(&renew("nobodys")).await, 409, "name_not_found");
        node.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_survive_a_restart() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'on'\nthreads = 1").await;
        let wallet = wallet::Wallet::new(9);
        let request = wallet.register(&node.client(), "lighthouse", "beam").await;
        let started = node.client().start_operation(&request).await.expect("accepted");
        let node = node.restart().await;
        let client = node.client();
        let mut events = client.events().await.expect("a stream");
        let kept = client.operation(&started.id[..20]).await.expect("kept");
        assert_eq!((kept.id, kept.name.as_str()), (started.id.clone(), "lighthouse"));
        let done = harness::finish(&client, &mut events, &started.id).await;
        assert_eq!(done.state, OperationState::Done, "{done:?}");
        node.stop().await;
    })
    .await;
}

/// Readers and followers of events neither hold the database of a stopped node nor hold up its stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_stopped_has_closed_its_database() {
    in_time(JOURNEY, async {
        let mut node = TestNode::start("mode = 'off'").await;
        let mut fastest = Duration::MAX;
        for _ in 0..RESTARTS {
            let mut events = node.client().events().await.expect("a stream");
            assert!(matches!(events.next().await, Ok(Some(Event::Tip(_)))), "a tip at once");
            let mut readers = JoinSet::new();
            for _ in 0..4 {
                let client = node.client();
                readers.spawn(async move { while client.names(&NameQuery::default()).await.is_ok() {} });
            }
            // A slow read that nobody can call back.
            let (reader, mut tips) = (node.chain().reader(), node.chain().watch());
            tokio::spawn(async move {
                while tips.changed().await.is_ok() {}
                sleep(Duration::from_millis(50)).await;
                drop(reader);
            });
            let start = Instant::now();
            node = node.restart().await;
            fastest = fastest.min(start.elapsed());
        }
        // A part that does not stop by itself is waited for two seconds, each time.
        assert!(fastest < Duration::from_secs(2), "held up: {fastest:?} at best");
        node.stop().await;
    })
    .await;
}

/// A client that never ends its request, and one that never reads its answers, do not hold the database either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_stuck_do_not_keep_the_database_open() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'off'").await;
        let mut stuck = Vec::new();
        for (address, half) in [
            (node.api_addr(), "POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{"),
            (node.api_addr(), "GET /v1/status HTTP/1.1\r\nhost: localhost\r\n"),
            (node.monitor_addr(), "GET /metrics HTTP/1.1\r\n"),
        ] {
            let mut stream = TcpStream::connect(address).await.expect("the port is open");
            stream.write_all(half.as_bytes()).await.expect("sent");
            stuck.push(stream);
        }
        // Far more than the sockets' buffers hold.
        let mut deaf = TcpStream::connect(node.api_addr()).await.expect("the port is open");
        let request = "GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
        deaf.write_all(request.as_bytes()).await.expect("sent");
        assert!(node.client().status().await.is_ok(), "the others do not mind");
        let node = node.restart().await;
        node.stop().await;
        drop((stuck, deaf));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_with_a_reason() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'off'").await;
        let client = node.client();
        harness::refused(client.name("no_name").await, 400, "bad_request");
        harness::refused(client.block("nonsense").await, 400, "bad_request");
        harness::refused(client.block("4000000000").await, 404, "block_not_found");
        harness::refused(client.transaction(&"0".repeat(64)).await, 404, "transaction_not_found");
        harness::refused(client.operation("01ABC").await, 404, "operation_not_found");
        harness::refused(client.submit("zz").await, 400, "bad_request");
        harness::refused(client.get::<serde_json::Value>("/v1/nothing").await, 404, "no_such_path");
        harness::refused(client.post::<serde_json::Value>("/v1/status", &()).await, 405, "no_such_method");
        harness::refused(client.get::<serde_json::Value>("/v1/names?limt=1").await, 400, "bad_request");
        assert_eq!(client.name("www").await.expect("an answer").status, NameStatus::Reserved);
        assert_eq!(client.name("GREENHOUSE").await.expect("an answer").status, NameStatus::Free);

        let tcp = |token: Option<&str>| {
            let endpoint = Endpoint::Tcp(node.api_addr().to_string());
            Client::new(endpoint, token.map(str::to_owned), Duration::from_secs(10))
        };
        assert!(tcp(None).status().await.is_ok(), "reading needs no token");
        harness::refused(tcp(None).submit("zz").await, 401, "token_needed");
        harness::refused(tcp(None).operations().await, 401, "token_needed");
        harness::refused(tcp(None).operation("01ABC").await, 401, "token_needed");
        harness::refused(tcp(Some("wrong")).operations().await, 401, "token_needed");
        assert!(tcp(Some(node.token())).operations().await.is_ok(), "the token shows them");
        assert!(tcp(Some("wrong")).status().await.is_ok(), "another node's token does no harm where none is needed");
        harness::refused(tcp(Some("wrong")).events().await.map(drop), 401, "token_needed");
        harness::refused(tcp(Some(node.token())).submit(&"0".repeat(70_000)).await, 413, "body_too_large");
        harness::refused(tcp(Some("wrong")).submit("zz").await, 401, "token_needed");
        harness::refused(tcp(Some(node.token())).submit("zz").await, 400, "bad_request");
        let nobody = Client::unix("/nonexistent/api.sock").status().await;
        assert!(matches!(nobody, Err(ClientError::Unreachable { .. })), "{nobody:?}");
        node.stop().await;
    })
    .await;
}

/// A node that has not met the peers it expects knows nothing of the present, and says so wherever it is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_met_no_peer_says_so_everywhere() {
    in_time(JOURNEY, async {
        // The discard port: nothing listens there.
        let node = TestNode::start_expecting("/ip4/127.0.0.1/tcp/9").await;
        let client = node.client();
        let status = client.status().await.expect("an answer");
        assert_eq!((status.state, status.synced), (SyncState::Syncing, false));
        assert_eq!(status.sync_reason.as_deref(), Some("no peer has told its height yet"));
        assert!(status.tip_age_seconds > 86_400, "genesis is old: {}", status.tip_age_seconds);
        let name = client.name("greenhouse").await.expect("an answer");
        assert_eq!((name.status, name.sync_state), (NameStatus::Free, SyncState::Syncing));
        assert!(name.tip_age_seconds >= status.tip_age_seconds);
        let query = NameQuery { prefix: Some("gre".to_owned()), ..NameQuery::default() };
        assert_eq!(client.names(&query).await.expect("an answer").sync_state, SyncState::Syncing);
        let ready = harness::fetch(node.monitor_addr(), "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("no peer has told its height yet\n"), "{ready}");
        let text = harness::fetch(node.monitor_addr(), "/metrics").await;
        for expected in ["namestead_chain_synced 0", "namestead_chain_state{state=\"syncing\"} 1"] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        node.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_names_are_told_with_their_domain() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'off'").await;
        let client = node.client();
        let name = client.name("google").await.expect("an answer");
        assert_eq!((name.status, name.locked_to.as_deref()), (NameStatus::Locked, Some("google.com")));
        let by = |prefix: &str, limit| {
            let query = NameQuery { prefix: Some(prefix.to_owned()), limit, ..NameQuery::default() };
            let client = client.clone();
            async move { client.names(&query).await.expect("an answer").locked }
        };
        let locked = by("googleb", None).await;
        assert_eq!(
            locked.iter().map(|name| (&*name.name, &*name.locked_to)).collect::<Vec<_>>(),
            [("googleblog", "googleblog.com")]
        );
        assert!(by("zzzz", None).await.is_empty() && by("", None).await.is_empty());
        assert!((20..=100).contains(&by("a", Some(1)).await.len()));
        let owned = NameQuery { owner: Some(wallet::Wallet::new(1).address()), ..NameQuery::default() };
        assert!(client.names(&owned).await.expect("an answer").locked.is_empty());
        node.stop().await;
    })
    .await;
}

/// The next event of the first kind that is asked for.
async fn next_event(events: &mut EventStream, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.next().await.expect("alive").expect("the node runs");
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_is_told_to_nobody_but_its_user() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'on'\nthreads = 1").await;
        let tcp = |token: Option<&str>| {
            let endpoint = Endpoint::Tcp(node.api_addr().to_string());
            Client::new(endpoint, token.map(str::to_owned), Duration::from_secs(10))
        };
        let mut own = tcp(Some(node.token())).events().await.expect("a stream");
        let mut foreign = tcp(None).events().await.expect("a stream");
        let request = wallet::Wallet::new(10).register(&node.client(), "secretgarden", "hidden").await;
        let started = node.client().start_operation(&request).await.expect("accepted");
        harness::refused(tcp(None).operation(&started.id).await, 401, "token_needed");
        let told = next_event(&mut own, |event| matches!(event, Event::Operation(_))).await;
        assert!(matches!(told, Event::Operation(operation) if operation.name == "secretgarden"));

        let committed = |operation: &Operation| operation.commit_height.is_some();
        next_event(&mut own, |event| matches!(event, Event::Operation(operation) if committed(operation))).await;
        let height = node.client().operation(&started.id).await.expect("kept").commit_height.expect("committed");
        // Everything that was sent up to the commit, and no operation among it.
        next_event(&mut foreign, |event| match event {
            Event::Tip(tip) => tip.height >= height,
            Event::Operation(_) | Event::Lagged(_) => panic!("{event:?}"),
        })
        .await;
        node.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_stands_in_the_openapi_document() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'off'").await;
        let document: serde_json::Value = node.client().get("/v1/openapi.json").await.expect("a document");
        let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
        let routes = include_str!("../src/api/server.rs");
        let written = routes.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
        let mut count = 0;
        for route in written.filter_map(|rest| rest.split('"').next()).filter(|route| *route != "/openapi.json") {
            assert!(paths.iter().any(|path| **path == format!("/v1{route}")), "{route} is not in {paths:?}");
            count += 1;
        }
        assert_eq!(count, paths.len());
        node.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_on_the_port_harms_nobody() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'off'").await;
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for round in 0..200 {
            let mut stream = TcpStream::connect(node.api_addr()).await.expect("the port is open");
            let head: &[u8] = match round % 4 {
                0 => b"",
                1 => b"GET /v1/names/",
                2 => b"POST /v1/operations HTTP/1.1\r\nhost: localhost\r\ncontent-length: 400\r\n\r\n",
                _ => b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ",
            };
            let junk: Vec<u8> = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .take(400)
            .collect();
            // The node may have hung up already, which is its right.
            let _ = stream.write_all(&[head, &junk].concat()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
        }
        assert!(node.client().status().await.is_ok());
        node.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitoring_tells_what_runs() {
    in_time(JOURNEY, async {
        let node = TestNode::start("mode = 'on'\nthreads = 1").await;
        let mut events = node.client().events().await.expect("a stream");
        while !matches!(events.next().await.expect("alive"), Some(Event::Tip(tip)) if tip.height > 0) {}
        let text = harness::fetch(node.monitor_addr(), "/metrics").await;
        for expected in [
            "namestead_build_info{network=\"local\",role=\"full\",version=\"0.1.0\"} 1",
            "namestead_chain_synced 1",
            "process_resident_memory_bytes",
            "namestead_operations{state=\"working\"} 0",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(harness::fetch(node.monitor_addr(), "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(harness::fetch(node.api_addr(), "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(harness::fetch(node.api_addr(), "/").await.contains("<h1>Namestead</h1>"));
        node.stop().await;
    })
    .await;
}
