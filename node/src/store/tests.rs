//! Tests of the database on its own.

use ledger::params::{Network, Params};

use super::{database::Db, *};

fn local() -> &'static Params {
    Network::Local.params()
}

#[test]
fn a_batch_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    {
        let store = Store::open(dir.path(), local()).expect("opens");
        let mut batch = store.batch();
        batch.put(Table::Names, b"k", b"v");
        batch.put(Table::Undo, b"k", b"w");
        batch.write(Durability::Buffered).expect("writes");
    }
    let store = Store::open(dir.path(), local()).expect("opens again");
    assert_eq!(store.get(Table::Names, b"k"), Ok(Some(b"v".to_vec())));
    assert_eq!(store.get(Table::Undo, b"k"), Ok(Some(b"w".to_vec())));
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let _first = Store::open(dir.path(), local()).expect("opens");
    assert!(matches!(Store::open(dir.path(), local()), Err(StoreError::Locked { .. })));
}

#[tokio::test]
async fn who_waits_learns_when_the_last_user_is_gone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = Store::open(dir.path(), local()).expect("opens");
    let (second, closed) = (first.clone(), tokio::spawn(first.closed().wait()));
    drop(first);
    tokio::task::yield_now().await;
    assert!(!closed.is_finished(), "one clone is left");
    drop(second);
    closed.await.expect("no panic");
    Store::open(dir.path(), local()).expect("free again");
}

#[test]
fn another_network_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(Store::open(dir.path(), local()).expect("opens"));
    let error = Store::open(dir.path(), Network::Test.params()).expect_err("another network");
    assert!(matches!(&error, StoreError::OtherNetwork { got, .. } if got == "local"), "{error}");
    assert!(error.to_string().contains("choose another data directory"));
}

#[test]
fn the_same_network_with_other_parameters_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(Store::open(dir.path(), local()).expect("opens"));
    let changed = Params { maturity: 4, ..local().clone() };
    assert!(matches!(Store::open(dir.path(), &changed), Err(StoreError::OtherChain { .. })));
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    {
        let store = Store::open(dir.path(), local()).expect("opens");
        let mut batch = store.batch();
        batch.put(Table::Meta, b"format", 9u32.to_be_bytes());
        batch.write(Durability::Synced).expect("writes");
    }
    let error = Store::open(dir.path(), local()).expect_err("another format");
    assert!(matches!(error, StoreError::OtherFormat { got: 9, expected: FORMAT, .. }), "{error}");
}

#[test]
fn a_later_format_with_other_tables_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = Db::open_cf(&options, dir.path(), ["meta", "cats"]).expect("opens");
        db.put_cf(db.cf_handle("meta").expect("made above"), b"format", 7u32.to_be_bytes()).expect("writes");
    }
    let error = Store::open(dir.path(), local()).expect_err("another format");
    assert!(matches!(error, StoreError::OtherFormat { got: 7, .. }), "{error}");
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("letter.txt"), "dear").expect("writes");
    assert!(matches!(Store::open(dir.path(), local()), Err(StoreError::NotOurs { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 1);

    let other = tempfile::tempdir().expect("a temporary directory");
    {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        Db::open_cf(&options, other.path(), ["cats"]).expect("opens");
    }
    assert!(matches!(Store::open(other.path(), local()), Err(StoreError::NotOurs { .. })));
}

#[test]
fn a_snapshot_does_not_see_later_writes() {
    let store = Store::in_memory(local()).expect("opens");
    let kv = store.operations();
    kv.put(b"a", b"1", Durability::Buffered).expect("writes");
    let before = store.snapshot();
    kv.put(b"a", b"2", Durability::Buffered).expect("writes");
    kv.put(b"b", b"1", Durability::Buffered).expect("writes");
    assert_eq!(before.get(Table::Ops, b"a"), Ok(Some(b"1".to_vec())));
    let mut seen = 0;
    before
        .scan_prefix(Table::Ops, b"", &mut |_, _| {
            seen += 1;
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .expect("reads");
    assert_eq!(seen, 1);
    assert_eq!(kv.list(b"", 10).expect("reads").len(), 2);
}

#[test]
fn key_values_are_written_together_and_listed_in_order() {
    let ops = Store::in_memory(local()).expect("opens").operations();
    ops.put(b"k", b"o", Durability::Synced).expect("writes");
    ops.write(&[(b"m", Some(b"y")), (b"l", Some(b"x")), (b"k", None)], Durability::Buffered).expect("writes");
    assert_eq!(ops.list(b"", 1), Ok(vec![(b"l".to_vec(), b"x".to_vec())]));
    assert_eq!(ops.list(b"m", 2), Ok(vec![(b"m".to_vec(), b"y".to_vec())]));
}

#[test]
fn a_damaged_tip_record_is_not_followed() {
    let row = TipRow { height: 7, hash: ledger::hash::BlockHash([1; 32]), state_root: ledger::hash::Hash([2; 32]) };
    let bytes = ledger::codec::encode(&row);
    assert_eq!(ledger::codec::decode::<TipRow>(&bytes), Ok(row));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(ledger::codec::decode::<TipRow>(&bad).is_err(), "bit {bit}");
    }
}

/// A first start that the disk, or a kill, ended before there was a `CURRENT` is a beginning, and the next one goes on. A
/// database that has lost its `CURRENT` is not.
#[test]
fn an_unfinished_first_start_is_gone_on_with() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["LOCK", "LOG", "IDENTITY", "MANIFEST-000001", "000001.dbtmp"] {
        std::fs::write(dir.path().join(name), "").expect("writes");
    }
    drop(Store::open(dir.path(), local()).expect("goes on"));
    std::fs::remove_file(dir.path().join("CURRENT")).expect("was there");
    assert!(matches!(Store::open(dir.path(), local()), Err(StoreError::NotOurs { .. })));
}
