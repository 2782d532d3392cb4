//! Text files that people give: how long they may be, and in which encoding.

use std::{fs::File, io::Read as _, path::Path};

use crate::{
    ask::io_failure,
    failure::{Exit, Failure},
};

/// What some editors write in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file, or standard input for `-`. What is longer than `limit` bytes is refused, and never cut.
pub fn read_bytes(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let shown = shown(path);
    let mut bytes = Vec::new();
    let most = limit as u64 + 1;
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(most).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| io_failure(&shown, &error))?;
    if bytes.len() > limit {
        let message = format!("{shown} is longer than {limit} bytes");
        return Err(Failure::new(Exit::Usage, "file_too_long", message)
            .why("the end would be left out, so nothing was read")
            .fix("cut the file into parts"));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(not_utf8(&shown, "it is UTF-16", "UTF-16"));
    }
    Ok(bytes)
}

/// Reads a file that is text from its first byte to its last, in the same way.
pub fn read(path: &Path, limit: usize) -> Result<String, Failure> {
    let bytes = read_bytes(path, limit)?;
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    match str::from_utf8(text) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            let byte = text[error.valid_up_to()];
            Err(not_utf8(&shown(path), &format!("line {line} has the byte 0x{byte:02x}"), "LATIN1"))
        }
    }
}

fn shown(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() }
}

fn not_utf8(shown: &str, why: &str, encoding: &str) -> Failure {
    Failure::new(Exit::Usage, "not_utf8", format!("{shown} is not UTF-8 text"))
        .why(why)
        .fix(format!("iconv -f {encoding} -t UTF-8 OLD > NEW    # or save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<&str, &str>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).expect("writes");
        let read = read(&path, 16).map_err(|failure| format!("{} {}", failure.code, failure.why));
        assert_eq!(read.as_deref().map_err(String::as_str), expected, "{bytes:?}");
    }

    #[test]
    fn encodings_and_lengths() {
        check(b"", Ok(""));
        check(b"\xef\xbb\xbfa b\r\n", Ok("a b\r\n"));
        check("ü".as_bytes(), Ok("ü"));
        check(b"a\nb\xe9\n", Err("not_utf8 line 2 has the byte 0xe9"));
        check(b"\xff\xfea\0", Err("not_utf8 it is UTF-16"));
        check(&[b' '; 16], Ok("                "));
        check(&[b' '; 17], Err("file_too_long the end would be left out, so nothing was read"));
    }
}
