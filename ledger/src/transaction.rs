//! Transactions (protocol §4.1–§4.3): layouts and ids. What makes them valid is in `rules`.
//!
//! A transaction is a *body* (what is meant), an *anchor* (the recent block that it was made for), and, by type, a
//! *share* (work done for it) and a *witness* (signatures). The id covers meaning only, so neither work nor
//! signatures nor the anchor tag can change it.

use crate::{
    codec::{Decode, DecodeError, Encode, Reader, Writer, encode},
    hash::{self, BlockHash, CommitHash, Hash, PolicyHash, Tag, TxId, WitnessTxId},
    header::HeaderCore,
    key::Witness,
    name::Name,
    params::{MAX_CLAIM_PROOF_BYTES, MAX_PLAIN_TRANSACTION_BYTES, MAX_ROLL_PROOF_BYTES, MAX_TRANSACTION_BYTES},
    record::Records,
};

/// Envelope version.
pub const TX_VERSION: u8 = 1;
/// The body field can hold at most this many bytes: the envelope around it takes 16.
const MAX_BODY_BYTES: usize = MAX_TRANSACTION_BYTES - 16;

/// What becomes of a revoked name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokeMode {
    /// Blocked for long, then free: the answer to a stolen key.
    Burn,
    /// Free after a short delay.
    Release,
}

/// The meaning of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The fields are named as in protocol §4.2, which gives their meaning.
pub enum Body {
    /// Pays for a registration without saying of which name.
    Commit { class: u8, commit_hash: CommitHash },
    /// Shows what a COMMIT stood for and takes the name.
    Reveal { class: u8, name: Name, salt: [u8; 16], owner: PolicyHash, operator: PolicyHash, records: Records },
    /// Replaces operator, records, or both.
    Update { name: Name, seq: u64, operator: Option<PolicyHash>, records: Option<Records> },
    /// Hands the name (or its keys) over after a delay.
    Transfer { name: Name, seq: u64, owner: PolicyHash, operator: PolicyHash },
    /// Stops a pending transfer.
    Cancel { name: Name, seq: u64 },
    /// Adds a term. Not signed: anyone who does the work keeps the name alive for its owner.
    Renew { name: Name, expires_at: u32 },
    /// Gives the name up.
    Revoke { name: Name, seq: u64, mode: RevokeMode },
    /// Takes a locked name by proof of DNS ownership. Refused until its activation height.
    Claim { name: Name, target: String, owner: PolicyHash, operator: PolicyHash, records: Records, proof: Vec<u8> },
    /// Brings the trusted root keys up to date. Refused until its activation height.
    Roll { proof: Vec<u8> },
}

impl Body {
    /// Type number in the envelope.
    pub fn type_id(&self) -> u8 {
        match self {
            Self::Commit { .. } => 1,
            Self::Reveal { .. } => 2,
            Self::Update { .. } => 3,
            Self::Transfer { .. } => 4,
            Self::Cancel { .. } => 5,
            Self::Renew { .. } => 6,
            Self::Revoke { .. } => 7,
            Self::Claim { .. } => 8,
            Self::Roll { .. } => 10,
        }
    }

    /// Upper-case name of the type, as in the protocol.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Commit { .. } => "COMMIT",
            Self::Reveal { .. } => "REVEAL",
            Self::Update { .. } => "UPDATE",
            Self::Transfer { .. } => "TRANSFER",
            Self::Cancel { .. } => "CANCEL",
            Self::Renew { .. } => "RENEW",
            Self::Revoke { .. } => "REVOKE",
            Self::Claim { .. } => "CLAIM",
            Self::Roll { .. } => "ROLL",
        }
    }

    /// The name that is touched; a COMMIT shows none and a ROLL is of none.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Commit { .. } | Self::Roll { .. } => None,
            Self::Reveal { name, .. }
            | Self::Update { name, .. }
            | Self::Transfer { name, .. }
            | Self::Cancel { name, .. }
            | Self::Renew { name, .. }
            | Self::Revoke { name, .. }
            | Self::Claim { name, .. } => Some(name),
        }
    }

    /// The sequence number of a signed change to an existing entry.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Update { seq, .. }
            | Self::Transfer { seq, .. }
            | Self::Cancel { seq, .. }
            | Self::Revoke { seq, .. } => Some(*seq),
            Self::Commit { .. } | Self::Reveal { .. } | Self::Renew { .. } | Self::Claim { .. } | Self::Roll { .. } => {
                None
            }
        }
    }

    /// Whether transactions of this type carry a share.
    pub fn needs_work(&self) -> bool {
        !matches!(self, Self::Reveal { .. })
    }

    /// Whether transactions of this type carry a witness.
    pub fn needs_signature(&self) -> bool {
        !matches!(self, Self::Commit { .. } | Self::Renew { .. } | Self::Roll { .. })
    }

    /// Length of the body's bytes, without their length field.
    pub fn encoded_len(&self) -> usize {
        self.to_bytes().len()
    }

    /// The body's bytes, without their length field.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256);
        match self {
            Self::Commit { class, commit_hash } => {
                w.u8(*class).raw(commit_hash.as_ref());
            }
            Self::Reveal { class, name, salt, owner, operator, records } => {
                w.u8(*class).put(name).raw(salt).raw(owner.as_ref()).raw(operator.as_ref()).put(records);
            }
            Self::Update { name, seq, operator, records } => {
                let flags = u8::from(operator.is_some()) | u8::from(records.is_some()) << 1;
                w.put(name).u64(*seq).u8(flags);
                operator.iter().for_each(|hash| {
                    w.raw(hash.as_ref());
                });
                records.iter().for_each(|set| {
                    w.put(set);
                });
            }
            Self::Transfer { name, seq, owner, operator } => {
                w.put(name).u64(*seq).raw(owner.as_ref()).raw(operator.as_ref());
            }
            Self::Cancel { name, seq } => {
                w.put(name).u64(*seq);
            }
            Self::Renew { name, expires_at } => {
                w.put(name).u32(*expires_at);
            }
            Self::Revoke { name, seq, mode } => {
                w.put(name).u64(*seq).u8(u8::from(*mode == RevokeMode::Release));
            }
            Self::Claim { name, target, owner, operator, records, proof } => {
                w.put(name).b8(target.as_bytes()).raw(owner.as_ref()).raw(operator.as_ref());
                w.put(records).b16(proof);
            }
            Self::Roll { proof } => {
                w.b16(proof);
            }
        }
        w.finish()
    }

    /// Whether the fields whose types allow too much are within their bounds.
    fn is_encodable(&self) -> bool {
        match self {
            Self::Update { operator: None, records: None, .. } => false,
            Self::Claim { target, proof, .. } => target.len() <= 255 && proof.len() <= MAX_CLAIM_PROOF_BYTES,
            Self::Roll { proof } => proof.len() <= MAX_ROLL_PROOF_BYTES,
            _ => true,
        }
    }

    fn from_bytes(type_id: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let body = match type_id {
            1 => Self::Commit { class: r.u8("class")?, commit_hash: r.hash("commit_hash")? },
            2 => Self::Reveal {
                class: r.u8("class")?,
                name: r.get()?,
                salt: r.array("salt")?,
                owner: r.hash("owner")?,
                operator: r.hash("operator")?,
                records: r.get()?,
            },
            3 => Self::read_update(&mut r)?,
            4 => Self::Transfer {
                name: r.get()?,
                seq: r.u64("seq")?,
                owner: r.hash("owner")?,
                operator: r.hash("operator")?,
            },
            5 => Self::Cancel { name: r.get()?, seq: r.u64("seq")? },
            6 => Self::Renew { name: r.get()?, expires_at: r.u32("expires_at")? },
            7 => Self::Revoke { name: r.get()?, seq: r.u64("seq")?, mode: read_mode(&mut r)? },
            8 => Self::read_claim(&mut r)?,
            10 => Self::Roll { proof: r.b16(MAX_ROLL_PROOF_BYTES, "proof")?.to_vec() },
            _ => return Err(DecodeError::Invalid("type")),
        };
        r.finish()?;
        Ok(body)
    }

    fn read_update(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (name, seq, flags) = (r.get()?, r.u64("seq")?, r.u8("flags")?);
        if !(1..=3).contains(&flags) {
            return Err(DecodeError::Invalid("flags"));
        }
        let operator = if flags & 1 != 0 { Some(r.hash("operator")?) } else { None };
        let records = if flags & 2 != 0 { Some(r.get()?) } else { None };
        Ok(Self::Update { name, seq, operator, records })
    }

    fn read_claim(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::Claim {
            name: r.get()?,
            target: String::from_utf8(r.b8(255, "target")?.to_vec()).map_err(|_| DecodeError::Invalid("target"))?,
            owner: r.hash("owner")?,
            operator: r.hash("operator")?,
            records: r.get()?,
            proof: r.b16(MAX_CLAIM_PROOF_BYTES, "proof")?.to_vec(),
        })
    }
}

fn read_mode(r: &mut Reader<'_>) -> Result<RevokeMode, DecodeError> {
    match r.u8("mode")? {
        0 => Ok(RevokeMode::Burn),
        1 => Ok(RevokeMode::Release),
        _ => Err(DecodeError::Invalid("mode")),
    }
}

/// Work done for a transaction: a header core without its `share_commit`, which is derived. It need not extend the
/// tip or be a valid block; apart from the version its fields are free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The fields are those of `HeaderCore`.
pub struct Share {
    pub version: u32,
    pub height: u32,
    pub time: u64,
    pub vtime: u32,
    pub bits: u32,
    pub prev: BlockHash,
    pub ext_root: Hash,
    pub nonce: u64,
}

impl Share {
    /// Bytes of the layout.
    pub const BYTES: usize = 96;

    /// The share that `core` is.
    pub fn of(core: &HeaderCore) -> Self {
        let HeaderCore { version, height, time, vtime, bits, prev, ext_root, nonce, .. } = *core;
        Self { version, height, time, vtime, bits, prev, ext_root, nonce }
    }

    /// The header core that the work was done on, with this `share_commit`.
    pub fn to_core(&self, share_commit: Hash) -> HeaderCore {
        let Self { version, height, time, vtime, bits, prev, ext_root, nonce } = *self;
        HeaderCore { version, height, time, vtime, bits, prev, ext_root, share_commit, nonce }
    }
}

impl Encode for Share {
    fn encode(&self, w: &mut Writer) {
        self.to_core(Hash::ZERO).encode_front(w);
        w.raw(self.prev.as_ref()).raw(self.ext_root.as_ref()).u64(self.nonce);
    }
}

impl Decode for Share {
    const MAX_BYTES: usize = Self::BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let front = HeaderCore::decode_front(r)?;
        let (prev, ext_root, nonce) = (r.hash("share prev")?, r.hash("share ext_root")?, r.u64("share nonce")?);
        Ok(Self::of(&HeaderCore { prev, ext_root, nonce, ..front }))
    }
}

/// A recent block that a transaction was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Height of the block.
    pub height: u32,
    /// First eight bytes of its hash.
    pub tag: [u8; 8],
}

impl Anchor {
    /// The anchor of every REVEAL: its signature never ages, however long the work for its COMMIT takes.
    pub fn to_genesis(genesis: &BlockHash) -> Self {
        Self::to_block(0, genesis)
    }

    /// The anchor that a block is.
    pub fn to_block(height: u32, hash: &BlockHash) -> Self {
        Self { height, tag: hash.0[..8].try_into().expect("eight of 32 bytes") }
    }

    /// Whether the tag is that of the block with this hash.
    pub fn matches(&self, hash: &BlockHash) -> bool {
        hash.0[..8] == self.tag
    }
}

/// A transaction. Share and witness are there exactly if the type needs them; the constructors see to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    anchor: Anchor,
    body: Body,
    share: Option<Share>,
    witness: Option<Witness>,
}

impl Transaction {
    /// Puts a transaction together; `None` if share or witness is missing or one too many, or if the body has no
    /// canonical encoding (an update of nothing, something too long).
    pub fn new(anchor: Anchor, body: Body, share: Option<Share>, witness: Option<Witness>) -> Option<Self> {
        let complete = share.is_some() == body.needs_work() && witness.is_some() == body.needs_signature();
        let transaction = (complete && body.is_encodable()).then_some(Self { anchor, body, share, witness })?;
        // Every part of a CLAIM within its own bound does not keep the whole within its.
        let is_large = matches!(transaction.body, Body::Claim { .. });
        (!is_large || transaction.byte_len() <= MAX_TRANSACTION_BYTES).then_some(transaction)
    }

    /// The anchor.
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// The meaning.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The work, for types that need it.
    pub fn share(&self) -> Option<&Share> {
        self.share.as_ref()
    }

    /// The signatures, for types that need them.
    pub fn witness(&self) -> Option<&Witness> {
        self.witness.as_ref()
    }

    /// The id of the meaning.
    pub fn txid(&self) -> TxId {
        txid(self.anchor.height, &self.body)
    }

    /// The id of the exact bytes.
    pub fn wtxid(&self) -> WitnessTxId {
        hash::hash(Tag::WitnessTxId, &[&encode(self)]).into_other()
    }

    /// Length of the encoding, in bytes: what the transaction adds to a block's weight.
    pub fn byte_len(&self) -> usize {
        encode(self).len()
    }
}

/// `H("txid", ver ‖ type ‖ anchor_height ‖ body)`, the body with its length.
pub fn txid(anchor_height: u32, body: &Body) -> TxId {
    let mut w = Writer::new();
    w.u8(TX_VERSION).u8(body.type_id()).u32(anchor_height).b16(&body.to_bytes());
    hash::hash(Tag::TxId, &[&w.finish()]).into_other()
}

/// `H("share", CHAIN_ID ‖ anchor_hash ‖ txid)`: what work for a transaction must commit to.
pub fn share_commit(chain_id: &Hash, anchor: &BlockHash, txid: &TxId) -> Hash {
    hash::hash(Tag::Share, &[chain_id.as_ref(), anchor.as_ref(), txid.as_ref()])
}

/// `H("commit", CHAIN_ID ‖ salt ‖ owner ‖ name:B8)`.
pub fn commit_hash(chain_id: &Hash, salt: &[u8; 16], owner: &PolicyHash, name: &Name) -> CommitHash {
    hash::hash(Tag::Commit, &[chain_id.as_ref(), salt, owner.as_ref(), &encode(name)]).into_other()
}

impl Encode for Transaction {
    fn encode(&self, w: &mut Writer) {
        w.u8(TX_VERSION).u8(self.body.type_id()).u32(self.anchor.height).raw(&self.anchor.tag);
        w.b16(&self.body.to_bytes());
        if let Some(share) = &self.share {
            w.put(share);
        }
        if let Some(witness) = &self.witness {
            w.put(witness);
        }
    }
}

impl Decode for Transaction {
    const MAX_BYTES: usize = MAX_TRANSACTION_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let before = r.remaining();
        if r.u8("version")? != TX_VERSION {
            return Err(DecodeError::Invalid("version"));
        }
        let type_id = r.u8("type")?;
        let anchor = Anchor { height: r.u32("anchor_height")?, tag: r.array("anchor_tag")? };
        let body = Body::from_bytes(type_id, r.b16(MAX_BODY_BYTES, "body")?)?;
        let share = if body.needs_work() { Some(r.get()?) } else { None };
        let witness = if body.needs_signature() { Some(r.get()?) } else { None };
        let max = if matches!(type_id, 8 | 10) { MAX_TRANSACTION_BYTES } else { MAX_PLAIN_TRANSACTION_BYTES };
        let got = before - r.remaining();
        if got > max { Err(DecodeError::TooLong { got, max }) } else { Ok(Self { anchor, body, share, witness }) }
    }
}
