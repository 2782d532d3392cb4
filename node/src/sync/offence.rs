//! What peers are punished for.

use ledger::rules::Fault;

/// Something no honest peer does, or does rarely.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Offence {
    /// Bytes that are not a message.
    Malformed,
    /// Headers that break a rule.
    InvalidHeaders,
    /// A block or transaction that breaks a rule which shows without knowing the chain.
    InvalidData,
    /// A body that does not belong to its header.
    WrongBody,
    /// Data that was not asked for.
    Unrequested,
    /// Far more requests than anybody needs.
    Flood,
    /// Another chain under our protocol name.
    OtherChain,
}

impl Offence {
    /// Its name in logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::InvalidHeaders => "invalid_headers",
            Self::InvalidData => "invalid_data",
            Self::WrongBody => "wrong_body",
            Self::Unrequested => "unrequested",
            Self::Flood => "flood",
            Self::OtherChain => "other_chain",
        }
    }

    /// What headers that break a rule say of whoever sent them: nothing, unless whoever passes them on must have seen it.
    pub(super) fn of_headers(fault: Fault) -> Option<Self> {
        match fault {
            Fault::Relayer => Some(Self::InvalidHeaders),
            Fault::Sender | Fault::Nobody => None,
        }
    }

    /// The same of a block.
    pub(super) fn of_block(fault: Fault) -> Option<Self> {
        match fault {
            Fault::Relayer => Some(Self::InvalidData),
            Fault::Sender | Fault::Nobody => None,
        }
    }

    /// Points that it costs; 100 are a ban.
    pub(super) fn points(self) -> u32 {
        match self {
            Self::Malformed | Self::InvalidHeaders | Self::InvalidData | Self::WrongBody => 100,
            Self::OtherChain => 100,
            Self::Unrequested => 50,
            Self::Flood => 10,
        }
    }
}
