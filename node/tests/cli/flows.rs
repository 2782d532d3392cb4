//! Whole errands: registering, changing, handing over, restoring.

use resolver::zones::{
    hosts::Reading,
    site::{Site, Zone},
};

use crate::world::World;

fn names_of(world: &World) -> Vec<String> {
    let list = world.json(&["names"]);
    list["names"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["name"].as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn register_with_records_and_look_it_up() {
    let world = World::with_keys();
    let zone = world.write("alice.zone", "@ A 192.0.2.1\nwww 300 CNAME @\n");
    world
        .run(&["register", "Alice.p2p", "--records", &zone, "--yes"])
        .expect(0)
        .says("alice.p2p is yours until 2027-11-23");
    let answer = world.json(&["lookup", "alice"]);
    assert_eq!((answer["status"].as_str(), answer["records"][1]["data"].as_str()), (Some("active"), Some("@")));
    let www = world.json(&["lookup", "www.alice.p2p"]);
    assert_eq!(www["records"].as_array().map(Vec::len), Some(1));
    let none = world.json(&["lookup", "alice", "MX"]);
    assert_eq!(none["records"].as_array().map(Vec::len), Some(0));
    assert_eq!(names_of(&world), ["alice"]);
    world.run(&["register", "alice", "--yes"]).expect(4).says("alice.p2p is taken");
    world.run(&["check", "alice", "bob"]).expect(4).says("free").says("active");
    world.run(&["check", "bob"]).expect(0);
    world.run(&["search", "al"]).expect(0).says("alice.p2p");
}

#[test]
fn several_names_get_several_keys() {
    let world = World::with_keys();
    let done = world.json(&["register", "bob", "alice", "--yes"]);
    assert_eq!(done["operations"].as_array().map(Vec::len), Some(2));
    let keys = world.json(&["keys", "list"]);
    let addresses: Vec<_> = keys["keys"].as_array().expect("a list").iter().map(|key| key["address"].clone()).collect();
    assert_eq!(addresses.len(), 2);
    assert_ne!(addresses[0], addresses[1]);
}

#[test]
fn nobody_waits_and_the_operation_is_found_again() {
    let world = World::with_keys();
    let started = world.json(&["register", "alice", "--yes", "--no-wait"]);
    let id = started["operations"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(started["operations"][0]["state"], "working");
    let list = world.json(&["ops", "list"]);
    assert_eq!(list["operations"][0]["id"], id.as_str());
    let done = world.json(&["ops", "wait", &id]);
    assert_eq!((done["state"].as_str(), done["name"].as_str()), (Some("done"), Some("alice")));
    world.run(&["ops", "show", &id[..12]]).expect(0).says("register alice");
    world.run(&["ops", "show", "zzz"]).expect(3);
}

#[test]
fn a_lost_signature_is_made_again() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0).says("is yours");
    world.node.with(|node| node.forget_signature = true);
    world.run(&["records", "set", "alice", "A", "192.0.2.8", "--yes"]).expect(0).says("new records");
    assert_eq!(world.node.with(|node| node.posts), 3, "two starts, one resume");
    // The same from another process, which knows nothing but the id and the keys.
    world.node.with(|node| node.forget_signature = true);
    let started = world.json(&["records", "set", "alice", "A", "192.0.2.7", "--yes", "--no-wait"]);
    let id = started["operations"][0]["id"].as_str().expect("an id").to_owned();
    world.node.with(|node| node.stuck = false);
    world.run(&["ops", "show", &id]).expect(0);
    world.run(&["ops", "resume", &id]).expect(0).says("done");
    assert_eq!(world.json(&["lookup", "alice"])["records"][0]["data"], "192.0.2.7");
}

#[test]
fn a_failed_operation_says_why() {
    let world = World::with_keys();
    world.node.with(|node| node.fail_next = true);
    let run = world.run(&["register", "alice", "--yes", "--json"]).expect(4);
    let error = &run.json()["error"];
    assert_eq!((error["code"].as_str(), error["fix"][0].as_str()), (Some("beaten"), Some("choose another name")));
}

#[test]
fn waiting_ends_and_the_node_goes_on() {
    let world = World::with_keys();
    world.node.with(|node| node.stuck = true);
    world.run(&["register", "alice", "--yes", "--timeout", "1s"]).expect(7).says("namectl ops wait 01J9ZZZZ");
}

#[test]
fn ctrl_c_is_safe() {
    let world = World::with_keys();
    world.node.with(|node| node.stuck = true);
    let mut child = world.command(&["register", "alice", "--yes"]);
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().expect("starts");
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("piped"));
    let mut hint = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut hint).expect("a line");
    assert!(hint.contains("Ctrl-C is safe"), "{hint}");
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).expect("text");
    assert_eq!(child.wait().expect("ends").code(), Some(130), "{rest}");
    assert!(rest.contains("fix: namectl ops wait 01J9ZZZZ"), "{rest}");
    world.node.with(|node| node.stuck = false);
    world.run(&["ops", "wait", "01J9"]).expect(0);
    world.run(&["lookup", "alice"]).expect(0);
}

#[test]
fn records_are_set_and_removed() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    world.run(&["records", "set", "alice", "A", "192.0.2.1", "192.0.2.2", "--yes"]).expect(0);
    world.run(&["records", "set", "alice", "TXT", "v=spf1 -all", "--yes"]).expect(0);
    world.run(&["records", "set", "alice", "A", "192.0.2.3", "--sub", "www", "--ttl", "300", "--yes"]).expect(0);
    world.run(&["records", "set", "alice", "A", "192.0.2.9", "--add", "--yes"]).expect(0);
    let shown = world.run(&["records", "show", "alice"]).expect(0).stdout;
    for line in
        ["@              A      192.0.2.1", "192.0.2.9", "TXT    \"v=spf1 -all\"", "www     300    A      192.0.2.3"]
    {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    world.run(&["records", "rm", "alice", "A", "--yes"]).expect(0);
    world.run(&["records", "rm", "alice", "A", "--yes"]).expect(3);
    world.run(&["records", "rm", "alice", "--sub", "www", "--yes"]).expect(0);
    let left = world.json(&["records", "show", "alice"]);
    assert_eq!(left["records"].as_array().map(Vec::len), Some(1));
    world.run(&["records", "set", "alice", "A", "192.0.2", "--yes"]).expect(2).says("is not an IPv4 address");
    world.run(&["records", "set", "bob", "A", "192.0.2.1", "--yes"]).expect(3);
}

/// What is edited while a change is under way is built on that change, and does not undo it.
#[test]
fn records_are_edited_on_top_of_what_is_under_way() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    world.node.with(|node| node.stuck = true);
    world.run(&["records", "set", "alice", "A", "192.0.2.1", "--yes", "--no-wait"]).expect(0);
    world.run(&["records", "set", "alice", "AAAA", "2001:db8::1", "--yes", "--no-wait"]).expect(0);
    world.node.with(|node| node.stuck = false);
    world.run(&["records", "set", "alice", "TXT", "last", "--yes"]).expect(0);
    let shown = world.run(&["records", "show", "alice"]).expect(0).stdout;
    assert!(["192.0.2.1", "2001:db8::1", "last"].iter().all(|part| shown.contains(part)), "{shown}");
}

#[test]
fn a_zone_file_is_planned_and_applied() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    let zone = world.write("z", "$TTL 300\n@ A 192.0.2.1\nwww A 192.0.2.2\nx TXT hello\n");
    world
        .run(&["records", "plan", "alice", &zone])
        .expect(10)
        .says("+ www 300 A 192.0.2.2")
        .says("3 to add")
        .says("/1024 bytes");
    world.run(&["records", "apply", "alice", &zone, "--dry-run"]).expect(10);
    assert_eq!(world.node.with(|node| node.posts), 1, "nothing but the registration");
    world.run(&["records", "apply", "alice", &zone, "--yes"]).expect(0);
    world.run(&["records", "plan", "alice", &zone]).expect(0).says("already");
    let fewer = world.write("z2", "$TTL 300\n@ A 192.0.2.9\n");
    world.run(&["records", "apply", "alice", &fewer, "--yes"]).expect(4).says("2 of 3").says("--force");
    world.run(&["records", "apply", "alice", &fewer, "--yes", "--force"]).expect(0);
    let same_again = world.run(&["records", "show", "alice"]).expect(0).stdout;
    let zone = world.write("z3", &same_again);
    world.run(&["records", "plan", "alice", &zone]).expect(0);
    let bad = world.write("bad", "@ A 192.0.2.1\n@ A 1.2.3\n@ AAA ::1\n");
    world
        .run(&["records", "apply", "alice", &bad, "--yes"])
        .expect(2)
        .says("bad:2:5")
        .says("bad:3:3")
        .says("did you mean AAAA?");
    let hidden = world.write("hidden", "@ A 192.0.2.9\nw CNAME a.example.\nw A 192.0.2.1\n");
    world.run(&["records", "apply", "alice", &hidden, "--yes"]).expect(4).says("hidden behind it");
}

#[test]
fn a_name_changes_hands() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    let other = world.path("other.nsk").display().to_string();
    world.run(&["--keys", &other, "keys", "new"]).expect(0);
    let to = world.json(&["--keys", &other, "keys", "address"])["address"].as_str().expect("text").to_owned();
    world.run(&["transfer", "alice", "--to", &to, "--yes"]).expect(2).says("--confirm alice");
    world.run(&["transfer", "alice", "--to", "lname1xyz", "--confirm", "alice"]).expect(2).says("mistyped");
    world
        .run(&["--keys", &other, "transfer", "alice", "--to", &to, "--confirm", "alice"])
        .expect(4)
        .says("does not belong to these keys");
    world.run(&["transfer", "cancel", "alice"]).expect(4).says("no transfer");
    world.run(&["transfer", "alice", "--to", &to, "--confirm", "alice"]).expect(0).says("goes to lname1");
    assert_eq!(world.json(&["lookup", "alice"])["pending"]["owner"], to.as_str());
    world.run(&["transfer", "cancel", "alice"]).expect(0);
    assert!(world.json(&["lookup", "alice"])["pending"].is_null());
}

#[test]
fn giving_up_needs_the_name_typed() {
    let world = World::with_keys();
    world.run(&["register", "alice", "bob", "--yes"]).expect(0);
    world.run(&["revoke", "alice", "--yes"]).expect(2);
    world.run(&["revoke", "alice", "--confirm", "bob"]).expect(2);
    world.run(&["revoke", "alice", "--confirm", "alice", "--dry-run"]).expect(0).says("would burn alice.p2p");
    world.run(&["revoke", "alice", "--confirm", "alice"]).expect(0).says("is burned");
    world.run(&["release", "bob", "--confirm", "bob"]).expect(0).says("is released");
    assert_eq!(world.json(&["lookup", "alice"])["status"], "revoked");
}

#[test]
fn names_are_renewed_in_their_window() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    world.run(&["renew", "alice", "--yes"]).expect(4).says("cannot be renewed yet");
    world.run(&["renew", "--all", "--yes"]).expect(0).says("no name can be renewed now");
    world.run(&["names", "--expiring", "1h"]).expect(0).says("no name expires");
    world.node.with(|node| node.height += 19_000);
    world.run(&["names", "--expiring", "1h"]).expect(12).says("alice.p2p");
    world.run(&["names", "--format", "ics"]).expect(0).says("SUMMARY:alice.p2p expires");
    let before = world.json(&["lookup", "alice"])["expires_at"].as_u64().expect("a height");
    world.run(&["renew", "--all", "--within", "1h", "--yes"]).expect(0).says("is renewed");
    assert_eq!(world.json(&["lookup", "alice"])["expires_at"].as_u64(), Some(before + 20_000));
}

/// A name that cannot be renewed keeps none of the others from it: this runs in timers.
#[test]
fn a_name_given_up_does_not_stop_the_renewal_of_others() {
    let world = World::with_keys();
    world.run(&["register", "alice", "bob", "carol", "--yes"]).expect(0);
    world.run(&["revoke", "bob", "--yes", "--confirm", "bob"]).expect(0);
    world.node.with(|node| node.height += 19_000);
    world.run(&["renew", "--all", "--yes"]).expect(0).says("carol.p2p is renewed");
}

/// Work renews a name, and no key: a server, a friend or a guard can do it for an owner who is away.
#[test]
fn anybodys_name_is_renewed_without_keys() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    world.node.with(|node| node.height += 19_000);
    let before = world.json(&["lookup", "alice"])["expires_at"].as_u64().expect("a height");
    let nothing = world.path("nothing.nsk").display().to_string();
    world.run(&["--keys", &nothing, "renew", "alice", "--yes"]).expect(0).says("is renewed");
    assert_eq!(world.json(&["lookup", "alice"])["expires_at"].as_u64(), Some(before + 20_000));
    world.run(&["--keys", &nothing, "renew", "bob", "--yes"]).expect(3).says("not registered");
}

/// An older reveal of the same owner may win the name; what differs is changed by the same command.
#[test]
fn a_name_won_by_an_older_reveal_gets_what_was_asked_for() {
    let world = World::with_keys();
    let zone = world.write("alice.zone", "@ 300 A 192.0.2.5\n");
    world.node.with(|node| node.older_reveal = true);
    world.run(&["register", "alice", "--records", &zone, "--yes"]).expect(0).says("is yours");
    assert_eq!(world.json(&["lookup", "alice"])["records"][0]["data"], "192.0.2.5");
}

/// Nothing but the words is needed to go on, in whatever order the names are typed.
#[test]
fn a_restored_wallet_goes_on_with_every_unfinished_registration() {
    let world = World::with_keys();
    world.node.with(|node| node.stuck = true);
    world.run(&["register", "alice", "bob", "carol", "--yes", "--no-wait"]).expect(0);
    let words = world.json(&["keys", "backup", "--yes"])["words"].as_str().expect("words").to_owned();
    let fresh = world.path("fresh.nsk").display().to_string();
    let restored = world.run_with_input(&["--keys", &fresh, "keys", "restore"], &words).expect(0);
    restored.says("namectl register NAME");
    world.node.with(|node| {
        node.stuck = false;
        node.height += 5 * 120;
    });
    for name in ["carol", "alice", "bob"] {
        let run = world.run(&["--keys", &fresh, "-v", "register", name, "--yes"]).expect(0);
        run.says("committed to already");
    }
    assert_eq!(names_of(&world), ["alice", "bob", "carol"]);
}

#[test]
fn words_restore_names_and_keys() {
    let world = World::with_keys();
    world.run(&["register", "alice", "bob", "--yes"]).expect(0);
    let words = world.json(&["keys", "backup", "--yes"])["words"].as_str().expect("words").to_owned();
    let copy = world.path("copy.nsk").display().to_string();
    world.run(&["keys", "backup", "--output", &copy]).expect(0);
    let fresh = world.path("fresh.nsk").display().to_string();
    let run = world.run_with_input(&["--keys", &fresh, "keys", "restore", "--json"], &words).expect(0);
    assert_eq!(run.json()["names_found"], 2);
    world.run(&["--keys", &fresh, "records", "set", "bob", "A", "192.0.2.1", "--yes"]).expect(0);
    let again = world.path("again.nsk").display().to_string();
    world.run(&["--keys", &again, "keys", "restore", "--from", &copy]).expect(0).says("2 names found");
    let mistyped = words.replacen(' ', "x ", 1);
    let third = world.path("third.nsk").display().to_string();
    world.run_with_input(&["--keys", &third, "keys", "restore"], &mistyped).expect(2).says("word 1 is not in the list");
    assert!(!world.path("third.nsk").exists());
    world.run_with_input(&["--keys", &fresh, "keys", "restore"], &words).expect(4).says("already");
}

#[test]
fn hosts_files_come_and_go() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    let hosts = world.write("hosts", "127.0.0.1 localhost\n192.0.2.1 alice.p2p www.alice.p2p # web\n::x bad\n192.0.2.2 nas\n2001:db8::1 bob.p2p\n10.0.0.1 printer.lan\n");
    let run = world.run(&["import", "hosts", &hosts, "--name", "alice", "--plan-only", "--json"]).expect(10).json();
    assert_eq!(run["register"][0], "bob");
    assert_eq!(run["update"][0], "alice");
    let lines: Vec<u64> =
        run["skipped"].as_array().expect("a list").iter().filter_map(|skip| skip["line"].as_u64()).collect();
    assert_eq!(lines, [1, 3, 6]);
    world.run(&["import", "hosts", &hosts, "--name", "alice", "--yes"]).expect(0);
    let exported = world.run(&["export", "hosts"]).expect(0).stdout;
    for line in ["192.0.2.1\talice.p2p", "192.0.2.1\twww.alice.p2p", "192.0.2.2\tnas.alice.p2p", "2001:db8::1\tbob.p2p"]
    {
        assert!(exported.contains(line), "{line}\n{exported}");
    }
    assert_eq!(world.run(&["export", "hosts", "--all"]).expect(0).stdout.lines().count(), 4);
    assert_eq!(world.run(&["export", "hosts", "--prefix", "bo"]).expect(0).stdout, "2001:db8::1\tbob.p2p\n");
    // What is exported is what the resolver reads (dns.hosts), line by line.
    let site = Site::new(vec![Zone::new("p2p".parse().expect("a name"), Vec::new()).expect("short")], None);
    let mut reading = Reading::default();
    assert_eq!(reading.add(exported.as_bytes(), &site).count, 0, "{exported}");
    assert_eq!(reading.finish().len(), 4);
    let exported = world.write("exported", &exported);
    world.run(&["import", "hosts", &exported, "--yes"]).expect(0).says("unchanged");
}
