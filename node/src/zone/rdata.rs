//! Record data: one list of fields per type, read and printed by the same table.

use std::net::{Ipv4Addr, Ipv6Addr};

use ledger::record::MAX_RDATA_BYTES;

use super::{
    lexer::Token,
    loc, name,
    origin::Origin,
    problem::Fault,
    strings::{base64, character_string, hex, quote, to_base64, unescape},
    svcb,
};

/// A field of record data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    U8,
    U16,
    Ipv4,
    Ipv6,
    /// A domain name.
    Name,
    /// One `<character-string>`.
    String,
    /// One or more `<character-string>`s, to the end.
    Strings,
    /// A `<character-string>` of letters and digits without quotes: the tag of CAA.
    Tag,
    /// Bytes to the end, in quotes.
    Text,
    /// Bytes to the end in hexadecimal, at least one.
    Hex,
    /// Bytes to the end in base64, at least one.
    Base64,
    /// Service parameters, to the end.
    Params,
    /// A place on Earth, all of the data.
    Location,
}

/// The fields of a type number; `None` for types that only have the generic form of RFC 3597.
fn fields(rtype: u16) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        1 => &[Ipv4],
        2 | 5 | 39 => &[Name],
        15 => &[U16, Name],
        16 => &[Strings],
        28 => &[Ipv6],
        29 => &[Location],
        33 => &[U16, U16, U16, Name],
        35 => &[U16, U16, String, String, String, Name],
        43 => &[U16, U8, U8, Hex],
        44 => &[U8, U8, Hex],
        52 | 53 => &[U8, U8, U8, Hex],
        61 => &[Base64],
        64 | 65 => &[U16, Name, Params],
        256 => &[U16, U16, Text],
        257 => &[U8, Tag, Text],
        _ => return None,
    })
}

/// A line that shows the fields of a type, for error messages.
fn example(rtype: u16) -> &'static str {
    match rtype {
        1 => "A 192.0.2.1",
        2 => "NS ns1.example.org.",
        5 => "CNAME www.example.org.",
        39 => "DNAME example.org.",
        15 => "MX 10 mail",
        16 => "TXT \"any text\"",
        28 => "AAAA 2001:db8::1",
        29 => "LOC 52 22 23.000 N 4 53 32.000 E -2.00m",
        33 => "SRV 0 5 443 host",
        35 => "NAPTR 100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.org!\" .",
        43 => "DS 12345 13 2 <64 hex digits>",
        44 => "SSHFP 4 2 <64 hex digits>",
        52 => "TLSA 3 1 1 <64 hex digits>",
        53 => "SMIMEA 3 0 1 <64 hex digits>",
        61 => "OPENPGPKEY <base64>",
        64 => "SVCB 1 host port=8443",
        65 => "HTTPS 1 . alpn=h2,h3",
        256 => "URI 10 1 \"https://example.org/\"",
        257 => "CAA 0 issue \"ca.example.org\"",
        _ => "TYPE65280 \\# 2 beef",
    }
}

/// A fault and the position of the token that has it; at the end if something is missing.
pub(super) type Placed<T> = Result<T, (usize, Fault)>;

/// Reads the data of one record.
pub(super) fn read(rtype: u16, tokens: &[Token], base: &[u8]) -> Placed<Vec<u8>> {
    let data = match (tokens.first(), fields(rtype)) {
        (Some(first), _) if first.text == "\\#" && !first.quoted => {
            read_generic(rtype, &tokens[1..]).map_err(|f| (0, f))?
        }
        (_, Some(fields)) => read_fields(rtype, fields, tokens, base)?,
        (_, None) => return Err((0, Fault::new("this type has no text form", format!("write {}", example(rtype))))),
    };
    match data.len() {
        0..=MAX_RDATA_BYTES => Ok(data),
        long => Err((
            0,
            Fault::new(format!("record data has at most {MAX_RDATA_BYTES} bytes, this has {long}"), "shorten it"),
        )),
    }
}

fn read_fields(rtype: u16, fields: &[Field], tokens: &[Token], base: &[u8]) -> Placed<Vec<u8>> {
    let missing = || Fault::new("the record ends too early", format!("write {}", example(rtype)));
    let mut out = Vec::new();
    let mut at = 0;
    for field in fields {
        let rest = tokens.get(at..).unwrap_or_default();
        if rest.is_empty() && *field != Field::Params {
            return Err((tokens.len(), missing()));
        }
        let in_context = |fault: Fault| {
            let fix = if fault.fix.is_empty() { format!("write {}", example(rtype)) } else { fault.fix };
            (at, Fault { what: fault.what, fix })
        };
        let (bytes, used) = read_field(*field, rest, base, &out).map_err(in_context)?;
        out.extend_from_slice(&bytes);
        at += used;
    }
    match tokens.get(at) {
        None => Ok(out),
        Some(extra) => Err((
            at,
            Fault::new(format!("{:?} is one field too many", extra.text), format!("write {}", example(rtype))),
        )),
    }
}

/// The bytes of a field and how many tokens it took. `rest` has a token for every field but service parameters.
fn read_field(field: Field, rest: &[Token], base: &[u8], before: &[u8]) -> Result<(Vec<u8>, usize), Fault> {
    let text = rest.first().map_or("", |token| token.text.as_str());
    let joined = || rest.iter().map(|token| token.text.as_str()).collect::<String>();
    let is_text = matches!(field, Field::String | Field::Text | Field::Strings | Field::Params);
    if let Some(cut) = rest.iter().find(|token| is_text && token.runs_into_comment) {
        return Err(Fault::new(
            format!("{:?} ends at a ';', and what follows would be a comment", cut.text),
            "put the text in quotes, or a blank before the comment",
        ));
    }
    let one = match field {
        Field::U8 => number::<u8>(text)?.to_be_bytes().to_vec(),
        Field::U16 => number::<u16>(text)?.to_be_bytes().to_vec(),
        Field::Ipv4 => parse::<Ipv4Addr>(text, "an IPv4 address")?.octets().to_vec(),
        Field::Ipv6 => parse::<Ipv6Addr>(text, "an IPv6 address")?.octets().to_vec(),
        Field::Name => name::to_wire(text, base)?,
        Field::String => character_string(text)?,
        Field::Tag => tag(text)?,
        Field::Text if rest.len() == 1 => some(unescape(text)?)?,
        Field::Text => return Err(Fault::new("a text with spaces needs quotes", "put it in \"…\"")),
        Field::Strings => {
            return all(
                rest,
                rest.iter().map(|token| character_string(&token.text)).collect::<Result<Vec<_>, _>>()?.concat(),
            );
        }
        Field::Hex => return all(rest, some(hex(&joined())?)?),
        Field::Base64 => return all(rest, some(base64(&joined())?)?),
        Field::Params => return all(rest, svcb::read(rest, u16::from_be_bytes([before[0], before[1]]))?),
        Field::Location => return all(rest, loc::read(rest)?),
    };
    Ok((one, 1))
}

fn all(rest: &[Token], bytes: Vec<u8>) -> Result<(Vec<u8>, usize), Fault> {
    Ok((bytes, rest.len()))
}

fn some(bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
    if bytes.is_empty() { Err(Fault::new("the value is empty", "")) } else { Ok(bytes) }
}

fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::new(format!("{text:?} is not {what}"), ""))
}

fn number<T: std::str::FromStr + Into<u32>>(text: &str) -> Result<T, Fault> {
    let bits = size_of::<T>() * 8;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if digits { text.parse().ok() } else { None };
    parsed.ok_or_else(|| Fault::new(format!("{text:?} is not a number from 0 to {}", (1u64 << bits) - 1), ""))
}

fn tag(text: &str) -> Result<Vec<u8>, Fault> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Fault::new(
            format!("{text:?} is not a tag of letters and digits"),
            "write issue, issuewild or iodef",
        ));
    }
    character_string(&text.to_ascii_lowercase())
}

/// `\# length hex…` (RFC 3597 §5). Data of a type with its own syntax must have that type's shape.
fn read_generic(rtype: u16, tokens: &[Token]) -> Result<Vec<u8>, Fault> {
    let usage = || format!("write {}", example(u16::MAX));
    let Some((length, digits)) = tokens.split_first() else {
        return Err(Fault::new("the length is missing", usage()));
    };
    let length: u16 = number(&length.text).map_err(|fault| Fault::new(fault.what, usage()))?;
    let data = hex(&digits.iter().map(|token| token.text.as_str()).collect::<String>())?;
    if data.len() != usize::from(length) {
        return Err(Fault::new(
            format!("the length says {length} bytes, but {} follow", data.len()),
            "correct the length",
        ));
    }
    let shapeless = fields(rtype).is_some_and(|fields| print_fields(fields, &data, None).is_none());
    if shapeless {
        Err(Fault::new("these bytes are not data of this type", format!("write {}", example(rtype))))
    } else {
        Ok(data)
    }
}

/// The text of record data, with names relative to `origin` if there is one. What has not the shape of its type is
/// printed in the generic form.
pub(super) fn print(rtype: u16, data: &[u8], origin: Option<&Origin>) -> String {
    fields(rtype).and_then(|fields| print_fields(fields, data, origin)).unwrap_or_else(|| print_generic(data))
}

fn print_generic(data: &[u8]) -> String {
    let hex = ledger::hash::to_hex(data);
    format!("\\# {} {hex}", data.len()).trim_end().to_owned()
}

fn print_fields(fields: &[Field], mut data: &[u8], origin: Option<&Origin>) -> Option<String> {
    let mut out = Vec::with_capacity(fields.len());
    for field in fields {
        let (text, used) = print_field(*field, data, origin)?;
        out.push(text);
        data = data.get(used..)?;
    }
    data.is_empty().then(|| out.join(" ").trim_end().to_owned())
}

/// The text of a field and how many bytes it took.
fn print_field(field: Field, data: &[u8], origin: Option<&Origin>) -> Option<(String, usize)> {
    let text = match field {
        Field::U8 => return Some((data.first()?.to_string(), 1)),
        Field::U16 => return Some((u16::from_be_bytes(data.get(..2)?.try_into().ok()?).to_string(), 2)),
        Field::Ipv4 => return Some((Ipv4Addr::from(<[u8; 4]>::try_from(data.get(..4)?).ok()?).to_string(), 4)),
        Field::Ipv6 => return Some((Ipv6Addr::from(<[u8; 16]>::try_from(data.get(..16)?).ok()?).to_string(), 16)),
        Field::Name => return print_name(data, origin),
        Field::String => {
            let (string, _) = split_string(data)?;
            return Some((quote(string), string.len() + 1));
        }
        Field::Tag => {
            let (string, _) = split_string(data)?;
            let plain = !string.is_empty() && string.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
            return plain.then(|| (String::from_utf8_lossy(string).into_owned(), string.len() + 1));
        }
        Field::Strings => print_strings(data)?,
        Field::Text if !data.is_empty() => quote(data),
        Field::Hex if !data.is_empty() => ledger::hash::to_hex(data),
        Field::Base64 if !data.is_empty() => to_base64(data),
        Field::Params => svcb::print(data)?,
        Field::Location => loc::print(data)?,
        Field::Text | Field::Hex | Field::Base64 => return None,
    };
    Some((text, data.len()))
}

/// A name without compression and without capitals (which would not read back).
fn print_name(data: &[u8], origin: Option<&Origin>) -> Option<(String, usize)> {
    let mut end = 0;
    loop {
        let len = usize::from(*data.get(end)?);
        let label = data.get(end + 1..end + 1 + len)?;
        end += 1 + len;
        if len > 63 || end > 255 || label.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        if len == 0 {
            break;
        }
    }
    let wire = &data[..end];
    let text = origin.map_or_else(|| name::absolute(wire), |origin| origin.relative(wire));
    Some((text, end))
}

fn split_string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, tail) = data.split_first()?;
    tail.split_at_checked(usize::from(len))
}

fn print_strings(mut data: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let (string, rest) = split_string(data)?;
        out.push(quote(string));
        data = rest;
    }
    (!out.is_empty()).then(|| out.join(" "))
}
