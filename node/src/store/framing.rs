//! A look at RocksDB's logs before RocksDB reads them.
//!
//! For: refusing one kind of damage that RocksDB does not survive. Its reader takes a record whose type is that of a
//! recycled log for the remains of an older one and, in a log that was never recycled, reads it again and again without
//! end; one flipped bit (type 1 to type 5) makes a node hang at its start for ever. This database recycles no logs, so
//! such a type can only be damage. Not for: any other damage, which RocksDB finds itself.
//!
//! ```text
//! log = blocks of 32 KiB; block = records, then fewer than 7 zeros
//! record = checksum:u32 ‖ length:u16 ‖ type:u8 ‖ payload      checksum = masked CRC-32C over type and payload
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::StoreError;

/// RocksDB's block of a log. Records never cross its end.
const BLOCK: usize = 32 << 10;
/// Checksum, length and type.
const HEADER: usize = 7;
/// Types of recycled logs: whole, first, middle and last part of a record.
const RECYCLED: std::ops::RangeInclusive<u8> = 5..=8;

/// Looks at every log and manifest in the directory of a database.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let unreadable = |error: io::Error| StoreError::Io { message: format!("{}: {error}", path.display()) };
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("MANIFEST-") || text.ends_with(".log") {
            let found = match File::open(path.join(&name)) {
                Ok(log) => recycled_record(log).map_err(unreadable)?,
                // Another process has the database open, and will be found to.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(unreadable(error)),
            };
            if let Some(at) = found {
                return Err(StoreError::corrupt(format!("the record at byte {at} of {text} cannot be of its type")));
            }
        }
    }
    Ok(())
}

/// Where a record of a recycled log begins, if there is one in front of all other damage.
fn recycled_record(mut log: File) -> io::Result<Option<usize>> {
    let (mut block, mut before) = (vec![0; BLOCK], 0);
    loop {
        let len = fill(&mut log, &mut block)?;
        match walk(&block[..len]) {
            Walk::Recycled(at) => return Ok(Some(before + at)),
            Walk::End => return Ok(None),
            Walk::NextBlock if len < BLOCK => return Ok(None),
            Walk::NextBlock => before += len,
        }
    }
}

/// Reads until `block` is full or the file ends.
fn fill(log: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match log.read(&mut block[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

/// How a walk through one block ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Walk {
    NextBlock,
    /// At zeros, or at damage that RocksDB stops at as well.
    End,
    Recycled(usize),
}

fn walk(block: &[u8]) -> Walk {
    let mut at = 0;
    while let Some(&[a, b, c, d, low, high, kind]) = block[at..].first_chunk::<HEADER>() {
        let end = at + HEADER + usize::from(u16::from_le_bytes([low, high]));
        if RECYCLED.contains(&kind) {
            return Walk::Recycled(at);
        }
        match block.get(at + HEADER - 1..end) {
            Some(covered) if kind != 0 && masked(crc32c(covered)) == u32::from_le_bytes([a, b, c, d]) => at = end,
            Some(_) | None => return Walk::End,
        }
    }
    Walk::NextBlock
}

/// RocksDB masks checksums that stand beside what they cover.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (RFC 3720, appendix B.4), reflected, a byte at a time: a log has at most some 64 MiB.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc_table();
    !bytes.iter().fold(!0, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

const fn crc_table() -> [u32; 256] {
    let (mut table, mut n) = ([0; 256], 0);
    while n < 256 {
        let (mut crc, mut bit) = (n as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let covered = [&[kind], payload].concat();
        let header = [&masked(crc32c(&covered)).to_le_bytes()[..], &(payload.len() as u16).to_le_bytes()].concat();
        [header, covered].concat()
    }

    #[test]
    fn the_checksum_is_rfc_3720s() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn walks_end_where_rocksdbs_do() {
        let sound = [record(1, b"one"), record(2, b""), record(4, b"three")].concat();
        assert_eq!(walk(&sound), Walk::NextBlock);
        assert_eq!(walk(&[&sound[..], &[0; 40]].concat()), Walk::End, "room taken in advance");
        assert_eq!(walk(&sound[..sound.len() - 1]), Walk::End, "torn");
        assert_eq!(walk(&[record(1, b"one"), record(5, b"x")].concat()), Walk::Recycled(10));
        let mut damaged = sound.clone();
        damaged[8] ^= 1;
        assert_eq!(
            walk(&[&damaged[..], &record(5, b"x")].concat()),
            Walk::End,
            "the rest is not read by RocksDB either"
        );
    }
}
