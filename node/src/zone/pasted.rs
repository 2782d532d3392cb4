//! Names of any domain as people paste them: of programs, logs and address bars, in any case and script.

use std::net::IpAddr;

use resolver::dns::name::{Dname, DnameError};

/// Dots of other scripts that stand between labels (UTS 46 §2.3).
const OTHER_DOTS: [char; 3] = ['\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// Why a text is not the name of a domain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAName {
    /// There is nothing.
    #[error("there is no name")]
    Empty,
    /// It is an address, which has a name of its own for lookups of addresses.
    #[error("{0} is an address, not a name")]
    Address(IpAddr),
    /// A character that no name of a host or service has.
    #[error("{0:?} is not part of a name")]
    Character(char),
    /// A label of another script that IDNA (UTS 46) does not allow.
    #[error("{0:?} is not a valid international name")]
    International(String),
    /// Labels or name are too long, or a label is empty.
    #[error(transparent)]
    Length(#[from] DnameError),
}

/// Reads a name: with or without the final dot, in any case, international ones also in their own script. `.` is the
/// root.
pub fn read_pasted(text: &str) -> Result<Dname, NotAName> {
    let text = text.trim().replace(OTHER_DOTS, ".");
    if text.is_empty() {
        return Err(NotAName::Empty);
    }
    if let Ok(address) = text.parse() {
        return Err(NotAName::Address(address));
    }
    let labels = text.split('.').map(to_ascii).collect::<Result<Vec<_>, _>>()?;
    Ok(labels.join(".").parse()?)
}

fn to_ascii(label: &str) -> Result<String, NotAName> {
    if label.is_ascii() {
        // Services begin with an underscore, wildcards are a star, and delegated parts of networks have a slash (RFC 2317).
        let is_usual = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '/');
        return match label.chars().find(|c| !is_usual(c)) {
            Some(other) => Err(NotAName::Character(other)),
            None => Ok(label.to_owned()),
        };
    }
    idna::domain_to_ascii_strict(label).map_err(|_| NotAName::International(label.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(read_pasted(text).map(|name| name.to_string()), Ok(expected.to_owned()), "{text}");
    }

    #[test]
    fn what_people_paste() {
        check("www.example.org", "www.example.org.");
        check(" WWW.Example.ORG.\n", "www.example.org.");
        check("bücher.example", "xn--bcher-kva.example.");
        check("BÜCHER.EXAMPLE.", "xn--bcher-kva.example.");
        check("xn--bcher-kva.example", "xn--bcher-kva.example.");
        check("例え。テスト", "xn--r8jz45g.xn--zckzah.");
        check("_dmarc._tcp.bücher.example", "_dmarc._tcp.xn--bcher-kva.example.");
        check("0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa.");
        check("*.example", "*.example.");
        check("nas", "nas.");
        check(".", ".");
    }

    #[test]
    fn what_is_no_name() {
        let refused = |text: &str| read_pasted(text).expect_err(text).to_string();
        assert_eq!(refused(" "), "there is no name");
        assert_eq!(refused("192.0.2.1"), "192.0.2.1 is an address, not a name");
        assert_eq!(refused("2001:DB8::1"), "2001:db8::1 is an address, not a name");
        assert_eq!(refused("https://example.org/"), "':' is not part of a name");
        assert_eq!(refused("a b.example"), "' ' is not part of a name");
        assert_eq!(refused(r"a\.b.example"), r"'\\' is not part of a name");
        assert_eq!(refused("a..example"), "a label is empty");
        assert_eq!(refused(".example"), "a label is empty");
        assert_eq!(refused(".."), "a label is empty");
        assert_eq!(refused("bü cher.example"), "\"bü cher\" is not a valid international name");
        assert!(refused(&"x".repeat(64)).contains("at most 63 bytes"));
        assert!(refused(&"ü".repeat(64)).contains("is not a valid international name"));
        assert!(refused(&"a.".repeat(128)).contains("at most 255 bytes"));
    }
}
