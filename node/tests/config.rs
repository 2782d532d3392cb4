//! Configuration files: what is read, what is refused, and in which words.

use std::path::{Path, PathBuf};

use ledger::params::Network;
use node::{
    config::{Config, EXAMPLE, Overrides, Role},
    miner::MiningMode,
    telemetry::LogFormat,
};

fn parse(text: &str) -> Result<Config, String> {
    let overrides = Overrides { data_dir: Some(PathBuf::from("/data")), ..Overrides::default() };
    Config::parse(text, Path::new("n.toml"), overrides).map_err(|error| error.to_string())
}

fn refused(text: &str, expected: &str) {
    let got = parse(text).map(|_| ()).expect_err(text);
    assert_eq!(got, expected, "{text}");
}

#[test]
fn the_example_is_the_default() {
    let (example, default) = (parse(EXAMPLE).expect("valid"), parse("").expect("valid"));
    assert_eq!(format!("{example:?}"), format!("{default:?}"));
    assert_eq!((example.network, example.role), (Network::Main, Role::Full));
    assert_eq!(example.api.socket_path(), Path::new("/data/api.sock"));
    assert_eq!(example.database_dir(), Path::new("/data/db"));
}

#[test]
fn every_commented_key_of_the_example_exists() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.contains(" = ") && !key.starts_with(char::is_uppercase) => format!("{key}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    let config = parse(&uncommented).expect("valid");
    assert_eq!((config.mining.threads, config.mining.duty), (Some(4), Some(25)));
}

#[test]
fn values_are_read() {
    let config = parse(
        "network = 'local'\nrole = 'archive'\n[mining]\nmode = 'on'\nsolo = true\n[log]\nformat = 'json'\n\
         level = 'debug,node::p2p=trace'\n[metrics]\nlisten = 'off'\n[p2p]\npeers = ['/ip4/192.0.2.1/tcp/9353']",
    )
    .expect("valid");
    assert_eq!((config.network, config.role), (Network::Local, Role::Archive));
    assert_eq!((config.mining.mode, config.mining.solo), (MiningMode::On, true));
    assert_eq!((config.log.format, config.metrics.listen.address()), (LogFormat::Json, None));
    assert_eq!(config.p2p.peers.len(), 1);
}

#[test]
fn the_command_line_stands_above_the_file() {
    let overrides = Overrides {
        network: Some(Network::Test),
        data_dir: Some(PathBuf::from("/other")),
        listen: vec!["/ip4/127.0.0.1/tcp/1".parse().expect("valid")],
        peers: vec!["/ip4/127.0.0.1/tcp/2".parse().expect("valid")],
        mode: Some(MiningMode::Off),
        log_level: Some("warn".to_owned()),
    };
    let text =
        "network = 'local'\ndata_dir = '/data'\n[p2p]\npeers = ['/ip4/192.0.2.1/tcp/9353']\n[mining]\nmode = 'on'";
    let config = Config::parse(text, Path::new("n.toml"), overrides).expect("valid");
    assert_eq!((config.network, config.data_dir.as_path()), (Network::Test, Path::new("/other")));
    assert_eq!((config.p2p.listen.len(), config.p2p.peers.len()), (1, 2));
    assert_eq!((config.mining.mode, config.log.level.as_str()), (MiningMode::Off, "warn"));
    assert_eq!(config.api.token_path(), Path::new("/other/api.token"));
}

#[test]
fn each_mistake_has_its_place_and_its_sentence() {
    refused(
        "netwrok = 'local'",
        "n.toml:1: unknown field `netwrok`, expected one of `network`, `role`, `data_dir`, \
        `p2p`, `mining`, `dns`, `api`, `metrics`, `log`; did you mean `network`?",
    );
    refused(
        "\n[minning]\n",
        "n.toml:2: unknown field `minning`, expected one of `network`, `role`, `data_dir`, \
        `p2p`, `mining`, `dns`, `api`, `metrics`, `log`; did you mean `mining`?",
    );
    refused(
        "[mining]\nduti = 5",
        "n.toml:2: unknown field `duti`, expected one of `mode`, `threads`, `duty`, `solo`; \
        did you mean `duty`?",
    );
    refused(
        "[mining]\nmode = 'atuo'",
        "n.toml:2: unknown variant `atuo`, expected one of `auto`, `on`, `off`; \
        did you mean `auto`?",
    );
    refused("network = 'mian'", "n.toml:1: network: unknown network \"mian\": expected main, test or local");
    refused("[mining]\n\nduty = 101", "n.toml:3: mining.duty is a percentage and must be from 1 to 100");
    refused("[mining]\nthreads = 0", "n.toml:2: mining.threads must be from 1 to 256");
    refused(
        "[api]\nlisten = '0.0.0.0:8353'",
        "n.toml:2: api.listen is 0.0.0.0:8353, but the interface is for this \
        machine only: use a loopback address, and a reverse proxy or an SSH tunnel for others",
    );
    refused("[metrics]\nlisten = '127.0.0.1:8353'", "n.toml: api.listen and metrics.listen both want 127.0.0.1:8353");
    refused(
        "[metrics]\nlisten = 'on'",
        "n.toml:2: \"on\" is neither \"off\" nor an address such as \"127.0.0.1:8353\"",
    );
    let log = parse("[log]\nlevel = 'a=b=c'").expect_err("no filter");
    assert!(log.starts_with("n.toml:2: log.level: \"a=b=c\" is no log filter: "), "{log}");
    refused("[dns]\nsuffixes = []", "n.toml:2: dns.suffixes is empty: give at least one suffix such as \"p2p\"");
    refused(
        "[p2p]\nmax_peers = 1\npeers = ['/ip4/192.0.2.1/tcp/1', '/ip4/192.0.2.2/tcp/1']",
        "n.toml:3: p2p.peers lists 2 peers but p2p.max_peers allows 1 connections",
    );
    let long = format!("[api]\nsocket = '/{}'", "x".repeat(120));
    assert!(parse(&long).expect_err("too long").starts_with("n.toml:2: api.socket: /xxx"));
}

#[test]
fn every_key_of_the_example_is_told_apart() {
    let (old, new) = (parse("").expect("valid"), parse("[p2p]\nmax_peers = 7\n[dns]\nlisten = []").expect("valid"));
    assert_eq!(old.differences(&new), ["dns.listen", "p2p.max_peers"]);
    assert!(old.differences(&old.clone()).is_empty());
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/n.toml")), Overrides::default()).expect_err("missing");
    assert!(error.to_string().starts_with("/nonexistent/n.toml: "), "{error}");
}
