//! Numbers of the record types and classes that this package has an opinion on (IANA "DNS parameters").

/// IPv4 address.
pub const A: u16 = 1;
/// Name server.
pub const NS: u16 = 2;
/// Alias of one name.
pub const CNAME: u16 = 5;
/// Start of authority.
pub const SOA: u16 = 6;
/// Pointer.
pub const PTR: u16 = 12;
/// Host information; synthesised for ANY (RFC 8482).
pub const HINFO: u16 = 13;
/// Mail exchange.
pub const MX: u16 = 15;
/// Text.
pub const TXT: u16 = 16;
/// IPv6 address.
pub const AAAA: u16 = 28;
/// Location (RFC 1876).
pub const LOC: u16 = 29;
/// Service (RFC 2782).
pub const SRV: u16 = 33;
/// Naming authority pointer (RFC 3403).
pub const NAPTR: u16 = 35;
/// Alias of a subtree (RFC 6672).
pub const DNAME: u16 = 39;
/// EDNS pseudo-record (RFC 6891).
pub const OPT: u16 = 41;
/// Delegation signer (RFC 4034).
pub const DS: u16 = 43;
/// SSH fingerprint (RFC 4255).
pub const SSHFP: u16 = 44;
/// Signature of a record set (RFC 4034).
pub const RRSIG: u16 = 46;
/// What exists at a name, and which name is next (RFC 4034).
pub const NSEC: u16 = 47;
/// Public key of a zone (RFC 4034).
pub const DNSKEY: u16 = 48;
/// TLS association (RFC 6698).
pub const TLSA: u16 = 52;
/// S/MIME association (RFC 8162).
pub const SMIMEA: u16 = 53;
/// The DS records that a zone wishes its parent to have (RFC 7344).
pub const CDS: u16 = 59;
/// The keys that it wishes them made from (RFC 7344).
pub const CDNSKEY: u16 = 60;
/// OpenPGP key (RFC 7929).
pub const OPENPGPKEY: u16 = 61;
/// Service binding (RFC 9460).
pub const SVCB: u16 = 64;
/// Service binding for HTTP (RFC 9460).
pub const HTTPS: u16 = 65;
/// Marks names that do not exist in compact denial; never a query type (RFC 9824 §3.5).
pub const NXNAME: u16 = 128;
/// Transaction key (RFC 2930).
pub const TKEY: u16 = 249;
/// Transaction signature (RFC 8945).
pub const TSIG: u16 = 250;
/// Incremental zone transfer (RFC 1995).
pub const IXFR: u16 = 251;
/// Zone transfer (RFC 5936).
pub const AXFR: u16 = 252;
/// Every type (RFC 8482).
pub const ANY: u16 = 255;
/// Uniform resource identifier (RFC 7553).
pub const URI: u16 = 256;
/// Certification authority authorisation (RFC 8659).
pub const CAA: u16 = 257;

/// The Internet class.
pub const CLASS_IN: u16 = 1;
/// The Chaos class, in which servers speak about themselves (RFC 4892).
pub const CLASS_CH: u16 = 3;
