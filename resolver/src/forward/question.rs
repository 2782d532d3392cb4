//! A question for others.

use std::{net::SocketAddr, sync::Arc};

use crate::dname::Dname;

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
}

impl Authority {
    /// Those servers, whatever order they are named in.
    pub fn new(cut: Dname, mut servers: Vec<SocketAddr>) -> Self {
        servers.sort_unstable();
        Self { cut, servers }
    }
}
