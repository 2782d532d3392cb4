//! `namestead trust-anchor`: the node's DNSSEC key in the words of a validator.
//!
//! The key is made here if the node has not started yet, so that a validator can be set up first.

use node::config::Config;
use resolver::{
    Dnssec,
    zones::sign::{
        anchor::{self, Format},
        file::load_or_create,
    },
};

use crate::{
    cli::Validator,
    commands::{Failure, go_on_as_owner},
};

pub fn print(config: &Config, validator: Validator) -> Result<(), Failure> {
    if config.dns.dnssec == Dnssec::Off {
        return Err(Failure::Other("dns.dnssec is off: this node signs nothing".to_owned()));
    }
    let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    go_on_as_owner(config)?;
    let zones = config.dns.zones().map_err(|error| other(&error))?;
    let key = load_or_create(&config.dnssec_key_file()).map_err(|error| other(&error))?;
    crate::commands::print(&anchor::export(format(validator), &key, &zones))
}

fn format(validator: Validator) -> Format {
    match validator {
        Validator::Unbound => Format::Unbound,
        Validator::Bind => Format::Bind,
        Validator::Knot => Format::Knot,
        Validator::Systemd => Format::Systemd,
        Validator::Delv => Format::Delv,
        Validator::Ds => Format::Ds,
    }
}
