//! The budget of new signatures: they cost processor time, and clients that are real can ask for as many as forged ones.
//!
//! Datagrams and connections have a budget each. Within it there is a share for every network, so that no client, however
//! well known, takes the signatures of all others. A query takes all the signatures that it needs, or none. A datagram
//! gets them at once or not at all. A query on a connection stands in two lines, that of its network and then that of
//! everybody; both are first come first served, and it is refused at once where it would wait too long. It sleeps once
//! in each and works only when its turn has come, so waiting costs nothing but memory.

use std::{net::IpAddr, time::Duration};

use super::{
    Guard, Now,
    bucket::{Bucket, Rate, Subject},
    budget::NETWORKS,
};
use crate::zones::query::Transport;

/// How long a query on a connection may wait.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most signatures that a line may hold, whatever the rate: each may keep an answer of a few kilobytes waiting.
const MAX_WAITING: u32 = 4_096;

/// Where signatures are waited for, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// That of the client's network.
    Network,
    /// That of everybody.
    Everybody,
}

/// Who wants signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SigningRequest {
    /// Where the query came from.
    pub(crate) src: IpAddr,
    /// What it came over.
    pub(crate) transport: Transport,
    /// How many signatures its answer needs.
    pub(crate) signatures: u32,
}

/// There are no signatures to be had soon enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OverBudget;

impl Guard {
    /// Waits until the signatures that `request` wants may be made; for a datagram that is now or never. Whoever goes
    /// away while it waits has used them up.
    pub(crate) async fn wait_to_sign(&self, request: &SigningRequest) -> Result<(), OverBudget> {
        if request.signatures == 0 {
            return Ok(());
        }
        let patience = match request.transport {
            Transport::Datagram => Duration::ZERO,
            Transport::Stream => PATIENCE,
        };
        let wait = self.line_up(Line::Network, request, patience, &self.now())?;
        pause(wait).await;
        match self.line_up(Line::Everybody, request, patience.saturating_sub(wait), &self.now()) {
            Ok(wait) => {
                pause(wait).await;
                Ok(())
            }
            Err(over) => {
                self.step_out_of_network_line(request, &self.now());
                Err(over)
            }
        }
    }

    /// Takes a place in a line, and says how long it is until its turn. Nothing is taken where that is longer than
    /// `patience`.
    pub(super) fn line_up(
        &self,
        line: Line,
        request: &SigningRequest,
        patience: Duration,
        now: &Now,
    ) -> Result<Duration, OverBudget> {
        let Some((bucket, rate)) = self.line(line, request) else { return Ok(Duration::ZERO) };
        let longest = match line {
            Line::Network => MAX_WAITING / NETWORKS,
            Line::Everybody => MAX_WAITING,
        };
        let patience_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX).min(rate.duration_ns(longest));
        let reserved = bucket.reserve(rate, request.signatures, patience_ns, now.ns);
        reserved.map(Duration::from_nanos).map_err(|_| OverBudget)
    }

    /// Gives back what the network was charged for nothing.
    fn step_out_of_network_line(&self, request: &SigningRequest, now: &Now) {
        if let Some((bucket, rate)) = self.line(Line::Network, request) {
            let _always = bucket.spend(rate, -i64::from(request.signatures), now.ns);
        }
    }

    /// The bucket in which a line forms; `None` if there is no limit for this client.
    fn line(&self, line: Line, request: &SigningRequest) -> Option<(&Bucket, Rate)> {
        let budget = self.signing.as_ref()?;
        match (line, request.transport) {
            (Line::Network, _) if self.access.load().exempt.contains(request.src) => None,
            (Line::Network, transport) => {
                let bucket = self.table.bucket(Subject::NetworkSignatures(transport), request.src);
                Some((bucket, budget.network_rate))
            }
            (Line::Everybody, Transport::Datagram) => Some((&budget.datagrams, budget.rate)),
            (Line::Everybody, Transport::Stream) => Some((&budget.streams, budget.rate)),
        }
    }
}

/// Datagrams must not pass through a timer, which would make a task of each.
async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}
