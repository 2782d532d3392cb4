//! The zone key on disk: read whole, written once, never replaced.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::key::{NotAKey, ZoneKey};
use crate::file;

/// A key takes 241 bytes.
const MAX_FILE_BYTES: u64 = 4_096;
/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file is damaged, or something else. Making a new key would break every trust anchor of the old one.
    #[error("{0}: {1}; restore it from a copy, or move it away to start with a new key and new trust anchors")]
    Damaged(PathBuf, #[source] NotAKey),
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// No randomness from the operating system.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// Loads the key at `path`, or makes one if nothing is there. Of two programs that make one at once, the first wins and
/// both get its key.
pub fn load_or_create(path: &Path) -> Result<ZoneKey, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded,
    }
    match create(path, &ZoneKey::generate()?) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(KeyFileError::Io(path.to_owned(), error)),
        // What counts is what the file says now.
        _ => load(path),
    }
}

fn load(path: &Path) -> Result<ZoneKey, KeyFileError> {
    let bytes = file::read_secret(path, MAX_FILE_BYTES).map_err(|error| KeyFileError::Io(path.to_owned(), error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| NotAKey);
    text.and_then(ZoneKey::from_pem).map_err(|error| KeyFileError::Damaged(path.to_owned(), error))
}

fn create(path: &Path, key: &ZoneKey) -> io::Result<()> {
    let text = key.to_pem().map_err(io::Error::other)?;
    file::create(path, text.as_bytes(), file::SECRET)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    };

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("exists").permissions().mode() & 0o777
    }

    #[test]
    fn a_key_made_by_the_superuser_belongs_to_the_owner_of_the_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        // Only the superuser can give the folder away, and for anybody else there is nothing to show.
        if chown(dir.path(), Some(12_345), Some(12_346)).is_err() {
            return;
        }
        let path = dir.path().join("dnssec.key");
        load_or_create(&path).expect("created");
        let made = fs::metadata(&path).expect("exists");
        assert_eq!((made.uid(), made.gid(), mode(&path)), (12_345, 12_346, file::SECRET));
    }

    #[test]
    fn the_key_stays_and_is_private() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("below").join("dnssec.key");
        let first = load_or_create(&path).expect("created");
        assert_eq!(mode(&path), file::SECRET);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("ours");
        let again = load_or_create(&path).expect("loaded");
        assert_eq!(first.dnskey(), again.dnskey());
        assert_eq!(mode(&path), file::SECRET, "mended");
        fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("ours");
        load_or_create(&path).expect("loaded");
        assert_eq!(mode(&path), 0o400, "stricter than need be, and left so");
        assert_eq!(fs::read_dir(path.parent().expect("has one")).expect("reads").count(), 1, "nothing left beside");
    }

    #[test]
    fn an_existing_file_is_never_covered() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("dnssec.key");
        let first = load_or_create(&path).expect("created");
        let other = ZoneKey::generate().expect("random");
        assert_eq!(create(&path, &other).expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(load(&path).expect("intact").dnskey(), first.dnskey());
    }

    #[test]
    fn every_damage_is_refused_and_the_file_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("dnssec.key");
        load_or_create(&path).expect("created");
        let good = fs::read(&path).expect("reads");
        let flipped = (0..good.len()).map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        });
        let cut = (0..good.len()).step_by(7).map(|len| good[..len].to_vec());
        let others = [good.repeat(2), vec![0; 10_000], b"\xff\xfe".to_vec()];
        for bad in flipped.chain(cut).chain(others) {
            fs::write(&path, &bad).expect("writes");
            assert!(matches!(load_or_create(&path), Err(KeyFileError::Damaged(..))), "{bad:?}");
            assert_eq!(fs::read(&path).expect("reads"), bad);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let error = load_or_create(Path::new("/proc/nowhere/dnssec.key")).expect_err("not there").to_string();
        assert!(error.starts_with("/proc/nowhere/dnssec.key: "), "{error}");
    }
}
