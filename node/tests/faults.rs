//! Writes that fail: a full disk and a broken one, at every one of the first writes of a database. The chain stops or goes
//! on, says why in a stable word, keeps answering what it knows, and after the next start nothing that it acknowledged is
//! missing.
//!
//! The writer is this very program, run again with a small library before the C library that makes chosen calls fail. By
//! default some fifteen calls are tried with each error; `FAULTS=500` tries each of the first 500.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use ledger::{
    block::Block,
    codec::{decode, encode},
    params::Params,
    testing::{TestChain, name, records, tiny_params},
};
use node::{
    chain::{Arrival, BlockOutcome, ChainCore, ChainOptions, ChainReader, verify},
    mempool::MempoolView,
    store::{Store, StoreError},
};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
/// Calls that are looked at: each of them with `FAULTS=500`.
const FIRST_CALLS: usize = 500;
/// How many of them are tried by default with each error.
const TRIED: usize = 15;
/// Blocks that the writer connects: each is one write and one sync.
const BLOCKS: u32 = 260;
/// How often the writer tries a block again that found no room.
const PATIENCE: u32 = 60;

fn params() -> &'static Params {
    tiny_params()
}

fn open(path: &Path) -> Result<ChainCore, StoreError> {
    ChainCore::open(Store::open(path, params())?, params(), ChainOptions::single_threaded())
}

fn chain() -> TestChain {
    let mut chain = TestChain::new(params());
    while chain.height() < BLOCKS {
        let next = chain.height() + 1;
        let mut transactions = Vec::new();
        if next % 10 == 1 {
            transactions.push(chain.maker().commit(&name(&format!("name-{next}")), 1));
        } else if next % 10 == 1 + params().maturity {
            let named = name(&format!("name-{}", next - params().maturity));
            transactions.push(chain.maker().reveal(&named, 1, records("hello")));
        }
        chain.mine(transactions).expect("valid");
    }
    chain
}

/// The writer's part: not a test of its own. Says on standard output what it has, and how it ends.
#[test]
fn writer() {
    let Ok(dir) = std::env::var("FAULT_WRITER") else { return };
    let dir = PathBuf::from(dir);
    let mut core = match open(&dir.join("db")) {
        Ok(core) => core,
        Err(error) => return println!("\nopening {}", error.code()),
    };
    let mut files: Vec<_> =
        fs::read_dir(dir.join("blocks")).expect("lists").map(|entry| entry.expect("lists").path()).collect();
    files.sort();
    for file in files {
        let block: Block = decode(&fs::read(file).expect("reads")).expect("a block");
        let (time, block) = (block.header.core.time, Arc::new(block));
        let mut tries = 0;
        let outcome = loop {
            match core.accept_block(block.clone(), time, Arrival::Live) {
                Ok(report) => break report.outcome,
                Err(error) => {
                    let reader = ChainReader::new(core.store().clone(), params(), MempoolView::default());
                    assert_eq!(reader.tip().expect("what is there can be read").hash, core.tip().hash);
                    tries += 1;
                    if error != StoreError::DiskFull || tries > PATIENCE {
                        return println!("\nstopped {}", error.code());
                    }
                    // RocksDB looks for room by itself every few seconds; nothing here waits for it.
                    std::thread::yield_now();
                }
            }
        };
        match outcome {
            BlockOutcome::Connected { .. } | BlockOutcome::Known => println!("\nheight {}", core.tip().height),
            other => panic!("{other:?}"),
        }
    }
    match core.flush() {
        Ok(()) => println!("\ndone"),
        Err(error) => println!("\nstopped {}", error.code()),
    }
}

/// What is needed to run the writer.
struct Bench {
    dir: tempfile::TempDir,
    shim: PathBuf,
    model: Vec<TestChain>,
}

/// How a writer ended.
struct Ended {
    height: u32,
    how: String,
}

impl Bench {
    /// `None` where there is no C compiler.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let shim = dir.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl").status();
        if !built.is_ok_and(|status| status.success()) {
            return None;
        }
        fs::create_dir(dir.path().join("blocks")).expect("creates");
        let mut model = vec![TestChain::new(params())];
        for block in chain().blocks() {
            let file = dir.path().join(format!("blocks/{:06}", block.header.core.height));
            fs::write(file, encode(block)).expect("writes");
            let mut next = model[model.len() - 1].clone();
            next.connect(block).expect("valid");
            model.push(next);
        }
        Some(Self { dir, shim, model })
    }

    fn db(&self) -> PathBuf {
        self.dir.path().join("db")
    }

    /// Lets a writer begin anew, with `span` calls failing from the `at`th on.
    fn write(&self, at: usize, span: usize, errno: i32) -> Ended {
        let _ = fs::remove_dir_all(self.db());
        let run = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "writer", "--nocapture"])
            .env("LD_PRELOAD", &self.shim)
            .env("FAULT_WRITER", self.dir.path())
            .env("FAULT_DIR", self.db())
            .env("FAULT_COUNT", self.dir.path().join("count"))
            .envs([("FAULT_AT", at.to_string()), ("FAULT_SPAN", span.to_string()), ("FAULT_ERRNO", errno.to_string())])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "call {at}, error {errno}: {said}\n{complaint}");
        let heights = said.lines().filter_map(|line| line.strip_prefix("height ")?.parse().ok());
        let how =
            said.lines().rev().find(|line| ["opening ", "stopped ", "done"].iter().any(|word| line.starts_with(word)));
        let how = how.unwrap_or_else(|| panic!("call {at}, error {errno}: it said nothing: {said}\n{complaint}"));
        Ended { height: heights.max().unwrap_or(0), how: how.to_owned() }
    }

    /// Calls in a run without faults.
    fn calls(&self) -> usize {
        let count = fs::read_to_string(self.dir.path().join("count")).expect("the writer counted");
        count.parse().expect("a number")
    }

    /// Starts on what the writer left, without faults: all that it acknowledged is there, and the rest can be written.
    fn reopen(&self, at: usize, errno: i32, ended: &Ended) {
        let mut core =
            open(&self.db()).unwrap_or_else(|error| panic!("call {at}, error {errno}, {}: {error}", ended.how));
        let tip = core.tip();
        assert!(tip.height >= ended.height, "call {at}, error {errno}: {} of {}", tip.height, ended.height);
        let model = &self.model[tip.height as usize];
        assert_eq!((tip.hash, tip.state_root), (model.tip().hash(), model.root()), "call {at}, error {errno}");
        verify(core.store(), params()).unwrap_or_else(|error| panic!("call {at}, error {errno}: {error}"));
        let whole = &self.model[BLOCKS as usize];
        for block in whole.blocks().skip(tip.height as usize) {
            let time = block.header.core.time;
            core.accept_block(Arc::new(block.clone()), time, Arrival::Sync).expect("the disk works again");
        }
        assert_eq!(core.tip().hash, whole.tip().hash());
    }
}

/// Tries calls with one error; returns how often writers ended in which way.
fn try_calls(errno: i32, span: usize) {
    let Some(bench) = Bench::new() else {
        println!("not run: there is no C compiler");
        return;
    };
    let whole = bench.write(0, 0, 0);
    assert_eq!((whole.how.as_str(), whole.height), ("done", BLOCKS));
    assert!(bench.calls() >= FIRST_CALLS, "a run makes enough calls: {}", bench.calls());
    let wanted = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(TRIED);
    let mut ways = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..wanted.min(FIRST_CALLS) {
        // Spread over the first calls; the very first ones, in which a database is made, more densely.
        let at = if wanted >= FIRST_CALLS { number } else { number * number * FIRST_CALLS / (wanted * wanted) } + 1;
        let ended = bench.write(at, span, errno);
        bench.reopen(at, errno, &ended);
        *ways.entry(ended.how).or_default() += 1;
    }
    println!("{wanted} failing writes with error {errno}: {ways:?}");
    assert!(ways.len() > 1 || !ways.contains_key("done"), "some call mattered: {ways:?}");
}

#[test]
fn a_write_without_room_loses_nothing() {
    try_calls(ENOSPC, 6);
}

#[test]
fn a_write_that_fails_loses_nothing() {
    try_calls(EIO, 1);
}
