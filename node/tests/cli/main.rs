//! `namectl` as people and scripts meet it: the real program against a node of cardboard.
//!
//! The node here keeps names in memory and checks every signature, anchor and number with the ledger's own code, but
//! has no chain, so that an operation takes one step each time it is asked about. The real node is met in the
//! end-to-end tests.

mod fake_node;
mod flows;
mod pasted;
mod resolver;
mod streams;
mod surface;
mod terminal;
mod world;
