//! The HOSTS files on disk: read at the start, and again when one of them changes.
//!
//! A thread looks at the files once in [`LOOK_INTERVAL`], and when it is asked to; answering goes on from the snapshot before until the new one
//! is complete. At the start a file that cannot be read is an error; later it is a warning, given once, and what was
//! read before holds until reading succeeds, so that an editor that replaces a file in two steps does no harm.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Hosts, LineError, Reading, read::Skipped};
use crate::zones::site::Site;

/// The longest file read, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Files that could not be read and have not changed since are read again at the next look, then after resting for 1, 3,
/// 7, … looks, at most so many: the reason may go away by itself (too many open files), but reading can be much work.
const MAX_REST: u32 = 63;

/// Why the HOSTS files cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostsError {
    /// The file is not there, may not be read, or is no file.
    #[error("dns.hosts: {path:?} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The file is too long.
    #[error("dns.hosts: {path:?} has {bytes} bytes, at most {MAX_FILE_BYTES} are read: split it")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// No thread, or one that does something else.
    #[error("dns.hosts: the thread that looks for changes is not there: {0}")]
    Thread(String),
}

/// Told after each reading: how many names there are, and how many lines and names were left out.
pub(crate) type Report = Box<dyn Fn(usize, usize) + Send>;

/// Somebody who wants to know how many names there are now.
type Wish = oneshot::Sender<Result<usize, HostsError>>;

/// The newest snapshot of the files. Dropping this ends the thread that looks at them.
pub(crate) struct HostsFiles {
    current: Arc<ArcSwap<Hosts>>,
    wishes: mpsc::SyncSender<Wish>,
}

impl HostsFiles {
    /// Reads the files, and begins to look for changes.
    pub(crate) fn open(paths: Vec<PathBuf>, site: Site, report: Report) -> Result<Self, HostsError> {
        let mut watched = Watched::open(paths, site, report)?;
        let current = watched.current.clone();
        let (wishes, wished) = mpsc::sync_channel::<Wish>(1);
        let look = move || {
            loop {
                match wished.recv_timeout(LOOK_INTERVAL) {
                    Err(mpsc::RecvTimeoutError::Timeout) => watched.look(),
                    // Whoever asked may have gone.
                    Ok(wish) => drop(wish.send(watched.look_again())),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let started = thread::Builder::new().name("dns-hosts".to_owned()).spawn(look);
        started.map_err(|error| HostsError::Thread(error.to_string()))?;
        Ok(Self { current, wishes })
    }

    /// Has the files read now if one of them has changed, and gives the number of names.
    pub(crate) async fn look_now(&self) -> Result<usize, HostsError> {
        let (wish, outcome) = oneshot::channel();
        let busy = || HostsError::Thread("it is still reading the files".to_owned());
        self.wishes.try_send(wish).map_err(|_| busy())?;
        outcome.await.map_err(|_| busy())?
    }

    /// Where the newest snapshot always is.
    pub(crate) fn snapshots(&self) -> Arc<ArcSwap<Hosts>> {
        self.current.clone()
    }

    /// The snapshot to answer from.
    pub(crate) fn load(&self) -> Guard<Arc<Hosts>> {
        self.current.load()
    }
}

/// The files as they were when they were read.
struct Watched {
    paths: Vec<PathBuf>,
    site: Site,
    report: Report,
    current: Arc<ArcSwap<Hosts>>,
    seen: Vec<Option<Stamp>>,
    failure: Option<Failure>,
}

/// The last attempt to read the files, if it failed.
struct Failure {
    seen: Vec<Option<Stamp>>,
    error: HostsError,
    // Looks between that attempt and the next, and how many of them are left.
    rest: u32,
    left: u32,
}

/// What changes when a file does: device, inode, length, and the times of its content and of its inode.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Watched {
    fn open(paths: Vec<PathBuf>, site: Site, report: Report) -> Result<Self, HostsError> {
        // Looked at before they are read: what changes meanwhile is then read once more.
        let seen = paths.iter().map(|path| stamp(path)).collect();
        let (hosts, skipped) = read(&paths, &site, content)?;
        report(hosts.len(), skipped);
        Ok(Self { paths, site, report, current: Arc::new(ArcSwap::from_pointee(hosts)), seen, failure: None })
    }

    /// Reads the files again if one has changed.
    fn look(&mut self) {
        self.look_with(content);
    }

    /// The same, however often that has failed, and what came of it.
    fn look_again(&mut self) -> Result<usize, HostsError> {
        if let Some(failure) = &mut self.failure {
            failure.left = 0;
        }
        self.look();
        match &self.failure {
            Some(failure) => Err(failure.error.clone()),
            None => Ok(self.current.load().len()),
        }
    }

    fn look_with(&mut self, content: impl Fn(&Path) -> Result<Vec<u8>, HostsError>) {
        let now: Vec<_> = self.paths.iter().map(|path| stamp(path)).collect();
        if now == self.seen {
            self.failure = None;
            return;
        }
        if let Some(failure) = self.failure.as_mut().filter(|failure| failure.seen == now && failure.left > 0) {
            failure.left -= 1;
            return;
        }
        match read(&self.paths, &self.site, content) {
            Ok((hosts, skipped)) => {
                info!(names = hosts.len(), skipped, "hosts files read again");
                (self.report)(hosts.len(), skipped);
                self.current.store(Arc::new(hosts));
                (self.seen, self.failure) = (now, None);
            }
            Err(error) => self.failed(now, error),
        }
    }

    /// Notes that the files, as they are now, could not be read.
    fn failed(&mut self, now: Vec<Option<Stamp>>, error: HostsError) {
        let before = self.failure.take();
        if before.as_ref().is_none_or(|before| before.error != error) {
            warn!(%error, "hosts files not read again; what was read before holds");
        }
        let rest = before.filter(|before| before.seen == now).map_or(0, |before| (before.rest * 2 + 1).min(MAX_REST));
        self.failure = Some(Failure { seen: now, error, rest, left: rest });
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = fs::metadata(path).ok()?;
    Some((of.dev(), of.ino(), of.len(), (of.mtime(), of.mtime_nsec()), (of.ctime(), of.ctime_nsec())))
}

/// All names of all files, and how many lines and names were left out.
fn read(
    paths: &[PathBuf],
    site: &Site,
    content: impl Fn(&Path) -> Result<Vec<u8>, HostsError>,
) -> Result<(Hosts, usize), HostsError> {
    let mut reading = Reading::default();
    let mut skipped = Vec::with_capacity(paths.len());
    for path in paths {
        skipped.push(reading.add(&content(path)?, site));
    }
    // Not before all are read: what fails is tried again.
    paths.iter().zip(&skipped).for_each(|(path, of_this)| tell(path, of_this));
    Ok((reading.finish(), skipped.iter().map(|of_this| of_this.count).sum()))
}

fn content(path: &Path) -> Result<Vec<u8>, HostsError> {
    let unreadable = |error: io::Error| HostsError::Unreadable { path: path.to_owned(), reason: error.to_string() };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // A pipe would be waited for, and a device never ends.
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match read as u64 > MAX_FILE_BYTES {
        true => Err(HostsError::TooLong { path: path.to_owned(), bytes: metadata.len() }),
        false => Ok(bytes),
    }
}

fn tell(path: &Path, skipped: &Skipped) {
    for LineError { line, problem } in &skipped.first {
        warn!(file = %path.display(), line, %problem, "left out of a hosts file");
    }
    if skipped.count > skipped.first.len() {
        warn!(file = %path.display(), more = skipped.count - skipped.first.len(), "left out of a hosts file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(paths: &[&Path]) -> Result<Watched, HostsError> {
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        Watched::open(paths, Site::new(Vec::new(), None), Box::new(|_, _| {}))
    }

    fn has(watched: &Watched, name: &[u8]) -> bool {
        watched.current.load().told_to(crate::zones::hosts::Audience::ThisMachine).has(name)
    }

    #[test]
    fn changes_are_noticed_and_failures_change_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "192.0.2.1 a").expect("written");
        fs::write(&two, "192.0.2.2 b").expect("written");
        let mut files = watched(&[&one, &two]).expect("both are there");
        let before = files.current.load_full();
        assert!(has(&files, b"\x01a") && has(&files, b"\x01b"));
        files.look();
        assert!(Arc::ptr_eq(&before, &files.current.load_full()), "nothing has changed");
        // Replaced by another file of the same length, as editors do.
        fs::write(dir.path().join("new"), "192.0.2.1 c").expect("written");
        fs::rename(dir.path().join("new"), &one).expect("replaced");
        files.look();
        assert!(!has(&files, b"\x01a") && has(&files, b"\x01b") && has(&files, b"\x01c"));
        fs::remove_file(&two).expect("removed");
        files.look();
        assert!(has(&files, b"\x01b"), "what was read before holds");
        fs::write(&two, "192.0.2.2 d").expect("written");
        files.look();
        assert!(!has(&files, b"\x01b") && has(&files, b"\x01d"));
    }

    #[test]
    fn what_fails_for_a_while_is_read_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hosts");
        fs::write(&path, "192.0.2.1 a").expect("written");
        let mut files = watched(&[&path]).expect("it is there");
        fs::write(&path, "192.0.2.1 changed").expect("written");
        let attempts = std::cell::Cell::new(0);
        let fail = |path: &Path| {
            attempts.set(attempts.get() + 1);
            Err(HostsError::Unreadable { path: path.to_owned(), reason: "too many open files".to_owned() })
        };
        let mut tried_at = Vec::new();
        for look in 0..200 {
            let before = attempts.get();
            files.look_with(fail);
            if attempts.get() > before {
                tried_at.push(look);
            }
        }
        // Less and less often.
        assert_eq!(tried_at, [0, 1, 3, 7, 15, 31, 63, 127, 191]);
        assert!(has(&files, b"\x01a"), "what was read before holds");
        // Whoever asks for it does not wait for the next attempt.
        assert_eq!(files.look_again(), Ok(1));
        assert!(has(&files, b"\x07changed") && !has(&files, b"\x01a"));
        fs::remove_file(&path).expect("removed");
        for _ in 0..3 {
            assert!(matches!(files.look_again(), Err(HostsError::Unreadable { .. })), "said each time");
        }
        fs::write(&path, "192.0.2.1 later").expect("written");
        files.look_with(fail);
        (0..=MAX_REST).for_each(|_| files.look());
        assert!(has(&files, b"\x05later"));
        // A change is read at once.
        fs::write(&path, "192.0.2.1 again").expect("written");
        files.look_with(fail);
        fs::write(&path, "192.0.2.1 at-last").expect("written");
        files.look();
        assert!(has(&files, b"\x07at-last"));
    }

    #[test]
    fn at_the_start_a_file_must_be_readable() {
        let dir = tempfile::tempdir().expect("a directory");
        let fails = |path: &Path, words: &str| {
            let error = watched(&[path]).err().expect("an error").to_string();
            assert!(error.starts_with(&format!("dns.hosts: {path:?} ")) && error.contains(words), "{error}");
        };
        fails(&dir.path().join("absent"), "cannot be read: No such file");
        fails(dir.path(), "cannot be read: it is no regular file");
        let long = dir.path().join("long");
        File::create(&long).expect("made").set_len(MAX_FILE_BYTES + 1).expect("stretched");
        fails(&long, "has 16777217 bytes, at most 16777216 are read: split it");
    }
}
