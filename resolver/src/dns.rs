//! DNS as such: names, record types and data, answers, and the one reader and the one writer of messages.
//!
//! `message` reads headers, questions, records and EDNS options of any message, whoever sent it; `compressed` reads
//! names with pointers; `writer` writes messages up to a size. What messages mean is up to those who ask. Imports nothing
//! of the other rooms.

pub(crate) mod answer;
pub(crate) mod compressed;
pub(crate) mod ede;
pub(crate) mod message;
pub mod name;
pub mod rdata;
pub(crate) mod rrset;
pub mod rtype;
pub(crate) mod tsig_error;
pub(crate) mod writer;

/// Bytes of a header (RFC 1035 §4.1.1).
pub(crate) const HEADER_BYTES: usize = 12;

/// The flags and fields of the second word of a header (RFC 1035 §4.1.1, RFC 4035 §3).
pub(crate) mod flags {
    /// A response, not a query.
    pub(crate) const QR: u16 = 0x8000;
    /// What is to be done; 0 is a query.
    pub(crate) const OPCODE: u16 = 0x7800;
    /// Who answers speaks for the zone.
    pub(crate) const AA: u16 = 0x0400;
    /// The message was cut.
    pub(crate) const TC: u16 = 0x0200;
    /// Others are to be asked.
    pub(crate) const RD: u16 = 0x0100;
    /// Others may be asked.
    pub(crate) const RA: u16 = 0x0080;
    /// The data were validated.
    pub(crate) const AD: u16 = 0x0020;
    /// The data need not be validated.
    pub(crate) const CD: u16 = 0x0010;
    /// The response code, without the bits that EDNS adds.
    pub(crate) const RCODE: u16 = 0x000f;
    /// Among the flags of EDNS: signatures are wanted (RFC 3225).
    pub(crate) const DO: u16 = 0x8000;
}

/// Numbers of EDNS options (IANA "DNS EDNS0 Option Codes").
pub(crate) mod option {
    /// The name of the server (RFC 5001).
    pub(crate) const NSID: u16 = 3;
    /// RFC 7873.
    pub(crate) const COOKIE: u16 = 10;
    /// How long a connection may be idle (RFC 7828).
    pub(crate) const KEEPALIVE: u16 = 11;
    /// RFC 7830.
    pub(crate) const PADDING: u16 = 12;
    /// The extended error (RFC 8914).
    pub(crate) const EDE: u16 = 15;
}
