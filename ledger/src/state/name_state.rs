//! Entries of the state tree (protocol §5.1).
//!
//! An entry holds heights, never a status: whether a name is active, in grace or free again is computed from the
//! height asked about, so that nothing has to be written when time passes and a light client computes the same.

use crate::{
    codec::{Decode, DecodeError, Encode, Reader, Writer},
    hash::{self, CommitHash, Key, PolicyHash, Tag},
    name::Name,
    params::Params,
    record::{MAX_RECORDS_BYTES, Records},
};

/// Flag: the owner gave the name up.
pub const FLAG_REVOKED: u8 = 1;
/// Flag: obtained by a DNSSEC claim.
pub const FLAG_CLAIMED: u8 = 2;
/// Flag: the claim's proof rests on a weak key.
pub const FLAG_WEAK_PROOF: u8 = 4;
/// Flag: given up for good, so that a thief gains nothing by releasing the name.
pub const FLAG_BURNT: u8 = 8;

/// The entry of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameState {
    /// The full name: a key only places an entry, the name decides.
    pub name: Name,
    /// Bits `FLAG_…`.
    pub flags: u8,
    /// Number of the last signed write.
    pub seq: u64,
    /// Height of the commit that won the name.
    pub commit_height: u32,
    /// Breaks ties between commits of one block; the smaller wins.
    pub tie: [u8; 16],
    /// Height of the reveal.
    pub registered: u32,
    /// First height at which the name can be used: the contest ends here.
    pub active_from: u32,
    /// Commits below this height cannot take the name in its contest.
    pub not_before: u32,
    /// First height after the term (or, once revoked, at which the name is free).
    pub expires_at: u32,
    /// Height of the last write.
    pub last_update: u32,
    /// Who may do everything.
    pub owner: PolicyHash,
    /// Who may change records; zero for none.
    pub operator: PolicyHash,
    /// A change of owner that has not taken effect. Read entries through [`NameState::matured`].
    pub pending: Option<Pending>,
    /// How the name was claimed, if it was.
    pub claim: Option<Claim>,
    /// The DNS records.
    pub records: Records,
}

/// How an owner changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingKind {
    /// By a TRANSFER.
    Transfer,
    /// By a CLAIM of the owner of the DNS domain.
    Takeover,
    /// The same, with a proof that rests on a weak key.
    WeakTakeover,
}

impl PendingKind {
    /// Its number in an entry; zero stands for none.
    const fn id(self) -> u8 {
        match self {
            Self::Transfer => 1,
            Self::Takeover => 2,
            Self::WeakTakeover => 3,
        }
    }
}

/// A change of owner under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// How it came about.
    pub kind: PendingKind,
    /// The next owner.
    pub owner: PolicyHash,
    /// The next operator, or zero.
    pub operator: PolicyHash,
    /// Height from which both are in force.
    pub at: u32,
}

/// The evidence of a DNSSEC claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Height of the block that the proof names.
    pub anchor: u32,
    /// Height of the claim.
    pub height: u32,
}

/// What can be done with a name at some height.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Revealed; an earlier commit can still win.
    Pending,
    /// In use.
    Active,
    /// Past its term; only its owner can act, and it still resolves.
    Grace,
    /// Given up by its owner and not free yet.
    Revoked,
    /// Free for whoever commits from now on.
    Released,
}

impl NameState {
    /// Whether the owner gave the name up.
    pub fn is_revoked(&self) -> bool {
        self.flags & FLAG_REVOKED != 0
    }

    /// Whether the name was given up for good.
    pub fn is_burnt(&self) -> bool {
        self.flags & FLAG_BURNT != 0
    }

    /// Whether the name was obtained by a DNSSEC claim.
    pub fn is_claimed(&self) -> bool {
        self.flags & FLAG_CLAIMED != 0
    }

    /// Status at `height`. A rule in block h asks for h; a resolver or wallet asks for the tip's height + 1.
    pub fn status(&self, params: &Params, height: u32) -> Status {
        if self.is_revoked() {
            return if height < self.expires_at { Status::Revoked } else { Status::Released };
        }
        if height < self.active_from {
            Status::Pending
        } else if height < self.expires_at {
            Status::Active
        } else if height < self.release_height(params) {
            Status::Grace
        } else {
            Status::Released
        }
    }

    /// First height at which the name is free.
    pub fn release_height(&self, params: &Params) -> u32 {
        if self.is_revoked() { self.expires_at } else { self.expires_at.saturating_add(params.grace) }
    }

    /// The entry as it stands at `height`: a change of owner whose time has come is in force. A takeover brings no
    /// records: those of the former owner are gone from that height on.
    pub fn matured(&self, height: u32) -> Self {
        let mut state = self.clone();
        let Some(pending) = state.pending.take_if(|pending| height >= pending.at) else { return state };
        state.owner = pending.owner;
        state.operator = pending.operator;
        match pending.kind {
            PendingKind::Transfer => {}
            PendingKind::Takeover => {
                state.records = Records::empty();
                state.flags &= !FLAG_WEAK_PROOF;
            }
            PendingKind::WeakTakeover => {
                state.records = Records::empty();
                state.flags |= FLAG_WEAK_PROOF;
            }
        }
        state
    }

    /// What precedence among reveals compares: the earlier commit wins, then the smaller tie.
    pub fn precedence(&self) -> (u32, [u8; 16]) {
        (self.commit_height, self.tie)
    }
}

impl Encode for NameState {
    fn encode(&self, w: &mut Writer) {
        w.put(&self.name).u8(self.flags).u64(self.seq).u32(self.commit_height).raw(&self.tie);
        w.u32(self.registered).u32(self.active_from).u32(self.not_before).u32(self.expires_at).u32(self.last_update);
        w.raw(self.owner.as_ref()).raw(self.operator.as_ref());
        w.u8(self.pending.map_or(0, |pending| pending.kind.id()));
        if let Some(p) = &self.pending {
            w.raw(p.owner.as_ref()).raw(p.operator.as_ref()).u32(p.at);
        }
        w.u8(u8::from(self.claim.is_some()));
        if let Some(c) = &self.claim {
            w.u32(c.anchor).u32(c.height);
        }
        w.put(&self.records);
    }
}

impl Decode for NameState {
    const MAX_BYTES: usize = 64 + 1 + 8 + 4 + 16 + 20 + 64 + 69 + 9 + 2 + MAX_RECORDS_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: r.get()?,
            flags: read_flags(r)?,
            seq: r.u64("seq")?,
            commit_height: r.u32("commit_height")?,
            tie: r.array("tie")?,
            registered: r.u32("registered")?,
            active_from: r.u32("active_from")?,
            not_before: r.u32("not_before")?,
            expires_at: r.u32("expires_at")?,
            last_update: r.u32("last_update")?,
            owner: r.hash("owner")?,
            operator: r.hash("operator")?,
            pending: read_pending(r)?,
            claim: read_present(r, "claim")?.then(|| read_claim(r)).transpose()?,
            records: r.get()?,
        })
    }
}

fn read_flags(r: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let flags = r.u8("flags")?;
    let known = FLAG_REVOKED | FLAG_CLAIMED | FLAG_WEAK_PROOF | FLAG_BURNT;
    if flags & !known == 0 { Ok(flags) } else { Err(DecodeError::Invalid("flags")) }
}

fn read_present(r: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match r.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid(field)),
    }
}

fn read_pending(r: &mut Reader<'_>) -> Result<Option<Pending>, DecodeError> {
    let kind = match r.u8("pending")? {
        0 => return Ok(None),
        1 => PendingKind::Transfer,
        2 => PendingKind::Takeover,
        3 => PendingKind::WeakTakeover,
        _ => return Err(DecodeError::Invalid("pending")),
    };
    let (owner, operator) = (r.hash("pending owner")?, r.hash("pending operator")?);
    Ok(Some(Pending { kind, owner, operator, at: r.u32("pending at")? }))
}

fn read_claim(r: &mut Reader<'_>) -> Result<Claim, DecodeError> {
    Ok(Claim { anchor: r.u32("claim anchor")?, height: r.u32("claim height")? })
}

/// The entry of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitState {
    /// Price class that was paid.
    pub class: u8,
    /// The blinded name.
    pub commit_hash: CommitHash,
    /// Height of the COMMIT.
    pub height: u32,
    /// Whether a REVEAL has used it.
    pub spent: bool,
}

/// Where the entry of a commit stands in the tree: `H("key", 0x02 ‖ class ‖ commit_hash)`.
pub fn commit_key(class: u8, commit_hash: &CommitHash) -> Key {
    hash::hash(Tag::Key, &[&[2, class], commit_hash.as_ref()]).into_other()
}

/// An entry of either kind. Its bytes begin with the kind: 1 for names, 2 for commits.
// Most entries are names: boxing them would cost an allocation each to save room in the few commits.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leaf {
    /// Of a name.
    Name(NameState),
    /// Of a commit.
    Commit(CommitState),
}

impl Leaf {
    /// Where the entry stands in the tree.
    pub fn key(&self) -> Key {
        match self {
            Self::Name(state) => state.name.key(),
            Self::Commit(commit) => commit_key(commit.class, &commit.commit_hash),
        }
    }

    /// Height at which the entry is deleted, before any transaction of that block. This is its place in the expiry
    /// queue; it follows from the entry alone, so the queue needs no history of its own.
    pub fn deletion_height(&self, params: &Params) -> u32 {
        match self {
            Self::Name(state) => state.release_height(params).saturating_add(params.delete_after),
            Self::Commit(commit) => commit.height.saturating_add(params.commit_ttl).saturating_add(1),
        }
    }

    /// The entry of a name, if it is one.
    pub fn as_name(&self) -> Option<&NameState> {
        match self {
            Self::Name(state) => Some(state),
            Self::Commit(_) => None,
        }
    }
}

impl Encode for Leaf {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Name(state) => {
                w.u8(1).put(state);
            }
            Self::Commit(commit) => {
                w.u8(2).u8(commit.class).raw(commit.commit_hash.as_ref());
                w.u32(commit.height).u8(u8::from(commit.spent));
            }
        }
    }
}

impl Decode for Leaf {
    const MAX_BYTES: usize = 1 + NameState::MAX_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("leaf kind")? {
            1 => Ok(Self::Name(r.get()?)),
            2 => Ok(Self::Commit(CommitState {
                class: r.u8("class")?,
                commit_hash: r.hash("commit_hash")?,
                height: r.u32("height")?,
                spent: read_present(r, "spent")?,
            })),
            _ => Err(DecodeError::Invalid("leaf kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{params::Network, record::Record};

    fn state() -> NameState {
        NameState {
            name: Name::new("alice").expect("valid"),
            flags: 0,
            seq: 1,
            commit_height: 5,
            tie: [0; 16],
            registered: 10,
            active_from: 13,
            not_before: 0,
            expires_at: 20_010,
            last_update: 10,
            owner: PolicyHash([1; 32]),
            operator: PolicyHash::ZERO,
            pending: Some(pending(PendingKind::Transfer)),
            claim: None,
            records: records("of the former owner"),
        }
    }

    fn pending(kind: PendingKind) -> Pending {
        Pending { kind, owner: PolicyHash([2; 32]), operator: PolicyHash([3; 32]), at: 100 }
    }

    fn records(text: &str) -> Records {
        let rdata = [&[text.len() as u8], text.as_bytes()].concat();
        Records::new(vec![Record { sub: vec![], rtype: 16, ttl: 60, rdata }]).expect("one short text")
    }

    #[test]
    fn heights_alone_decide_the_status() {
        let p = Network::Local.params();
        let s = state();
        for (height, status) in [
            (12, Status::Pending),
            (13, Status::Active),
            (20_009, Status::Active),
            (20_010, Status::Grace),
            (22_009, Status::Grace),
            (22_010, Status::Released),
        ] {
            assert_eq!(s.status(p, height), status, "{height}");
        }
        let revoked = NameState { flags: FLAG_REVOKED, expires_at: 50, ..s };
        assert_eq!(revoked.status(p, 12), Status::Revoked);
        assert_eq!(revoked.status(p, 49), Status::Revoked);
        assert_eq!(revoked.status(p, 50), Status::Released);
        assert_eq!(Leaf::Name(revoked).deletion_height(p), 50 + p.delete_after);
    }

    #[test]
    fn a_transfer_is_in_force_from_its_height() {
        let s = state();
        assert_eq!(s.matured(99), s);
        let later = s.matured(100);
        assert_eq!((later.owner, later.operator, later.pending), (PolicyHash([2; 32]), PolicyHash([3; 32]), None));
        assert_eq!((later.records, later.flags), (s.records, s.flags), "a transfer leaves the rest alone");
    }

    #[test]
    fn a_takeover_brings_an_empty_entry_and_the_strength_of_its_proof() {
        for (kind, flags, then) in [
            (PendingKind::Takeover, FLAG_CLAIMED | FLAG_WEAK_PROOF, FLAG_CLAIMED),
            (PendingKind::WeakTakeover, FLAG_CLAIMED, FLAG_CLAIMED | FLAG_WEAK_PROOF),
        ] {
            let s = NameState { flags, pending: Some(pending(kind)), ..state() };
            assert_eq!(s.matured(99), s);
            let later = s.matured(100);
            assert_eq!((later.owner, later.operator), (PolicyHash([2; 32]), PolicyHash([3; 32])));
            assert_eq!((later.pending, later.flags, later.records), (None, then, Records::empty()));
        }
    }

    #[test]
    fn entries_round_trip() {
        use crate::codec::{decode, encode};
        let commit = CommitState { class: 2, commit_hash: CommitHash([7; 32]), height: 9, spent: true };
        let entries = [PendingKind::Transfer, PendingKind::Takeover, PendingKind::WeakTakeover]
            .map(|kind| Leaf::Name(NameState { pending: Some(pending(kind)), ..state() }));
        for leaf in entries.into_iter().chain([Leaf::Commit(commit)]) {
            assert_eq!(decode(&encode(&leaf)), Ok(leaf));
        }
    }
}
