//! TSIG keys on disk: one line `algorithm:name:secret`, as `keymgr -t` prints it and `dig -y` takes it.

use std::{fs::File, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{Algorithm, Key};
use crate::policy::config::TransferError;

/// A key takes some 150 bytes; a wrong path to a huge file must cost nothing.
const MAX_FILE_BYTES: u64 = 4_096;
/// What others than the owner and its group may do, and what the group may do beyond reading.
const FORBIDDEN_MODE: u32 = 0o037;
/// The fewest bytes of a secret: half of the shortest digest.
const MIN_SECRET_BYTES: usize = 16;

/// Loads the key at `path`. Lines that begin with `#` are comments.
pub(super) fn load(path: &Path) -> Result<Key, TransferError> {
    let failed = |reason: String| TransferError::KeyFile { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mode = file.metadata().map_err(|error| failed(error.to_string()))?.permissions().mode() & 0o777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(failed(format!("its mode is {mode:03o}, so others can read the secret; chmod 600 mends that")));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next().map(parse), lines.next()) {
        (Some(Ok(key)), None) => Ok(key),
        (Some(Err(reason)), _) => Err(failed(reason.to_owned())),
        _ => Err(failed("it must hold one line such as hmac-sha256:fleet:BASE64SECRET".to_owned())),
    }
}

fn parse(line: &str) -> Result<Key, &'static str> {
    let mut fields = line.splitn(3, ':');
    let (Some(algorithm), Some(name), Some(secret)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("write it as algorithm:name:secret");
    };
    let algorithm = Algorithm::from_name(algorithm.trim());
    let algorithm = algorithm.ok_or("the algorithm must be hmac-sha256, hmac-sha384 or hmac-sha512")?;
    let name = name.trim().parse().map_err(|_| "the key's name must be like a domain name")?;
    let secret = BASE64.decode(secret.trim().as_bytes()).map_err(|_| "the secret is not base64")?;
    if secret.len() < MIN_SECRET_BYTES {
        return Err("the secret must have at least 16 bytes; `head -c 32 /dev/urandom | base64` makes one");
    }
    Ok(Key::new(name, algorithm, secret))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::OpenOptionsExt as _};

    use super::*;

    fn check(content: &str, mode: u32, expected: Result<&str, &str>) {
        use std::io::Write as _;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).expect("a file");
        file.write_all(content.as_bytes()).expect("written");
        match (load(&path), expected) {
            (Ok(key), Ok(expected)) => assert_eq!(format!("{key:?}"), expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (other, _) => panic!("{content}: {other:?}"),
        }
    }

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";

    #[test]
    fn key_files() {
        check(&format!("# made today\nhmac-sha256:fleet:{SECRET}\n"), 0o600, Ok("Key(fleet. hmac-sha256)"));
        check(&format!("HMAC-SHA512:Fleet.example.:{SECRET}"), 0o640, Ok("Key(fleet.example. hmac-sha512)"));
        check(&format!("hmac-sha256:fleet:{SECRET}"), 0o644, Err("its mode is 644"));
        check(&format!("hmac-md5:fleet:{SECRET}"), 0o600, Err("hmac-sha256, hmac-sha384 or"));
        check(&format!("hmac-sha256:a..b:{SECRET}"), 0o600, Err("like a domain name"));
        check("hmac-sha256:fleet:!", 0o600, Err("not base64"));
        check("hmac-sha256:fleet:MDEy", 0o600, Err("at least 16 bytes"));
        check("hmac-sha256", 0o600, Err("algorithm:name:secret"));
        check("", 0o600, Err("one line such as"));
        check(&format!("hmac-sha256:a:{SECRET}\nhmac-sha256:b:{SECRET}"), 0o600, Err("one line such as"));
    }
}
