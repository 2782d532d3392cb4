//! Waiting for the database to be closed, which happens wherever its last user happens to be.

use tokio::sync::watch;

/// Lives in the database, as the last of its fields to be dropped.
pub(super) struct Alive(watch::Sender<()>);

impl Default for Alive {
    fn default() -> Self {
        Self(watch::channel(()).0)
    }
}

impl Alive {
    pub(super) fn watch(&self) -> Closed {
        Closed(self.0.subscribe())
    }
}

/// Learns when a database is closed, without keeping it open.
pub struct Closed(watch::Receiver<()>);

impl Closed {
    /// Waits until nobody uses the database any more and its directory can be opened again.
    pub async fn wait(mut self) {
        // Nothing is ever sent; the only news is that the sender is gone.
        while self.0.changed().await.is_ok() {}
    }
}
