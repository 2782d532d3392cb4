//! Ctrl-C for commands that wait: heard from the beginning, so that one that comes while the node is being asked is not
//! lost.

use std::{future::Future, io, pin::Pin};

use crate::context::Context;

/// Listens for Ctrl-C.
pub struct Interrupt(Pin<Box<dyn Future<Output = io::Result<()>>>>);

impl Interrupt {
    /// Begins to listen.
    pub fn listen(context: &Context) -> Self {
        let mut ctrl_c: Pin<Box<dyn Future<Output = io::Result<()>>>> = Box::pin(tokio::signal::ctrl_c());
        // The first poll installs the handler.
        context.wait(async { futures::poll!(&mut ctrl_c) }).is_ready();
        Self(ctrl_c)
    }

    /// Runs a future, unless Ctrl-C comes first.
    pub fn or<T>(&mut self, context: &Context, work: impl Future<Output = T>) -> Option<T> {
        let ctrl_c = &mut self.0;
        context.wait(async {
            tokio::select! {
                _ = ctrl_c => None,
                done = work => Some(done),
            }
        })
    }
}
