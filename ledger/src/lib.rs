//! The Namestead protocol as a pure function of its inputs: no I/O, no clock, no randomness, no threads, no logging.
//!
//! # A name's life
//! Somebody picks a [`name`], blinds it into a COMMIT and pays for it with proof of work ([`price`], [`pow`]). Some
//! blocks later a REVEAL shows the name; the earliest commit wins a short contest and the entry
//! ([`state::NameState`]) is theirs for a year: they UPDATE its [`record`]s, TRANSFER, RENEW or REVOKE it
//! ([`transaction`]). Names of the [`locked`] list are for the owners of DNS domains. Blocks ([`block`]) order all this; every header commits to the state after it
//! ([`state::tree`]) and to all headers before it ([`history`]), so that anybody can check an answer.
//!
//! # Three levels of validity
//! *Structural*: bytes decode ([`codec`]). *Context-free*: a transaction or header is right by itself, including
//! signatures and work. *Contextual*: it is right at its place in the chain. See [`rules`].
//!
//! # Reading order
//! [`hash`], [`codec`], [`name`], [`record`], [`header`], [`pow`], [`params`]; [`key`], [`transaction`], [`block`];
//! [`difficulty`], [`price`]; [`state`], [`history`], [`fork`]; [`rules`]. A module imports those before it only.

pub mod hash;

pub mod codec;

pub mod params;

pub mod locked;
pub mod name;
pub mod record;

pub mod key;

pub mod header;
pub mod transaction;

pub mod block;

pub mod pow;

pub mod difficulty;
pub mod price;

pub mod rules;

pub mod merkle;
pub mod state;

pub mod history;

pub mod fork;

#[cfg(feature = "testing")]
pub mod testing;
