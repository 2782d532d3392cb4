//! Whose database this is: format, network and chain, written once and checked at every start.

use std::path::Path;

use ledger::params::Params;
use rocksdb::Options;

use super::{
    batch::Durability,
    database::{Db, Store},
    error::StoreError,
    framing,
    read::Read,
    schema::{TABLES, Table},
};

/// Version of the schema and of every row in it.
///
/// 1: the first.
/// 2: without the table `peers`; the address book is a file.
pub const FORMAT: u32 = 2;

const FORMAT_KEY: &[u8] = b"format";
const NETWORK_KEY: &[u8] = b"network";
const CHAIN_KEY: &[u8] = b"chain_id";

/// Refuses a directory that is neither empty nor a database with our tables, before anything is written to it.
pub(super) fn refuse_foreign_directory(path: &Path) -> Result<(), StoreError> {
    let not_ours = || StoreError::NotOurs { path: path.to_owned() };
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(()) };
    if !path.join("CURRENT").exists() {
        let mut names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let is_unfinished = names.all(|name| name.is_ok_and(|name| is_made_before_current(&name.to_string_lossy())));
        return if is_unfinished { Ok(()) } else { Err(not_ours()) };
    }
    framing::check(path)?;
    let families = Db::list_cf(&Options::default(), path).map_err(|error| StoreError::opening(path, &error))?;
    let mut expected: Vec<&str> = TABLES.iter().map(|spec| spec.name).chain(["default"]).collect();
    let mut got: Vec<&str> = families.iter().map(String::as_str).collect();
    expected.sort_unstable();
    got.sort_unstable();
    // A crash during the very first start leaves some of the tables; the next start makes the others.
    if got.iter().all(|name| expected.contains(name)) && (got.contains(&"meta") || got == ["default"]) {
        return Ok(());
    }
    if got.contains(&"meta") { Err(other_format(path, &families)) } else { Err(not_ours()) }
}

/// Whether RocksDB makes a file of that name before the first `CURRENT`: all that a very first start leaves which the disk,
/// or a kill, ended early. Whoever has tables or a log has lost his `CURRENT`, and that is no beginning.
fn is_made_before_current(name: &str) -> bool {
    matches!(name, "LOCK" | "IDENTITY" | "MANIFEST-000001") || name.starts_with("LOG") || name.ends_with(".dbtmp")
}

/// A database with our `meta` but other tables: say which format it is.
fn other_format(path: &Path, families: &[String]) -> StoreError {
    let format = || -> Option<u32> {
        let db = Db::open_cf_for_read_only(&Options::default(), path, families, false).ok()?;
        let bytes = db.get_cf(db.cf_handle("meta")?, FORMAT_KEY).ok()??;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    match format() {
        Some(got) => StoreError::OtherFormat { path: path.to_owned(), got, expected: FORMAT },
        None => StoreError::NotOurs { path: path.to_owned() },
    }
}

/// Checks whose database it is, or makes a fresh one ours.
pub(super) fn settle(store: &Store, params: &Params) -> Result<(), StoreError> {
    match store.get(Table::Meta, FORMAT_KEY)? {
        None => claim(store, params),
        Some(format) => check(store, params, &format),
    }
}

fn claim(store: &Store, params: &Params) -> Result<(), StoreError> {
    let mut batch = store.batch();
    batch.put(Table::Meta, FORMAT_KEY, FORMAT.to_be_bytes());
    batch.put(Table::Meta, NETWORK_KEY, params.network.as_str());
    batch.put(Table::Meta, CHAIN_KEY, params.chain_id().as_ref());
    batch.write(Durability::Synced)
}

fn check(store: &Store, params: &Params, format: &[u8]) -> Result<(), StoreError> {
    let path = || store.path().to_owned();
    let got = u32::from_be_bytes(format.try_into().map_err(|_| StoreError::corrupt("the format number is malformed"))?);
    if got != FORMAT {
        return Err(StoreError::OtherFormat { path: path(), got, expected: FORMAT });
    }
    let got = String::from_utf8_lossy(&store.get(Table::Meta, NETWORK_KEY)?.unwrap_or_default()).into_owned();
    let expected = params.network.as_str();
    if got != expected {
        return Err(StoreError::OtherNetwork { path: path(), got, expected: expected.to_owned() });
    }
    let (got, expected) = (store.get(Table::Meta, CHAIN_KEY)?.unwrap_or_default(), params.chain_id());
    if got != expected.as_ref() {
        let got = ledger::hash::to_hex(&got[..got.len().min(4)]);
        return Err(StoreError::OtherChain {
            path: path(),
            network: expected_name(params),
            got,
            expected: expected.short(),
        });
    }
    Ok(())
}

fn expected_name(params: &Params) -> String {
    params.network.as_str().to_owned()
}
