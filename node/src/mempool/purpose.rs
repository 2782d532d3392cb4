//! What a transaction is for, and so which places of the pool it competes for (protocol §6, §10).

use ledger::{
    hash::PolicyHash,
    transaction::{Body, RevokeMode},
};

/// Place of a REVEAL among those for one name (protocol §6): the height of its commit, then the tie. Smaller wins.
pub type Precedence = (u32, [u8; 16]);

/// Whether a transaction can go into the next block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It can.
    Ready,
    /// It is a REVEAL whose commit matures at this height.
    WaitsUntil(u32),
}

/// What the state says of a transaction that breaks no rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether it can go into the next block.
    pub standing: Standing,
    /// What it is for.
    pub purpose: Purpose,
}

/// Kinds of transactions, in the order in which a builder takes those for one name (protocol §6). Each has places of
/// its own in the pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Takes a name.
    Reveal,
    /// Burns a name: the answer to a stolen key.
    Burn,
    /// Stops a transfer: the same.
    Cancel,
    /// Takes a locked name.
    Claim,
    /// Gives a name back.
    Release,
    /// Hands a name over.
    Transfer,
    /// Adds a term.
    Renew,
    /// Changes records or operator, by the owner.
    OwnerUpdate,
    /// Changes records, by the operator.
    OperatorUpdate,
    /// Pays for a registration. It shows no name and competes with none.
    Commit,
    /// Brings the root keys up to date. It is of no name; one goes into a block.
    Roll,
}

impl Kind {
    /// Places per name; for a COMMIT, per class and hash.
    pub fn places(self) -> usize {
        match self {
            Self::Reveal => 4,
            Self::Commit => 1,
            Self::Burn
            | Self::Cancel
            | Self::Claim
            | Self::Release
            | Self::Transfer
            | Self::Renew
            | Self::OwnerUpdate
            | Self::OperatorUpdate
            | Self::Roll => 2,
        }
    }

    /// Whether a full pool gives these up last: REVEALs are paid for already, and the other two end a theft.
    pub fn is_kept_longest(self) -> bool {
        self == Self::Reveal || self.ends_a_theft()
    }

    /// Whether this is how an owner answers a stolen key.
    pub fn ends_a_theft(self) -> bool {
        matches!(self, Self::Burn | Self::Cancel)
    }
}

/// Where a REVEAL stands among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RevealPlace {
    /// Its commit's place in the order.
    pub precedence: Precedence,
    /// Whether the name is in its contest already, so that time is short.
    pub is_contested: bool,
}

/// What a transaction is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A REVEAL.
    Reveal(RevealPlace),
    /// Anything else.
    Other(Kind),
}

impl Purpose {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Reveal(_) => Kind::Reveal,
            Self::Other(kind) => *kind,
        }
    }

    /// The place of a REVEAL.
    pub fn reveal(&self) -> Option<&RevealPlace> {
        match self {
            Self::Reveal(place) => Some(place),
            Self::Other(_) => None,
        }
    }

    /// What a body other than a REVEAL's is for, when `signer` signed it and `owner` owns the name by then.
    /// `None` for a REVEAL: its place depends on its commit.
    pub fn of_change(body: &Body, signer: &PolicyHash, owner: Option<&PolicyHash>) -> Option<Self> {
        Some(Self::Other(match body {
            Body::Reveal { .. } => return None,
            Body::Commit { .. } => Kind::Commit,
            Body::Update { .. } if owner == Some(signer) => Kind::OwnerUpdate,
            Body::Update { .. } => Kind::OperatorUpdate,
            Body::Transfer { .. } => Kind::Transfer,
            Body::Cancel { .. } => Kind::Cancel,
            Body::Renew { .. } => Kind::Renew,
            Body::Revoke { mode: RevokeMode::Burn, .. } => Kind::Burn,
            Body::Revoke { mode: RevokeMode::Release, .. } => Kind::Release,
            Body::Claim { .. } => Kind::Claim,
            Body::Roll { .. } => Kind::Roll,
        }))
    }
}
