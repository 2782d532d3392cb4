//! Parameters of SVCB and HTTPS records (RFC 9460 §2.1, §7).

use std::{collections::BTreeMap, net};

use super::{
    lexer::Token,
    problem::Fault,
    strings::{base64, quote, to_base64, unescape},
};

/// Names of the registered keys, by number.
const KEYS: [&str; 9] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];
const MANDATORY: u16 = 0;
const NO_DEFAULT_ALPN: u16 = 2;
const OHTTP: u16 = 8;

/// Reads the parameters, in whatever order they are written.
pub(super) fn read(tokens: &[Token], priority: u16) -> Result<Vec<u8>, Fault> {
    let mut params: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for token in tokens {
        let (key, value) = token.text.split_once('=').map_or((token.text.as_str(), None), |(k, v)| (k, Some(v)));
        let number = key_number(key)?;
        if params.insert(number, value_of(number, value)?).is_some() {
            return Err(Fault::new(format!("{key} is given twice"), "join the values with a comma"));
        }
    }
    if priority == 0 && !params.is_empty() {
        return Err(Fault::new("a record of priority 0 is an alias and has no parameters", "use priority 1"));
    }
    mandatory_keys_are_there(&params)?;
    Ok(params.iter().flat_map(|(key, value)| param_wire(*key, value)).collect())
}

fn param_wire(key: u16, value: &[u8]) -> Vec<u8> {
    [&key.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// The text of parameters; `None` if they cannot be read.
pub(super) fn print(mut data: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    let mut last = None;
    while !data.is_empty() {
        let (head, tail) = data.split_at_checked(4)?;
        let key = u16::from_be_bytes([head[0], head[1]]);
        let (value, rest) = tail.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        if last.is_some_and(|last| last >= key) {
            return None;
        }
        out.push(param_text(key, value)?);
        (last, data) = (Some(key), rest);
    }
    Some(out.join(" "))
}

fn key_number(key: &str) -> Result<u16, Fault> {
    if let Some(number) = KEYS.iter().position(|name| *name == key) {
        return Ok(number as u16);
    }
    key.strip_prefix("key")
        .filter(|digits| !digits.starts_with('0') || *digits == "0")
        .and_then(|digits| digits.parse().ok())
        .filter(|number| *number != u16::MAX)
        .ok_or_else(|| {
            Fault::new(format!("unknown parameter {key:?}"), format!("use one of {} or key<number>", KEYS.join(" ")))
        })
}

fn key_text(number: u16) -> String {
    KEYS.get(usize::from(number)).map_or_else(|| format!("key{number}"), |name| (*name).to_owned())
}

fn value_of(key: u16, value: Option<&str>) -> Result<Vec<u8>, Fault> {
    let name = key_text(key);
    if matches!(key, NO_DEFAULT_ALPN | OHTTP) {
        return match value {
            None => Ok(Vec::new()),
            Some(_) => Err(Fault::new(format!("{name} has no value"), format!("write {name} alone"))),
        };
    }
    let raw = unescape(value.unwrap_or_default())?;
    let missing = || Fault::new(format!("{name} needs a value"), format!("write {name}=…"));
    if raw.is_empty() && usize::from(key) < KEYS.len() {
        return Err(missing());
    }
    let text = || std::str::from_utf8(&raw).map_err(|_| missing());
    match key {
        MANDATORY => {
            let mut keys = text()?.split(',').map(key_number).collect::<Result<Vec<u16>, Fault>>()?;
            keys.sort_unstable();
            Ok(keys.iter().flat_map(|key| key.to_be_bytes()).collect())
        }
        1 => alpn(&raw),
        3 => {
            let port: u16 = text()?.parse().map_err(|_| Fault::new("not a port", "write a number up to 65535"))?;
            Ok(port.to_be_bytes().to_vec())
        }
        4 => addresses::<net::Ipv4Addr, 4>(text()?, |ip| ip.octets()),
        5 => base64(text()?),
        6 => addresses::<net::Ipv6Addr, 16>(text()?, |ip| ip.octets()),
        _ => Ok(raw),
    }
}

fn addresses<T: std::str::FromStr, const N: usize>(text: &str, octets: fn(&T) -> [u8; N]) -> Result<Vec<u8>, Fault> {
    let parsed = text.split(',').map(|part| part.parse::<T>().map(|ip| octets(&ip))).collect::<Result<Vec<_>, _>>();
    parsed
        .map(|list| list.concat())
        .map_err(|_| Fault::new("not a list of addresses", "write addresses joined by commas, without spaces"))
}

/// Protocol ids, joined by commas; `\,` and `\\` stand for themselves (RFC 9460 appendix A.1).
fn alpn(raw: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut ids = vec![Vec::new()];
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        let last = ids.last_mut().expect("never empty");
        match byte {
            b',' => ids.push(Vec::new()),
            b'\\' => last.push(*bytes.next().unwrap_or(&b'\\')),
            other => last.push(*other),
        }
    }
    if ids.iter().any(|id| !(1..=255).contains(&id.len())) {
        return Err(Fault::new("a protocol id is empty or too long", "write for example alpn=h2,h3"));
    }
    Ok(ids.iter().flat_map(|id| [&[id.len() as u8], &id[..]].concat()).collect())
}

fn mandatory_keys_are_there(params: &BTreeMap<u16, Vec<u8>>) -> Result<(), Fault> {
    let Some(list) = params.get(&MANDATORY) else { return Ok(()) };
    let keys: Vec<u16> = list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let sound = keys.is_sorted_by(|a, b| a < b) && keys.iter().all(|key| *key != MANDATORY && params.contains_key(key));
    if sound {
        Ok(())
    } else {
        Err(Fault::new(
            "mandatory names a key twice, itself, or one that is not given",
            "list only keys of this record",
        ))
    }
}

fn param_text(key: u16, value: &[u8]) -> Option<String> {
    let name = key_text(key);
    let text = match key {
        NO_DEFAULT_ALPN | OHTTP => return value.is_empty().then_some(name),
        MANDATORY if !value.is_empty() && value.len().is_multiple_of(2) => {
            join(value.chunks_exact(2).map(|pair| key_text(u16::from_be_bytes([pair[0], pair[1]]))))
        }
        1 => return alpn_text(value).map(|list| format!("{name}={}", quote(&list))),
        3 => u16::from_be_bytes(value.try_into().ok()?).to_string(),
        4 if !value.is_empty() && value.len().is_multiple_of(4) => {
            join(value.chunks_exact(4).map(|ip| net::Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).to_string()))
        }
        5 if !value.is_empty() => to_base64(value),
        6 if !value.is_empty() && value.len().is_multiple_of(16) => join(
            value
                .chunks_exact(16)
                .map(|ip| net::Ipv6Addr::from(<[u8; 16]>::try_from(ip).expect("16 bytes")).to_string()),
        ),
        MANDATORY | 4..=6 => return None,
        7 if value.is_empty() => return None,
        _ if value.is_empty() => return Some(name),
        _ => return Some(format!("{name}={}", quote(value))),
    };
    Some(format!("{name}={text}"))
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn alpn_text(mut value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((&len, tail)) = value.split_first() {
        let (id, rest) = tail.split_at_checked(usize::from(len))?;
        if id.is_empty() {
            return None;
        }
        if !out.is_empty() {
            out.push(b',');
        }
        for byte in id {
            if matches!(byte, b',' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        value = rest;
    }
    (!out.is_empty()).then_some(out)
}
