//! Files that hold keys and certificates: read whole, written once, never replaced.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::Path,
};

use zeroize::Zeroizing;

/// For the owner only.
pub(crate) const SECRET: u32 = 0o600;
/// For everybody to read.
pub(crate) const PUBLIC: u32 = 0o644;
/// The user who may give files away.
const SUPERUSER: u32 = 0;
/// What others than the owner may do.
const OTHERS: u32 = 0o077;

/// Reads at most `max_bytes`: a wrong path to a huge file must cost nothing.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    take(File::open(path)?, max_bytes)
}

/// Reads a secret, and takes it from the eyes of others if they could see it.
pub(crate) fn read_secret(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(SECRET))?;
    }
    take(file, max_bytes)
}

/// Writes beside `path`, makes it durable, and links it there, which fails if anything stands there already: such a file
/// is never seen half written and never covered by another.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    let written = write_durably(beside, bytes, mode).and_then(|()| give_to_owner_of(folder, beside));
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

/// The superuser may be the first to ask for a key, and the node, which owns the folder, has to read it.
fn give_to_owner_of(folder: &Path, file: &Path) -> io::Result<()> {
    let (owner, ours) = (fs::metadata(folder)?, fs::metadata(file)?);
    if owner.uid() == ours.uid() || ours.uid() != SUPERUSER {
        return Ok(());
    }
    chown(file, Some(owner.uid()), Some(owner.gid()))
}

fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Left by a start that was killed: nobody else's, for it bears our process number.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
