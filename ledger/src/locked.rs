//! LOCKED (protocol §2.1, §11): the thousand famous labels that only the owner of a DNS domain can take.
//!
//! The list is compiled in from `data/locked/locked.tsv`, hashed into every network's genesis and never edited after
//! it. How it was made stands in `data/locked/README.md`. What a lock means is a rule and lives in `rules`.

use std::sync::LazyLock;

/// One line per label, ascending by label: the label, a tab, the domain.
const LIST: &str = include_str!("../data/locked/locked.tsv");

/// A locked label with the domain whose owner may claim it.
pub type Lock = (&'static str, &'static str);

/// The list, ascending by label.
pub fn list() -> &'static [Lock] {
    static LOCKS: LazyLock<Vec<Lock>> =
        LazyLock::new(|| LIST.lines().map(|line| line.split_once('\t').expect("a test reads every line")).collect());
    &LOCKS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn the_list_is_ascending_and_every_label_can_be_a_name() {
        assert_eq!(list().len(), 1_000);
        assert!(list().is_sorted_by(|a, b| a.0 < b.0), "binary search needs the order; each label stands once");
        assert!(LIST.ends_with('\n') && !LIST.contains('\r'));
        for (label, domain) in list() {
            assert!(Name::new(label).is_ok_and(|name| !name.is_reserved()), "{label}");
            assert!((2..=5).contains(&domain.split('.').count()) && domain.len() <= 240, "{domain}");
            assert!(domain.split('.').all(is_domain_label), "{domain}");
        }
    }

    /// `[a-z0-9-]`, 1 to 63 bytes, no hyphen at either end.
    fn is_domain_label(label: &str) -> bool {
        let spelled = label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        spelled && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    }
}
