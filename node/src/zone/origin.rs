//! The name that records stand under.

use std::fmt;

use ledger::name::Name;

use super::name::{absolute, below, display_sub};

/// TTL of records that give none and stand under no `$TTL`: an hour.
pub const DEFAULT_TTL: u32 = 3_600;

/// The name that records stand under, and the suffix that makes it absolute: `alice` and `p2p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    name: Name,
    /// `\x05alice\x03p2p\x00`
    wire: Vec<u8>,
}

impl Origin {
    /// The origin of `name` under `suffix`, which may have several labels and a dot at either end.
    pub fn new(name: Name, suffix: &str) -> Self {
        let mut wire = Vec::new();
        let labels = suffix.split('.').filter(|label| !label.is_empty());
        for label in std::iter::once(name.as_str()).chain(labels) {
            let label = label.to_ascii_lowercase();
            let bytes = &label.as_bytes()[..label.len().min(63)];
            wire.push(bytes.len() as u8);
            wire.extend_from_slice(bytes);
        }
        wire.push(0);
        Self { name, wire }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The whole, in absolute wire form.
    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// A wire name with its root as text, relative to this where that is possible.
    pub(super) fn relative(&self, wire: &[u8]) -> String {
        match below(wire, &self.wire) {
            Some(sub) => display_sub(sub),
            None => absolute(wire),
        }
    }

    /// Whether the last dot was probably forgotten: `www.alice.p2p` below `alice.p2p.`.
    pub(super) fn is_repeated_in(&self, text: &str) -> bool {
        let absolute = self.to_string();
        let bare = absolute.trim_end_matches('.');
        let text = text.to_ascii_lowercase();
        text == bare || text.strip_suffix(bare).is_some_and(|head| head.ends_with('.'))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&absolute(&self.wire))
    }
}
