//! Extended errors (RFC 8914).

use std::borrow::Cow;

/// An extended DNS error (RFC 8914).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ede {
    /// Why, by number.
    pub code: EdeCode,
    /// Why, in words.
    pub text: Cow<'static, str>,
}

/// The extended errors in use (RFC 8914 §4, RFC 9824 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum EdeCode {
    /// None of the others.
    Other = 0,
    /// The answer is older than its TTL.
    StaleAnswer = 3,
    /// The upstream could not decide whether the answer is valid.
    DnssecIndeterminate = 5,
    /// The upstream found the answer to be forged or broken.
    DnssecBogus = 6,
    /// Signatures have expired.
    SignatureExpired = 7,
    /// Signatures are not valid yet.
    SignatureNotYetValid = 8,
    /// The key of a delegation is missing.
    DnskeyMissing = 9,
    /// Signatures are missing.
    RrsigsMissing = 10,
    /// No key may sign a zone.
    NoZoneKeyBit = 11,
    /// The proof of absence is missing.
    NsecMissing = 12,
    /// A failure is remembered.
    CachedError = 13,
    /// The server is not yet able to answer.
    NotReady = 14,
    /// The operator's policy withholds the answer.
    Blocked = 15,
    /// Somebody above the operator withholds the answer.
    Censored = 16,
    /// The client's wish withholds the answer.
    Filtered = 17,
    /// The client may not ask this here.
    Prohibited = 18,
    /// The name did not exist when its upstream was last heard of.
    StaleNxdomain = 19,
    /// The zone is not ours.
    NotAuthoritative = 20,
    /// The server does not do this.
    NotSupported = 21,
    /// No upstream gave an answer.
    NoReachableAuthority = 22,
    /// The network failed.
    NetworkError = 23,
    /// The type cannot be asked for.
    InvalidQueryType = 30,
}

impl EdeCode {
    /// Whether the reason is that an answer is not, or not provably, what its zone says.
    pub(crate) fn is_of_validation(self) -> bool {
        (Self::DnssecIndeterminate as u16..=Self::NsecMissing as u16).contains(&(self as u16))
    }

    /// The codes that an upstream may give as its reason, and that are passed on.
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        use EdeCode::{
            Blocked, CachedError, Censored, DnskeyMissing, DnssecBogus, DnssecIndeterminate, Filtered, NetworkError,
            NoReachableAuthority, NoZoneKeyBit, NsecMissing, Other, Prohibited, RrsigsMissing, SignatureExpired,
            SignatureNotYetValid, StaleAnswer, StaleNxdomain,
        };
        let known = [
            Other,
            StaleAnswer,
            DnssecIndeterminate,
            DnssecBogus,
            SignatureExpired,
            SignatureNotYetValid,
            DnskeyMissing,
            RrsigsMissing,
            NoZoneKeyBit,
            NsecMissing,
            CachedError,
            Blocked,
            Censored,
            Filtered,
            Prohibited,
            StaleNxdomain,
            NoReachableAuthority,
            NetworkError,
        ];
        known.into_iter().find(|code| *code as u16 == number)
    }
}
