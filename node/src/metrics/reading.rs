//! One look at every part.

use std::{path::Path, sync::Arc};

use crate::{
    chain::{ChainHandle, StatsSnapshot, Tip},
    health::Health,
    miner::{MinerHandle, MinerStatus},
    ops::{OperationState, OpsHandle},
    p2p::{self, P2pHandle},
    store::Store,
    sync::Verdict,
};

/// What the parts say at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    pub(super) tip: Arc<Tip>,
    pub(super) chain: StatsSnapshot,
    pub(super) p2p: p2p::StatsSnapshot,
    pub(super) verdict: Verdict,
    pub(super) health: Health,
    pub(super) miner: MinerStatus,
    pub(super) operations: [(OperationState, usize); 9],
    pub(super) store_bytes: u64,
    pub(super) disk_free_bytes: Option<u64>,
    pub(super) store_memory_bytes: u64,
}

impl Reading {
    /// Looks. Walks the database's directory, which has some dozen files.
    pub fn take(
        chain: &ChainHandle,
        p2p: &P2pHandle,
        miner: &MinerHandle,
        ops: &OpsHandle,
        store: &Store,
        health: Health,
    ) -> Self {
        Self {
            tip: chain.tip(),
            chain: chain.stats(),
            p2p: p2p.stats(),
            verdict: p2p.verdict(),
            health,
            miner: miner.status(),
            operations: ops.counts(),
            store_bytes: directory_bytes(store.path()),
            disk_free_bytes: disk_free_bytes(store.path()),
            store_memory_bytes: store.memory_bytes(),
        }
    }
}

fn directory_bytes(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).into_iter().flatten().flatten();
    files.filter_map(|entry| entry.metadata().ok()).filter(|meta| meta.is_file()).map(|meta| meta.len()).sum()
}

/// Bytes left to this user on the file system of `path`.
#[allow(unsafe_code)] // One system call that the standard library does not offer.
fn disk_free_bytes(path: &Path) -> Option<u64> {
    use std::{ffi::CString, mem::MaybeUninit, os::unix::ffi::OsStrExt as _};
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in a zero byte and lives across the call; `answer` has room for what the call writes.
    let failed = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0;
    if failed {
        return None;
    }
    // SAFETY: the call succeeded, so it has filled the whole structure.
    let answer = unsafe { answer.assume_init() };
    Some(answer.f_bavail.saturating_mul(answer.f_frsize))
}
