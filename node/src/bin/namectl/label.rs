//! Names as people type and read them: suffixes, capitals, Unicode, and look-alikes.
//!
//! The ledger knows only `[a-z0-9-]`; international names are `xn--` labels to it. Here they are converted (UTS 46)
//! and checked: a label may use one script (or the usual mixtures of East Asia), and must not be made entirely of
//! letters that look like Latin ones. `аррӏе` is refused, `яблоко` is not.

use ledger::name::Name;
use unicode_normalization::UnicodeNormalization as _;

use crate::failure::{Exit, Failure};

/// The suffix under which names are written unless a node says otherwise.
pub const DEFAULT_SUFFIX: &str = "p2p";
/// Suffixes that are understood whatever the settings say: a node serves both unless it was told otherwise.
const USUAL_SUFFIXES: [&str; 2] = [DEFAULT_SUFFIX, "p2p.alt"];
/// The full stop of East Asia, in the place of a dot (UTS 46).
const IDEOGRAPHIC_STOP: char = '\u{3002}';

/// A name as typed: the label that is owned, and what stood before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    pub name: Name,
    /// `www` in `www.alice.p2p`; empty for the name itself.
    pub sub: String,
}

/// Where names may be written to stand: the suffix that is shown first, then others that mean the same.
#[derive(Clone, Debug)]
pub struct Suffixes(Vec<String>);

impl Suffixes {
    /// The one of the settings, and the usual ones.
    pub fn new(shown: &str) -> Self {
        let mut suffixes = Self(vec![shown.to_owned()]);
        suffixes.extend(USUAL_SUFFIXES.map(str::to_owned));
        suffixes
    }

    /// Adds those that a node serves.
    pub fn extend(&mut self, others: impl IntoIterator<Item = String>) {
        let read = others.into_iter().map(|other| other.trim_matches('.').to_lowercase());
        for other in read.filter(|other| !other.is_empty()) {
            if !self.0.contains(&other) {
                self.0.push(other);
            }
        }
    }

    /// What stands before the suffix, if the host is under one.
    fn strip<'a>(&self, host: &'a str) -> Option<&'a str> {
        let under = |suffix: &String| host.strip_suffix(suffix.as_str())?.strip_suffix('.');
        self.0.iter().filter_map(under).min_by_key(|head| head.len())
    }

    fn is_one(&self, host: &str) -> bool {
        self.0.iter().any(|suffix| suffix == host)
    }

    /// `.p2p or .p2p.alt`.
    fn shown(&self) -> String {
        self.0.iter().map(|suffix| format!(".{suffix}")).collect::<Vec<_>>().join(" or ")
    }
}

/// Reads a name without anything before it.
pub fn read(input: &str, suffixes: &Suffixes) -> Result<Name, Failure> {
    let typed = read_with_sub(input, suffixes)?;
    if typed.sub.is_empty() {
        return Ok(typed.name);
    }
    let (name, sub) = (&typed.name, &typed.sub);
    Err(bad(
        format!("{input:?} is not a name but a host below one"),
        format!("the name is {name}; {sub} is a record of it"),
    )
    .fix(format!("namectl records set {name} A 192.0.2.1 --sub {sub}")))
}

/// Reads a name and the labels before it, in any form that people paste: with a suffix or without, as a link, with a port.
pub fn read_with_sub(input: &str, suffixes: &Suffixes) -> Result<Typed, Failure> {
    let host = host_of(input, suffixes);
    let bare = match suffixes.strip(&host) {
        Some(bare) => bare,
        None if host.contains('.') => return Err(foreign(&host, suffixes)),
        None => &host,
    };
    let (sub, label) = bare.rsplit_once('.').unwrap_or(("", bare));
    Ok(Typed { name: to_name(label)?, sub: sub.to_owned() })
}

/// Whether it is a host name, but of no suffix known here.
pub fn is_foreign(input: &str, suffixes: &Suffixes) -> bool {
    let host = host_of(input, suffixes);
    host.contains('.') && suffixes.strip(&host).is_none()
}

/// The host of a link, or what was typed, in small letters. Without `https://` in front, only a host under a suffix of ours, and
/// a slash at the end, show that a link is meant: `rock/roll` is not the name `rock`.
fn host_of(input: &str, suffixes: &Suffixes) -> String {
    let text = input.trim();
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return folded(without_port(authority.rsplit('@').next().unwrap_or_default()));
    }
    let head = text.split(['/', '?', '#']).next().unwrap_or_default();
    let host = folded(without_port(head));
    let is_link = suffixes.strip(&host).is_some() || text.strip_suffix('/') == Some(head);
    if is_link { host } else { folded(text) }
}

fn without_port(authority: &str) -> &str {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host)
}

/// A host as it is compared: what UTS 46 does to it later is done here to the dots and the suffix already. Letter by letter,
/// for a sigma at the end of a word is an ordinary one there.
fn folded(host: &str) -> String {
    let seen = host
        .chars()
        .filter(|c| !matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}'));
    let folded: String = seen.nfkc().flat_map(char::to_lowercase).collect();
    folded.replace(IDEOGRAPHIC_STOP, ".").trim_end_matches('.').to_owned()
}

fn foreign(host: &str, suffixes: &Suffixes) -> Failure {
    if suffixes.is_one(host) {
        return bad(format!("{host:?} is where names are, and no name"), "a name stands before it")
            .fix(format!("write NAME.{host}"));
    }
    let shown = suffixes.0.first().map_or(DEFAULT_SUFFIX, String::as_str);
    let failure =
        bad(format!("{host:?} is not under {}", suffixes.shown()), "names of other systems are not in this ledger");
    let meant = format!("{host}.{shown}");
    let is_name = read_with_sub(&meant, suffixes).is_ok();
    if is_name { failure.fix(format!("write {meant} if that is meant")) } else { failure }
}

fn to_name(label: &str) -> Result<Name, Failure> {
    let ascii = if label.is_ascii() && !label.starts_with("xn--") { label.to_owned() } else { international(label)? };
    Name::new(&ascii).map_err(|error| {
        bad(format!("{label:?} is not a name: {error}"), "names are DNS labels, so that every program can look them up")
            .fix("namectl check NAME   # says what is wrong with a name")
    })
}

fn international(label: &str) -> Result<String, Failure> {
    let wrong = || bad(format!("{label:?} is not a valid international name"), "IDNA (UTS 46) does not allow it");
    let ascii = idna::domain_to_ascii_strict(label).map_err(|_| wrong())?;
    let (unicode, result) = idna::domain_to_unicode(&ascii);
    result.map_err(|_| wrong())?;
    scripts_fit(&unicode)?;
    Ok(ascii)
}

fn bad(message: String, why: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, "bad_name", message).why(why)
}

/// A name for people: `bücher (xn--bcher-kva)`, or the plain label.
pub fn show(name: &str) -> String {
    if !name.starts_with("xn--") {
        return name.to_owned();
    }
    match idna::domain_to_unicode(name) {
        (unicode, Ok(())) if unicode != name && scripts_fit(&unicode).is_ok() => format!("{unicode} ({name})"),
        // What could deceive is only shown encoded.
        _ => name.to_owned(),
    }
}

/// Scripts of letters, as far as telling them apart matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Han,
    Kana,
    Hangul,
    Bopomofo,
    /// Any other, told apart by the 128-character block that it lives in.
    Other(u32),
}

fn script_of(c: char) -> Option<Script> {
    Some(match u32::from(c) {
        0x30..=0x39 | 0x2d | 0xb7 | 0x300..=0x36f | 0x30fb | 0x30fc => return None,
        0x41..=0x24f | 0x1e00..=0x1eff => Script::Latin,
        0x370..=0x3ff | 0x1f00..=0x1fff => Script::Greek,
        0x400..=0x52f | 0x1c80..=0x1c8f | 0x2de0..=0x2dff | 0xa640..=0xa69f => Script::Cyrillic,
        0x2e80..=0x2fdf | 0x3005..=0x3007 | 0x3400..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff => Script::Han,
        0x3040..=0x30ff | 0x31f0..=0x31ff => Script::Kana,
        0x3100..=0x312f | 0x31a0..=0x31bf => Script::Bopomofo,
        0x1100..=0x11ff | 0x3130..=0x318f | 0xa960..=0xa97f | 0xac00..=0xd7ff => Script::Hangul,
        other => Script::Other(other >> 7),
    })
}

/// Letters that look like Latin ones, and which (the lower-case part of the Unicode confusables that matters).
const LOOK_ALIKES: [(&str, &str); 2] = [("асԁеһіјӏорԛѕԝхуѵ", "acdehijlopqswxyv"), ("αϲικνορυχγ", "acikvopuxy")];

fn scripts_fit(label: &str) -> Result<(), Failure> {
    let mut scripts: Vec<Script> = label.chars().filter_map(script_of).collect();
    scripts.sort_unstable();
    scripts.dedup();
    let east_asian =
        |allowed: &[Script]| scripts.iter().all(|script| *script == Script::Latin || allowed.contains(script));
    let usual = scripts.len() <= 1
        || east_asian(&[Script::Han, Script::Kana])
        || east_asian(&[Script::Han, Script::Bopomofo])
        || east_asian(&[Script::Han, Script::Hangul]);
    if !usual {
        return Err(bad(format!("{label:?} mixes alphabets"), "such names are used to imitate others")
            .fix("write it in one alphabet"));
    }
    match imitated(label) {
        Some(latin) => Err(bad(
            format!("{label:?} looks like {latin:?}"),
            "every letter has a Latin twin, so people could not tell the two apart",
        )
        .fix("choose a name with at least one letter of its own")),
        None => Ok(()),
    }
}

/// The Latin text that a label of another script looks like, if every letter has a twin.
fn imitated(label: &str) -> Option<String> {
    LOOK_ALIKES.iter().find_map(|(from, to)| {
        let twin = |c: char| match script_of(c) {
            None => Some(c),
            Some(_) => from.chars().position(|other| other == c).and_then(|at| to.chars().nth(at)),
        };
        let text: Option<String> = label.chars().map(twin).collect();
        text.filter(|text| text != label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, name: &str, sub: &str) {
        let typed = read_with_sub(input, &Suffixes::new("p2p")).expect(input);
        assert_eq!((typed.name.as_str(), typed.sub.as_str()), (name, sub), "{input}");
    }

    #[test]
    fn what_people_type() {
        check("alice", "alice", "");
        check("alice.p2p", "alice", "");
        check("ALICE.P2P.", "alice", "");
        check(" www.Alice.p2p ", "alice", "www");
        check("a.b.alice.p2p", "alice", "a.b");
        check("bücher", "xn--bcher-kva", "");
        check("BÜCHER.p2p", "xn--bcher-kva", "");
        check("xn--bcher-kva", "xn--bcher-kva", "");
        check("яблоко", "xn--90ascmb1h", "");
        check("日本語", "xn--wgv71a119e", "");
    }

    #[test]
    fn what_people_paste() {
        for same in [
            "alice.p2p.alt",
            "ALICE.P2P.Alt.",
            "http://alice.p2p/",
            "https://alice.p2p.alt:8443/a/b?c=d#e",
            "HTTPS://user:secret@alice.p2p",
            "alice/",
            "alice.p2p/x@y",
            "alice.p2p:443",
            "alice.p2p:443/x",
            "ａｌｉｃｅ．ｐ２ｐ",
            "alice.p2p\u{200b}",
            "alice。p2p",
            "alice．p2p｡",
            "ａｌｉｃｅ.p2p",
            "\talice.p2p\n",
        ] {
            check(same, "alice", "");
        }
        check("https://www.alice.p2p/x", "alice", "www");
        check("bücher。p2p", "xn--bcher-kva", "");
        // As a node of its own may serve it.
        let mut suffixes = Suffixes::new("names.example");
        suffixes.extend([".corp.".to_owned()]);
        for text in ["alice.names.example", "alice.corp", "alice.p2p"] {
            assert_eq!(read(text, &suffixes).expect(text).as_str(), "alice");
        }
    }

    /// Only what is certainly a link is cut.
    #[test]
    fn what_is_no_link_is_not_cut() {
        for whole in [
            "rock/roll",
            "and/or",
            "c#music?x",
            "alice#1234",
            "12:30",
            "alice:443",
            "http//alice.p2p",
            "a/b/",
            "//alice",
        ] {
            assert!(read_with_sub(whole, &Suffixes::new("p2p")).is_err(), "{whole}");
        }
    }

    /// One word is one name, with a suffix or without.
    #[test]
    fn letters_are_folded_one_by_one() {
        let name = |text: &str| {
            read(text, &Suffixes::new("p2p")).map(|name| name.to_string()).map_err(|failure| failure.message)
        };
        assert_eq!(name("ΔΗΜΟΣ"), name("ΔΗΜΟΣ.p2p"));
        assert_eq!(name("STRASSE"), name("strasse.p2p"));
    }

    #[test]
    fn a_foreign_name_is_not_read_as_ours() {
        for foreign in
            ["example.com", "alice.eth", "https://example.com/alice.p2p", "www.alice", "alicep2p.alt", "a.p2p.com"]
        {
            let failure = read(foreign, &Suffixes::new("p2p")).expect_err(foreign);
            assert!(failure.message.contains("is not under .p2p or .p2p.alt"), "{}", failure.message);
            assert!(is_foreign(foreign, &Suffixes::new("p2p")));
        }
        let failure = read("p2p.alt", &Suffixes::new("p2p")).expect_err("a suffix");
        assert!(failure.message.contains("where names are"), "{}", failure.message);
    }

    #[test]
    fn what_is_refused() {
        for bad in [
            "",
            ".",
            "p2p.",
            "a_b",
            "-a",
            "a b",
            "ab--c",
            "аррӏе",
            "pаypal",
            "xn--80ak6aa92e",
            "xn--zzzzzzzzzzzz",
            "αlice",
            "ονο",
        ] {
            let refused = read(bad, &Suffixes::new("p2p")).is_err();
            // "p2p." is the label p2p: spelled right, and reserved by the rules.
            assert!(refused || bad == "p2p.", "{bad}");
        }
        assert_eq!(read("www.alice.p2p", &Suffixes::new("p2p")).expect_err("a host").code, "bad_name");
    }

    #[test]
    fn both_forms_are_shown() {
        assert_eq!(show("alice"), "alice");
        assert_eq!(show("xn--bcher-kva"), "bücher (xn--bcher-kva)");
        assert_eq!(show("xn--80ak6aa92e"), "xn--80ak6aa92e", "a look-alike is shown encoded");
    }
}
