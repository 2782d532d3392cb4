//! What never changes by accident: help texts, exit codes, the shape of JSON.

use ledger::{
    params::Network,
    state::tree::{MemoryPages, prove},
    testing::name,
};
use node::light::ProofFile;

use crate::world::World;

const COMMANDS: [&[&str]; 23] = [
    &[],
    &["status"],
    &["check"],
    &["register"],
    &["lookup"],
    &["verify"],
    &["records"],
    &["records", "set"],
    &["records", "apply"],
    &["renew"],
    &["transfer"],
    &["revoke"],
    &["names"],
    &["ops"],
    &["search"],
    &["resolver"],
    &["resolver", "flush"],
    &["keys"],
    &["keys", "restore"],
    &["keys", "passphrase"],
    &["export", "hosts"],
    &["import", "hosts"],
    &["man"],
];

#[test]
fn help_texts() {
    let world = World::new();
    for command in COMMANDS {
        let help = world.run(&[command, &["-h"]].concat()).expect(0).stdout;
        // Global options are the same everywhere; the first help shows them.
        let text = match command {
            [] => help,
            _ => help.split("\nGlobal options").next().unwrap_or_default().to_owned(),
        };
        insta::assert_snapshot!(format!("help_{}", command.join("_")), text);
    }
}

#[test]
fn without_a_node() {
    let world = World::with_keys();
    for args in [
        &["status"][..],
        &["check", "alice"],
        &["lookup", "alice"],
        &["register", "alice", "--yes"],
        &["names"],
        &["ops", "list"],
    ] {
        let run =
            world.command(args).env("NAMECTL_NODE", "unix:/nowhere/api.sock").arg("--json").output().expect("starts");
        let run = crate::world::Run::from(run).expect(5);
        assert_eq!(run.json()["error"]["code"], "node_unreachable", "{args:?}");
        world
            .command(args)
            .env("NAMECTL_NODE", "unix:/nowhere/api.sock")
            .output()
            .map(crate::world::Run::from)
            .expect("starts")
            .expect(5)
            .says("fix: ");
    }
}

#[test]
fn exit_codes() {
    let world = World::new();
    world.run(&["status"]).expect(0).says("synced");
    world.run(&["lokup", "x"]).expect(2).says("lookup");
    world.run(&["lookup", "a_b"]).expect(2).says("not allowed");
    world.run(&["lookup", "alice"]).expect(3).says("is not registered");
    world.run(&["lookup", "alice", "SOA"]).expect(2);
    world.run(&["register", "www", "--yes"]).expect(4).says("can never be registered");
    world.run(&["register", "alice", "--yes"]).expect(8).says("namectl keys new");
    world.run(&["keys", "new"]).expect(0);
    world.run(&["register", "alice"]).expect(2).says("--yes");
    world.write("passphrase", "wrong");
    world.run(&["keys", "list"]).expect(8).says("wrong passphrase");
    world.write("passphrase", "");
    world.run(&["keys", "list"]).expect(8).says("empty");
    let no_file =
        world.command(&["keys", "list"]).env_remove("NAMECTL_PASSPHRASE_FILE").output().map(crate::world::Run::from);
    no_file.expect("starts").expect(8).says("--passphrase-file");
    let garbage = world.write("garbage", "nsproof1 and so on");
    world.run(&["verify", &garbage]).expect(9).says("proves nothing");
    world.run(&["verify", "/nowhere"]).expect(3);
    world.run(&["lookup", "alice", "--light"]).expect(2).says("--peer");
    world.node.with(|node| node.synced = false);
    world.run(&["status"]).expect(6).says("no peers");
    world.run(&["register", "alice", "--yes"]).expect(6);
    world.run(&["--network", "main", "check", "alice"]).expect(2).says("--network local");
    world.run(&["--network", "mian", "check", "alice"]).expect(2);
    world.run(&["--node", "ftp://x", "status"]).expect(2);
}

/// A node that does not know what is true now is not believed: least of all that a name is free.
#[test]
fn a_node_that_is_not_synced_is_not_believed() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    let hosts = world.write("hosts", "192.0.2.1 nas.bob.p2p\n");
    world.node.with(|node| node.synced = false);
    let commands = [
        &["lookup", "alice"][..],
        &["lookup", "bob"],
        &["check", "bob"],
        &["search", "al"],
        &["names"],
        &["export", "hosts"],
        &["export", "hosts", "--all"],
        &["export", "hosts", "alice"],
        &["import", "hosts", &hosts, "--plan-only"],
        &["records", "show", "alice"],
        &["register", "bob", "--yes"],
    ];
    for args in commands {
        world.run(args).expect(6).says("not synced").says("no peers; what it knows is 2 h old").says("--stale-ok");
        let error = world.run(&[args, &["--json"]].concat()).expect(6).json();
        assert_eq!(error["error"]["code"], "not_synced", "{args:?}");
    }
    for (args, code) in commands.iter().zip([0, 3, 0, 0, 0, 0, 0, 0, 10, 0]) {
        let run = world.run(&[*args, &["--stale-ok"]].concat()).expect(code).says("what is shown was true 2 h ago");
        assert_eq!(run.stderr.matches("warning:").count(), 1, "{}", run.all());
    }
    // What can be seen is whose it is, without a node.
    world.run(&["keys", "list"]).expect(0);
    world.node.with(|node| node.synced = true);
    world.run(&["lookup", "alice"]).expect(0).says("2 h old");
}

#[test]
fn locked_names_say_to_whom() {
    let world = World::new();
    world.run(&["check", "google"]).expect(4).says("locked to google.com");
    world.run(&["lookup", "google"]).expect(3).says("is not registered").says("locked to google.com");
    let found = world.run(&["search", "googleb"]).expect(0).says("googleblog.p2p  locked to googleblog.com");
    assert_eq!(found.stdout.lines().count(), 1);
    let object = world.json(&["search", "googleb"]);
    assert_eq!(object["locked"][0]["locked_to"], "googleblog.com");
    let object = world.run(&["check", "google", "--json"]).expect(4).json();
    assert_eq!(object["names"][0]["locked_to"], "google.com");
    world.run(&["lookup", "nobody"]).expect(3);
}

#[test]
fn configured_peers_that_are_not_reached_are_named() {
    let world = World::new();
    world.run(&["node", "peers"]).expect(0).says("not reached  /ip4/192.0.2.8/tcp/9353  connection refused");
    world.run(&["node", "peers"]).expect(0).says("trying       /ip4/192.0.2.9/tcp/9353");
    world.run(&["status"]).expect(0).says("configured peer /ip4/192.0.2.8/tcp/9353 is not reached");
}

#[test]
fn damaged_keys_are_refused_and_kept() {
    let world = World::with_keys();
    let path = world.path(".local/share/namestead/keys.nsk");
    let mut bytes = std::fs::read(&path).expect("reads");
    bytes[70] ^= 1;
    std::fs::write(&path, &bytes).expect("writes");
    world.run(&["keys", "list"]).expect(1).says("damaged");
    world.run(&["keys", "new"]).expect(4);
    assert_eq!(std::fs::read(&path).expect("reads"), bytes);
    std::fs::write(&path, "not keys").expect("writes");
    world.run(&["keys", "list"]).expect(1).says("not a Namestead key file");
}

#[test]
fn errors_have_one_shape() {
    let world = World::new();
    for (args, code, exit) in [
        (&["lookup", "alice"][..], "not_registered", 3),
        (&["lookup", "-x-"], "usage", 2),
        (&["lookup", "a b"], "bad_name", 2),
        (&["names"], "no_keys", 8),
        (&["verify"], "usage", 2),
    ] {
        let run = world.run(&[args, &["--json"]].concat()).expect(exit);
        let object = run.json();
        let error = object["error"].as_object().expect("an error");
        let mut fields: Vec<&str> = error.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["code", "exit", "fix", "message", "why"]);
        assert_eq!((error["code"].as_str(), error["exit"].as_i64()), (Some(code), Some(i64::from(exit))), "{args:?}");
        assert!(error["fix"].as_array().is_some_and(|fixes| fixes.iter().all(|fix| fix.is_string())));
        assert!(run.stderr.is_empty(), "{}", run.stderr);
    }
}

#[test]
fn near_misses_are_suggested() {
    let world = World::with_keys();
    world.run(&["register", "alicia", "--yes"]).expect(0);
    world.run(&["lookup", "alicai"]).expect(3).says("did you mean alicia.p2p?");
}

#[test]
fn progress_is_one_object_per_line() {
    let world = World::with_keys();
    let run = world.run(&["register", "alice", "--yes", "--json"]).expect(0);
    run.json();
    let states: Vec<String> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|event| event["operation"]["state"].as_str().expect("a state").to_owned())
        .collect();
    assert_eq!(states, ["broadcast", "maturing", "revealing", "contest", "done"]);
    let plain = world.run(&["register", "bob", "--yes"]).expect(0);
    assert_eq!(plain.stderr.lines().count(), 6, "{}", plain.stderr);
    assert!(!plain.stderr.contains('\x1b') && !plain.stdout.contains('\x1b'));
}

#[test]
fn settings_come_from_flag_environment_file_and_default() {
    let world = World::new();
    let config = world.write("namectl.toml", "suffix = \"nl\"\nkeys = \"/from/file\"\n");
    let show = |args: &[&str]| world.json(&[&["--config", &config, "config", "show", "--origin"], args].concat());
    let settings = show(&[]);
    assert_eq!(
        (settings["settings"]["keys"]["value"].as_str(), settings["settings"]["keys"]["origin"].as_str()),
        (Some("/from/file"), Some("file"))
    );
    assert_eq!(settings["settings"]["network"]["origin"], "environment");
    assert_eq!(settings["settings"]["suffix"]["value"], "nl");
    assert_eq!(show(&["--keys", "/x"])["settings"]["keys"]["origin"], "flag");
    let bad = world.write("bad.toml", "netwrk = \"local\"\n");
    world.run(&["--config", &bad, "status"]).expect(2).says("did you mean network?");
    world.run(&["--config", "/nowhere.toml", "status"]).expect(3);
}

#[test]
fn colours_only_when_wanted() {
    let world = World::new();
    assert!(!world.run(&["status"]).expect(0).stdout.contains('\x1b'));
    assert!(world.run(&["status", "--color", "always"]).expect(0).stdout.contains('\x1b'));
}

#[test]
fn completions_and_manual_pages() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(world.run(&["completions", shell]).expect(0).stdout.contains("register"), "{shell}");
    }
    world.run(&["man"]).expect(0).says(".TH namectl 1");
    world.run(&["man", "--dir", "pages"]).expect(0);
    assert!(world.path("pages/namectl-records-set.1").exists());
}

#[test]
fn a_checkpoint_is_a_hash_at_its_height() {
    let (world, params, nobody) = (World::new(), Network::Local.params(), name("nobody"));
    let pages = MemoryPages::new();
    let path = prove(&pages, pages.root(), &nobody.key()).expect("the empty tree");
    let proof = path.into_proof(None).expect("nothing is there").to_bytes();
    let file = world.dir.path().join("absent.proof");
    let bytes = ProofFile::new(params, nobody, params.genesis(), Vec::new(), proof).to_bytes();
    std::fs::write(&file, bytes).expect("writes");
    let verify = |height: u32, hash: &str| {
        world.run(&["verify", &file.display().to_string(), "--checkpoint", &format!("{height}:{hash}")])
    };
    let genesis = params.genesis_hash().to_string();
    verify(0, &genesis).expect(0).says("was not registered");
    verify(1, &genesis).expect(9).says("has height 0, not 1").says(&format!("--checkpoint 0:{genesis}"));
    verify(0, &"9".repeat(64)).expect(9).says("does not contain the trusted block");
}
