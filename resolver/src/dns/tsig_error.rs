//! Errors of transaction signatures.

/// Errors of a TSIG record (RFC 8945 §3), under their names there.
#[allow(clippy::enum_variant_names, reason = "the RFC calls them so")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum TsigError {
    BadSignature = 16,
    BadKey = 17,
    BadTime = 18,
    BadTruncation = 22,
}
