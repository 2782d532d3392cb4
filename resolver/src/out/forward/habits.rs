//! What one server cannot take, learnt from what it does: EDNS, and questions whose letters have random case.
//!
//! Whatever is learnt is forgotten after [`MEMORY_MS`], so that a server that was replaced is tried anew. A server that
//! has shown once that it can is not suspected again for a refusal or for silence.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{
    link_error::LinkError,
    request::{Edns, Letters, Style},
    response::{BADVERS, FORMERR, NOERROR, NOTIMP, NXDOMAIN, Response, SERVFAIL},
};

/// How long it is remembered that a server cannot do something, in milliseconds (unbound: as long).
const MEMORY_MS: u64 = 15 * 60_000;
/// After so many questions in a row that were answered only in their plainest form, that form is taken at once. One may
/// be a lost datagram.
const MAX_DEAF: u32 = 2;

/// What is known about a server.
#[derive(Debug)]
pub(super) struct Habits {
    edns: Ability,
    mixed: Ability,
    // Questions in a row that were answered only in their plainest form.
    deaf: AtomicU32,
}

#[derive(Debug, Default)]
struct Ability {
    is_proven: AtomicBool,
    off_until_ms: AtomicU64,
}

/// What to leave out of a question that a server did not like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    WithoutEdns,
    LowerCase,
}

impl Ability {
    fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    fn prove(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
    }

    fn forget_until(&self, ms: u64) {
        self.is_proven.store(false, Ordering::Relaxed);
        self.off_until_ms.store(ms, Ordering::Relaxed);
    }

    fn forget(&self) {
        // What never ends was not learnt.
        if self.off_until_ms.load(Ordering::Relaxed) != u64::MAX {
            self.forget_until(0);
        }
    }

    fn is_on(&self, now_ms: u64) -> bool {
        self.off_until_ms.load(Ordering::Relaxed) <= now_ms
    }
}

impl Habits {
    /// Nothing is known; `letters` is how questions are written at best.
    pub(super) fn new(letters: Letters) -> Self {
        let mixed = Ability::default();
        if letters == Letters::Lower {
            mixed.forget_until(u64::MAX);
        }
        Self { edns: Ability::default(), mixed, deaf: AtomicU32::new(0) }
    }

    /// Takes the server for one that was never asked.
    pub(super) fn forget(&self) {
        self.edns.forget();
        self.mixed.forget();
        self.deaf.store(0, Ordering::Relaxed);
    }

    /// How to write a question.
    pub(super) fn style(&self, now_ms: u64) -> Style {
        let edns = if self.edns.is_on(now_ms) { Edns::With } else { Edns::Without };
        let letters = if self.mixed.is_on(now_ms) { Letters::Mixed } else { Letters::Lower };
        Style { edns, letters }
    }

    /// How to write it for the last time, when there was no answer: without what the server has never shown to know.
    pub(super) fn plainest(&self, style: Style) -> Style {
        Style {
            edns: if self.edns.is_proven() { style.edns } else { Edns::Without },
            letters: if self.mixed.is_proven() { style.letters } else { Letters::Lower },
        }
    }

    /// What to try without after such an outcome, each in turn.
    pub(super) fn suspects(
        &self,
        outcome: &Result<Response, LinkError>,
        style: Style,
    ) -> impl Iterator<Item = Change> + use<> {
        let edns = style.edns == Edns::With && self.dislikes_edns(outcome);
        let mixed = style.letters == Letters::Mixed && self.dislikes_mixed(outcome);
        [edns.then_some(Change::WithoutEdns), mixed.then_some(Change::LowerCase)].into_iter().flatten()
    }

    fn dislikes_edns(&self, outcome: &Result<Response, LinkError>) -> bool {
        let Ok(response) = outcome else { return false };
        match response.rcode {
            // With an OPT record as well: many copy what they did not understand.
            FORMERR | NOTIMP | BADVERS => true,
            SERVFAIL => !response.has_edns && !self.edns.is_proven(),
            _ => false,
        }
    }

    fn dislikes_mixed(&self, outcome: &Result<Response, LinkError>) -> bool {
        match outcome {
            Err(LinkError::LetterCase) => true,
            Err(_) => false,
            Ok(response) => !self.mixed.is_proven() && is_poor(response),
        }
    }

    /// Notes that `style` was answered; `first` is how the question was written first, before silence.
    pub(super) fn answered(&self, response: &Response, first: Style, style: Style, now_ms: u64) {
        let is_complaint = matches!(response.rcode, FORMERR | NOTIMP | BADVERS);
        if style.edns == Edns::With && response.has_edns && !is_complaint {
            self.edns.prove();
        }
        if style.letters == Letters::Mixed && !is_poor(response) {
            self.mixed.prove();
        }
        if style == first {
            self.deaf.store(0, Ordering::Relaxed);
        } else if self.deaf.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_DEAF {
            self.learn_difference(first, style, now_ms);
        }
    }

    /// Notes that a change was what it took. Of what the server has shown to know, one such question proves nothing.
    pub(super) fn learn(&self, change: Change, now_ms: u64) {
        match change {
            Change::WithoutEdns if self.edns.is_proven() => {}
            Change::LowerCase if self.mixed.is_proven() => {}
            Change::WithoutEdns => self.edns.forget_until(now_ms + MEMORY_MS),
            Change::LowerCase => self.mixed.forget_until(now_ms + MEMORY_MS),
        }
    }

    fn learn_difference(&self, first: Style, style: Style, now_ms: u64) {
        if first.edns != style.edns {
            self.learn(Change::WithoutEdns, now_ms);
        }
        if first.letters != style.letters {
            self.learn(Change::LowerCase, now_ms);
        }
    }
}

impl Change {
    /// A style without it.
    pub(super) fn apply(self, style: Style) -> Style {
        match self {
            Self::WithoutEdns => Style { edns: Edns::Without, ..style },
            Self::LowerCase => Style { letters: Letters::Lower, ..style },
        }
    }
}

/// Whether a response says less than another could.
pub(super) fn is_poor(response: &Response) -> bool {
    response.is_refusal() || response.rcode == NXDOMAIN || (response.rcode == NOERROR && response.answers.is_empty())
}

/// Whether `new` is worth more than `old`, which was poor or none.
pub(super) fn is_better(new: &Response, old: &Result<Response, LinkError>) -> bool {
    match old {
        Err(_) => true,
        Ok(old) if old.is_refusal() => !new.is_refusal(),
        Ok(_) => !is_poor(new),
    }
}
