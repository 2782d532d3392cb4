//! The address book as text: a first line with the secret, then one peer per line.
//!
//! ```text
//! secret HEX
//! last_ok anchor source peer address…
//! ```
//!
//! What was reached last stands first. `source` is the address group of whoever told, ten hexadecimal digits.

use std::cmp::Reverse;

use ledger::hash::{from_hex, to_hex};
use libp2p::{Multiaddr, PeerId};

use crate::p2p::{netgroup::Netgroup, places::Secret};

use super::{AddressBook, MAX_ADDRESSES, MAX_PEERS};

impl AddressBook {
    /// The book as text.
    pub fn to_text(&self) -> String {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(peer, entry)| (Reverse(entry.last_ok), **peer));
        let mut text = format!("secret {}\n", to_hex(&self.secret));
        for (peer, entry) in entries {
            let addresses: Vec<_> = entry.addresses.iter().map(ToString::to_string).collect();
            let (anchor, source) = (u8::from(entry.is_anchor), to_hex(&entry.source.to_bytes()));
            text += &format!("{} {anchor} {source} {peer} {}\n", entry.last_ok, addresses.join(" "));
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote. A book without a secret gets the one given here. Lines that make no
    /// sense, or are of another version's form, are skipped: the book is a convenience. Their number comes second. The form
    /// without `source` is not read: whoever wrote it was of another network, since CHAIN_ID has changed since then.
    pub fn from_text(text: &str, fresh: Secret) -> (Self, usize) {
        let mut lines = text.lines().peekable();
        let kept = lines.peek().and_then(|line| secret_of(line));
        let mut book = Self::new(kept.unwrap_or(fresh));
        let skipped = lines
            .take(MAX_PEERS + 1)
            .filter(|line| !line.starts_with("secret "))
            .filter(|line| book.read_line(line).is_none())
            .count();
        (book, skipped)
    }

    /// `None` if the line makes no sense. Whom it names may still find no place.
    fn read_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let last_ok: u64 = words.next()?.parse().ok()?;
        let is_anchor = words.next()? == "1";
        let source = from_hex(words.next()?)?.try_into().ok().and_then(Netgroup::from_bytes)?;
        let peer: PeerId = words.next()?.parse().ok()?;
        let addresses: Option<Vec<Multiaddr>> = words.take(MAX_ADDRESSES).map(|word| word.parse().ok()).collect();
        let addresses = addresses?;
        match last_ok {
            0 => addresses.iter().for_each(|address| self.hear(peer, address, source)),
            // The address that was reached last stands first.
            _ => addresses.iter().rev().for_each(|address| self.reached(last_ok, peer, address)),
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            (entry.is_anchor, entry.source) = (is_anchor, source);
        }
        Some(())
    }
}

fn secret_of(line: &str) -> Option<Secret> {
    from_hex(line.strip_prefix("secret ")?)?.try_into().ok()
}
