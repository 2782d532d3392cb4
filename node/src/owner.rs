//! A command that the superuser runs on a folder that another user owns.
//!
//! The owner can put links into the folder at any moment, and the rights of the superuser would follow them. So such a
//! command goes on as the owner: it can then do in the folder what the node itself can, and leaves no files there that
//! the node could not read.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

/// Gives up the rights of the superuser for good, if `folder` belongs to somebody else. Does nothing for other users, and
/// where the folder is not there yet.
///
/// # Errors
///
/// If the system does not let it, which means that nothing may be done in the folder.
pub fn become_owner_of(folder: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    // A link belongs to whoever made it, whatever it leads to.
    let looks = [fs::symlink_metadata(folder), fs::metadata(folder)];
    for look in looks {
        let look = match look {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            look => look?,
        };
        if look.uid() != 0 {
            setgroups(&[])?;
            setgid(Gid::from_raw(look.gid()))?;
            setuid(Uid::from_raw(look.uid()))?;
            return Ok(());
        }
    }
    Ok(())
}

/// Reads at most `max_bytes` of a text in a folder that may belong to another user, without following a link at its end:
/// what is read may be told to a program of that user.
///
/// # Errors
///
/// If the file is not there, is a link or no regular file, or is no text.
pub fn read_unlinked(path: &Path, max_bytes: u64) -> io::Result<String> {
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !found.is_file() || (geteuid().is_root() && found.uid() != fs::metadata(folder)?.uid()) {
        return Err(io::Error::other("it is no regular file of the owner of its folder"));
    }
    io::read_to_string(io::Read::take(file, max_bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn a_token_is_no_link_and_belongs_to_the_owner_of_its_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, link) = (dir.path().join("api.token"), dir.path().join("link"));
        fs::write(&path, "token").expect("written");
        symlink(&path, &link).expect("linked");
        assert_eq!(read_unlinked(&path, 3).expect("read"), "tok");
        assert!(read_unlinked(&link, 100).is_err());
        assert!(read_unlinked(dir.path(), 100).is_err());
        // Only the superuser can give the folder away, and only it has anything to lose.
        if chown(dir.path(), Some(12_345), None).is_ok() {
            assert!(read_unlinked(&path, 100).is_err());
        }
    }
}
