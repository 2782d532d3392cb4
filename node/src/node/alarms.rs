//! Puts the chain's alarms where operators look: the log, and the metrics that alert rules watch.

use std::sync::Arc;

use tokio::sync::broadcast;
use tracing::error;

use crate::{
    chain::{Alarm, ChainEvent, ChainHandle},
    metrics::Metrics,
};

/// Runs until the chain stops.
pub(super) async fn run(chain: ChainHandle, metrics: Arc<Metrics>) {
    let mut events = chain.events();
    loop {
        match events.recv().await {
            Ok(event) => tell(&event, &metrics),
            // The counters that the chain keeps itself have missed nothing.
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn tell(event: &ChainEvent, metrics: &Metrics) {
    let alarm = match event {
        ChainEvent::Alarm(alarm) => alarm,
        ChainEvent::Connected(_)
        | ChainEvent::Disconnected(_)
        | ChainEvent::TransactionAdded(_)
        | ChainEvent::TransactionRemoved { .. } => return,
    };
    match alarm {
        Alarm::DeepFork { fork_height, candidate } => error!(fork_height, %candidate, alarm = "deep_fork", "alarm"),
        Alarm::DeepReorg { fork_height, depth } => error!(fork_height, depth, alarm = "deep_reorg", "alarm"),
        Alarm::BelowUndo { fork_height, candidate } => error!(fork_height, %candidate, alarm = "below_undo", "alarm"),
        Alarm::Corruption { height } => {
            metrics.corruption();
            error!(height, alarm = "corruption", "alarm");
        }
        Alarm::DiskFull => error!(alarm = "disk_full", "alarm"),
    }
}
