//! The last version of the zone that was given out, on disk, so that serials never go back after a restart.
//!
//! One line: serial and tag in hexadecimal. It is replaced with each version, and not forced to the disk: what a power
//! failure takes with it, it takes from the database too, and a serial that is too low shows again as soon as blocks
//! raise it.

use std::{io, path::PathBuf};

use resolver::{NameSource as _, SharedTable, Version};
use tracing::warn;

/// The file and what it says.
#[derive(Debug)]
pub(in crate::node) struct SerialFile {
    path: PathBuf,
    last: Option<Version>,
}

impl SerialFile {
    /// Reads the file. What cannot be understood is as if it were not there.
    pub(in crate::node) fn load(path: PathBuf) -> Self {
        let last = std::fs::read_to_string(&path).ok().and_then(|text| parse(&text));
        Self { path, last }
    }

    /// The last version of the run before.
    pub(in crate::node) fn last(&self) -> Option<Version> {
        self.last
    }

    /// Writes down the newest version if it is another than before.
    pub(super) async fn keep(&mut self, table: &SharedTable) {
        let newest = table.published().and_then(|published| published.version());
        let Some(version) = newest.filter(|_| newest != self.last) else { return };
        match self.write(version).await {
            Ok(()) => self.last = newest,
            Err(error) => warn!(path = %self.path.display(), %error, "the zone's serial cannot be written down"),
        }
    }

    async fn write(&self, version: Version) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        tokio::fs::write(&beside, format(version)).await?;
        tokio::fs::rename(&beside, &self.path).await
    }
}

fn format(version: Version) -> String {
    let tag = version.tag.map_or("-".to_owned(), |tag| format!("{tag:016x}"));
    format!("{} {tag}\n", version.serial)
}

fn parse(text: &str) -> Option<Version> {
    let (serial, tag) = text.trim_end().split_once(' ')?;
    let tag = match tag {
        "-" => None,
        tag => Some(u64::from_str_radix(tag, 16).ok()?),
    };
    Some(Version { serial: serial.parse().ok()?, tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for version in [Version { serial: 7, tag: None }, Version { serial: u32::MAX, tag: Some(u64::MAX - 1) }] {
            assert_eq!(parse(&format(version)), Some(version));
        }
        for text in ["", "7", "x -", "7 g", "7 1 2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_restart_goes_on_above() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("dns.serial");
        let mut file = SerialFile::load(path.clone());
        assert_eq!(file.last(), None);
        let table = SharedTable::new(120);
        table.publish(8, 0, []);
        file.keep(&table).await;
        let again = SerialFile::load(path);
        assert_eq!(again.last(), Some(Version { serial: 8, tag: None }));
        let table = SharedTable::new(120);
        table.resume(again.last().expect("it was kept"));
        table.publish_all(5, 0, resolver::Filling::new(120));
        let serial = || table.published().and_then(|published| published.version()).map(|version| version.serial);
        assert_eq!(serial(), None);
        table.set_readiness(resolver::Readiness::Ready);
        assert_eq!(serial(), Some(9));
    }
}
