//! Operation ids: ULIDs, so that they sort by time and can be read out and typed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 128 bits in base 32.
const LENGTH: usize = 26;

/// 48 bits of milliseconds, then 80 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OpId(u128);

/// A text is no operation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operation id has 26 characters of 0-9 and A-Z without I, L, O, U")]
pub struct NotAnId;

impl OpId {
    /// An id made at `unix_ms` with `random` bits.
    pub fn new(unix_ms: u64, random: u128) -> Self {
        Self((u128::from(unix_ms) & ((1 << 48) - 1)) << 80 | (random & ((1 << 80) - 1)))
    }

    /// Big-endian, so that bytes sort as ids do.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for digit in (0..LENGTH).rev() {
            let index = (self.0 >> (5 * digit)) as usize & 31;
            write!(f, "{}", char::from(ALPHABET[index]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OpId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != LENGTH || text.as_bytes()[0] > b'7' {
            return Err(NotAnId);
        }
        text.bytes()
            .try_fold(0u128, |value, byte| {
                let digit = ALPHABET.iter().position(|c| *c == byte.to_ascii_uppercase()).ok_or(NotAnId)?;
                Ok(value << 5 | digit as u128)
            })
            .map(Self)
    }
}

impl TryFrom<String> for OpId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<OpId> for String {
    fn from(id: OpId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_sort_by_time() {
        let (early, late) = (OpId::new(1_700_000_000_000, u128::MAX), OpId::new(1_700_000_000_001, 0));
        assert!(early < late && early.to_string() < late.to_string());
        for id in [early, late, OpId(0), OpId(u128::MAX)] {
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
        for bad in ["", "0", &"U".repeat(26), &"8".repeat(26), &"0".repeat(27), "ääääääääääääa"] {
            assert_eq!(bad.parse::<OpId>(), Err(NotAnId), "{bad}");
        }
    }
}
