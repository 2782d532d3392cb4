//! How fast a node with nothing catches up, against what the computing alone would take.
//!
//! Three processes, so that memory and CPU are each one's own: the parent makes a chain (real Argon2d work, real
//! signatures; only the *amount* of work per block and commit is small) and measures the unavoidable parts on both
//! cores; a child serves the chain; another, with an empty database, syncs it over TCP on loopback.
//!
//! `cargo bench -p node --bench sync -- [BLOCKS] [NAMES]`; default 20000 blocks, 100000 names.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    hint::black_box,
    io::{BufRead, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ledger::{
    codec::encode,
    hash::{Key, Tag, hash},
    name::Name,
    params::{Network, Params},
    pow::{Algorithm, Scratch, pow_value},
    record::{Record, Records},
    state::tree::{MemoryPages, value_hash},
    testing::{TestChain, key, params_with},
};
use node::{
    chain::{Arrival, ChainService, Retention, ServiceOptions},
    p2p,
    store::Store,
    sync::Company,
};

/// Blocks between a commit and its reveal.
const REVEAL_AFTER: u32 = 12;
/// Commits come in every so many blocks. Spread evenly, five in each would be above the target of four, and the price
/// would rise until making the chain takes an hour.
const COMMITS_EVERY: u32 = 5;

/// What each block writes to the tree.
type Writes = Vec<Vec<(Key, Option<Vec<u8>>)>>;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("serve") => serve(Path::new(&args[1])),
        Some("fetch") => fetch(Path::new(&args[1]), &args[2], args[3].parse().unwrap()),
        _ => {
            let number = |index: usize, default| args.get(index).map_or(default, |arg| arg.parse().unwrap());
            parent(number(0, 20_000), number(1, 100_000));
        }
    }
}

/// Main's rules and work function with so little work that a chain can be made in minutes.
fn params() -> &'static Params {
    params_with(|p| {
        let local = Network::Local.params();
        *p = Params {
            network: Network::Simulated,
            algorithm: Algorithm::Argon2d,
            pow_limit: local.pow_limit,
            genesis_target: local.pow_limit,
            p_commit: 1,
            genesis_time: local.genesis_time,
            block_interval: 30,
            ..Network::Main.params().clone()
        }
    })
}

fn parent(blocks: u32, names: u32) {
    println!("making {blocks} blocks with {names} names …");
    let (chain, writes) = make(blocks, names);
    let parts = Parts::measure(&chain, &writes, blocks, names);
    drop(writes);
    parts.print();
    let dir = tempfile::tempdir().unwrap();
    let seconds = import(&chain, &dir.path().join("server"));
    println!("import   {seconds:7.1} s  {:6.0} blocks/s without a network", f64::from(blocks) / seconds);
    drop(chain);
    sync(dir.path(), blocks, &parts);
}

/// The chain, and what each block writes to the tree.
fn make(blocks: u32, names: u32) -> (TestChain, Writes) {
    let mut chain = TestChain::new(params());
    let (mut committed, mut revealed, mut writes) = (0, 0, Vec::new());
    let spread = blocks - REVEAL_AFTER - 1;
    let due = |at: u32| {
        let at = if at < spread { at - at % COMMITS_EVERY } else { spread };
        (u64::from(names) * u64::from(at) / u64::from(spread)) as u32
    };
    for height in 1..=blocks {
        let maker = chain.maker();
        let mut transactions = Vec::new();
        for index in committed..due(height) {
            transactions.push(maker.commit(&name(index), u64::from(index)));
        }
        committed = due(height);
        let ripe = due(height.saturating_sub(REVEAL_AFTER));
        for index in revealed..ripe {
            transactions.push(maker.reveal(&name(index), u64::from(index), records(index)));
        }
        revealed = ripe;
        let delta = chain.extend(transactions).unwrap();
        writes.push(delta.changes.into_iter().map(|c| (c.key, c.after.map(|leaf| encode(&leaf)))).collect());
    }
    assert_eq!(chain.tip().header().ext.name_count, u64::from(names));
    (chain, writes)
}

fn name(index: u32) -> Name {
    Name::new(&format!("benchmark-{index}")).unwrap()
}

fn records(index: u32) -> Records {
    let address = Record { sub: vec![], rtype: 1, ttl: 3_600, rdata: index.to_be_bytes().to_vec() };
    Records::new(vec![address]).unwrap()
}

/// Seconds that the unavoidable parts take on one core.
struct Parts {
    work: f64,
    signatures: f64,
    tree: f64,
}

impl Parts {
    fn measure(chain: &TestChain, writes: &Writes, blocks: u32, names: u32) -> Self {
        let (params, chain_id, header) = (chain.params(), chain.chain_id(), chain.tip().header().core);
        let one_work = each(6_000, || {
            let mut scratch = Scratch::default();
            move || _ = black_box(pow_value(params.algorithm, &chain_id, &header, &mut scratch))
        });
        let digest = hash(Tag::Signature, &[b"benchmark"]);
        let (public, signature) = (key(1).public(), key(1).sign(&digest));
        let one_signature = each(20_000, || || assert!(public.verifies(&digest, &signature)));
        let started = Instant::now();
        let mut pages = MemoryPages::new();
        for block in writes {
            let hashes: Vec<_> = block.iter().map(|(key, leaf)| (*key, leaf.as_deref().map(value_hash))).collect();
            pages.change(&hashes).unwrap();
        }
        assert_eq!(pages.root(), chain.root());
        Self {
            work: one_work * f64::from(blocks + names),
            signatures: one_signature * f64::from(names),
            tree: started.elapsed().as_secs_f64(),
        }
    }

    /// The least time on two cores: everything spread evenly.
    fn floor(&self) -> f64 {
        ((self.work + self.signatures + self.tree) / 2.0).max(self.tree)
    }

    fn print(&self) {
        println!("work     {:7.1} s of one core (Argon2d, one evaluation per header and commit)", self.work);
        println!("signing  {:7.1} s of one core (one ECDSA verification per reveal)", self.signatures);
        println!("tree     {:7.1} s of one core (values, leaves and nodes)", self.tree);
        println!("floor    {:7.1} s on two cores", self.floor());
    }
}

/// Mean core-seconds of one call while both cores make such calls: they share caches and memory, as in a real sync.
fn each<C: FnMut()>(times: u32, make: impl Fn() -> C + std::marker::Sync) -> f64 {
    const CORES: u32 = 2;
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CORES {
            scope.spawn(|| {
                let mut call = make();
                (0..times / CORES).for_each(|_| call());
            });
        }
    });
    started.elapsed().as_secs_f64() * f64::from(CORES) / f64::from(times)
}

/// Puts the chain into a store through the chain service; seconds.
fn import(chain: &TestChain, dir: &Path) -> f64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        std::fs::create_dir_all(dir).unwrap();
        let service = service(dir);
        let handle = service.handle();
        let started = Instant::now();
        let headers: Vec<_> = chain.blocks().map(|block| block.header).collect();
        for batch in headers.chunks(2_000) {
            handle.submit_headers(batch.to_vec()).await.unwrap();
        }
        let mut under_way = VecDeque::new();
        for block in chain.blocks() {
            let (handle, block) = (handle.clone(), Arc::new(block.clone()));
            under_way.push_back(tokio::spawn(async move { handle.submit_block(block, Arrival::Sync).await.unwrap() }));
            if under_way.len() == 32 {
                under_way.pop_front().unwrap().await.unwrap();
            }
        }
        for task in under_way {
            task.await.unwrap();
        }
        assert_eq!(handle.tip().hash, chain.tip().hash(), "the whole chain was connected");
        let seconds = started.elapsed().as_secs_f64();
        println!("         CPU-seconds of its threads: {}", cpu_by_thread());
        drop(handle);
        // Not `handle.shutdown()`, which does not wait until the database is let go: the next process opens it.
        service.shutdown().await;
        seconds
    })
}

fn service(dir: &Path) -> ChainService {
    let store = Store::open(dir.join("db"), params()).unwrap();
    let mut options = ServiceOptions::default();
    options.chain.retention = Retention::Archive;
    ChainService::start(store, params(), options).unwrap()
}

/// Starts both children and reports on the second.
fn sync(dir: &Path, blocks: u32, parts: &Parts) {
    let mut server = child(&["serve", dir.join("server").to_str().unwrap()]);
    let mut address = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
    let target = dir.join("client");
    let mut client = child(&["fetch", target.to_str().unwrap(), address.trim(), &blocks.to_string()]);
    let mut report = String::new();
    client.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    assert!(client.wait().unwrap().success(), "{report}");
    let server_cpu = cpu_seconds(server.id());
    server.kill().unwrap();
    server.wait().unwrap();
    let seconds: f64 = report.split_whitespace().next().unwrap().parse().unwrap();
    println!("sync     {seconds:7.1} s  {:6.0} blocks/s over TCP: {}", f64::from(blocks) / seconds, report.trim());
    println!("         the server used {server_cpu:.1} CPU-seconds of the same cores meanwhile");
    println!("ratio    {:7.2} of the floor's rate", parts.floor() / seconds);
}

fn child(args: &[&str]) -> Child {
    let this = env::current_exe().unwrap();
    Command::new(this).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// A chain service and what the network needs to run on it, alone or with one peer.
fn network(dir: &Path, peer: Option<&str>) -> (p2p::Config, p2p::Deps, ChainService) {
    std::fs::create_dir_all(dir).unwrap();
    let service = service(dir);
    let loopback = p2p::config::tcp(std::net::Ipv4Addr::LOCALHOST.into(), 0);
    let config = p2p::Config {
        listen: if peer.is_none() { vec![loopback] } else { vec![] },
        peers: peer.iter().map(|peer| peer.parse().unwrap()).collect(),
        mdns: Some(false),
        ..p2p::Config::default()
    };
    let company = if peer.is_none() { Company::Solo } else { Company::Needed };
    let deps = p2p::Deps { params: params(), chain: service.handle(), data_dir: dir.to_owned(), company };
    (config, deps, service)
}

/// Child: serves until its standard input closes.
fn serve(dir: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (config, deps, _service) = network(dir, None);
        let handle = p2p::spawn(config, deps).await.unwrap();
        println!("{}", handle.listen_addresses().await[0]);
        std::io::stdout().flush().unwrap();
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        closed.await.unwrap().unwrap();
    });
}

/// Child: syncs to `blocks` and prints seconds, CPU and memory.
fn fetch(dir: &Path, peer: &str, blocks: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started = Instant::now();
    runtime.block_on(async {
        let (config, deps, service) = network(dir, Some(peer));
        let chain = deps.chain.clone();
        let handle = p2p::spawn(config, deps).await.unwrap();
        let mut tips = chain.watch();
        let wait = tips.wait_for(|tip| tip.height >= blocks);
        tokio::time::timeout(Duration::from_secs(1_200), wait).await.expect("synced in time").unwrap();
        let (cpu, peak) = (cpu_seconds(std::process::id()), peak_mib());
        let seconds = started.elapsed().as_secs_f64();
        println!("{seconds:.2} s wall, {cpu:.1} CPU-seconds ({}), {peak} MiB resident at most", cpu_by_thread());
        handle.shutdown(Duration::from_secs(5)).await;
        drop((chain, tips));
        service.shutdown().await;
    });
}

/// What this process's threads of each name have used so far: where the rest of the time goes.
fn cpu_by_thread() -> String {
    let mut seconds = BTreeMap::<String, f64>::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().path();
        let name = std::fs::read_to_string(thread.join("comm")).unwrap();
        *seconds.entry(name.trim().to_owned()).or_default() += cpu_seconds_in(&thread.join("stat"));
    }
    let shown = seconds.iter().filter(|(_, seconds)| **seconds >= 0.05);
    shown.map(|(name, seconds)| format!("{name} {seconds:.1}")).collect::<Vec<_>>().join(", ")
}

/// CPU time of a process so far, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    cpu_seconds_in(Path::new(&format!("/proc/{pid}/stat")))
}

fn cpu_seconds_in(stat: &Path) -> f64 {
    let stat = std::fs::read_to_string(stat).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// Most memory that this process ever had resident, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
