//! Character strings with `\DDD` and `\X` escapes, hexadecimal and base64.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use super::problem::Fault;

/// The bytes that an escaped text stands for.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'\\' {
            out.push(byte);
            rest = tail;
            continue;
        }
        let (value, used) = escaped(tail)?;
        out.push(value);
        rest = &tail[used..];
    }
    Ok(out)
}

/// The byte that stands after a backslash, and how many bytes of text spell it.
pub(super) fn escaped(tail: &[u8]) -> Result<(u8, usize), Fault> {
    match tail {
        [a, b, c, ..] if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit() => {
            let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            let value = u8::try_from(value).map_err(|_| bad_escape())?;
            Ok((value, 3))
        }
        [a, ..] if a.is_ascii_digit() => Err(bad_escape()),
        [a, ..] => Ok((*a, 1)),
        [] => Err(bad_escape()),
    }
}

fn bad_escape() -> Fault {
    Fault::new(
        "a backslash is followed by neither a character nor three digits up to 255",
        "write \\\\ for a backslash",
    )
}

/// A text that [`unescape`] turns into these bytes, in quotes.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\{other:03}")),
        }
    }
    out.push('"');
    out
}

/// One `<character-string>`: its length and its bytes.
pub(super) fn character_string(text: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = unescape(text)?;
    let len = u8::try_from(bytes.len()).map_err(|_| {
        Fault::new(
            format!("a string has at most 255 bytes, this has {}", bytes.len()),
            "cut it into several strings: \"first part\" \"second part\"",
        )
    })?;
    bytes.insert(0, len);
    Ok(bytes)
}

/// Reads hexadecimal digits.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, Fault> {
    HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|_| Fault::new("not hexadecimal", "write an even number of digits 0-9 and a-f"))
}

/// Reads base64 with padding.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, Fault> {
    BASE64.decode(text.as_bytes()).map_err(|_| Fault::new("not base64", "write A-Z a-z 0-9 + / with = at the end"))
}

/// Base64 with padding.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unescape(r"a\032b\;c\\"), Ok(b"a b;c\\".to_vec()));
        for bad in [r"\256", r"\25", r"\1", r"\"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_byte_survives_quoting() {
        let all: Vec<u8> = (0..=255).collect();
        let quoted = quote(&all);
        assert_eq!(unescape(&quoted[1..quoted.len() - 1]), Ok(all));
    }
}
