//! What a check comes to.

use std::borrow::Cow;

use crate::dns::ede::EdeCode;

/// What an answer turned out to be, unless it is bogus (RFC 4033 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// What its zone says.
    Secure,
    /// The zone, or this part of it, is not signed, or in ways that nobody here can check.
    Insecure,
}

/// An answer that is not what its zone says, or not provably so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bogus {
    pub(crate) code: EdeCode,
    pub(crate) why: Cow<'static, str>,
}

impl Bogus {
    pub(crate) fn new(code: EdeCode, why: impl Into<Cow<'static, str>>) -> Self {
        Self { code, why: why.into() }
    }
}
