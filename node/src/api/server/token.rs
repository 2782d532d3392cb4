//! The token that writes over TCP must show.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// The token in the file; made, readable by this user only, if there is none.
pub(super) fn load_or_make(path: &Path) -> io::Result<String> {
    load(path)?.map_or_else(|| make(path), Ok)
}

fn load(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= TOKEN_BYTES => Ok(Some(text.trim().to_owned())),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<String> {
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let token = ledger::hash::to_hex(&random);
    // Written aside and renamed, so that nobody ever reads half a token, and never readable by others.
    let aside = path.with_extension("new");
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    Ok(token)
}

/// Compares in a time that does not depend on where they differ.
pub(super) fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_made_once_and_for_this_user_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("api.token");
        let token = load_or_make(&path).expect("made");
        assert_eq!(token.len(), 2 * TOKEN_BYTES);
        assert_eq!(load_or_make(&path).expect("kept"), token);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(equal("ab", "ab") && !equal("ab", "ac") && !equal("ab", "abc"));
    }
}
