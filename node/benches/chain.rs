//! What initial sync costs: `cargo bench -p node --bench chain [-- BLOCKS NAMES_PER_BLOCK]`.
//!
//! For: the ratio between what a sync takes and what its signatures and work alone would take on the same cores, and
//! the memory it needs. Blocks come from a file, so the network is left out. Work is verified with Argon2d as on the
//! public networks; only its amount is trivial, or making the chain would take months. Default: 2,000 blocks and 10,000
//! names, which takes some minutes to make. With `SYNC_WORK=simulated` work is free: then 20,000 blocks and 100,000
//! names are soon made, and what remains is the writer's own time and memory. `SYNC_CHAIN` names a file to keep the
//! chain in.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read as _, Write as _},
    path::Path,
    process::Command,
    sync::Arc,
    time::Instant,
};

use ledger::{
    block::Block,
    codec::{decode, encode},
    hash::Hash,
    name::Name,
    params::Params,
    pow::{Algorithm, Scratch},
    price::Prices,
    record::Records,
    rules::{
        header::work_meets_target,
        transaction::{AnchorBlock, check},
    },
    testing::{Maker, build::search, params_with},
};
use node::{
    chain::{Arrival, ChainHandle, ChainService, HeadersOutcome, ServiceOptions, Tip, TxOrigin},
    store::Store,
};
use tokio::runtime::Runtime;

/// Bodies in flight, as the network's window would have.
const WINDOW: usize = 64;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("--sync") => sync(Path::new(&args[1])),
        _ => {
            let number = |at: usize, default| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(default);
            run(number(0, 2_000), number(1, 5));
        }
    }
}

/// Makes the chain, and syncs it in a process of its own so that its memory can be told.
fn run(blocks: u32, names_per_block: u32) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = std::env::var_os("SYNC_CHAIN").map_or_else(|| dir.path().join("chain"), Into::into);
    if !file.exists() {
        generate(&file, blocks, names_per_block);
    }
    let this = std::env::current_exe().expect("a running program has a path");
    let status = Command::new(this).arg("--sync").arg(&file).status().expect("starts");
    assert!(status.success());
}

/// Lives as long as on the main network; work costs one evaluation.
fn params() -> &'static Params {
    let is_free = std::env::var("SYNC_WORK").is_ok_and(|work| work == "simulated");
    params_with(|p| {
        *p = Params {
            network: p.network,
            algorithm: if is_free { Algorithm::Simulated } else { Algorithm::Argon2d },
            p_commit: 1,
            pow_limit: !primitive_types::U256::zero() >> 1,
            genesis_target: !primitive_types::U256::zero() >> 1,
            min_target: !primitive_types::U256::zero() >> 1,
            ..ledger::params::Network::Main.params().clone()
        };
    })
}

fn late() -> u64 {
    u64::MAX / 2
}

fn options() -> ServiceOptions {
    ServiceOptions { clock: late, ..ServiceOptions::default() }
}

/// Lets a node make its own chain, each block with commits of new names and the reveals of older ones.
fn generate(file: &Path, blocks: u32, names_per_block: u32) {
    let started = Instant::now();
    let runtime = Runtime::new().expect("a runtime");
    let store = Store::in_memory(params()).expect("memory opens");
    let service = ChainService::start(store, params(), options()).expect("starts");
    let chain = service.handle();
    let mut out = BufWriter::new(File::create(file).expect("creates"));
    runtime.block_on(async {
        for height in 1..=blocks {
            for n in 0..names_per_block {
                offer(&chain, height, n).await;
            }
            let block = mine(&chain).await;
            let bytes = encode(&block);
            out.write_all(&(bytes.len() as u32).to_le_bytes()).and_then(|()| out.write_all(&bytes)).expect("writes");
        }
        service.shutdown().await;
    });
    out.flush().expect("writes");
    println!("made: {blocks} blocks in {:.0} s", started.elapsed().as_secs_f64());
}

async fn offer(chain: &ChainHandle, height: u32, n: u32) {
    let maker = maker(&chain.tip());
    let named = |height: u32| Name::new(&format!("name-{height}-{n}")).expect("spelled right");
    let owner = |height: u32| u64::from(height * 10 + n);
    let submit = |transaction| chain.submit_transaction(transaction, TxOrigin::Local);
    submit(maker.commit(&named(height), owner(height))).await.expect("a new commit is valid");
    if let Some(height) = height.checked_sub(params().maturity).filter(|height| *height > 0) {
        submit(maker.reveal(&named(height), owner(height), Records::empty())).await.expect("the commit is ripe");
    }
}

fn maker(tip: &Tip) -> Maker<'static> {
    let anchor = AnchorBlock { hash: tip.hash, prices: tip.prices };
    Maker { params: params_once(), chain_id: params_once().chain_id(), height: tip.height, anchor }
}

fn params_once() -> &'static Params {
    static ONCE: std::sync::LazyLock<&'static Params> = std::sync::LazyLock::new(params);
    &ONCE
}

async fn mine(chain: &ChainHandle) -> Block {
    let template = chain.template(Hash::ZERO).await.expect("runs");
    let mut core = template.header.core;
    let parent = chain.reader().header(&core.prev).expect("reads").expect("is there").header.core;
    core.time = parent.time + 120;
    core.vtime = ledger::difficulty::vtime_after(params_once(), &parent, core.time);
    core.bits = ledger::difficulty::expected_bits(params_once(), &parent, core.time);
    let target = ledger::pow::from_compact(core.bits).expect("canonical");
    search(params_once(), &params_once().chain_id(), &mut core, |value| value <= target);
    let block = template.with_core(core);
    chain.submit_block(Arc::new(block.clone()), Arrival::Sync).await.expect("runs");
    assert_eq!(chain.tip().hash, block.hash());
    block
}

/// Measures in this process.
fn sync(file: &Path) {
    let blocks = load(file);
    let transactions: usize = blocks.iter().map(|block| block.transactions.len()).sum();
    println!("chain: {} blocks, {transactions} transactions", blocks.len());
    let unavoidable = unavoidable(&blocks);
    println!("unavoidable: {unavoidable:.1} s of one core for signatures and work");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let before = (resident("VmRSS"), cpu_seconds());
    let started = Instant::now();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let runtime = Runtime::new().expect("a runtime");
    let store = Store::open(dir.path(), params()).expect("opens");
    let service = ChainService::start(store.clone(), params(), options()).expect("starts");
    runtime.block_on(take_all(&service.handle(), blocks));
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - before.1);
    let stats = service.handle().stats();
    println!("sync: {wall:.1} s on {cores} cores, {:.0} % of the ideal", 100.0 * unavoidable / cores as f64 / wall);
    println!("sync: {cpu:.1} s of processor time, {:.0} % of it unavoidable", 100.0 * unavoidable / cpu);
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    println!(
        "writer: {:.1} s connecting, of which {:.1} s writing; pages {} cached, {} read",
        seconds(stats.connect_nanoseconds),
        seconds(stats.write_nanoseconds),
        stats.page_cache_hits,
        stats.page_cache_misses
    );
    println!(
        "memory: {} MiB resident before with the blocks, {} MiB at the peak",
        before.0 >> 10,
        resident("VmHWM") >> 10
    );
    println!("memory: {} MiB in RocksDB", store.memory_bytes() >> 20);
    let report = runtime.block_on(async {
        service.shutdown().await;
        let started = Instant::now();
        let core = ChainService::start(store.clone(), params(), options()).expect("starts");
        println!("reopened: {:.2} s", started.elapsed().as_secs_f64());
        core.shutdown().await;
        let started = Instant::now();
        let report = node::chain::verify(&store, params()).expect("verifies");
        println!("verified: {:.1} s", started.elapsed().as_secs_f64());
        report
    });
    println!("{report:?}");
}

async fn take_all(chain: &ChainHandle, blocks: Vec<Block>) {
    for batch in blocks.chunks(2_000) {
        let headers = batch.iter().map(|block| block.header).collect();
        let report = chain.submit_headers(headers).await.expect("runs");
        assert_eq!(report.outcome, HeadersOutcome::Ok);
    }
    let window = Arc::new(tokio::sync::Semaphore::new(WINDOW));
    let count = blocks.len();
    for block in blocks {
        let permit = window.clone().acquire_owned().await.expect("is never closed");
        let chain = chain.clone();
        tokio::spawn(async move {
            chain.submit_block(Arc::new(block), Arrival::Sync).await.expect("runs");
            drop(permit);
        });
    }
    let _all = window.acquire_many(WINDOW as u32).await.expect("is never closed");
    assert_eq!(chain.tip().height as usize, count);
}

/// Seconds of one core for the work of every header and transaction and for every signature.
fn unavoidable(blocks: &[Block]) -> f64 {
    let (p, chain_id, mut scratch) = (params_once(), params_once().chain_id(), Scratch::default());
    let genesis = p.genesis();
    let anchors: Vec<_> = std::iter::once(&genesis)
        .chain(blocks.iter().map(|block| &block.header))
        .map(|header| AnchorBlock { hash: header.hash(), prices: Prices::from(&header.ext) })
        .collect();
    let started = cpu_seconds();
    for block in blocks {
        work_meets_target(p, &chain_id, &block.header.core, &mut scratch).expect("was mined");
        for transaction in &block.transactions {
            let anchor = &anchors[transaction.anchor().height as usize];
            check(p, &chain_id, transaction.clone(), anchor, &mut scratch).expect("was accepted");
        }
    }
    cpu_seconds() - started
}

fn load(file: &Path) -> Vec<Block> {
    let mut input = BufReader::new(File::open(file).expect("opens"));
    let (mut blocks, mut len) = (Vec::new(), [0; 4]);
    while input.read_exact(&mut len).is_ok() {
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        input.read_exact(&mut bytes).expect("a whole block");
        blocks.push(decode(&bytes).expect("a block"));
    }
    blocks
}

/// A line of `/proc/self/status`, in KiB; 0 where there is none.
fn resident(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time of this process, in seconds: what other processes do does not disturb it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // Behind the name and the state (not a number): utime and stime are the 11th and 12th of the rest.
    fields.get(10..12).map_or(0.0, |times| (times[0] + times[1]) / 100.0)
}
