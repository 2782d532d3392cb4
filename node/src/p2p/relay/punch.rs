//! Hole punching (dcutr): over a relayed connection two nodes tell each other their addresses, and both dial at once.
//!
//! Whoever comes through a relay names addresses that this node then dials, and this node names its own. libp2p dials
//! whatever it is told and tells whatever others say that they see. So here
//!
//! - no address of this machine or of its local network is dialled for a stranger, nor many hosts, nor often;
//! - of what others say they see, only what peers of this node's own choice agree upon is told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    dcutr,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use crate::p2p::{
    asked_dials::AskedDials,
    netgroup::{Netgroup, Scope, Site, is_relayed},
};

use super::rate::{Buckets, Rate};

/// Addresses that a peer may name at a time, and hosts among them: one of each family, and one more of each while they
/// change.
const MAX_ADDRESSES: usize = 16;
const MAX_SITES: usize = 4;
/// Dials because somebody at the other end of a relay asks for it.
const DIALS: Rate = Rate { burst: 8, interval: Duration::from_secs(5) };
/// Own addresses remembered, the newest.
const MAX_CANDIDATES: usize = 16;

/// Why an address is not dialled.
#[derive(Debug, thiserror::Error)]
#[error("only a few public addresses are dialled for peers behind relays, and not often")]
pub struct NotDialled;

/// libp2p's behaviour with a guard.
pub struct Punch {
    inner: dcutr::Behaviour,
    asked: AskedDials,
    dials: Buckets<()>,
    /// Own addresses as others see them, oldest first.
    candidates: VecDeque<Multiaddr>,
    /// Where connected peers of this node's own choice see it, and their address groups.
    seen: BTreeMap<PeerId, (Site, Netgroup)>,
}

impl Punch {
    /// For the node with this identity.
    pub fn new(local: PeerId, scope: Scope) -> Self {
        Self {
            inner: dcutr::Behaviour::new(local),
            asked: AskedDials::new(scope),
            dials: Buckets::new(DIALS),
            candidates: VecDeque::new(),
            seen: BTreeMap::new(),
        }
    }

    /// A peer of this group, which this node chose itself, sees it at this address.
    pub fn seen_at(&mut self, by: PeerId, group: Netgroup, address: &Multiaddr) {
        if let Some(site) = Site::of(address) {
            self.seen.insert(by, (site, group));
        }
    }

    /// A peer has gone.
    pub fn gone(&mut self, peer: &PeerId) {
        self.seen.remove(peer);
    }

    /// Whether this node dials these addresses because somebody behind a relay named them. It counts as done.
    pub fn may_dial(&mut self, addresses: &[Multiaddr], now: Instant) -> bool {
        let sites: BTreeSet<_> = addresses.iter().filter_map(Site::of).collect();
        let is_modest = addresses.len() <= MAX_ADDRESSES && sites.len() <= MAX_SITES;
        is_modest && addresses.iter().all(|address| self.may_go_to(address)) && self.dials.take((), now)
    }

    /// Whether an address may be dialled for others.
    pub fn may_go_to(&self, address: &Multiaddr) -> bool {
        self.asked.may_go_to(address)
    }

    fn note_candidate(&mut self, address: &Multiaddr) {
        // Often it is one at which this node listens as well.
        if !self.asked.is_in_scope(address) {
            return;
        }
        self.candidates.retain(|other| other != address);
        if self.candidates.len() == MAX_CANDIDATES {
            self.candidates.pop_front();
        }
        self.candidates.push_back(address.clone());
    }

    /// Own addresses at hosts that peers of two address groups agree upon, or those of the only one.
    fn agreed(&self) -> impl Iterator<Item = &Multiaddr> {
        let groups = |site: Option<Site>| {
            let seen = self.seen.values().filter(|(other, _)| site.is_none_or(|site| *other == site));
            seen.map(|(_, group)| *group).collect::<BTreeSet<_>>().len()
        };
        let needed = groups(None).clamp(1, 2);
        let votes = move |site: Site| groups(Some(site));
        self.candidates.iter().filter(move |address| Site::of(address).is_some_and(|site| votes(site) >= needed))
    }

    /// Tells libp2p what it may tell over the relayed connection that is coming up.
    fn tell_addresses(&mut self) {
        for addr in self.agreed().cloned().collect::<Vec<_>>() {
            let event = FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr: &addr });
            self.inner.on_swarm_event(event);
        }
    }
}

impl NetworkBehaviour for Punch {
    type ConnectionHandler = <dcutr::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <dcutr::Behaviour as NetworkBehaviour>::ToSwarm;

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.asked.take(id) && !self.may_dial(addresses, Instant::now()) {
            return Err(ConnectionDenied::new(NotDialled));
        }
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(local) {
            self.tell_addresses();
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(address) {
            self.tell_addresses();
        }
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.asked.saw(&event);
        match event {
            FromSwarm::NewExternalAddrCandidate(event) => self.note_candidate(event.addr),
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let event = self.inner.poll(cx);
        self.asked.note(&event);
        event
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{core::transport::ListenerId, swarm::NewListenAddr};

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    fn public() -> Punch {
        Punch::new(PeerId::random(), Scope::Public)
    }

    #[test]
    fn no_host_at_home_is_dialled_for_strangers_and_no_crowd_of_hosts() {
        let now = Instant::now();
        let good = address("/ip4/198.51.100.7/tcp/9353");
        for bad in
            ["/ip4/127.0.0.1/tcp/8353", "/ip4/192.168.1.1/tcp/80", "/ip6/fd00::1/tcp/80", "/dns4/localhost/tcp/80"]
        {
            assert!(!public().may_dial(&[good.clone(), address(bad)], now), "{bad}");
        }
        let through = format!("{good}/p2p/{}/p2p-circuit", PeerId::random());
        assert!(!public().may_dial(&[address(&through)], now), "nor another relay");
        assert!(Punch::new(PeerId::random(), Scope::Anywhere).may_dial(&[address("/ip4/127.0.0.1/tcp/1")], now));
        let hosts: Vec<_> = (1..=5).map(|host| address(&format!("/ip4/198.51.100.{host}/tcp/1"))).collect();
        assert!(public().may_dial(&hosts[..MAX_SITES], now) && !public().may_dial(&hosts, now));
        let ports: Vec<_> = (1..=17).map(|port| address(&format!("/ip4/198.51.100.1/tcp/{port}"))).collect();
        assert!(public().may_dial(&ports[..MAX_ADDRESSES], now) && !public().may_dial(&ports, now));
    }

    #[test]
    fn dials_for_strangers_are_few() {
        let (mut punch, start) = (public(), Instant::now());
        let good = [address("/ip4/198.51.100.7/tcp/9353")];
        let made = (0..6_000).filter(|tenth| punch.may_dial(&good, start + Duration::from_millis(100 * tenth)));
        assert!(made.count() <= 8 + 120);
    }

    /// A dial of libp2p's that was asked for over a relay is looked at, and every other one is not its business.
    #[test]
    fn only_what_was_asked_for_is_refused() {
        let (mut punch, id) = (public(), ConnectionId::new_unchecked(7));
        let home = [address("/ip4/127.0.0.1/tcp/8353")];
        let dial =
            |punch: &mut Punch| punch.handle_pending_outbound_connection(id, None, &home, Endpoint::Dialer).is_ok();
        assert!(dial(&mut punch));
        punch.asked.ask(id);
        assert!(!dial(&mut punch));
    }

    /// Behind no translation, or with IPv6, others see it where it listens.
    #[test]
    fn its_own_address_is_told_though_nobody_has_it_dialled() {
        let (mut punch, own) = (public(), address("/ip4/198.51.100.7/tcp/9353"));
        let event = NewListenAddr { listener_id: ListenerId::next(), addr: &own };
        punch.on_swarm_event(FromSwarm::NewListenAddr(event));
        punch.note_candidate(&own);
        punch.seen_at(PeerId::random(), Netgroup::V4([20, 1]), &own);
        assert_eq!(punch.agreed().count(), 1);
        assert!(!punch.may_dial(&[own], Instant::now()));
    }

    #[test]
    fn one_liar_does_not_make_this_node_name_a_victim() {
        let mut punch = public();
        let (own, victim) = (address("/ip4/198.51.100.7/tcp/9353"), address("/ip4/203.0.113.9/tcp/443"));
        punch.note_candidate(&victim);
        punch.note_candidate(&own);
        assert_eq!(punch.agreed().count(), 0, "nobody that this node dialled has said anything");
        let (near, far) = (Netgroup::V4([20, 1]), Netgroup::V4([20, 2]));
        let liar = PeerId::random();
        punch.seen_at(liar, near, &victim);
        punch.seen_at(PeerId::random(), near, &victim);
        punch.seen_at(PeerId::random(), far, &own);
        assert_eq!(punch.agreed().count(), 0, "two of one group are one");
        punch.seen_at(PeerId::random(), Netgroup::V4([20, 3]), &own);
        assert_eq!(punch.agreed().collect::<Vec<_>>(), [&own]);
        let mut alone = public();
        alone.note_candidate(&own);
        alone.seen_at(PeerId::random(), near, &own);
        assert_eq!(alone.agreed().count(), 1, "the only one is believed");
        punch.gone(&liar);
        assert_eq!(punch.seen.len(), 3);
        (0..100).for_each(|port| punch.note_candidate(&address(&format!("/ip4/198.51.100.7/tcp/{}", port + 1))));
        assert_eq!(punch.candidates.len(), MAX_CANDIDATES);
    }
}
