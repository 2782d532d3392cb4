//! The listener for monitoring: `/metrics`, `/livez`, `/readyz`. Reads only, so it may listen wider than loopback.

use std::{net::SocketAddr, time::Duration};

use axum::{extract::State, http::header, response::IntoResponse, routing::get};
use tokio::sync::watch;

use super::{
    error::Refusal,
    health, listen,
    serving::{ApiError, Serving},
    state::ApiState,
};
use crate::metrics::Reading;

/// The listener.
pub struct MonitorServer {
    local_addr: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: Serving,
}

impl MonitorServer {
    /// Listens, for at most `connections` at a time. When this returns, scrapes are answered.
    pub async fn bind(address: SocketAddr, connections: usize, state: ApiState) -> Result<Self, ApiError> {
        let listener =
            listen::tcp(address).await.map_err(|error| ApiError::Listen { what: "metrics", address, error })?;
        let local_addr = listener.local_addr().ok();
        let (stop, mut stops) = watch::channel(false);
        let stopped = async move {
            // A dropped sender means that the server is gone, which is a stop as well.
            let _ = stops.wait_for(|stops| *stops).await;
        };
        let router = health::routes().route("/metrics", get(metrics)).with_state(state);
        let mut serving = Serving::new(connections);
        serving.add(listener, router, stopped);
        Ok(Self { local_addr, stop, serving })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Stops.
    pub async fn shutdown(self, deadline: Duration) {
        self.stop.send_replace(true);
        self.serving.end(deadline).await;
    }
}

async fn metrics(State(state): State<ApiState>) -> Result<impl IntoResponse, Refusal> {
    let parts = state.parts().clone();
    let rendered = tokio::task::spawn_blocking(move || {
        let store = parts.chain.reader().store().clone();
        let health = *parts.health.borrow();
        let reading = Reading::take(&parts.chain, &parts.p2p, &parts.miner, &parts.ops, &store, health);
        parts.metrics.render(&reading)
    });
    let text = rendered.await.map_err(|_| Refusal::internal("a metric failed"))?;
    let text = text.map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
