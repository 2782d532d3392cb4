//! The key file on disk: read whole, replaced whole.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use ledger::codec::{decode, encode};
use zeroize::Zeroizing;

use super::{
    vault::{KdfCost, MAX_FILE_BYTES, VaultError, VaultKey},
    wallet::Wallet,
};

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
    /// Another program saved in the meantime.
    #[error("{0} was changed by another program since it was read")]
    Changed(PathBuf),
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
    key: VaultKey,
    on_disk: Vec<u8>,
    /// The wallet; changes are kept by [`KeyFile::save`].
    pub wallet: Wallet,
}

impl KeyFile {
    /// Whether anything stands at `path`.
    pub fn exists(path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    /// Writes a new file; refuses if anything stands at `path`.
    pub fn create(path: &Path, wallet: Wallet, passphrase: &[u8], cost: KdfCost) -> Result<Self, FileError> {
        if Self::exists(path) {
            return Err(FileError::Exists(path.to_owned()));
        }
        let key = VaultKey::new(passphrase, cost)?;
        let bytes = key.seal(&Zeroizing::new(encode(&wallet)))?;
        replace(path, &bytes)?;
        Ok(Self { path: path.to_owned(), key, on_disk: bytes, wallet })
    }

    /// Reads the file at `path`.
    pub fn open(path: &Path, passphrase: &[u8]) -> Result<Self, FileError> {
        let bytes = read_bounded(path)?;
        let (key, text) = VaultKey::open(&bytes, passphrase).map_err(|e| FileError::Vault(path.to_owned(), e))?;
        let wallet = decode(&text).map_err(|_| FileError::Content(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), key, on_disk: bytes, wallet })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file by the present wallet. After a failure the old file stands.
    pub fn save(&mut self) -> Result<(), FileError> {
        if read_bounded(&self.path)? != self.on_disk {
            return Err(FileError::Changed(self.path.clone()));
        }
        let bytes = self.key.seal(&Zeroizing::new(encode(&self.wallet)))?;
        replace(&self.path, &bytes)?;
        self.on_disk = bytes;
        Ok(())
    }

    /// Writes a copy under the same passphrase; refuses if anything stands at `path`.
    pub fn copy_to(&self, path: &Path) -> Result<(), FileError> {
        if Self::exists(path) {
            return Err(FileError::Exists(path.to_owned()));
        }
        replace(path, &self.key.seal(&Zeroizing::new(encode(&self.wallet)))?)
    }
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
    let failed = |error| FileError::Io(path.to_owned(), error);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_private_folder(folder).map_err(failed)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_durably(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = written {
        // The old file stands; what could not be finished is of no use to anybody.
        let _ = std::fs::remove_file(&beside);
        return Err(failed(error));
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
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
    use crate::keys::Seed;

    fn wallet() -> Wallet {
        Wallet::new(Seed::from_entropy(&[7; 32]).expect("length"))
    }

    fn create(path: &Path) -> KeyFile {
        KeyFile::create(path, wallet(), b"pass", KdfCost::CHEAPEST).expect("a fresh folder")
    }

    fn alice() -> Name {
        Name::new("alice").expect("valid")
    }

    #[test]
    fn what_was_saved_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("below").join("keys");
        let mut file = create(&path);
        file.wallet.index_for(Network::Main, &alice()).expect("room");
        file.save().expect("saved");
        let again = KeyFile::open(&path, b"pass").expect("opens");
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
        create(&path).save().expect("saved");
        assert_eq!(path.metadata().expect("exists").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_wallet_never_covers_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let first = create(&path);
        let second = KeyFile::create(&path, wallet(), b"other", KdfCost::CHEAPEST);
        assert!(matches!(second, Err(FileError::Exists(_))));
        assert!(matches!(first.copy_to(&path), Err(FileError::Exists(_))));
        assert!(KeyFile::open(&path, b"pass").is_ok());
    }

    #[test]
    fn a_change_by_somebody_else_is_not_lost() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        create(&path);
        let [mut a, mut b] = [0, 1].map(|_| KeyFile::open(&path, b"pass").expect("opens"));
        a.wallet.index_for(Network::Main, &alice()).expect("room");
        a.save().expect("the first may");
        assert!(matches!(b.save(), Err(FileError::Changed(_))));
        assert_eq!(KeyFile::open(&path, b"pass").expect("opens").wallet.entries(Network::Main).count(), 1);
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
        assert!(matches!(file.save(), Err(FileError::Io(..))));
        assert!(KeyFile::open(&path, b"pass").is_ok());
    }

    #[test]
    fn damaged_and_foreign_files_are_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        create(&path);
        let good = std::fs::read(&path).expect("reads");
        for bad in [&good[..good.len() - 1], b"", b"#!/bin/sh\n", &vec![0; MAX_FILE_BYTES + 10]] {
            std::fs::write(&path, bad).expect("writes");
            assert!(matches!(KeyFile::open(&path, b"pass"), Err(FileError::Vault(..))));
            assert_eq!(std::fs::read(&path).expect("reads"), bad);
        }
        assert!(matches!(KeyFile::open(&dir.path().join("none"), b"x"), Err(FileError::Absent(_))));
    }
}
