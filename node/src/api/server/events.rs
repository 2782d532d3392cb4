//! `GET /v1/events`: tips as server-sent events, and operations for whom they concern.
//!
//! A reader that falls behind the bounded channel is told that events are missing, and the stream ends: it reads the
//! status and connects again, instead of believing that it has seen everything.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::sse::{Event as SseEvent, KeepAlive, Sse},
};
use futures::Stream;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{self, error::RecvError},
    mpsc, watch,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    error::Refusal,
    guard::{Asker, token_needed},
    operations::operation_of,
    state::ApiState,
};
use crate::{
    api::types::{Event, Lagged, TipEvent, VERSION, rfc3339},
    chain::Tip,
    ops::View,
};

/// Events waiting in one connection; beyond them they wait in the sources, which have bounds of their own.
const WAITING: usize = 16;
/// How often a silent stream says that it lives, so that either side notices a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tips as they happen, and operations: over TCP with the token only.
#[utoipa::path(get, path = "/v1/events", tag = "node", security((), ("token" = [])),
    responses((status = 200, content_type = "text/event-stream", body = Event),
    (status = 401, body = crate::api::types::ErrorEnvelope),
    (status = 503, body = crate::api::types::ErrorEnvelope)))]
pub(super) async fn events(
    State(state): State<ApiState>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, Refusal> {
    if asker == Asker::Anybody && headers.contains_key(header::AUTHORIZATION) {
        // With tips alone, a reader who believes to be known would wait for operations for ever.
        return Err(token_needed("this is not the node's token"));
    }
    let permit = state.event_readers().clone().try_acquire_owned().map_err(|_| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_readers", "too many programs read events already")
    })?;
    let (out, stream) = mpsc::channel(WAITING);
    let operations = match asker {
        Asker::Owner => Some(state.parts().ops.events()),
        Asker::Anybody => None,
    };
    let source = Source { tips: state.parts().chain.watch(), operations, state };
    tokio::spawn(source.pump(out, permit));
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Source {
    state: ApiState,
    tips: watch::Receiver<Arc<Tip>>,
    /// `None` for readers whom they do not concern.
    operations: Option<broadcast::Receiver<Arc<View>>>,
}

impl Source {
    /// Runs until the reader leaves, falls behind, or the node stops.
    async fn pump(mut self, out: mpsc::Sender<Result<SseEvent, Infallible>>, _permit: OwnedSemaphorePermit) {
        self.tips.mark_changed();
        let mut stopped = pin!(self.state.stopped());
        loop {
            let event = tokio::select! {
                () = out.closed() => return,
                () = &mut stopped => return,
                event = self.next() => event,
            };
            let Some(event) = event else { return };
            let is_last = matches!(event, Event::Lagged(_));
            let sent = tokio::select! {
                sent = out.send(Ok(encode(&event))) => sent,
                () = &mut stopped => return,
            };
            if sent.is_err() || is_last {
                return;
            }
        }
    }

    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            changed = self.tips.changed() => {
                changed.ok()?;
                let tip = self.tips.borrow_and_update().clone();
                Some(Event::Tip(tip_event(&tip)))
            }
            view = received(&mut self.operations) => match view {
                Ok(view) => Some(Event::Operation(Box::new(operation_of(&self.state, &view)))),
                Err(RecvError::Lagged(missed)) => Some(Event::Lagged(Lagged { v: VERSION, missed })),
                Err(RecvError::Closed) => None,
            },
        }
    }
}

/// The next operation; never, without a receiver.
async fn received(operations: &mut Option<broadcast::Receiver<Arc<View>>>) -> Result<Arc<View>, RecvError> {
    match operations {
        Some(operations) => operations.recv().await,
        None => std::future::pending().await,
    }
}

fn tip_event(tip: &Tip) -> TipEvent {
    TipEvent {
        v: VERSION,
        height: tip.height,
        hash: tip.hash.to_string(),
        time: rfc3339(tip.time),
        names: tip.name_count,
    }
}

fn encode(event: &Event) -> SseEvent {
    let name = match event {
        Event::Tip(_) => "tip",
        Event::Operation(_) => "operation",
        Event::Lagged(_) => "lagged",
    };
    let json = serde_json::to_string(event).expect("events have string keys and no failing serialiser");
    SseEvent::default().event(name).data(json)
}
