//! The last version of the zone that was given out, on disk, so that serials never go back after a restart.
//!
//! One line: serial, tag, and a digest of what the operator puts into the zones, the last two in hexadecimal. It is
//! replaced with each version that may be fetched, and forced to the disk before it takes the old one's place: a power
//! failure leaves one of the two.

use std::{io, path::PathBuf};

use resolver::{NameSource as _, Readiness, SharedTable, Version};
use tokio::io::AsyncWriteExt as _;
use tracing::warn;

/// The file and what it says.
#[derive(Debug)]
pub(super) struct SerialFile {
    path: PathBuf,
    // Of the zones as they are configured now.
    digest: u64,
    last: Option<Version>,
}

impl SerialFile {
    /// Reads the file. If the zones were configured otherwise, or the file does not say, its tag is left out: then the
    /// same block is another version.
    pub(super) fn load(path: PathBuf, digest: u64) -> Self {
        let last = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or_else(|| "it is not a serial, a tag and a digest".to_owned()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let last = last.unwrap_or_else(|reason| {
            warn!(
                path = %path.display(), %reason,
                "the zone's last serial cannot be read, so serials begin at the height: secondaries that have a larger \
                 one wait until the height is above it; restore the file, or let the secondaries fetch the zone anew"
            );
            None
        });
        let known = |(version, of): (Version, Option<u64>)| match of == Some(digest) {
            true => version,
            false => Version { tag: None, ..version },
        };
        Self { path, digest, last: last.map(known) }
    }

    /// The last version of the run before.
    pub(super) fn last(&self) -> Option<Version> {
        self.last
    }

    /// Writes down the newest version if it is another than before and may be fetched. What fails is tried again with
    /// the next version, not before: the disk may be full for long.
    pub(super) async fn keep(&mut self, table: &SharedTable) {
        let newest = table.published().and_then(|published| published.version());
        let Some(version) = newest.filter(|_| newest != self.last) else { return };
        if table.view().facts().readiness != Readiness::Ready {
            return;
        }
        self.last = newest;
        if let Err(error) = self.write(version).await {
            warn!(
                path = %self.path.display(), %error, serial = version.serial,
                "the zone's serial cannot be written down: after a restart it may be given out twice; make room, or let \
                 the node's user write there"
            );
        }
    }

    async fn write(&self, version: Version) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = tokio::fs::File::create(&beside).await?;
        file.write_all(format(version, self.digest).as_bytes()).await?;
        file.sync_data().await?;
        tokio::fs::rename(&beside, &self.path).await
    }
}

fn format(version: Version, digest: u64) -> String {
    let tag = version.tag.map_or("-".to_owned(), |tag| format!("{tag:016x}"));
    format!("{} {tag} {digest:016x}\n", version.serial)
}

/// Earlier releases wrote no digest.
fn parse(text: &str) -> Option<(Version, Option<u64>)> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (&[serial, tag], digest) = words.split_first_chunk::<2>()?;
    let tag = match tag {
        "-" => None,
        tag => Some(hex(tag)?),
    };
    let digest = match digest {
        [] => None,
        [digest] => Some(hex(digest)?),
        _ => return None,
    };
    Some((Version { serial: serial.parse().ok()?, tag }, digest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const DIGEST: u64 = 77;

    #[test]
    fn what_is_written_is_read() {
        for version in [Version { serial: 7, tag: None }, Version { serial: u32::MAX, tag: Some(u64::MAX - 1) }] {
            assert_eq!(parse(&format(version, DIGEST)), Some((version, Some(DIGEST))));
        }
        assert_eq!(parse("7 1f\n"), Some((Version { serial: 7, tag: Some(31) }, None)));
        for text in ["", "7", "x -", "7 g", "7 1 g", "7 1 2 3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    fn serial(table: &SharedTable) -> Option<u32> {
        table.published().and_then(|published| published.version()).map(|version| version.serial)
    }

    #[tokio::test]
    async fn a_restart_goes_on_above() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("dns.serial");
        let mut file = SerialFile::load(path.clone(), DIGEST);
        assert_eq!(file.last(), None);
        let table = SharedTable::new(120);
        table.publish(8, 0, []);
        file.keep(&table).await;
        assert!(!path.exists(), "nobody can have fetched it");
        table.set_readiness(Readiness::Ready);
        file.keep(&table).await;
        let again = SerialFile::load(path, DIGEST);
        assert_eq!(again.last(), Some(Version { serial: 8, tag: None }));
        let table = SharedTable::new(120);
        table.resume(again.last().expect("it was kept"));
        table.publish_all(5, 0, resolver::Filling::new(120));
        assert_eq!(serial(&table), None);
        table.set_readiness(Readiness::Ready);
        assert_eq!(serial(&table), Some(9));
    }

    /// The same block is in another zone then, and secondaries tell them apart by serials.
    #[tokio::test]
    async fn the_same_block_of_other_settings_is_another_version() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("dns.serial");
        let block = resolver::Block { height: 8, time: 0, hash: Some([8; 32]) };
        let mut file = SerialFile::load(path.clone(), DIGEST);
        let table = SharedTable::new(120);
        table.publish_all_of(&block, resolver::Filling::new(120));
        table.set_readiness(Readiness::Ready);
        file.keep(&table).await;
        for (digest, expected) in [(DIGEST, 8), (DIGEST + 1, 9)] {
            let table = SharedTable::new(120);
            table.resume(SerialFile::load(path.clone(), digest).last().expect("it was kept"));
            table.publish_all_of(&block, resolver::Filling::new(120));
            table.set_readiness(Readiness::Ready);
            assert_eq!(serial(&table), Some(expected));
        }
    }

    #[tokio::test]
    async fn a_version_is_written_once_even_if_that_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("dns.serial");
        let obstacle = dir.path().join("dns.new");
        std::fs::create_dir(&obstacle).expect("made");
        let mut file = SerialFile::load(path.clone(), DIGEST);
        let table = SharedTable::new(120);
        table.publish(8, 0, []);
        table.set_readiness(Readiness::Ready);
        file.keep(&table).await;
        std::fs::remove_dir(&obstacle).expect("removed");
        file.keep(&table).await;
        assert!(!path.exists(), "not again for the same version");
        table.publish(9, 0, []);
        file.keep(&table).await;
        let inode = std::fs::metadata(&path).expect("written").ino();
        file.keep(&table).await;
        assert_eq!(std::fs::metadata(&path).expect("there").ino(), inode);
    }
}
