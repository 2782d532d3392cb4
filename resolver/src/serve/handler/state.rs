//! What answering needs, and what can be said of a question and a client without asking anybody.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hickory_server::server::Request;

use crate::{
    dns::{
        answer::Origin,
        ede::{Ede, EdeCode},
        message::Message,
        name::Dname,
    },
    metrics::DnsMetrics,
    names::source::NameSource,
    out::{forward::Forwarder, transfer::Transfers},
    policy::guard::{Guard, scan::Claims},
    zones::{
        answer::{Verdict, answer, answer_with_hosts, special_zone_of},
        hosts::{Audience, HostsFiles},
        query::{Query, Recursion},
        sign::Signer,
        site::Site,
    },
};

/// Answers requests.
pub(crate) struct Handler {
    pub(crate) site: Site,
    pub(crate) source: Arc<dyn NameSource>,
    pub(crate) forwarder: Forwarder,
    pub(crate) transfers: Transfers,
    pub(crate) metrics: Arc<DnsMetrics>,
    pub(crate) signer: Option<Signer>,
    pub(crate) hosts: Option<HostsFiles>,
    pub(crate) guard: Guard,
    pub(crate) delegations: Delegations,
    /// Whether answers about names of the ledger must not lead into the local network.
    pub(crate) ledger_guard: bool,
    /// How long connections may be idle, in units of 100 ms (RFC 7828).
    pub(crate) keepalive: u16,
}

/// How delegated names are treated.
pub(crate) struct Delegations {
    /// Whether their servers are asked.
    pub(crate) is_on: bool,
    /// The port of those.
    pub(crate) port: u16,
    /// Where this server listens.
    pub(crate) listen: Vec<SocketAddr>,
}

impl Handler {
    /// Whether a client there may have other questions forwarded (the RA bit).
    pub(crate) fn offers_recursion(&self, src: IpAddr) -> bool {
        self.forwarder.is_enabled() && self.guard.may_forward(src)
    }

    /// What an answer to `message` says of itself if nobody looks for what it is about: AA for names of our zones and
    /// special-use names, RA as always.
    pub(crate) fn claims(&self, message: &[u8], client: IpAddr) -> Claims {
        let question = Message::new(message).and_then(|message| message.question());
        let name = question.and_then(|question| Dname::split_wire(question.bytes).ok());
        let is_ours = |name: &Dname| self.site.zone_of(name).is_some() || special_zone_of(name).is_some();
        Claims {
            authoritative: name.is_some_and(|(name, _)| is_ours(&name)),
            recursion_available: self.offers_recursion(client),
        }
    }

    /// What our own sources say; the snapshot is let go again.
    pub(super) fn verdict(&self, query: &Query, client: IpAddr) -> Verdict {
        let (view, site) = (self.source.view(), &self.site);
        match (&self.hosts, self.audience(client)) {
            (Some(files), Some(audience)) => answer_with_hosts(query, &*view, site, files.load().told_to(audience)),
            _ => answer(query, &*view, site),
        }
    }

    /// As whom a client hears what HOSTS files say: they are about this house, so strangers hear nothing.
    pub(crate) fn audience(&self, client: IpAddr) -> Option<Audience> {
        let client = client.to_canonical();
        match self.guard.may_forward(client) {
            true if client.is_loopback() => Some(Audience::ThisMachine),
            true => Some(Audience::House),
            false => None,
        }
    }

    /// Whether a client leaves it to us to ask the servers of a delegated name.
    pub(super) fn resolves(&self, query: &Query, client: IpAddr) -> bool {
        query.recursion == Recursion::Desired && self.guard.may_forward(client)
    }

    /// Whether what we say about a name that was asked for may lead into the local network. Names of others are the
    /// forwarder's affair, and what a HOSTS file says about the name itself is the operator's word.
    pub(super) fn may_be_local(&self, asked: &Dname, origin: Origin) -> bool {
        let key = asked.as_wire().strip_suffix(b"\0").unwrap_or_default();
        // Its origin says already that this client hears of it.
        let is_in_file =
            || self.hosts.as_ref().is_some_and(|files| files.load().told_to(Audience::ThisMachine).has(key));
        !self.ledger_guard || self.site.zone_of(asked).is_none() || (origin == Origin::Hosts && is_in_file())
    }

    /// Whether a rule of the operator sends a special-use name elsewhere, for this client.
    pub(super) fn is_opened(&self, query: &Query, request: &Request) -> bool {
        self.forwarder.opens(&query.name) && self.may_forward(query, request).is_ok()
    }

    /// Whether this client's question may be passed on; if not, what to say. An open forwarder is an amplifier and a
    /// cache for strangers to poison, so only clients that the guard knows are served.
    pub(super) fn may_forward(&self, query: &Query, request: &Request) -> Result<(), Ede> {
        let (code, text) = match query.recursion {
            _ if !self.forwarder.is_enabled() => (EdeCode::NotAuthoritative, "not our zone, and forwarding is off"),
            Recursion::NotDesired => (EdeCode::NotAuthoritative, "not our zone, and recursion was not asked for"),
            Recursion::Desired if !self.guard.may_forward(request.src().ip()) => {
                (EdeCode::Prohibited, "not our zone, and clients at this address are not forwarded for")
            }
            Recursion::Desired => return Ok(()),
        };
        Err(Ede { code, text: text.into() })
    }
}
