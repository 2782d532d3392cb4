//! One question as the answering code sees it, free of wire and transport types.

use crate::dns::name::Dname;

/// The largest UDP message that we send, and the size that we advertise, in bytes (DNS flag day 2020).
pub const MAX_UDP_BYTES: u16 = 1232;
/// The largest UDP message to a client without EDNS, in bytes (RFC 1035 §4.2.1).
pub const MIN_UDP_BYTES: u16 = 512;

/// A question and what its sender can take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Name asked for, lower-cased. The case that was sent comes back in the question section, which is copied.
    pub name: Dname,
    /// Type asked for.
    pub qtype: u16,
    /// Class asked for.
    pub qclass: u16,
    /// What the question came on.
    pub transport: Transport,
    /// Whether the client wants others asked on its behalf (RD).
    pub recursion: Recursion,
    /// The client's EDNS record, if it sent one (RFC 6891).
    pub edns: Option<ClientEdns>,
}

/// How a question came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// Over UDP: small answers, forgeable source.
    Datagram,
    /// Over a connection.
    Stream,
}

/// The RD bit of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recursion {
    /// Set.
    Desired,
    /// Clear.
    NotDesired,
}

/// What matters in a client's EDNS record. Unknown options are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientEdns {
    /// EDNS version; only 0 is known.
    pub version: u8,
    /// Largest UDP message the client can take, in bytes.
    pub payload: u16,
    /// The DO bit (RFC 3225).
    pub dnssec_ok: bool,
    /// The CO bit: with DO, absent names may be answered NXDOMAIN instead of NOERROR (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// Whether the name server identifier is asked for (RFC 5001).
    pub wants_nsid: bool,
}

impl Query {
    /// The largest answer that may be sent, in bytes.
    pub fn max_answer_bytes(&self) -> u16 {
        match (self.transport, &self.edns) {
            (Transport::Stream, _) => u16::MAX,
            (Transport::Datagram, None) => MIN_UDP_BYTES,
            (Transport::Datagram, Some(edns)) => edns.payload.clamp(MIN_UDP_BYTES, MAX_UDP_BYTES),
        }
    }

    /// Whether the client set the DO bit.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client knows compact denial of existence by its NSEC record, whatever the code says.
    pub fn compact_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.compact_ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_never_larger_than_both_sides_can_take() {
        let query = |transport, payload: Option<u16>| Query {
            name: Dname::root(),
            qtype: 1,
            qclass: 1,
            transport,
            recursion: Recursion::Desired,
            edns: payload.map(|payload| ClientEdns {
                version: 0,
                payload,
                dnssec_ok: false,
                compact_ok: false,
                wants_nsid: false,
            }),
        };
        for (transport, payload, expected) in [
            (Transport::Datagram, None, 512),
            (Transport::Datagram, Some(0), 512),
            (Transport::Datagram, Some(1_000), 1_000),
            (Transport::Datagram, Some(4_096), 1_232),
            (Transport::Stream, None, u16::MAX),
            (Transport::Stream, Some(512), u16::MAX),
        ] {
            assert_eq!(query(transport, payload).max_answer_bytes(), expected, "{transport:?} {payload:?}");
        }
    }
}
