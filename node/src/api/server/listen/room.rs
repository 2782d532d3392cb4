//! Where a unix socket is made: a folder of its own, closed to other users.
//!
//! A new socket may be opened by everybody until its mode is set. So it is made in a folder of mode 0700 beside its place,
//! and moved there with its mode set. A process that is killed in between leaves the room behind; the next one that
//! makes a socket there removes it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sys::signal::kill,
    unistd::{Pid, UnlinkatFlags, geteuid, unlinkat},
};
use tokio::net::UnixListener;
use tracing::debug;

/// The name of the socket in its room. Names are short: the system takes some hundred bytes of path for a socket.
const SOCKET: &str = "s";
/// Rights of others.
const OTHERS: u32 = 0o077;

/// Listens at `path` on a socket that only this user can open.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sweep(folder);
    let room = folder.join(format!(".{}", std::process::id()));
    clear(&room)?;
    fs::DirBuilder::new().mode(0o700).create(&room)?;
    let fresh = room.join(SOCKET);
    let bound = UnixListener::bind(&fresh).and_then(|listener| {
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
        fs::rename(&fresh, path)?;
        Ok(listener)
    });
    clear(&room)?;
    bound
}

/// Removes the rooms of processes that are no more. What cannot be removed does no harm.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(process_of) else { continue };
        let room = entry.path();
        if kill(process, None) == Err(Errno::ESRCH) && is_left_behind(&room) {
            match clear(&room) {
                Ok(()) => debug!(room = %room.display(), "left behind by a process that was killed: removed"),
                Err(error) => debug!(room = %room.display(), %error, "left behind, and cannot be removed"),
            }
        }
    }
}

/// The process whose room has this name.
fn process_of(name: &str) -> Option<Pid> {
    let number: i32 = name.strip_prefix('.')?.parse().ok()?;
    // Neither signs nor zeros in front: only as we write it. Zero and below are no processes.
    (number > 0 && name == format!(".{number}")).then(|| Pid::from_raw(number))
}

/// Whether this process can have made the folder: owned by its user, closed to others, holding only a socket that no process
/// listens on. A process of another container may use the same folder and not be seen from here.
fn is_left_behind(room: &Path) -> bool {
    let is_ours = open(room).and_then(|folder| folder.metadata()).is_ok_and(|found| {
        found.is_dir() && found.uid() == geteuid().as_raw() && found.permissions().mode() & OTHERS == 0
    });
    let Some(entries) = fs::read_dir(room).ok().filter(|_| is_ours) else { return false };
    let is_dead_socket = |entry: fs::DirEntry| {
        entry.file_name() == SOCKET
            && entry.file_type().is_ok_and(|kind| kind.is_socket())
            && UnixStream::connect(entry.path()).is_err()
    };
    entries.into_iter().all(|entry| entry.is_ok_and(is_dead_socket))
}

/// Opens a folder itself, not what a link leads to.
fn open(room: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(room)
}

/// Removes a room and the socket in it, as far as they are there. No link is followed.
fn clear(room: &Path) -> io::Result<()> {
    let folder = match open(room) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folder => folder?,
    };
    match unlinkat(&folder, SOCKET, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => fs::remove_dir(room),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{
        fs::{chown, symlink},
        net::UnixListener as StdListener,
    };

    use super::*;

    /// A number that no process has: Linux has at most 2^22 of them, other systems fewer.
    const NOBODY: i32 = 4_194_305;

    fn make_room(folder: &Path, name: &str, mode: u32) -> std::path::PathBuf {
        let room = folder.join(name);
        fs::DirBuilder::new().mode(mode).create(&room).expect("made");
        room
    }

    #[tokio::test]
    async fn rooms_of_killed_processes_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let empty = make_room(dir.path(), &format!(".{NOBODY}"), 0o700);
        let with_socket = make_room(dir.path(), &format!(".{}", NOBODY + 1), 0o700);
        drop(StdListener::bind(with_socket.join(SOCKET)).expect("bound"));
        // Killed in this process's number before.
        let own = make_room(dir.path(), &format!(".{}", std::process::id()), 0o700);
        drop(StdListener::bind(own.join(SOCKET)).expect("bound"));
        let path = dir.path().join("api.sock");
        let _listener = bind(&path).expect("bound");
        assert!(UnixStream::connect(&path).is_ok());
        assert!(!empty.exists() && !with_socket.exists() && !own.exists());
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
    }

    #[tokio::test]
    async fn nothing_else_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = |more: i32| format!(".{}", NOBODY + more);
        let mut kept = Vec::new();
        // Of a process that runs; with another socket, which a process in another container may listen on.
        kept.push(make_room(dir.path(), &format!(".{}", std::os::unix::process::parent_id()), 0o700));
        let living = make_room(dir.path(), &name(0), 0o700);
        let _living = StdListener::bind(living.join(SOCKET)).expect("bound");
        kept.push(living.join(SOCKET));
        // What we would not have made.
        for (more, file) in [(1, SOCKET), (2, "other")] {
            let room = make_room(dir.path(), &name(more), 0o700);
            fs::write(room.join(file), "precious").expect("written");
            kept.push(room.join(file));
        }
        kept.push(make_room(dir.path(), &name(3), 0o755));
        let file = dir.path().join(name(4));
        fs::write(&file, "precious").expect("written");
        kept.push(file);
        for odd in [".0", ".-1", ".+4194310", ".04194310", ".4194310.new", ".x", "4194310", ".99999999999999"] {
            kept.push(make_room(dir.path(), odd, 0o700));
        }
        // A link to what looks like such a folder, and a folder of another user.
        let elsewhere = make_room(dir.path(), "elsewhere", 0o700);
        drop(StdListener::bind(elsewhere.join(SOCKET)).expect("bound"));
        symlink(&elsewhere, dir.path().join(name(5))).expect("linked");
        kept.extend([elsewhere.join(SOCKET), dir.path().join(name(5))]);
        let theirs = make_room(dir.path(), &name(6), 0o700);
        if chown(&theirs, Some(12_345), None).is_ok() {
            kept.push(theirs);
        }
        let _listener = bind(&dir.path().join("api.sock")).expect("bound");
        for path in kept {
            assert!(fs::symlink_metadata(&path).is_ok(), "{path:?} is gone");
        }
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_the_room_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let elsewhere = make_room(dir.path(), "elsewhere", 0o700);
        fs::write(elsewhere.join(SOCKET), "precious").expect("written");
        symlink(&elsewhere, dir.path().join(format!(".{}", std::process::id()))).expect("linked");
        assert!(bind(&dir.path().join("api.sock")).is_err());
        assert_eq!(fs::read_to_string(elsewhere.join(SOCKET)).expect("there"), "precious");
    }
}
