//! Questions on their way to upstreams. The same question is asked once, however many clients wait for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::Question;
use crate::answer::Answer;

/// The most different questions on their way. Each is at least one attempt; what [`MAX_ATTEMPTS`](super::MAX_ATTEMPTS)
/// allows beyond is for asking second upstreams.
pub const MAX_FLIGHTS: usize = 256;

/// All flights.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Question, Landing>>>);

/// Where the answer will be.
pub(super) type Landing = watch::Receiver<Option<Arc<Answer>>>;

/// What came of wanting to know something.
pub(super) enum Boarding {
    /// The question is new: the caller has to answer it.
    Pilot(Flight, Landing),
    /// Somebody is asking it already.
    Passenger(Landing),
    /// Too many are under way.
    Full,
}

/// A question on its way. Dropping it without landing wakes all who wait, with nothing.
pub(super) struct Flight {
    flights: Flights,
    question: Question,
    landed: watch::Sender<Option<Arc<Answer>>>,
}

impl Flights {
    pub(super) fn board(&self, question: &Question) -> Boarding {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(question) {
            return Boarding::Passenger(landing.clone());
        }
        if flights.len() >= MAX_FLIGHTS {
            return Boarding::Full;
        }
        let (landed, landing) = watch::channel(None);
        flights.insert(question.clone(), landing.clone());
        Boarding::Pilot(Flight { flights: self.clone(), question: question.clone(), landed }, landing)
    }
}

impl Flight {
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// Gives the answer to all who wait.
    pub(super) fn land(self, answer: Answer) {
        self.landed.send_replace(Some(Arc::new(answer)));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.question);
    }
}

/// Waits for an answer; `None` if none will come.
pub(super) async fn wait(mut landing: Landing) -> Option<Answer> {
    let landed = landing.wait_for(Option::is_some).await.ok()?;
    landed.as_deref().cloned()
}
