//! Telling the node's resolver to look again.

use serde_json::json;

use crate::world::World;

#[test]
fn names_are_flushed_as_they_are_pasted() {
    let world = World::new();
    world.run(&["resolver", "flush"]).expect(0).says("dropped 12 answers, and what was learnt of upstreams");
    for pasted in ["bücher.example", " BÜCHER.Example. ", "xn--bcher-kva.example"] {
        let flushed = world.json(&["resolver", "flush", pasted]);
        assert_eq!(flushed, json!({ "v": 1, "name": "xn--bcher-kva.example.", "answers": 12 }), "{pasted}");
    }
    let text = world.run(&["resolver", "flush", "nas.home"]).expect(0);
    text.says("dropped 12 answers about nas.home. and what is below it");
    let posts = world.node.with(|node| node.posts);
    for (bad, words) in
        [("192.0.2.1", "is an address"), ("https://a.example/", "':' is not part of a name"), ("", "no name")]
    {
        world.run(&["resolver", "flush", bad]).expect(2).says(words).says("fix: ");
        assert_eq!(world.run(&["resolver", "flush", bad, "--json"]).expect(2).json()["error"]["code"], "bad_name");
    }
    world.run(&["resolver", "flush", "--dry-run", "A.example"]).expect(0).says("would drop").says("a.example.");
    assert_eq!(world.node.with(|node| node.posts), posts, "nothing was done");
    let nobody = world.command(&["resolver", "flush"]).env("NAMECTL_NODE", "unix:/nowhere/api.sock").output();
    crate::world::Run::from(nobody.expect("starts")).expect(5);
}

#[test]
fn a_reload_says_what_came_of_it() {
    let world = World::new();
    let run = world.run(&["resolver", "reload"]).expect(0);
    let run = run.says("configuration read again: dns.guard.deny log.level").says("2 names in HOSTS files");
    run.says("changed, but needs a restart: dns.listen");
    assert_eq!(world.json(&["resolver", "reload"])["changed"], json!(["dns.guard.deny", "log.level"]));
    let posts = world.node.with(|node| node.posts);
    world.run(&["resolver", "reload", "--dry-run"]).expect(0);
    assert_eq!(world.node.with(|node| node.posts), posts, "nothing was done");
    world.node.with(|node| node.bad_configuration = true);
    world.run(&["resolver", "reload"]).expect(4).says("n.toml:3: unknown key `x`");
}
