//! Where output goes: closed pipes, full disks, colours, and watching over a restart.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    fake_node::FakeNode,
    world::{Run, World},
};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("the system has one").into()
}

/// The writing end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn run(command: &mut Command, stdout: Stdio) -> Run {
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("starts");
    child.wait_with_output().expect("ends").into()
}

fn ended(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > end {
            child.kill().expect("a child");
            panic!("it goes on");
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_result_that_is_lost_is_a_failure_and_a_reader_that_leaves_is_none() {
    let world = World::with_keys();
    world.run(&["register", "alice", "--yes"]).expect(0);
    for args in [
        &["keys", "backup", "--yes"][..],
        &["keys", "backup", "--yes", "--json"],
        &["keys", "list"],
        &["status"],
        &["status", "--json"],
        &["lookup", "alice"],
        &["check", "bob"],
        &["search", "al"],
        &["names", "--format", "ics"],
        &["records", "show", "alice"],
        &["export", "hosts", "alice", "--json"],
        &["config", "show"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
    ] {
        let lost = run(&mut world.command(args), full());
        assert_eq!(lost.code, 1, "{args:?}: {}", lost.all());
        assert!(lost.stderr.contains("No space left on device"), "{args:?}: {}", lost.all());
        let left = run(&mut world.command(args), closed());
        assert_eq!((left.code, left.stderr.as_str()), (0, ""), "{args:?}");
    }
    // The code of a failure is worth more than the news that it could not be printed.
    assert_eq!(run(&mut world.command(&["lookup", "nobody", "--json"]), full()).code, 3);
    let mut silent = world.command(&["lookup", "nobody"]);
    assert_eq!(silent.stdout(full()).stderr(full()).status().expect("runs").code(), Some(3));
}

#[test]
fn watching_ends_when_nobody_reads_any_more() {
    let world = World::new();
    let mut child = world.command(&["status", "--watch"]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    lines.next().expect("a line").expect("text");
    drop(lines);
    assert_eq!(ended(&mut child).code(), Some(0));
}

#[test]
fn watching_goes_on_over_a_restart_of_the_node() {
    let World { dir, node } = World::new();
    let socket = dir.path().join("api.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_namectl"));
    command.args(["status", "--watch", "--json"]).env_clear().env("HOME", dir.path());
    command.env("NAMECTL_NETWORK", "local").env("NAMECTL_NODE", format!("unix:{}", socket.display()));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let seen = heard(child.stdout.take().expect("piped"));
    let said = heard(child.stderr.take().expect("piped"));
    seen.recv_timeout(LIMIT).expect("the node is shown");
    drop(node);
    std::fs::remove_file(&socket).expect("it was there");
    assert!(said.recv_timeout(LIMIT).expect("it says so").contains("waiting for it to come back"));
    let node = FakeNode::start(socket);
    node.with(|node| node.height = 77_777);
    let is_new = |line: String| line.contains("77777");
    assert!((0..1_000).any(|_| is_new(seen.recv_timeout(LIMIT).expect("it is shown again"))));
    assert!(child.try_wait().expect("a child").is_none());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// The lines of a stream, as they come.
fn heard(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (lines, heard) = mpsc::sync_channel(1_000);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    heard
}

#[test]
fn watching_does_not_wait_for_a_node_that_never_was_there() {
    let world = World::new();
    let mut command = world.command(&["status", "--watch"]);
    Run::from(command.env("NAMECTL_NODE", "unix:/nowhere/api.sock").output().expect("starts")).expect(5);
}
