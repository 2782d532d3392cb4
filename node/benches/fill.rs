//! How soon a node that starts can answer: from a database of a million names to a table that is ready.
//!
//! Two processes, so that the second finds nothing warm but the system's file cache: the first writes the names as the
//! chain stores them, the second opens the database, starts the chain on it and fills the resolver's table.
//!
//! `cargo bench -p node --bench fill -- [NAMES]`; default 1000000.

#![allow(clippy::unwrap_used)]

use std::{env, path::Path, process::Command, time::Instant};

use ledger::{
    codec::encode,
    params::Network,
    record::{Record, Records},
    state::{Leaf, NameState},
    testing::{name, owner, records_of},
};
use node::{
    chain::{ChainService, ServiceOptions},
    node::fill_table,
    store::{Durability, Store, Table},
};
use resolver::{NameSource as _, SharedTable, dns::rtype};

/// Names in one write.
const BATCH: u64 = 1_000;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match args.first().map(String::as_str) {
        Some("start") => runtime.block_on(start(Path::new(&args[1]))),
        number => {
            let names = number.map_or(1_000_000, |text| text.parse().unwrap());
            let directory = tempfile::tempdir().unwrap();
            runtime.block_on(make(directory.path(), names));
            for _ in 0..3 {
                let status = Command::new(env::current_exe().unwrap()).arg("start").arg(directory.path()).status();
                assert!(status.unwrap().success());
            }
        }
    }
}

/// A chain of one block, and beside it names as blocks would have left them: A for all, AAAA for a third, TXT for a
/// fifth.
async fn make(directory: &Path, names: u64) {
    let params = Network::Local.params();
    let store = Store::open(directory, params).unwrap();
    ChainService::start(store.clone(), params, ServiceOptions::default()).unwrap().shutdown().await;
    for first in (0..names).step_by(BATCH as usize) {
        let mut batch = store.batch();
        for index in first..(first + BATCH).min(names) {
            let state = state(index);
            batch.put(Table::Names, state.name.key().0, encode(&Leaf::Name(state)));
        }
        batch.write(Durability::Buffered).unwrap();
    }
    store.sync().unwrap();
}

fn state(index: u64) -> NameState {
    NameState {
        name: name(&format!("name-{index}")),
        flags: 0,
        seq: 1,
        commit_height: 1,
        tie: [7; 16],
        registered: 20,
        active_from: 56,
        not_before: 0,
        expires_at: 200_000,
        last_update: 56,
        owner: owner(1),
        operator: owner(2),
        pending: None,
        claim: None,
        records: records(index),
    }
}

fn records(index: u64) -> Records {
    let record = |rtype, rdata: Vec<u8>| Record { sub: Vec::new(), rtype, ttl: 3_600, rdata };
    let mut records = vec![record(rtype::A, (index as u32).to_be_bytes().to_vec())];
    if index.is_multiple_of(5) {
        let text = format!("owner {index}");
        records.push(record(rtype::TXT, [&[text.len() as u8], text.as_bytes()].concat()));
    }
    if index.is_multiple_of(3) {
        records.push(record(rtype::AAAA, u128::from(index).to_be_bytes().to_vec()));
    }
    records_of(records)
}

async fn start(directory: &Path) {
    let params = Network::Local.params();
    let began = Instant::now();
    let store = Store::open(directory, params).unwrap();
    let opened = began.elapsed();
    let service = ChainService::start(store, params, ServiceOptions::default()).unwrap();
    let started = began.elapsed();
    let table = std::sync::Arc::new(SharedTable::new(params.block_interval));
    fill_table(params, &service.handle(), &table).await.unwrap();
    println!(
        "{} names: database open after {opened:.2?}, chain after {started:.2?}, table after {:.2?}",
        table.view().facts().names,
        began.elapsed()
    );
    service.shutdown().await;
}
