//! A command that the superuser runs on a folder that another user owns, the node itself included.
//!
//! The owner can put links into the folder at any moment, and the rights of the superuser would follow them. So such a
//! command goes on as the owner: it can then do in the folder what the owner can, and leaves no files there that the
//! owner could not read.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

/// Gives up the rights of the superuser for good, if `folder` belongs to somebody else, and gives the number of that user.
/// If the folder is not there yet, it will be the one of the owner of the folder that it is to be made in. Does nothing for
/// other users. Threads that run already change as well.
///
/// # Errors
///
/// If the system does not let it, which means that nothing may be done in the folder.
pub fn become_owner_of(folder: &Path) -> io::Result<Option<u32>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let Some((uid, gid)) = owner_of(folder)? else { return Ok(None) };
    setgroups(&[])?;
    setgid(Gid::from_raw(gid))?;
    setuid(Uid::from_raw(uid))?;
    Ok(Some(uid))
}

/// User and group of a folder, or of the nearest folder above that is there, if that is not the superuser.
fn owner_of(folder: &Path) -> io::Result<Option<(u32, u32)>> {
    for folder in folder.ancestors() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        // A link belongs to whoever made it, whatever it leads to.
        let link = match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            link => link?,
        };
        let looks = [Some(link), fs::metadata(folder).ok()];
        let owner = looks.into_iter().flatten().find(|look| look.uid() != 0);
        return Ok(owner.map(|look| (look.uid(), look.gid())));
    }
    Ok(None)
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
    use std::os::unix::fs::{chown, lchown, symlink};

    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_as_good_as_the_one_above() {
        let dir = tempfile::tempdir().expect("a folder");
        if chown(dir.path(), Some(12_345), Some(54_321)).is_err() {
            // Only the superuser can give the folder away.
            return;
        }
        let theirs = Some((12_345, 54_321));
        let (below, link) = (dir.path().join("below"), dir.path().join("link"));
        assert_eq!(owner_of(dir.path()).expect("there"), theirs);
        assert_eq!(owner_of(&below).expect("to be made"), theirs);
        assert_eq!(owner_of(&below.join("deeper/still")).expect("to be made"), theirs);
        fs::create_dir(&below).expect("made");
        assert_eq!(owner_of(&below).expect("there"), None, "the superuser's own");
        assert_eq!(owner_of(&below.join("deeper")).expect("to be made"), None);
        // Whoever made a link, or what it leads to.
        symlink(&below, &link).expect("linked");
        assert_eq!(owner_of(&link).expect("there"), None);
        lchown(&link, Some(12_345), Some(54_321)).expect("given away");
        assert_eq!(owner_of(&link).expect("there"), theirs);
        assert_eq!(
            owner_of(Path::new("no-such-folder")).expect("to be made"),
            owner_of(Path::new(".")).expect("there")
        );
    }

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
