//! Messages for everybody that nobody has taken yet.

use std::{collections::VecDeque, time::Instant};

use crate::p2p::gossip::Kind;

/// Messages that found no listener.
#[derive(Default)]
pub struct Outbox {
    pub(super) waiting: VecDeque<(Instant, Kind, Vec<u8>)>,
    pub(super) last_try: Option<Instant>,
}
