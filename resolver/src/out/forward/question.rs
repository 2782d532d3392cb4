//! A question for others.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;

use crate::dns::name::Dname;

/// A question to pass on, in class IN, recursion desired.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// Name.
    pub name: Dname,
    /// Type.
    pub qtype: u16,
    /// The client's DO bit.
    pub dnssec_ok: bool,
    /// The client's CD bit.
    pub checking_disabled: bool,
    /// Who is asked, if the name is delegated: what former servers of it said is no answer of its present ones.
    pub authority: Option<Arc<Authority>>,
}

/// Who answers for a name that its owner delegates.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Authority {
    /// The name that is delegated. They speak for it and what is below it, and for nothing else.
    pub cut: Dname,
    /// Their addresses, in order.
    pub servers: Vec<SocketAddr>,
    /// Data of the DS records that vouch for its keys, in order; without any that can be checked, it is not signed.
    pub signers: Vec<Bytes>,
}

impl Authority {
    /// Those servers, whatever order they are named in.
    pub fn new(cut: Dname, mut servers: Vec<SocketAddr>) -> Self {
        servers.sort_unstable();
        Self { cut, servers, signers: Vec::new() }
    }

    /// The same for a zone whose keys these DS records vouch for.
    pub fn signed_by(self, mut signers: Vec<Bytes>) -> Self {
        signers.sort_unstable();
        Self { signers, ..self }
    }
}
