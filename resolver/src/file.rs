//! Files that hold keys and certificates: read whole, written once, never replaced.
//!
//! The superuser may run a command on a folder that another user owns, who can put links there at any moment. So what is
//! ours is opened without following a link at its end, looked at and changed through the descriptor that was opened, and
//! must be an ordinary file of the folder's owner under one name. (The commands themselves give up their rights first.)

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use zeroize::Zeroizing;

/// For the owner only.
pub(crate) const SECRET: u32 = 0o600;
/// For everybody to read.
pub(crate) const PUBLIC: u32 = 0o644;
/// The user who may give files away.
const SUPERUSER: u32 = 0;
/// What others than the owner may do.
const OTHERS: u32 = 0o077;

/// Reads at most `max_bytes` of a file that the operator names: a wrong path to a huge file must cost nothing.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    take(File::open(path)?, max_bytes)
}

/// The same for a file of our own.
pub(crate) fn read_own(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    take(open_own(path)?, max_bytes)
}

/// Reads a secret of our own, and sets its mode to 0600 if others could read it.
pub(crate) fn read_secret(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open_own(path)?;
    if file.metadata()?.permissions().mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(SECRET))?;
    }
    take(file, max_bytes)
}

/// Writes beside `path`, makes it durable, and links it there, which fails if anything stands there already: such a file
/// is never seen half written and never covered by another.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    let written = write_durably(beside, bytes, mode).and_then(|file| give_to_owner_of(folder, &file));
    let linked = written.and_then(|()| fs::hard_link(beside, path));
    // Linked or not, the name beside is of no more use.
    let _ = fs::remove_file(beside);
    linked?;
    File::open(folder)?.sync_all()
}

fn take(file: File, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opens a file to read, if it is one that we can have made. Does not wait for a pipe to be written to.
fn open_own(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let (found, owner) = (file.metadata()?, fs::metadata(folder_of(path))?.uid());
    let wrong = |what: &'static str| Err(io::Error::other(what));
    if !found.is_file() {
        return wrong("it is no regular file");
    }
    // Whoever owns both folder and process may link its own files as it likes.
    if owner != SUPERUSER && nix::unistd::geteuid().is_root() {
        if found.uid() != owner {
            return wrong("it does not belong to the owner of its folder");
        }
        if found.nlink() != 1 {
            return wrong("it has more names than this one");
        }
    }
    Ok(file)
}

/// The superuser may be the first to ask for a key, and the node, which owns the folder, has to read it.
fn give_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    let (owner, ours) = (fs::metadata(folder)?, file.metadata()?);
    if owner.uid() == ours.uid() || ours.uid() != SUPERUSER {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    // Left by a start that was killed: nobody else's, for it bears our process number.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn written(path: &Path, mode: u32) {
        fs::write(path, "secret").expect("written");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
    }

    #[test]
    fn links_are_not_followed_and_what_they_lead_to_is_not_changed() {
        let dir = tempfile::tempdir().expect("a folder");
        let (others, link) = (dir.path().join("others"), dir.path().join("dnssec.key"));
        written(&others, 0o644);
        symlink(&others, &link).expect("linked");
        assert!(read_secret(&link, 100).is_err() && read_own(&link, 100).is_err());
        assert_eq!(fs::metadata(&others).expect("there").permissions().mode() & 0o777, 0o644);
        assert!(read_own(dir.path(), 100).is_err(), "a folder");
        // What the operator names may be a link: certificate tools keep the newest that way.
        assert_eq!(&**read(&link, 100).expect("read"), b"secret");
    }

    /// Only the superuser has anything to lose, and only here can it be shown.
    #[test]
    fn the_superuser_opens_only_what_the_owner_of_the_folder_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("dnssec.key");
        written(&path, 0o644);
        if chown(dir.path(), Some(12_345), Some(12_345)).is_err() {
            return;
        }
        assert!(read_own(&path, 100).expect_err("root's").to_string().contains("does not belong"));
        chown(&path, Some(12_345), Some(12_345)).expect("given away");
        assert!(read_own(&path, 100).is_ok());
        fs::hard_link(&path, dir.path().join("another")).expect("linked");
        assert!(read_secret(&path, 100).expect_err("linked").to_string().contains("more names"));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
    }
}
