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

fn create(path: &Path) -> io::Result<Keypair> {
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(io::Error::other)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
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
}
