//! Domain names as text and as wire labels.

use super::{problem::Fault, strings::escaped};

/// The absolute wire form, root included, of a name as written; lower case, relative names below `base`.
pub(super) fn to_wire(text: &str, base: &[u8]) -> Result<Vec<u8>, Fault> {
    match text {
        "@" => return Ok(base.to_vec()),
        "." => return Ok(vec![0]),
        "" => return Err(Fault::new("a name is missing", "write @ for the name itself")),
        _ => {}
    }
    let (labels, absolute) = labels(text)?;
    let mut wire = Vec::new();
    for label in &labels {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    if absolute {
        wire.push(0)
    } else {
        wire.extend_from_slice(base)
    }
    match wire.len() {
        0..=255 => Ok(wire),
        long => Err(Fault::new(format!("a domain name has at most 255 bytes, this has {long}"), "shorten it")),
    }
}

/// Cuts a text into labels; says whether it ended with a dot.
fn labels(text: &str) -> Result<(Vec<Vec<u8>>, bool), Fault> {
    let mut labels = Vec::new();
    let mut label = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'.' => labels.push(finish_label(std::mem::take(&mut label))?),
            b'\\' => {
                let (value, used) = escaped(tail)?;
                label.push(value.to_ascii_lowercase());
                rest = &tail[used..];
            }
            other => label.push(other.to_ascii_lowercase()),
        }
    }
    let absolute = label.is_empty();
    if !absolute {
        labels.push(finish_label(label)?);
    }
    Ok((labels, absolute))
}

fn finish_label(label: Vec<u8>) -> Result<Vec<u8>, Fault> {
    if label.is_empty() {
        return Err(Fault::new("two dots in a row", "remove one"));
    }
    let label = if label.is_ascii() { label } else { to_ascii(&label)? };
    match label.len() {
        1..=63 => Ok(label),
        long => Err(Fault::new(format!("a label has at most 63 bytes, this has {long}"), "shorten it")),
    }
}

/// Unicode labels are stored in their `xn--` form, which is what DNS clients ask for.
fn to_ascii(label: &[u8]) -> Result<Vec<u8>, Fault> {
    std::str::from_utf8(label)
        .ok()
        .and_then(|text| idna::domain_to_ascii_strict(text).ok())
        .map(String::into_bytes)
        .ok_or_else(|| Fault::new("not a valid international name", "write its xn-- form"))
}

/// The part of an absolute wire name below `apex`: `None` if it is not below.
pub(super) fn below<'a>(wire: &'a [u8], apex: &[u8]) -> Option<&'a [u8]> {
    let cut = wire.len().checked_sub(apex.len())?;
    let mut at = 0;
    while at < cut {
        at += 1 + usize::from(wire[at]);
    }
    (at == cut && &wire[cut..] == apex).then(|| &wire[..cut])
}

/// The text of whole labels without a root byte.
fn labels_text(mut wire: &[u8]) -> String {
    let mut out = String::new();
    while let Some((&len, tail)) = wire.split_first() {
        let (label, rest) = tail.split_at(usize::from(len).min(tail.len()));
        if len == 0 {
            break;
        }
        if !out.is_empty() {
            out.push('.');
        }
        for byte in label {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' | b'/' | b'+' | b'=' | b':' => {
                    out.push(char::from(*byte));
                }
                b'!'..=b'~' => out.extend(['\\', char::from(*byte)]),
                other => out.push_str(&format!("\\{other:03}")),
            }
        }
        wire = rest;
    }
    out
}

/// A wire name with its root, as absolute text.
pub(super) fn absolute(wire: &[u8]) -> String {
    format!("{}.", labels_text(wire))
}

/// A relative owner in wire labels as text; `@` for the name itself.
pub fn display_sub(sub: &[u8]) -> String {
    if sub.is_empty() { "@".into() } else { labels_text(sub) }
}

#[cfg(test)]
mod tests {
    use ledger::name::Name;

    use super::{super::origin::Origin, *};

    fn origin() -> Origin {
        Origin::new(Name::new("alice").expect("valid"), "p2p")
    }

    fn check(text: &str, expected: &[u8], printed: &str) {
        let wire = to_wire(text, origin().wire()).expect("valid");
        assert_eq!(wire, expected, "{text}");
        assert_eq!(origin().relative(&wire), printed);
    }

    #[test]
    fn names() {
        check("@", b"\x05alice\x03p2p\x00", "@");
        check("WWW", b"\x03www\x05alice\x03p2p\x00", "www");
        check("a.b", b"\x01a\x01b\x05alice\x03p2p\x00", "a.b");
        check("x.alice.p2p.", b"\x01x\x05alice\x03p2p\x00", "x");
        check("example.org.", b"\x07example\x03org\x00", "example.org.");
        check(".", b"\x00", ".");
        check("*", b"\x01*\x05alice\x03p2p\x00", "*");
        check(r"a\.b\032c", b"\x05a.b c\x05alice\x03p2p\x00", r"a\.b\032c");
        check("bücher.example.", b"\x0dxn--bcher-kva\x07example\x00", "xn--bcher-kva.example.");
        // Ends with the bytes of the origin, but not at the border of a label.
        check("malice.p2p.", b"\x06malice\x03p2p\x00", "malice.p2p.");
    }

    #[test]
    fn bad_names() {
        for bad in ["", "a..b", ".a", &"x".repeat(64), &"a.".repeat(128), "\\", "\\999"] {
            assert!(to_wire(bad, origin().wire()).is_err(), "{bad}");
        }
        assert!(to_wire(&"a.".repeat(120), origin().wire()).is_ok());
    }
}
