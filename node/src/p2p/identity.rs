//! The node's network key: an Ed25519 key in the data directory, readable by its owner only.
//!
//! It names the node to its peers and has nothing to do with names or money.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use libp2p::identity::Keypair;

const FILE: &str = "p2p.key";

/// Loads the key, or makes one at the first start.
pub fn load_or_create(data_dir: &Path) -> io::Result<Keypair> {
    let path = data_dir.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            decode(&bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path),
        Err(error) => Err(error),
    }
}

fn decode(bytes: &[u8]) -> io::Result<Keypair> {
    Keypair::from_protobuf_encoding(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{FILE} is not a key: {error}")))
}

/// Written aside and renamed: a start that a full disk or a kill ends here leaves no half of a key, which the next one would
/// refuse.
fn create(path: &Path) -> io::Result<Keypair> {
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(io::Error::other)?;
    let aside = path.with_extension("new");
    let _ = fs::remove_file(&aside);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    Ok(keypair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_and_is_private() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = load_or_create(dir.path()).expect("created");
        let again = load_or_create(dir.path()).expect("loaded");
        assert_eq!(first.public(), again.public());
        let mode = fs::metadata(dir.path().join(FILE)).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// A key that was never finished does not stand in the way of a whole one.
    #[test]
    fn half_a_key_of_an_earlier_start_is_no_key() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("p2p.new"), "half").expect("writes");
        let first = load_or_create(dir.path()).expect("created");
        assert_eq!(load_or_create(dir.path()).expect("loaded").public(), first.public());
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1, "nothing is left aside");
    }

    /// A damaged key is said to be one: the node never goes by another name than before.
    #[test]
    fn every_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(FILE);
        let whole = load_or_create(dir.path()).expect("created");
        let bytes = fs::read(&path).expect("reads");
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bad).expect("writes");
            let loaded = load_or_create(dir.path()).map(|key| key.public());
            assert!(loaded.is_err() || loaded.is_ok_and(|key| key == whole.public()), "bit {bit}");
        }
    }
}
