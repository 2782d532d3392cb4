//! The key of a node as a trust anchor, written the way validators read it.
//!
//! Whoever configures it says "I believe what this node signs about these zones". It says nothing about other nodes:
//! each has its own key.

use std::fmt::{self, Write as _};

use data_encoding::{BASE64, HEXUPPER};

use super::key::{ALGORITHM, DS_DIGEST, FLAGS, PROTOCOL, ZoneKey};
use crate::dns::name::Dname;

/// Programs that validate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A file to `include:` in unbound.conf, also read by unbound-host.
    Unbound,
    /// A `trust-anchors` statement for named.conf.
    Bind,
    /// Lua lines for kresd.conf (Knot Resolver 5).
    Knot,
    /// A file for `/etc/dnssec-trust-anchors.d/`, its name ending in `.positive`.
    Systemd,
    /// A file for `delv -a`, used together with `+root=ZONE`.
    Delv,
    /// DS records, as lines for the zone file of a parent zone.
    Ds,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [Self::Unbound, Self::Bind, Self::Knot, Self::Systemd, Self::Delv, Self::Ds];

    /// The name by which users choose it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Bind => "bind",
            Self::Knot => "knot",
            Self::Systemd => "systemd",
            Self::Delv => "delv",
            Self::Ds => "ds",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text that makes the validator of `format` trust `key` for `zones`.
pub fn export(format: Format, key: &ZoneKey, zones: &[Dname]) -> String {
    let mut text = head(format).to_owned();
    for zone in zones {
        line(&mut text, format, key, zone).expect("writing to a string cannot fail");
    }
    text + foot(format)
}

fn head(format: Format) -> &'static str {
    match format {
        Format::Unbound => "server:\n",
        Format::Bind | Format::Delv => "trust-anchors {\n",
        Format::Knot | Format::Systemd | Format::Ds => "",
    }
}

fn foot(format: Format) -> &'static str {
    match format {
        Format::Bind | Format::Delv => "};\n",
        Format::Unbound | Format::Knot | Format::Systemd | Format::Ds => "",
    }
}

fn line(text: &mut String, format: Format, key: &ZoneKey, zone: &Dname) -> fmt::Result {
    match format {
        Format::Unbound => writeln!(text, "    trust-anchor: \"{}\"", ds(key, zone)),
        Format::Knot => writeln!(text, "trust_anchors.add('{}')", ds(key, zone)),
        Format::Systemd | Format::Ds => writeln!(text, "{}", ds(key, zone)),
        Format::Bind | Format::Delv => {
            let public = BASE64.encode(key.public());
            writeln!(text, "    \"{zone}\" static-key {FLAGS} {PROTOCOL} {ALGORITHM} \"{public}\";")
        }
    }
}

/// The DS record for `key` at `zone`, as a line of a zone file.
fn ds(key: &ZoneKey, zone: &Dname) -> String {
    let digest = HEXUPPER.encode(&key.ds_digest(zone));
    format!("{zone} IN DS {} {ALGORITHM} {DS_DIGEST} {digest}", key.tag())
}
