//! The daemon as a process: its commands, what it tells a service manager, how it stops.

use std::{
    fs::File,
    net::TcpListener,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

fn namestead(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_namestead"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["NAMESTEAD_CONFIG", "NAMESTEAD_NETWORK", "NAMESTEAD_DATA_DIR", "NAMESTEAD_LOG", "NOTIFY_SOCKET"] {
        command.env_remove(name);
    }
    command
}

fn output(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = namestead(args).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (status.code(), text(stdout), text(stderr))
}

fn config_in(dir: &Path) -> String {
    let path = dir.join("n.toml");
    let text = format!(
        "network = 'local'\ndata_dir = '{}/data'\n[p2p]\nlisten = ['/ip4/127.0.0.1/tcp/0']\nmdns = false\n\
         [mining]\nmode = 'on'\nthreads = 1\n[dns]\nlisten = ['127.0.0.1:0']\n[api]\nlisten = 'off'\n\
         [metrics]\nlisten = 'off'\n",
        dir.display()
    );
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn commands_that_end_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    assert_eq!(output(&["version"]), (Some(0), "namestead 0.1.0\n".to_owned(), String::new()));
    assert_eq!(output(&["example-config"]).1, node::config::EXAMPLE);
    assert_eq!(output(&["check-config", "--config", &config]), (Some(0), "OK\n".to_owned(), String::new()));
    std::fs::write(&config, "[minign]").expect("written");
    let (code, _, stderr) = output(&["check-config", "--config", &config]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("n.toml:1: ") && stderr.contains("did you mean `mining`?"), "{stderr}");
    assert_eq!(output(&["run", "--network", "moon"]).0, Some(2));
    assert_eq!(output(&["frobnicate"]).0, Some(2));
    let data = dir.path().join("none").display().to_string();
    assert_eq!(output(&["db", "verify", "--data-dir", &data]).0, Some(1));
}

/// A reader that has gone needs no more; a disk that is full is a failure; nothing is a panic.
#[test]
fn commands_whose_output_goes_nowhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("the system has one"));
    let run = |args: &[&str], stdout: Stdio| {
        let child = namestead(args).stdout(stdout).spawn().expect("started");
        let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
        (status.code(), String::from_utf8(stderr).expect("utf-8"))
    };
    for args in [
        &["version"][..],
        &["example-config"],
        &["check-config", "--config", &config],
        &["trust-anchor", "--format", "ds", "--config", &config],
        &["--help"],
        &["--version"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(run(args, writer.into()), (Some(0), String::new()), "{args:?}");
        let (code, said) = run(args, full());
        assert_eq!(code, Some(1), "{args:?}");
        assert_eq!(said, "namestead: cannot write to standard output: No space left on device (os error 28)\n");
    }
    for args in [&["check-config", "--config", "/nosuch"][..], &["frobnicate"]] {
        let code = namestead(args).stderr(full()).status().expect("it runs").code();
        assert_eq!(code, Some(2), "{args:?}");
    }
}

#[test]
fn without_a_home_the_data_directory_is_not_guessed() {
    let dir = tempfile::tempdir().expect("a directory");
    for command in ["run", "check-config", "db"] {
        let args: &[&str] = if command == "db" { &["db", "verify"] } else { &[command] };
        for home in [None, Some(""), Some("relative")] {
            let mut command = namestead(args);
            command.args(["--network", "local"]).current_dir(dir.path()).env_remove("HOME").env_remove("XDG_DATA_HOME");
            command.envs(home.map(|home| ("HOME", home)));
            let Output { status, stderr, .. } = command.output().expect("it runs");
            let said = String::from_utf8(stderr).expect("utf-8");
            assert_eq!(status.code(), Some(2), "{said}");
            assert!(said.contains("data_dir is not set") && said.contains("--data-dir DIR"), "{said}");
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0, "nothing is left behind");
    let mut command = namestead(&["check-config", "--data-dir", "here"]);
    assert!(command.env_remove("HOME").env_remove("XDG_DATA_HOME").status().expect("it runs").success());
}

/// The database is open and threads use it when the port turns out to be taken: all of that has to end in order.
#[test]
fn a_start_that_fails_late_says_why_and_ends_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound").to_string();
    let config = config_in(dir.path());
    let text = std::fs::read_to_string(&config).expect("written before");
    for (what, free) in [
        ("DNS", "listen = ['127.0.0.1:0']"),
        ("the API", "[api]\nlisten = 'off'"),
        ("metrics", "[metrics]\nlisten = 'off'"),
    ] {
        let occupied = free.replace("127.0.0.1:0", &taken).replace("off", &taken);
        std::fs::write(&config, text.replace(free, &occupied)).expect("written");
        for _ in 0..5 {
            let (code, _, stderr) = output(&["run", "--config", &config]);
            let last = stderr.lines().last().unwrap_or_default();
            let expected =
                format!("namestead: cannot listen for {what} on {taken}: Address already in use (os error 98)");
            assert_eq!(last, expected);
            assert_eq!(code, Some(1), "{stderr}");
            assert!(!stderr.contains("still reads the database"), "{stderr}");
        }
    }
}

#[test]
fn the_trust_anchor_is_made_once_and_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let export = |format| output(&["trust-anchor", "--format", format, "--config", &config]);
    let (code, first, stderr) = export("unbound");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(first.starts_with("server:\n    trust-anchor: \"p2p. IN DS "), "{first}");
    assert!(first.contains("trust-anchor: \"p2p.alt. IN DS "), "{first}");
    assert_eq!(export("unbound").1, first);
    assert!(export("bind").1.starts_with("trust-anchors {\n    \"p2p.\" static-key 257 3 13 \""));
    assert_eq!(export("delv").1, export("bind").1);
    // The same records in other words.
    let records = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.split(['"', '\'']).find(|part| part.contains(" IN DS ")))
            .map(String::from)
            .collect()
    };
    for format in ["knot", "systemd"] {
        assert_eq!(records(&export(format).1), records(&first), "{format}");
    }
    assert_eq!(records(&first).len(), 2);
    assert_eq!(export("windows").0, Some(2));
}

/// Whoever owns the folder must not get at what is the superuser's by a link in it, nor have it changed.
#[test]
fn the_superuser_follows_no_link_in_the_folder_of_the_node() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let (data, secret) = (dir.path().join("data"), dir.path().join("secret"));
    std::fs::create_dir(&data).expect("made");
    std::fs::write(&secret, "for the superuser").expect("written");
    // The owner must be able to come as far as its folder.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).expect("ours");
    if chown(&data, Some(12_345), Some(12_345)).is_err() {
        // Only the superuser can give the folder away, and nobody else has anything to lose.
        return;
    }
    let trust_anchor = ["trust-anchor", "--format", "ds", "--config", &config];
    symlink(&secret, data.join("dnssec.key")).expect("linked");
    let (code, stdout, stderr) = output(&trust_anchor);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    let found = std::fs::metadata(&secret).expect("there");
    assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644), "untouched");
    std::fs::remove_file(data.join("dnssec.key")).expect("removed");
    // What is made belongs to the owner, whatever made it.
    assert_eq!(output(&trust_anchor).0, Some(0));
    let made = std::fs::metadata(data.join("dnssec.key")).expect("made");
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (12_345, 12_345, 0o600));
}

/// A node would follow links in its folder for as long as it runs.
#[test]
fn the_superuser_runs_a_node_as_the_owner_of_its_folder() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let (data, socket) = (dir.path().join("data"), dir.path().join("notify"));
    // The owner must be able to come as far as its folder, and to say that it is ready.
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    open(dir.path(), 0o755);
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(LIMIT)).expect("set");
    open(&socket, 0o777);
    std::fs::create_dir(&data).expect("made");
    if chown(&data, Some(12_345), Some(54_321)).is_err() {
        // Only the superuser can give the folder away, and nobody else has anything to lose.
        return;
    }
    let log = dir.path().join("log");
    let stderr = File::create(&log).expect("made");
    let child = namestead(&["run", "--config", &config]).env("NOTIFY_SOCKET", &socket).stderr(stderr).spawn();
    let mut node = Guard(child.expect("started"));
    assert_eq!(told(&manager), "READY=1");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.0.id())).expect("it runs");
    for task in tasks.flatten() {
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        let ids = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
        let (users, groups) = (ids("Uid:"), ids("Gid:"));
        assert!(users.split_whitespace().all(|uid| uid == "12345"), "{users}");
        assert!(groups.split_whitespace().all(|gid| gid == "54321"), "{groups}");
        assert_eq!(ids("Groups:").trim(), "");
    }
    for name in ["api.sock", "api.token", "dnssec.key"] {
        let made = std::fs::symlink_metadata(data.join(name)).expect(name);
        assert_eq!((made.uid(), made.gid()), (12_345, 54_321), "{name}");
    }
    let said = std::fs::read_to_string(&log).expect("there");
    assert!(said.contains("going on as that user") && said.contains("uid=12345"), "{said}");
    node.signal("TERM");
    assert_eq!(told(&manager), "STOPPING=1");
    assert_eq!(node.ended(), Some(0));
}

#[test]
fn a_damaged_dnssec_key_is_refused_and_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let key = dir.path().join("data/dnssec.key");
    std::fs::create_dir(dir.path().join("data")).expect("made");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").expect("written");
    for command in [&["run"][..], &["trust-anchor", "--format", "bind"]] {
        let (code, stdout, stderr) = output(&[command, &["--config", &config]].concat());
        assert_eq!((code, stdout.lines().any(|line| line.contains("static-key"))), (Some(1), false), "{command:?}");
        assert!(stderr.contains("dnssec.key") && stderr.contains("restore it from a copy"), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(&key).expect("there"), "-----BEGIN PRIVATE KEY-----\n");

    let text = std::fs::read_to_string(&config).expect("there");
    std::fs::write(&config, text.replace("[dns]\n", "[dns]\ndnssec = 'off'\n")).expect("written");
    let (code, _, stderr) = output(&["trust-anchor", "--format", "bind", "--config", &config]);
    assert_eq!((code, stderr.as_str()), (Some(1), "namestead: dns.dnssec is off: this node signs nothing\n"));
}

/// How long a node may take for one step on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_service_manager_is_told_and_sigterm_stops_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(LIMIT)).expect("set");
    let child = namestead(&["run", "--config", &config]).env("NOTIFY_SOCKET", &socket).stderr(Stdio::null()).spawn();
    let mut node = Guard(child.expect("started"));
    assert_eq!(told(&manager), "READY=1");
    assert!(dir.path().join("data/api.sock").exists());
    node.signal("TERM");
    assert_eq!(told(&manager), "STOPPING=1");
    assert_eq!(node.ended(), Some(0));
    assert!(!dir.path().join("data/api.sock").exists());
    let (code, stdout, stderr) = output(&["db", "verify", "--config", &config]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.starts_with("height ") && stdout.ends_with("OK\n"), "{stdout}");
}

#[test]
fn signals_of_ordinary_life_do_not_end_it_and_sighup_reads_the_configuration_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let text = std::fs::read_to_string(&config).expect("written before");
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(LIMIT)).expect("set");
    let log = dir.path().join("log");
    let stderr = File::create(&log).expect("made");
    let child = namestead(&["run", "--config", &config]).env("NOTIFY_SOCKET", &socket).stderr(stderr).spawn();
    let mut node = Guard(child.expect("started"));
    let said = || std::fs::read_to_string(&log).expect("there");
    assert_eq!(told(&manager), "READY=1");
    for name in ["USR1", "USR2", "PIPE", "ALRM", "VTALRM", "PROF", "IO", "PWR", "XFSZ"] {
        node.signal(name);
    }
    let reload = || {
        node.signal("HUP");
        assert_eq!((told(&manager), told(&manager)), ("RELOADING=1".to_owned(), "READY=1".to_owned()));
    };
    reload();
    assert!(said().contains("configuration read again"), "{}", said());

    let with = |more: &str| std::fs::write(&config, format!("{text}{more}")).expect("written");
    with("[log]\nlevel = 'debug'\nformat = 'json'\n[dns.guard]\ndeny = ['192.0.2.0/24']\n");
    reload();
    assert!(said().contains("changed=\"dns.guard.deny log.level\""), "{}", said());
    assert!(said().contains("needs a restart keys=\"log.format\""), "{}", said());
    with("[log]\nlevel = 'a=b=c'\n");
    reload();
    assert!(said().contains("the one before holds") && said().contains("is no log filter"), "{}", said());
    // What is not taken over is said again, what is taken over is not.
    with("[log]\nlevel = 'debug'\nformat = 'json'\n[dns.guard]\ndeny = ['192.0.2.0/24']\n");
    reload();
    assert_eq!(said().matches("needs a restart keys=\"log.format\"").count(), 2, "{}", said());
    assert!(said().contains("changed=\"\""), "{}", said());

    node.signal("TERM");
    assert_eq!(told(&manager), "STOPPING=1");
    assert_eq!(node.ended(), Some(0));
    assert!(said().contains("node stopped"), "{}", said());
}

/// The same as SIGHUP, and whoever asks hears what came of it.
#[test]
fn namectl_has_the_configuration_read_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let text = std::fs::read_to_string(&config).expect("written before");
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(LIMIT)).expect("set");
    let child = namestead(&["run", "--config", &config]).env("NOTIFY_SOCKET", &socket).stderr(Stdio::null()).spawn();
    let mut node = Guard(child.expect("started"));
    assert_eq!(told(&manager), "READY=1");
    let namectl = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_namectl"));
        command.args(args).env_clear().env("HOME", dir.path()).stdin(Stdio::null());
        command.env("NAMECTL_NODE", format!("unix:{}/data/api.sock", dir.path().display()));
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        (status.code(), String::from_utf8([stdout, stderr].concat()).expect("utf-8"))
    };
    let reload = || {
        let outcome = namectl(&["resolver", "reload"]);
        assert_eq!((told(&manager), told(&manager)), ("RELOADING=1".to_owned(), "READY=1".to_owned()));
        outcome
    };
    let with = |more: &str| std::fs::write(&config, format!("{text}{more}")).expect("written");
    with("[dns.guard]\ndeny = ['192.0.2.0/24']\nslip = 7\n");
    let (code, said) = reload();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("read again: dns.guard.deny\n"), "{said}");
    assert!(said.contains("needs a restart: dns.guard.slip\n"), "{said}");
    with("[dns.guard]\ndeny = []\n[minign]\n");
    let (code, said) = reload();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("n.toml:") && said.contains("did you mean `mining`?"), "{said}");
    with("[dns.guard]\ndeny = ['192.0.2.0/24']\n");
    let (code, said) = reload();
    // What was taken over before the mistake held all the time.
    assert_eq!((code, said.contains("nothing has changed")), (Some(0), true), "{said}");
    let (code, said) = namectl(&["resolver", "flush", "Example.ORG."]);
    assert_eq!((code, said.as_str()), (Some(0), "dropped 0 answers about example.org. and what is below it\n"));
    node.signal("TERM");
    assert_eq!(told(&manager), "STOPPING=1");
    assert_eq!(node.ended(), Some(0));
}

#[test]
fn a_second_node_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config_in(dir.path());
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(LIMIT)).expect("set");
    let child = namestead(&["run", "--config", &config]).env("NOTIFY_SOCKET", &socket).stderr(Stdio::null()).spawn();
    let node = Guard(child.expect("started"));
    assert_eq!(told(&manager), "READY=1");
    let (code, _, stderr) = output(&["run", "--config", &config]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is in use by another process"), "{stderr}");
    drop(node);
}

fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = manager.recv(&mut buffer).expect("a message in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Ends the process whatever becomes of the test.
struct Guard(Child);

impl Guard {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the end; the notification socket's deadline has bounded everything before it.
    fn ended(&mut self) -> Option<i32> {
        self.0.wait().expect("a child").code()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
