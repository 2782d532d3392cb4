//! The address book, the configured peers, and the dials under way.

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use libp2p::PeerId;
use tokio::task::spawn_blocking;

use crate::{
    p2p::{address_book::AddressBook, config::Config, configured::Configured, netgroup::Netgroup, places::Secret},
    sync::Millis,
};

use super::entry::{DialId, Purpose};

/// Least time between two peers that are dialled again, and for which each has been here.
pub(super) const AGAIN_MS: u64 = 300_000;
const FILE: &str = "peers.txt";

/// Dialling state.
pub struct Dialing {
    pub book: AddressBook,
    pub configured: Configured,
    pub(super) file: PathBuf,
    pub(super) dials: HashMap<DialId, Target>,
    pub(super) rounds: u64,
    /// When a connected peer was last dialled again, to ask it something.
    pub(super) last_again: Option<Millis>,
    /// How long it takes until the next one is.
    pub(super) again_pause_ms: u64,
}

/// What a dial is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A peer of the book, to keep, in this address group.
    Book(PeerId, Netgroup),
    /// A peer of the book, to see whether it is there.
    Feeler(PeerId),
    /// An address of the configuration, by its number.
    Configured(usize),
}

impl Target {
    pub fn purpose(self) -> Purpose {
        match self {
            Self::Book(..) | Self::Configured(_) => Purpose::Chosen,
            Self::Feeler(_) => Purpose::Feeler,
        }
    }

    pub fn book_peer(self) -> Option<PeerId> {
        match self {
            Self::Book(peer, _) | Self::Feeler(peer) => Some(peer),
            Self::Configured(_) => None,
        }
    }
}

impl Dialing {
    /// Reads the book, or begins one with this secret.
    pub fn new(config: &Config, data_dir: &Path, secret: Secret) -> Self {
        let file = data_dir.join(FILE);
        // No file yet, or an unreadable one: the book fills again by itself.
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let (book, skipped) = AddressBook::from_text(&text, secret);
        if skipped > 0 {
            tracing::info!(skipped, file = %file.display(), "lines of the address book are of no form known here, and are left out");
        }
        let configured = Configured::new(&config.peers);
        Self { book, configured, file, dials: HashMap::new(), rounds: 0, last_again: None, again_pause_ms: AGAIN_MS }
    }

    /// Writes the book, remembering whom to dial first after a restart.
    pub async fn save(&mut self, anchors: Vec<PeerId>) {
        self.book.set_anchors(anchors);
        let (file, text) = (self.file.clone(), self.book.to_text());
        // The book is a convenience: if it cannot be written, the node goes on and says so.
        if let Ok(Err(error)) = spawn_blocking(move || write_atomically(&file, &text)).await {
            tracing::warn!(%error, "the address book could not be written");
        }
    }
}

/// Replaces the book as a whole.
pub(super) fn write_atomically(file: &Path, text: &str) -> std::io::Result<()> {
    let temporary = file.with_extension("tmp");
    let mut written = File::create(&temporary)?;
    written.write_all(text.as_bytes())?;
    // Otherwise the name may be on the disk before the text is, and a power cut leaves an empty book.
    written.sync_all()?;
    std::fs::rename(temporary, file)
}
