//! Why operations fail, and what they need.

use ledger::{name::Name, rules::Violation, transaction::Body};

use crate::failure::Failure;

const LOST_TO_REORG: &str = "lost_to_reorg";

impl Failure {
    pub(super) fn name_taken(name: &str) -> Self {
        Self::new(
            "name_taken",
            format!("{name} belongs to somebody else"),
            "The earliest commit wins, and another one was earlier.",
            format!("namectl search {name}"),
        )
    }

    /// A reorganisation took back what was done, and it cannot be done again.
    pub(super) fn lost_to_reorg(name: &str, because: &Self) -> Self {
        Self::new(
            LOST_TO_REORG,
            format!("the chain was reorganised, and the operation on {name} is no longer part of it"),
            format!("It cannot be repeated: {}.", because.message),
            format!("namectl lookup {name}"),
        )
    }

    pub(super) fn is_lost_to_reorg(&self) -> bool {
        self.code == LOST_TO_REORG
    }

    pub(super) fn commit_expired(name: &str, until: u32) -> Self {
        Self::new(
            "commit_expired",
            format!("the commit for {name} expired at height {until} before its reveal was in a block"),
            "The node was not running or not synced for too long.",
            format!("namectl register {name}"),
        )
    }

    pub(super) fn committed_too_early(name: &str) -> Self {
        Self::new(
            "commit_before_release",
            format!("the commit for {name} was made before the name was free"),
            "Nobody can prepare for a name's release: only commits made afterwards count.",
            format!("namectl register {name}"),
        )
    }

    pub(super) fn not_free(name: &str, status: &str) -> Self {
        Self::new(
            "name_taken",
            format!("{name} is {status}"),
            "A name can be registered when nobody holds it.",
            format!("namectl lookup {name}"),
        )
    }

    pub(super) fn no_such_name(name: &str) -> Self {
        Self::new("name_not_found", format!("{name} is not registered"), "", format!("namectl register {name}"))
    }

    pub(super) fn sequence_used(name: &str, used: u64, wanted: u64) -> Self {
        Self::new(
            "sequence",
            format!("another change of {name} was made in the meantime"),
            format!("This change has number {wanted}, the name is at {used}."),
            "make the change again",
        )
    }

    /// A signed change has outlived its anchor. The caller knows the operation and so the command that signs it again.
    pub(super) fn needs_signature(body: &Body, anchor: u32, last: u32) -> Self {
        let name = body.name().map(Name::as_str).unwrap_or_default();
        Self::new(
            "needs_signature",
            format!("the signature of this {} of {name} is too old and must be made again", body.type_name()),
            format!(
                "It was made for block {anchor} and counts until block {last}, on that branch only; the work took \
                 longer, or the node was not running. Nothing was lost but time."
            ),
            "namectl ops resume",
        )
    }

    /// The name is held by this owner, but by an older REVEAL than the one signed here (protocol §4.1).
    pub(super) fn older_reveal(name: &str) -> Self {
        Self::new(
            "older_reveal",
            format!("{name} is yours, but with the operator or the records of an earlier registration"),
            "An older reveal signed by the same key won the name. What differs must be changed by a signed UPDATE.",
            "namectl ops resume",
        )
    }

    /// The chain's last word on something published.
    pub(super) fn refused(code: &str, message: String) -> Self {
        Self::new(code, message, "The rules refuse it.", "")
    }

    pub(super) fn of_violation(name: &str, violation: &Violation) -> Self {
        match violation {
            Violation::NameTaken { .. } | Violation::LaterCommit { .. } => Self::name_taken(name),
            Violation::CommitBeforeRelease { .. } => Self::committed_too_early(name),
            other => Self::refused(other.code(), other.to_string()),
        }
    }
}
