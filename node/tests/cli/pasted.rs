//! What people paste and save: names as links, words with numbers, files of other systems, and two commands at once.

use std::{collections::BTreeSet, process::Stdio};

use crate::world::{Run, World};

#[test]
fn names_in_any_form() {
    let world = World::with_keys();
    world.run(&["register", "https://Alice.p2p/", "--yes"]).expect(0);
    for form in
        ["alice", "alice.p2p.alt.", "http://alice.p2p/", "alice/", "https://alice.p2p.alt:443/x?y#z", "alice。p2p"]
    {
        world.run(&["lookup", form]).expect(0).says("alice.p2p");
        world.run(&["check", form]).expect(4).says("active");
    }
    world.run(&["records", "set", "alice.p2p.alt", "A", "192.0.2.1", "--sub", "www", "--yes"]).expect(0);
    world.run(&["lookup", "https://www.alice.p2p/page"]).expect(0).says("192.0.2.1");
    for whole in ["rock/roll", "c#music?x", "alice#1234", "12:30"] {
        world.run(&["register", whole, "--yes"]).expect(2).says("is not a name");
    }
    for foreign in ["example.com", "alice.eth", "www.alice", "https://example.com/alice.p2p"] {
        for command in ["lookup", "check", "register", "renew"] {
            world.run(&[command, foreign]).expect(2).says("is not under .p2p or .p2p.alt").says("if that is meant");
        }
    }
    // Without a node as well: nothing of ours is in it.
    let run = world.command(&["check", "example.com"]).env("NAMECTL_NODE", "unix:/nowhere").output().expect("starts");
    Run::from(run).expect(2).says("is not under");
}

#[test]
fn words_as_our_own_backup_prints_them() {
    let world = World::with_keys();
    let shown = world.run(&["keys", "backup", "--yes"]).expect(0).stdout;
    let json = world.run(&["--json", "keys", "backup", "--yes"]).expect(0).stdout;
    for (at, text) in [shown, json].iter().enumerate() {
        let file = world.path(&format!("{at}.nsk")).display().to_string();
        world.run_with_input(&["--keys", &file, "keys", "restore"], text).expect(0).says("names found");
    }
}

#[test]
fn passphrases_are_texts() {
    let world = World::new();
    world.write("passphrase", "F\u{fc}\u{df}e \u{fc}ber\n");
    world.run(&["keys", "new"]).expect(0);
    for same in ["Fu\u{308}\u{df}e u\u{308}ber\r\n", "\u{feff}F\u{fc}\u{df}e \u{fc}ber"] {
        world.write("passphrase", same);
        world.run(&["keys", "list"]).expect(0);
    }
    world.write("passphrase", "fu\u{df}e u\u{308}ber");
    world.run(&["keys", "list"]).expect(8).says("wrong passphrase");
    std::fs::write(
        world.path("passphrase"),
        "\u{feff}password1234".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    )
    .expect("writes");
    world.run(&["--keys", "other.nsk", "keys", "new"]).expect(2).says("is not UTF-8 text");
    world.write("passphrase", "seven77");
    world.run(&["--keys", "other.nsk", "keys", "new"]).expect(2).says("7 characters; it needs 8");
    assert!(!world.path("other.nsk").exists());
}

#[test]
fn a_backup_is_tested_and_a_passphrase_changed() {
    let world = World::with_keys();
    let words = world.run(&["keys", "backup", "--yes"]).expect(0).stdout;
    let test = |words: &str| world.run_with_input(&["keys", "test-backup"], words);
    test(&words).expect(0).says("the words bring back");
    let other = "legal winner thank year wave sausage worth useful legal winner thank yellow";
    test(other).expect(9).says("not those of");
    test(&words.replacen(' ', "x", 3)).expect(2);
    let new = world.write("new", "another passphrase\n");
    world.run(&["keys", "passphrase", "--new-passphrase-file", &world.write("short", "short")]).expect(2);
    world.run(&["keys", "passphrase", "--new-passphrase-file", &world.path("none").display().to_string()]).expect(3);
    world.run(&["keys", "list"]).expect(0);
    world.run(&["keys", "passphrase", "--new-passphrase-file", &new]).expect(0).says("new passphrase only");
    world.run(&["keys", "list"]).expect(8).says("wrong passphrase");
    world.write("passphrase", "another passphrase");
    test(&words).expect(0);
    world.write("passphrase", &"x".repeat(5_000));
    world.run(&["keys", "list"]).expect(2).says("longer than 4096 bytes");
}

#[test]
fn files_of_other_systems() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    let file = |bytes: &[u8]| {
        std::fs::write(world.path("file"), bytes).expect("writes");
        world.path("file").display().to_string()
    };
    let hosts = |bytes: &[u8]| world.run(&["import", "hosts", &file(bytes), "--plan-only"]);
    hosts(b"\xef\xbb\xbf192.0.2.1 www.alice.p2p\r\n").expect(10).says("www 3600 A 192.0.2.1");
    hosts(b"192.0.2.1 www.alice.p2p.alt # caf\xe9\n192.0.2.3 caf\xe9.alice.p2p\n192.0.2.2 nas.alice.p2p\n")
        .expect(10)
        .says("skipped line 2: it is no text: save the file as UTF-8")
        .says("nas 3600 A 192.0.2.2");
    hosts(b"\xff\xfe1\0").expect(2).says("is not UTF-8 text").says("iconv -f UTF-16");
    hosts(b"192.0.2.1 a/b.alice.p2p rock/roll.p2p\n").expect(0).says("a host name has no '/'");
    // A list of blocked hosts with the own name at its end.
    let mut long: String = (0..40_000).map(|n| format!("0.0.0.0 ads{n}.tracker.example\n")).collect();
    long.push_str("192.0.2.77 last.alice.p2p\n");
    let run = hosts(long.as_bytes()).expect(10).says("last 3600 A 192.0.2.77").says("and 39980 more");
    assert!(run.stdout.lines().count() < 30, "{} lines", run.stdout.lines().count());
    hosts(&vec![b'#'; 17 << 20]).expect(2).says("is longer than");

    let zone = |bytes: &[u8]| world.run(&["records", "plan", "alice", &file(bytes)]);
    zone(b"\xef\xbb\xbf@ 3600 A 192.0.2.1\n").expect(10);
    zone(b"@ 3600 A 192.0.2.1\n@ 3600 TXT \"caf\xe9\"\n").expect(2).says("line 2 has the byte 0xe9");
    zone(&vec![b';'; (1 << 20) + 1]).expect(2).says("is longer than");
}

/// An argument is data, and not a line of a zone file.
#[test]
fn record_data_as_given() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    let set = |rtype: &str, data: &str| world.run(&["records", "set", "alice", rtype, data, "--yes"]);
    let shown = || world.run(&["records", "show", "alice"]).expect(0).stdout;
    let key = format!("v=DKIM1; k=rsa; p={}ü", "A".repeat(391));
    set("TXT", &key).expect(0);
    let (first, second) = (&key[..255], "A".repeat(154));
    assert!(shown().contains(&format!("\"{first}\" \"{second}\\195\\188\"")), "{}", shown());
    set("TXT", "").expect(0);
    assert!(shown().contains("\"\""), "{}", shown());
    set("CAA", "0 issue letsencrypt.org;validationmethods=dns-01").expect(0);
    assert!(shown().contains("0 issue \"letsencrypt.org;validationmethods=dns-01\""), "{}", shown());
    set("A", "192.0.2.1 ; the printer").expect(2).says("one field too many");
}

#[test]
fn commands_at_once_wait_for_each_other() {
    let world = World::with_keys();
    let start = |args: &[&str]| {
        let child = world.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        child.expect("namectl starts")
    };
    let names = ["one", "two", "three", "four"];
    let registering: Vec<_> = names.map(|name| start(&["register", name, "--yes", "--no-wait"])).into();
    let addresses: Vec<_> = (0..4).map(|_| start(&["keys", "address"])).collect();
    let end = |child: std::process::Child| Run::from(child.wait_with_output().expect("ends")).expect(0).stdout;
    registering.into_iter().for_each(|child| drop(end(child)));
    let given: BTreeSet<String> = addresses.into_iter().map(end).collect();
    assert_eq!(given.len(), 4, "no address is given out twice");
    assert_eq!(world.json(&["keys", "list"])["keys"].as_array().map(Vec::len), Some(8));
}

/// What is given out is found again by the words alone, or the person has been told.
#[test]
fn names_beyond_unused_addresses_are_found() {
    let world = World::with_keys();
    for _ in 0..50 {
        assert_eq!(world.run(&["keys", "address"]).expect(0).stderr, "");
    }
    world.run(&["keys", "address"]).expect(0).says("51 addresses in a row").says("add: --gap 102");
    world.run(&["register", "beyond", "--yes"]).expect(0);
    let words = world.json(&["keys", "backup", "--yes"])["words"].as_str().expect("words").to_owned();
    world
        .run_with_input(&["--keys", "narrow", "keys", "restore", "--gap", "51"], &words)
        .expect(0)
        .says("0 names found");
    world.run(&["--keys", "narrow", "keys", "rescan"]).expect(0).says("1 names found");
    world.run_with_input(&["--keys", "wide", "keys", "restore"], &words).expect(0).says("1 names found");
    // The name's key ends the row of unused ones.
    assert_eq!(world.run(&["--keys", "wide", "keys", "address"]).expect(0).stderr, "");
    world.run(&["keys", "rescan", "--gap", "0"]).expect(2);
}
