//! The key file on disk: read whole, replaced whole, changed by one program at a time.
//!
//! A file that a link leads to is replaced where it is, and the link stays. Who changes the wallet locks the file and starts
//! from what is on disk then, so what another program has changed since is kept.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ledger::codec::{decode, encode};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use zeroize::Zeroizing;

use super::{
    passphrase::Passphrase,
    vault::{KdfCost, MAX_FILE_BYTES, VaultError, VaultKey},
    wallet::{Wallet, WalletError},
};

/// How long another program is waited for: it writes a small file.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at whether it is done.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no file.
    #[error("there is no key file at {0}")]
    Absent(PathBuf),
    /// There is one already, and making another would hide it.
    #[error("there is a key file at {0} already")]
    Exists(PathBuf),
    /// The file cannot be opened with this passphrase, or at all.
    #[error("{0}: {1}")]
    Vault(PathBuf, #[source] VaultError),
    /// Sealed correctly around something that is not a wallet.
    #[error("{0}: the content is not a wallet")]
    Content(PathBuf),
    /// Another program has put other keys there, or these under another passphrase.
    #[error("{0} was sealed anew by another program since it was read")]
    Changed(PathBuf),
    /// The file is a mount point, so no other can be put in its place.
    #[error("{0} is a mount point, so it cannot be replaced by a new version")]
    MountPoint(PathBuf),
    /// Another program has had the file locked for long.
    #[error("another program has been changing {0} for {seconds} seconds", seconds = LOCK_DEADLINE.as_secs())]
    Busy(PathBuf),
    /// A link whose target is not there: on a stick that is not plugged in, perhaps.
    #[error("{0} is a link that leads nowhere")]
    DeadLink(PathBuf),
    /// The wallet itself refuses.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// No randomness from the operating system.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// An opened key file.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// Where it really is, once links are followed.
    place: PathBuf,
    key: VaultKey,
    on_disk: Vec<u8>,
    wallet: Wallet,
}

impl KeyFile {
    /// Whether anything stands at `path`.
    pub fn exists(path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    /// Writes a new file; refuses if anything stands at `path`.
    pub fn create(path: &Path, wallet: Wallet, passphrase: &Passphrase, cost: KdfCost) -> Result<Self, FileError> {
        let key = VaultKey::new(&passphrase.composed(), cost)?;
        let bytes = key.seal(&Zeroizing::new(encode(&wallet)))?;
        write_new(path, &bytes)?;
        let place = place_of(path)?;
        Ok(Self { path: path.to_owned(), place, key, on_disk: bytes, wallet })
    }

    /// Reads the file at `path`.
    pub fn open(path: &Path, passphrase: &Passphrase) -> Result<Self, FileError> {
        let place = place_of(path)?;
        let bytes = read_bounded(&place)?;
        let mut opened = Err(VaultError::Passphrase);
        for form in passphrase.forms() {
            opened = VaultKey::open(&bytes, &form);
            if !matches!(opened, Err(VaultError::Passphrase)) {
                break;
            }
        }
        let (key, text) = opened.map_err(|e| FileError::Vault(path.to_owned(), e))?;
        let wallet = decode(&text).map_err(|_| FileError::Content(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), place, key, on_disk: bytes, wallet })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The wallet as it was read, or changed last.
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Changes the wallet as it is on disk now, and keeps it there; other programs wait meanwhile. After a failure the old
    /// file stands.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Wallet) -> Result<T, WalletError>) -> Result<T, FileError> {
        self.write_anew(None, change)
    }

    /// Seals the file under another passphrase, with a salt of its own. Copies stay as they are.
    pub fn change_passphrase(&mut self, passphrase: &Passphrase, cost: KdfCost) -> Result<(), FileError> {
        let key = VaultKey::new(&passphrase.composed(), cost)?;
        self.write_anew(Some(key), |_| Ok(()))
    }

    fn write_anew<T>(
        &mut self,
        key: Option<VaultKey>,
        change: impl FnOnce(&mut Wallet) -> Result<T, WalletError>,
    ) -> Result<T, FileError> {
        let _locked = lock(&self.place)?;
        let bytes = read_bounded(&self.place)?;
        let mut wallet = if bytes == self.on_disk { self.wallet.clone() } else { self.read_again(&bytes)? };
        let outcome = change(&mut wallet)?;
        let sealed = key.as_ref().unwrap_or(&self.key).seal(&Zeroizing::new(encode(&wallet)))?;
        replace(&self.place, &sealed)?;
        (self.wallet, self.on_disk) = (wallet, sealed);
        if let Some(key) = key {
            self.key = key;
        }
        Ok(outcome)
    }

    /// What another program has written since.
    fn read_again(&self, bytes: &[u8]) -> Result<Wallet, FileError> {
        let text = self.key.open_again(bytes).map_err(|error| match error {
            VaultError::Passphrase => FileError::Changed(self.path.clone()),
            other => FileError::Vault(self.path.clone(), other),
        })?;
        let wallet: Wallet = decode(&text).map_err(|_| FileError::Content(self.path.clone()))?;
        let is_same = wallet.seed().entropy() == self.wallet.seed().entropy();
        if is_same { Ok(wallet) } else { Err(FileError::Changed(self.path.clone())) }
    }

    /// Writes a copy under the same passphrase; refuses if anything stands at `path`.
    pub fn copy_to(&self, path: &Path) -> Result<(), FileError> {
        write_new(path, &self.key.seal(&Zeroizing::new(encode(&self.wallet)))?)
    }
}

/// Where a file really is: where links lead to.
fn place_of(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if KeyFile::exists(path) => FileError::DeadLink(path.to_owned()),
        io::ErrorKind::NotFound => FileError::Absent(path.to_owned()),
        _ => FileError::Io(path.to_owned(), error),
    })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Keeps other programs from changing the file until this is dropped. The file itself is locked, so nothing is left behind; as
/// it may be replaced while one waits, what is locked is looked at again.
fn lock(place: &Path) -> Result<Option<Flock<File>>, FileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Absent(place.to_owned()),
        _ => FileError::Io(place.to_owned(), error),
    };
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        // Over NFS only a file that may be written can be locked, and elsewhere any.
        let writable = OpenOptions::new().read(true).write(true).open(place);
        let file = writable.or_else(|_| File::open(place)).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) if is_at(&locked, place).map_err(failed)? => return Ok(Some(locked)),
            Ok(_) | Err((_, Errno::EINTR)) => {}
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err((_, Errno::EWOULDBLOCK)) => return Err(FileError::Busy(place.to_owned())),
            // Some file systems have no locks; there, programs that change keys at once may lose a change.
            Err((_, Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ENOLCK)) => return Ok(None),
            Err((_, error)) => return Err(failed(error.into())),
        }
    }
}

fn is_at(file: &File, place: &Path) -> io::Result<bool> {
    let (ours, theirs) = (file.metadata()?, place.metadata()?);
    Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
}

/// Writes a file where nothing stands.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |error| FileError::Io(path.to_owned(), error);
    make_private_folder(folder_of(path)).map_err(failed)?;
    if KeyFile::exists(path) {
        return Err(FileError::Exists(path.to_owned()));
    }
    replace(path, bytes)
}

/// Reads at most [`MAX_FILE_BYTES`] and one byte, so that a wrong path to a huge file costs nothing.
fn read_bounded(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Absent(path.to_owned()),
        _ => FileError::Io(path.to_owned(), error),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Writes beside `path`, makes it durable, and renames it over; only the owner may read it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::ResourceBusy => FileError::MountPoint(path.to_owned()),
        _ => FileError::Io(path.to_owned(), error),
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_durably(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = written {
        // The old file stands; what could not be finished is of no use to anybody.
        let _ = std::fs::remove_file(&beside);
        return Err(failed(error));
    }
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use ledger::{name::Name, params::Network};

    use super::*;
    use crate::keys::{Role, Seed};

    fn wallet() -> Wallet {
        Wallet::new(Seed::from_entropy(&[7; 32]).expect("length"))
    }

    fn pass() -> Passphrase {
        Passphrase::new(b"pass")
    }

    fn create(path: &Path) -> KeyFile {
        KeyFile::create(path, wallet(), &pass(), KdfCost::CHEAPEST).expect("a fresh folder")
    }

    fn hand_out(file: &mut KeyFile) -> Result<u32, FileError> {
        file.change(|wallet| wallet.hand_out(Network::Main, Role::Owner, None))
    }

    fn alice() -> Name {
        Name::new("alice").expect("valid")
    }

    #[test]
    fn what_was_saved_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("below").join("keys");
        let mut file = create(&path);
        file.change(|wallet| wallet.index_for(Network::Main, &alice())).expect("saved");
        let again = KeyFile::open(&path, &pass()).expect("opens");
        assert_eq!(again.wallet.entries(Network::Main).count(), 1);
        assert_eq!(*again.wallet.seed().words(), *file.wallet.seed().words());
        assert_eq!(
            std::fs::read_dir(path.parent().expect("has one")).expect("reads").count(),
            1,
            "nothing left beside"
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        hand_out(&mut create(&path)).expect("saved");
        assert_eq!(path.metadata().expect("exists").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_wallet_never_covers_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let first = create(&path);
        let second = KeyFile::create(&path, wallet(), &Passphrase::new(b"other"), KdfCost::CHEAPEST);
        assert!(matches!(second, Err(FileError::Exists(_))));
        assert!(matches!(first.copy_to(&path), Err(FileError::Exists(_))));
        assert!(KeyFile::open(&path, &pass()).is_ok());
    }

    #[test]
    fn changes_of_two_programs_are_both_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        create(&path);
        let [mut a, mut b] = [0, 1].map(|_| KeyFile::open(&path, &pass()).expect("opens"));
        a.change(|wallet| wallet.index_for(Network::Main, &alice())).expect("the first may");
        assert_eq!(hand_out(&mut b).expect("and the second"), 1, "the first key is taken");
        assert_eq!(KeyFile::open(&path, &pass()).expect("opens").wallet.entries(Network::Main).count(), 2);
        assert_eq!(std::fs::read_dir(dir.path()).expect("reads").count(), 1, "no lock is left behind");
    }

    #[test]
    fn no_key_is_given_out_twice_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        create(&path);
        let given = std::thread::scope(|scope| {
            let program = || {
                let mut file = KeyFile::open(&path, &pass()).expect("opens");
                [(); 5].map(|()| hand_out(&mut file).expect("its turn comes"))
            };
            let programs: Vec<_> = (0..4).map(|_| scope.spawn(program)).collect();
            programs
                .into_iter()
                .flat_map(|thread| thread.join().expect("ends"))
                .collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(given, (0..20).collect());
    }

    /// Other keys in its place, or another passphrase: what was read is of another file.
    #[test]
    fn keys_that_were_replaced_are_not_covered() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let mut file = create(&path);
        std::fs::remove_file(&path).expect("removed");
        KeyFile::create(&path, wallet(), &Passphrase::new(b"other"), KdfCost::CHEAPEST).expect("another");
        let theirs = std::fs::read(&path).expect("reads");
        assert!(matches!(hand_out(&mut file), Err(FileError::Changed(_))));
        assert_eq!(std::fs::read(&path).expect("reads"), theirs);
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(hand_out(&mut file), Err(FileError::Absent(_))));
    }

    #[test]
    fn another_passphrase_keeps_the_keys() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let mut file = create(&path);
        let mut other = KeyFile::open(&path, &pass()).expect("opens");
        hand_out(&mut other).expect("saved");
        file.change_passphrase(&Passphrase::new(b"another"), KdfCost::CHEAPEST).expect("sealed");
        hand_out(&mut file).expect("goes on under it");
        assert!(matches!(KeyFile::open(&path, &pass()), Err(FileError::Vault(_, VaultError::Passphrase))));
        let opened = KeyFile::open(&path, &Passphrase::new(b"another")).expect("opens");
        assert_eq!(opened.wallet.entries(Network::Main).count(), 2, "and what another program did is kept");
        assert!(matches!(hand_out(&mut other), Err(FileError::Changed(_))));
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let mut file = create(&path);
        let before = std::fs::read(&path).expect("reads");
        let refused = file.change(|wallet| {
            wallet.hand_out(Network::Main, Role::Owner, None)?;
            Err::<(), _>(WalletError::Full)
        });
        assert!(matches!(refused, Err(FileError::Wallet(WalletError::Full))));
        assert_eq!(file.wallet.entries(Network::Main).count(), 0);
        assert_eq!(std::fs::read(&path).expect("reads"), before);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let (target, link) = (dir.path().join("stick").join("keys"), dir.path().join("keys"));
        create(&target);
        std::os::unix::fs::symlink("stick/keys", &link).expect("linked");
        let mut file = KeyFile::open(&link, &pass()).expect("opens");
        hand_out(&mut file).expect("saved");
        assert!(link.symlink_metadata().expect("stands").is_symlink());
        assert_eq!(KeyFile::open(&target, &pass()).expect("opens").wallet.entries(Network::Main).count(), 1);
        // The stick is away: nothing is written where it was.
        std::fs::remove_dir_all(target.parent().expect("has one")).expect("away");
        assert!(matches!(hand_out(&mut file), Err(FileError::Absent(_))));
        assert!(matches!(KeyFile::open(&link, &pass()), Err(FileError::DeadLink(_))));
        assert!(matches!(KeyFile::create(&link, wallet(), &pass(), KdfCost::CHEAPEST), Err(FileError::Exists(_))));
    }

    #[test]
    fn a_failed_save_leaves_the_old_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let mut file = create(&path);
        // Something already stands where the new version would be written.
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.new", std::process::id()));
        std::fs::create_dir(&beside).expect("made");
        assert!(matches!(hand_out(&mut file), Err(FileError::Io(..))));
        assert!(KeyFile::open(&path, &pass()).is_ok());
    }

    #[test]
    fn damaged_and_foreign_files_are_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        create(&path);
        let good = std::fs::read(&path).expect("reads");
        for bad in [&good[..good.len() - 1], b"", b"#!/bin/sh\n", &vec![0; MAX_FILE_BYTES + 10]] {
            std::fs::write(&path, bad).expect("writes");
            assert!(matches!(KeyFile::open(&path, &pass()), Err(FileError::Vault(..))));
            assert_eq!(std::fs::read(&path).expect("reads"), bad);
        }
        assert!(matches!(KeyFile::open(&dir.path().join("none"), &pass()), Err(FileError::Absent(_))));
    }
}
