//! How the interface speaks to the operations.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    error::OpsError,
    id::OpId,
    record::Record,
    request::{Request, ResumeRequest},
    state::OperationState,
};
use crate::miner::WorkProgress;

/// Requests waiting for the runner; each is answered within a few reads and one synced write.
pub(super) const COMMANDS: usize = 64;
/// Changes kept for a slow reader of events.
const EVENTS: usize = 1_024;

/// An operation as shown.
#[derive(Clone, Debug)]
pub struct View {
    /// What is stored.
    pub record: Record,
    /// The search under way.
    pub progress: Option<WorkProgress>,
    /// Expected evaluations of that search.
    pub expected_hashes: u64,
    /// Height of the tip that this describes.
    pub height: u32,
}

pub(super) enum Command {
    Start(Request, oneshot::Sender<Result<Arc<View>, OpsError>>),
    Cancel(OpId, oneshot::Sender<Result<Arc<View>, OpsError>>),
    Resume(OpId, ResumeRequest, oneshot::Sender<Result<Arc<View>, OpsError>>),
    Shutdown,
}

/// What the runner publishes and everybody reads.
pub(super) struct Published {
    pub(super) views: RwLock<BTreeMap<OpId, Arc<View>>>,
    pub(super) events: broadcast::Sender<Arc<View>>,
}

impl Published {
    pub(super) fn new() -> Self {
        Self { views: RwLock::default(), events: broadcast::channel(EVENTS).0 }
    }
}

/// The way to the operations.
#[derive(Clone)]
pub struct OpsHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) published: Arc<Published>,
}

impl OpsHandle {
    /// Starts an operation; it is on disk when this returns.
    pub async fn start(&self, request: Request) -> Result<Arc<View>, OpsError> {
        self.ask(|reply| Command::Start(request, reply)).await
    }

    /// Stops an operation. What is published already cannot be taken back.
    pub async fn cancel(&self, id: OpId) -> Result<Arc<View>, OpsError> {
        self.ask(|reply| Command::Cancel(id, reply)).await
    }

    /// Goes on with an operation, with a new signature if it needs one.
    pub async fn resume(&self, id: OpId, request: ResumeRequest) -> Result<Arc<View>, OpsError> {
        self.ask(|reply| Command::Resume(id, request, reply)).await
    }

    /// The operation whose id begins with `text`.
    pub fn find(&self, text: &str) -> Result<Arc<View>, OpsError> {
        let views = self.published.views.read();
        let wanted = text.to_ascii_uppercase();
        let mut matching = views.iter().filter(|(id, _)| id.to_string().starts_with(&wanted));
        match (matching.next(), matching.next()) {
            (Some((_, view)), None) if !wanted.is_empty() => Ok(view.clone()),
            (Some(_), _) => Err(OpsError::Ambiguous(text.to_owned())),
            (None, _) => Err(OpsError::NotFound(text.to_owned())),
        }
    }

    /// Every operation kept, newest first.
    pub fn list(&self) -> Vec<Arc<View>> {
        self.published.views.read().values().rev().cloned().collect()
    }

    /// How many operations are in each state.
    pub fn counts(&self) -> [(OperationState, usize); 9] {
        let views = self.published.views.read();
        OperationState::ALL.map(|state| (state, views.values().filter(|view| view.record.state == state).count()))
    }

    /// Changes from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<View>> {
        self.published.events.subscribe()
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Arc<View>, OpsError>>) -> Command,
    ) -> Result<Arc<View>, OpsError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| OpsError::Stopped)?;
        answer.await.map_err(|_| OpsError::Stopped)?
    }
}
