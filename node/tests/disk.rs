//! Damaged and full disks: a flipped bit is an error or changes nothing, never a wrong answer; a full disk stops the
//! chain, not the readers, and the chain goes on when there is room.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{
    hash::Key,
    params::Params,
    testing::{TestChain, name, records, tiny_params},
};
use node::{
    chain::{Arrival, ChainCore, ChainOptions, ChainReader, verify},
    keys::{KdfCost, KeyFile, Passphrase, Seed, Wallet},
    mempool::MempoolView,
    p2p::{PeerId, address_book::AddressBook},
    store::{Durability, Store, StoreError},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// A time after every block.
const LATE: u64 = 4_000_000_000;

/// Bits flipped by default, one database each. `FLIPS` sets another number for a long run.
const FLIPS: usize = 300;

fn params() -> &'static Params {
    tiny_params()
}

fn chain(count: u32) -> TestChain {
    let mut chain = TestChain::new(params());
    for _ in 0..count {
        let (maker, next) = (chain.maker(), chain.height() + 1);
        let named = |height: u32| name(&format!("name-{height}"));
        let mut transactions = vec![maker.commit(&named(next), 1)];
        let ripe = next.checked_sub(params().maturity).filter(|height| *height > 0);
        transactions.extend(ripe.map(|height| maker.reveal(&named(height), 1, records("hello"))));
        let block = chain.build(transactions).expect("valid");
        chain.connect(&block).expect("valid");
    }
    chain
}

fn open(path: &Path) -> Result<ChainCore, StoreError> {
    ChainCore::open(Store::open(path, params())?, params(), ChainOptions::single_threaded())
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path).expect("lists").map(|entry| entry.expect("lists").path()).collect();
    // The lock and RocksDB's own report are not data.
    files.retain(|file| !file.file_name().is_some_and(|name| name == "LOCK" || name.to_string_lossy().contains("LOG")));
    files.retain(|file| fs::metadata(file).expect("is there").len() > 0);
    files.sort();
    files
}

/// Asks a possibly damaged database everything; every answer must be the model's at the height it claims.
fn question(path: &Path, model: &[TestChain]) -> Result<u32, StoreError> {
    let core = open(path)?;
    let tip = core.tip();
    let chain = &model[tip.height as usize];
    assert_eq!((tip.hash, tip.state_root), (chain.tip().hash(), chain.root()));
    let reader = ChainReader::new(core.store().clone(), params(), MempoolView::default());
    for (key, leaf) in model[model.len() - 1].leaves() {
        let expected = chain.leaves().get(key);
        assert_eq!(reader.leaf(key)?.as_ref(), expected, "{leaf:?}");
        reader.prove(key)?;
    }
    assert_eq!(reader.leaf(&Key([1; 32]))?, None);
    for block in chain.blocks() {
        let height = block.header.core.height;
        assert_eq!(reader.block_at(height)?.as_ref(), Some(block));
        assert_eq!(reader.header_at(height)?.map(|placed| placed.header), Some(block.header));
    }
    match verify(core.store(), params()) {
        Ok(_) => Ok(tip.height),
        Err(error) => Err(StoreError::Corrupt { what: error.to_string() }),
    }
}

#[test]
fn no_flipped_bit_gives_a_wrong_answer() {
    let flips = std::env::var("FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(FLIPS);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (sound, damaged) = (dir.path().join("sound"), dir.path().join("damaged"));
    let whole = chain(25);
    let mut model = vec![TestChain::new(params())];
    for block in whole.blocks() {
        let mut next = model[model.len() - 1].clone();
        next.connect(block).expect("valid");
        model.push(next);
    }
    // Half of the blocks in tables (reopening flushes the log), half in the log.
    for part in [0..15, 15..25] {
        let mut core = open(&sound).expect("opens");
        for block in whole.blocks().skip(part.start).take(part.len()) {
            core.accept_block(Arc::new(block.clone()), LATE, Arrival::Sync).expect("the disk works");
        }
    }
    copy(&sound, &damaged);
    assert_eq!(question(&damaged, &model), Ok(25));

    let mut rng = StdRng::seed_from_u64(7);
    let (mut refused, mut unharmed) = (0, 0);
    for _ in 0..flips {
        copy(&sound, &damaged);
        let files = files(&damaged);
        let file = &files[rng.random_range(0..files.len())];
        let mut bytes = fs::read(file).expect("reads");
        let bit = rng.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(file, bytes).expect("writes");
        match question(&damaged, &model) {
            Ok(_) => unharmed += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{flips} flips: {refused} refused, {unharmed} without consequence");
    assert!(refused > flips / 4, "the test must hit something that matters");
}

/// The files beside the database: a wallet's keys are refused or right; the address book, which is a convenience, loses what
/// it cannot read.
#[test]
fn no_flipped_bit_in_keys_or_addresses_gives_a_wrong_answer() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("keys.nsk");
    let seed = Seed::from_entropy(&[7; 16]).expect("of a right length");
    KeyFile::create(&path, Wallet::new(seed), &Passphrase::new(b"secret"), KdfCost::CHEAPEST).expect("writes");
    let sound = fs::read(&path).expect("reads");
    for bit in 0..sound.len() * 8 {
        let mut bad = sound.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bad).expect("writes");
        assert!(KeyFile::open(&path, &Passphrase::new(b"secret")).is_err(), "bit {bit} of the key file");
    }

    let mut book = AddressBook::new([3; 32]);
    for number in 1..20u8 {
        let peer =
            PeerId::from_bytes(&[&[0, 36][..], &[8, 1, 18, 32], &[number; 32]].concat()).expect("a key's identity");
        let address = format!("/ip4/198.51.{number}.7/tcp/4001").parse().expect("an address");
        book.reached(1_700_000_000, peer, &address);
    }
    let sound = book.to_text();
    assert!(book.len() > 10);
    for bit in 0..sound.len() * 8 {
        let mut bad = sound.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        let Ok(text) = String::from_utf8(bad) else { continue };
        let (read, _) = AddressBook::from_text(&text, [4; 32]);
        assert!(read.len() <= book.len() + 1 && read.len() + 2 >= book.len(), "bit {bit}: {} peers", read.len());
    }
}

/// Where each record of a log or manifest of RocksDB has its type: behind checksum and length, in blocks of 32 KiB.
fn record_types(bytes: &[u8]) -> Vec<usize> {
    let (mut types, mut at) = (Vec::new(), 0);
    while at + 7 <= bytes.len() {
        let left = (32 << 10) - at % (32 << 10);
        let len = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        match (left < 7, bytes[at + 6]) {
            (true, _) => at += left,
            (false, 0) => break,
            (false, _) => {
                types.push(at + 6);
                at += 7 + len;
            }
        }
    }
    types
}

/// RocksDB reads a record whose type became that of another kind of log again and again without end. So this asks with
/// a deadline.
#[test]
fn no_flipped_record_type_hangs_the_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (sound, damaged) = (dir.path().join("sound"), dir.path().join("damaged"));
    let whole = chain(6);
    let mut core = open(&sound).expect("opens");
    for block in whole.blocks() {
        core.accept_block(Arc::new(block.clone()), LATE, Arrival::Sync).expect("the disk works");
    }
    drop(core);
    let is_log = |file: &PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("MANIFEST") || name.ends_with(".log")
    };
    let (mut tried, mut hung) = (0, Vec::new());
    for file in files(&sound).into_iter().filter(is_log) {
        let bytes = fs::read(&file).expect("reads");
        for at in record_types(&bytes) {
            for bit in 0..8 {
                copy(&sound, &damaged);
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                fs::write(damaged.join(file.file_name().expect("a file has a name")), bad).expect("writes");
                let (path, (done, opened)) = (damaged.clone(), std::sync::mpsc::sync_channel(1));
                std::thread::spawn(move || done.send(open(&path).map(|core| core.tip().height)));
                match opened.recv_timeout(Duration::from_secs(20)) {
                    Ok(Ok(height)) => assert!(height <= 6),
                    Ok(Err(_)) => {}
                    Err(_) => hung.push((file.clone(), at, bit)),
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "both files were read as RocksDB reads them: {tried}");
    assert_eq!(hung, []);
}

/// A file system of its own with little room; unmounted when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where file systems cannot be mounted, that is without root.
    fn mount(mebibytes: usize) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let size = format!("size={mebibytes}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        status.is_ok_and(|status| status.success()).then_some(Self { dir })
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::create(self.ballast()).expect("creates");
        while file.write_all(&[1; 4_096]).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Left mounted, it is an empty directory in the temporary ones: no harm that a test could repair.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

#[test]
fn a_full_disk_stops_the_chain_and_room_lets_it_go_on() {
    let Some(disk) = SmallDisk::mount(128) else {
        println!("not run: no file system can be mounted here");
        return;
    };
    let path = disk.dir.path().join("chain");
    let whole = chain(400);
    let blocks: Vec<_> = whole.blocks().cloned().collect();
    let mut core = open(&path).expect("opens");
    let offer = |core: &mut ChainCore, at: usize| {
        core.accept_block(Arc::new(blocks[at].clone()), LATE, Arrival::Sync).map(|_| core.tip().height as usize)
    };
    for at in 0..50 {
        offer(&mut core, at).expect("there is room");
    }
    disk.fill();
    // RocksDB has taken room for its log in advance; use that up, too.
    let ops = core.store().operations();
    let mut noise = vec![0; 64 << 10];
    StdRng::seed_from_u64(1).fill(&mut noise[..]);
    let used_up = (0u32..4_096).find(|n| ops.put(&n.to_be_bytes(), &noise, Durability::Buffered).is_err());
    assert!(used_up.is_some(), "the disk is full");
    let stopped = (50..400).find(|at| match offer(&mut core, *at) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error, StoreError::DiskFull);
            true
        }
    });
    let stopped = stopped.expect("the disk is full");
    assert_eq!(core.tip().height as usize, stopped, "memory does not run ahead of the disk");
    let reader = ChainReader::new(core.store().clone(), params(), MempoolView::default());
    assert_eq!(reader.tip().expect("reads go on").hash, core.tip().hash);
    let name = name("name-1");
    assert!(reader.name_state(&name).expect("reads go on").is_some());
    assert_eq!(offer(&mut core, stopped), Err(StoreError::DiskFull), "still full");

    fs::remove_file(disk.ballast()).expect("removes");
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = offer(&mut core, stopped) {
        assert_eq!(error, StoreError::DiskFull);
        assert!(Instant::now() < deadline, "the database does not find the room that there is");
        // RocksDB looks for room by itself every few seconds.
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(core.tip().height as usize, stopped + 1, "the block that found no room is connected now");
    for at in stopped + 1..400 {
        offer(&mut core, at).expect("there is room");
    }
    assert_eq!(core.tip().hash, whole.tip().hash());
    verify(core.store(), params()).expect("verifies");
    drop((core, reader, ops));
    assert_eq!(open(&path).expect("opens").tip().hash, whole.tip().hash());
}
