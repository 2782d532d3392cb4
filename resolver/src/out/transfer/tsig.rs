//! Transaction signatures (RFC 8945): whose message it is, and that nobody altered it on the way.
//!
//! A signature covers the message as it was before the TSIG record came to it. A response covers the request's
//! signature too; each further message of a transfer covers the one before.

use std::fmt;

use hmac::Hmac;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use crate::{
    dns::{
        HEADER_BYTES, flags,
        message::{Message, Record, Section},
        name::Dname,
        rtype,
        tsig_error::TsigError,
        writer::write,
    },
    policy::guard::scan::Claims,
};

/// Seconds that clocks may differ by in what we sign (RFC 8945 §10).
const FUDGE_S: u16 = 300;
/// The fewest bytes of a shortened signature (RFC 8945 §5.2.2.1).
const MIN_MAC_BYTES: usize = 10;
/// Bytes of the time and the fudge.
const TIMERS_BYTES: usize = 8;
/// Class ANY.
const CLASS_ANY: u16 = 255;
/// The RCODE of responses to signatures that do not hold.
const NOTAUTH: u16 = 9;

/// An algorithm, with the name that it has in messages and key files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

/// A secret that two servers share.
#[derive(Clone)]
pub struct Key {
    /// Its name in messages.
    pub name: Dname,
    algorithm: Algorithm,
    secret: Zeroizing<Vec<u8>>,
}

/// What a message says about its sender.
pub(crate) enum Checked {
    /// Nothing.
    Unsigned,
    /// It was signed by somebody who knows the key. The message without the signature, and how to sign responses.
    Signed(Vec<u8>, Signing),
    /// The signature does not hold: what to respond.
    Refused(TsigError, Vec<u8>),
    /// A TSIG record where none may be, or one that cannot be read.
    Malformed,
}

/// Signs the responses to one request.
#[derive(Clone)]
pub(crate) struct Signing {
    key: Key,
    previous: Vec<u8>,
    is_first: bool,
    clock: fn() -> u64,
}

/// A TSIG record.
struct Tsig {
    key: Dname,
    algorithm: Dname,
    time: u64,
    fudge: u16,
    mac: Vec<u8>,
    original_id: [u8; 2],
    error: u16,
    other: Vec<u8>,
    /// Where it begins in its message.
    at: usize,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// The name in messages and key files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(name))
    }

    fn mac_bytes(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    fn wire(self) -> Vec<u8> {
        [&[self.as_str().len() as u8], self.as_str().as_bytes(), &[0]].concat()
    }
}

impl Key {
    /// A key of any length; RFC 8945 §8 advises as many bytes as a signature has.
    pub fn new(name: Dname, algorithm: Algorithm, secret: Vec<u8>) -> Self {
        Self { name, algorithm, secret: Zeroizing::new(secret) }
    }

    fn mac(&self, parts: &[&[u8]]) -> Vec<u8> {
        match self.algorithm {
            Algorithm::HmacSha256 => mac_with::<Hmac<Sha256>>(&self.secret, parts),
            Algorithm::HmacSha384 => mac_with::<Hmac<Sha384>>(&self.secret, parts),
            Algorithm::HmacSha512 => mac_with::<Hmac<Sha512>>(&self.secret, parts),
        }
    }
}

fn mac_with<M: hmac::Mac + hmac::KeyInit>(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length, so the error cannot come.
    let Ok(mut mac) = M::new_from_slice(secret) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Compares without telling by its time where the first difference is.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.name, self.algorithm.as_str())
    }
}

/// Checks the signature of a request. `clock` gives Unix seconds.
pub(crate) fn check(message: &[u8], keys: &[Key], clock: fn() -> u64, claims: Claims) -> Checked {
    let tsig = match find(message) {
        Some(Some(tsig)) => tsig,
        Some(None) => return Checked::Unsigned,
        None => return Checked::Malformed,
    };
    let key = keys.iter().find(|key| key.name == tsig.key && key.algorithm.wire() == tsig.algorithm.as_wire());
    let Some(key) = key else {
        return Checked::Refused(TsigError::BadKey, refuse(message, &tsig, TsigError::BadKey, claims));
    };
    let full = key.algorithm.mac_bytes();
    if tsig.mac.len() > full || tsig.mac.len() < MIN_MAC_BYTES.max(full / 2) {
        return Checked::Malformed;
    }
    let stripped = without(message, &tsig);
    let mac = key.mac(&[&stripped, &variables(key, tsig.time, tsig.fudge, tsig.error, &tsig.other)]);
    if !is_equal(&mac[..tsig.mac.len()], &tsig.mac) {
        return Checked::Refused(TsigError::BadSignature, refuse(message, &tsig, TsigError::BadSignature, claims));
    }
    let signing = Signing { key: key.clone(), previous: tsig.mac.clone(), is_first: true, clock };
    if clock().abs_diff(tsig.time) > u64::from(tsig.fudge) {
        return Checked::Refused(TsigError::BadTime, signing.bad_time(message, &tsig, claims));
    }
    if tsig.mac.len() < full {
        return Checked::Refused(TsigError::BadTruncation, signing.refuse_signed(message, &tsig, claims));
    }
    Checked::Signed(stripped, signing)
}

/// Signs a request of ours, and gives what checks its response.
pub(crate) fn sign_request(message: &mut Vec<u8>, key: &Key, clock: fn() -> u64) -> Signing {
    let time = clock();
    let mac = key.mac(&[message, &variables(key, time, FUDGE_S, 0, &[])]);
    append(message, key, (time, FUDGE_S), &mac, 0, &[]);
    Signing { key: key.clone(), previous: mac, is_first: true, clock }
}

impl Signing {
    /// The key's name.
    pub(crate) fn key_name(&self) -> &Dname {
        &self.key.name
    }

    /// How many bytes a signature adds.
    pub(crate) fn byte_len(&self) -> usize {
        // Type, class, TTL, data length; time, fudge, lengths, ID, error.
        self.key.name.as_wire().len() + self.key.algorithm.wire().len() + self.key.algorithm.mac_bytes() + 10 + 16
    }

    /// Adds the signature of the next message of the response.
    pub(crate) fn sign(&mut self, message: &mut Vec<u8>) {
        let time = (self.clock)();
        let previous = [&(self.previous.len() as u16).to_be_bytes()[..], &self.previous].concat();
        let about = match self.is_first {
            true => variables(&self.key, time, FUDGE_S, 0, &[]),
            false => timers(time, FUDGE_S),
        };
        let mac = self.key.mac(&[&previous, message, &about]);
        append(message, &self.key, (time, FUDGE_S), &mac, 0, &[]);
        (self.previous, self.is_first) = (mac, false);
    }

    /// Whether `message` is a response to what was signed, by somebody who knows the key.
    pub(crate) fn accepts(&self, message: &[u8]) -> bool {
        let Some(Some(tsig)) = find(message) else { return false };
        let previous = [&(self.previous.len() as u16).to_be_bytes()[..], &self.previous].concat();
        let about = variables(&self.key, tsig.time, tsig.fudge, tsig.error, &tsig.other);
        let mac = self.key.mac(&[&previous, &without(message, &tsig), &about]);
        tsig.key == self.key.name
            && is_equal(&mac, &tsig.mac)
            && (self.clock)().abs_diff(tsig.time) <= u64::from(tsig.fudge)
    }

    /// A signed refusal that tells our time (RFC 8945 §5.2.3).
    fn bad_time(&self, message: &[u8], tsig: &Tsig, claims: Claims) -> Vec<u8> {
        let now = (self.clock)().to_be_bytes();
        self.refuse_with(not_authorised(message, claims), tsig, TsigError::BadTime, &now[2..])
    }

    fn refuse_signed(&self, message: &[u8], tsig: &Tsig, claims: Claims) -> Vec<u8> {
        self.refuse_with(not_authorised(message, claims), tsig, TsigError::BadTruncation, &[])
    }

    fn refuse_with(&self, mut response: Vec<u8>, tsig: &Tsig, error: TsigError, other: &[u8]) -> Vec<u8> {
        let previous = [&(self.previous.len() as u16).to_be_bytes()[..], &self.previous].concat();
        let about = variables(&self.key, tsig.time, tsig.fudge, error as u16, other);
        let mac = self.key.mac(&[&previous, &response, &about]);
        append(&mut response, &self.key, (tsig.time, tsig.fudge), &mac, error as u16, other);
        response
    }
}

/// The TSIG record of a message: it is the last one. `None` if the message cannot be read, or has one elsewhere.
fn find(bytes: &[u8]) -> Option<Option<Tsig>> {
    let message = Message::new(bytes)?;
    if message.count(Section::Additional) == 0 {
        return Some(None);
    }
    let mut records = message.records();
    while let Some(record) = records.next() {
        let record = record.ok()?;
        if record.rtype == rtype::TSIG {
            let is_last = records.next().is_none() && record.data_at.end == bytes.len();
            return parse(&record).filter(|_| is_last).map(Some);
        }
    }
    Some(None)
}

fn parse(record: &Record<'_>) -> Option<Tsig> {
    if record.class != CLASS_ANY || record.ttl != [0; 4] {
        return None;
    }
    let mut algorithm = Vec::new();
    let behind = record.read_name(record.data_at.start, &mut algorithm).ok()?.next;
    let (fixed, rest) = record.data_from(behind)?.split_first_chunk::<TIMERS_BYTES>()?;
    let (mac, rest) = counted(rest)?;
    let (&[id_0, id_1, error_0, error_1], rest) = rest.split_first_chunk()?;
    let (other, []) = counted(rest)? else { return None };
    Some(Tsig {
        key: record.owner().ok()?,
        algorithm: Dname::from_wire(&algorithm).ok()?,
        time: fixed[..6].iter().fold(0, |time, &byte| time << 8 | u64::from(byte)),
        fudge: u16::from_be_bytes([fixed[6], fixed[7]]),
        mac: mac.to_vec(),
        original_id: [id_0, id_1],
        error: u16::from_be_bytes([error_0, error_1]),
        other: other.to_vec(),
        at: record.starts_at(),
    })
}

/// As many bytes as the two before them say, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// The message before it was signed.
fn without(message: &[u8], tsig: &Tsig) -> Vec<u8> {
    let mut stripped = message[..tsig.at].to_vec();
    let additional = u16::from_be_bytes([message[10], message[11]]).saturating_sub(1);
    stripped[10..HEADER_BYTES].copy_from_slice(&additional.to_be_bytes());
    stripped[..2].copy_from_slice(&tsig.original_id);
    stripped
}

/// A refusal without signature: we do not know what the sender knows.
fn refuse(message: &[u8], tsig: &Tsig, error: TsigError, claims: Claims) -> Vec<u8> {
    let mut response = not_authorised(message, claims);
    let algorithm = tsig.algorithm.as_wire();
    push(&mut response, (tsig.key.as_wire(), algorithm), (tsig.time, tsig.fudge), &[], error as u16, &[]);
    response
}

/// NOTAUTH with the question, if it can be told.
pub(super) fn not_authorised(bytes: &[u8], claims: Claims) -> Vec<u8> {
    let Some(message) = Message::new(bytes) else { return Vec::new() };
    let question = message.question().map_or(&[][..], |question| question.bytes);
    let kept = message.flags() & (flags::OPCODE | flags::RD);
    let flags = flags::QR | kept | claims.flags() & flags::RA | NOTAUTH;
    write(HEADER_BYTES + question.len(), |writer| writer.put_head(message.id(), flags, question))
}

/// What a signature covers besides the message (RFC 8945 §4.3.3).
fn variables(key: &Key, time: u64, fudge: u16, error: u16, other: &[u8]) -> Vec<u8> {
    let class_and_ttl = [&CLASS_ANY.to_be_bytes()[..], &[0; 4]].concat();
    let mut bytes = [key.name.as_wire(), &class_and_ttl, &key.algorithm.wire(), &timers(time, fudge)].concat();
    bytes.extend_from_slice(&error.to_be_bytes());
    bytes.extend_from_slice(&(other.len() as u16).to_be_bytes());
    bytes.extend_from_slice(other);
    bytes
}

fn timers(time: u64, fudge: u16) -> Vec<u8> {
    [&time.to_be_bytes()[2..], &fudge.to_be_bytes()].concat()
}

fn append(message: &mut Vec<u8>, key: &Key, time: (u64, u16), mac: &[u8], error: u16, other: &[u8]) {
    push(message, (key.name.as_wire(), &key.algorithm.wire()), time, mac, error, other);
}

fn push(
    message: &mut Vec<u8>,
    (key, algorithm): (&[u8], &[u8]),
    (time, fudge): (u64, u16),
    mac: &[u8],
    error: u16,
    other: &[u8],
) {
    let id = [message[0], message[1]];
    let mut data = [algorithm, &timers(time, fudge), &(mac.len() as u16).to_be_bytes(), mac, &id].concat();
    data.extend_from_slice(&error.to_be_bytes());
    data.extend_from_slice(&(other.len() as u16).to_be_bytes());
    data.extend_from_slice(other);
    message.extend_from_slice(key);
    message.extend_from_slice(&rtype::TSIG.to_be_bytes());
    message.extend_from_slice(&CLASS_ANY.to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&(data.len() as u16).to_be_bytes());
    message.extend_from_slice(&data);
    let additional = u16::from_be_bytes([message[10], message[11]]).saturating_add(1);
    message[10..HEADER_BYTES].copy_from_slice(&additional.to_be_bytes());
}
