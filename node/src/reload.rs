//! Reading the configuration again on request: who asks, who does it, and what came of it.
//!
//! Where the configuration is, is known to the program that was started, which also hears SIGHUP. So requests are passed
//! to it, and it answers them one after the other.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// What a new configuration meant for a running node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reloaded {
    /// Keys whose new values hold from now on.
    pub changed: Vec<String>,
    /// Keys whose new values will hold after a restart.
    pub needs_restart: Vec<String>,
    /// Names that are answered from HOSTS files now, if there are any such files.
    pub hosts_names: Option<usize>,
    /// What could not be taken over, each with its reason: what was there before holds.
    pub problems: Vec<String>,
}

/// Why nothing was reloaded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration cannot be read, or is wrong. The one before holds.
    #[error("{0}")]
    Configuration(String),
    /// Nobody reads it: this node was not started from a file, or is stopping.
    #[error("this node does not read its configuration again")]
    Unavailable,
}

/// One request.
pub struct ReloadRequest(oneshot::Sender<Result<Reloaded, ReloadError>>);

/// Asks for a reload. Clones ask the same program.
#[derive(Clone, Default)]
pub struct ReloadHandle(Arc<Mutex<Option<mpsc::Sender<ReloadRequest>>>>);

/// What was asked for, in order.
pub struct ReloadRequests(mpsc::Receiver<ReloadRequest>);

impl ReloadHandle {
    /// Has the configuration read again.
    ///
    /// # Errors
    ///
    /// If it is wrong, which changes nothing, or if no program takes requests.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (request, outcome) = oneshot::channel();
        let sent = sender.ok_or(ReloadError::Unavailable)?.send(ReloadRequest(request)).await;
        sent.map_err(|_| ReloadError::Unavailable)?;
        outcome.await.map_err(|_| ReloadError::Unavailable)?
    }

    /// The requests from now on; an earlier receiver gets no more.
    pub fn requests(&self) -> ReloadRequests {
        let (sender, requests) = mpsc::channel(1);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        ReloadRequests(requests)
    }
}

impl ReloadRequests {
    /// The next one, whenever that comes.
    pub async fn next(&mut self) -> ReloadRequest {
        match self.0.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

impl ReloadRequest {
    /// Tells what came of it. Whoever asked may have gone.
    pub fn answer(self, outcome: Result<Reloaded, ReloadError>) {
        drop(self.0.send(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_answered_by_whoever_takes_them() {
        let handle = ReloadHandle::default();
        assert_eq!(handle.reload().await, Err(ReloadError::Unavailable), "nobody is there");
        let mut requests = handle.requests();
        let told = Reloaded { hosts_names: Some(7), ..Reloaded::default() };
        let answering = async { requests.next().await.answer(Ok(told.clone())) };
        let (outcome, ()) = tokio::join!(handle.reload(), answering);
        assert_eq!(outcome, Ok(told));
        let (outcome, request) = tokio::join!(handle.reload(), async { drop(requests.next().await) });
        assert_eq!((outcome, request), (Err(ReloadError::Unavailable), ()), "it stopped meanwhile");
        drop(requests);
        assert_eq!(handle.reload().await, Err(ReloadError::Unavailable), "nobody is there any more");
    }
}
