//! The one algorithm of our signatures, and its numbers and lengths.

/// ECDSAP256SHA256 (RFC 6605 §2).
pub const ALGORITHM: u8 = 13;
/// A zone key that is a secure entry point (RFC 4034 §2.1.1).
pub const FLAGS: u16 = 257;
/// The only protocol there is (RFC 4034 §2.1.2).
pub const PROTOCOL: u8 = 3;
/// DS digests are SHA-256 (RFC 4509).
pub const DS_DIGEST: u8 = 2;
/// Length of a SHA-256 digest in bytes.
pub(super) const DIGEST_BYTES: usize = 32;
/// Length of an ECDSA P-256 signature in bytes (RFC 6605 §4).
pub(super) const SIGNATURE_BYTES: usize = 64;
