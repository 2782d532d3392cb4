//! A folder, a key file, a node, and `namectl` run in them.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::fake_node::FakeNode;

/// Everything one test needs; gone when dropped.
pub struct World {
    pub dir: tempfile::TempDir,
    pub node: FakeNode,
}

/// What a run of `namectl` left.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The one JSON object on standard output.
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.all()));
        assert_eq!(value["v"], 1, "{}", self.all());
        value
    }

    pub fn all(&self) -> String {
        format!("exit {}\n{}\n{}", self.code, self.stdout, self.stderr)
    }

    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.all());
        self
    }

    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "{text:?} is missing:\n{}", self.all());
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl World {
    /// A world with a node and without keys.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("passphrase"), "correct horse\n").expect("writes");
        let node = FakeNode::start(dir.path().join("api.sock"));
        Self { dir, node }
    }

    /// The same with keys.
    pub fn with_keys() -> Self {
        let world = Self::new();
        world.run(&["keys", "new", "--words", "12"]).expect(0);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("writes");
        self.path(name).display().to_string()
    }

    /// `namectl` with this world's environment and no terminal.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_namectl"));
        command.args(args).env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("HOME", self.dir.path()).env("NAMECTL_NETWORK", "local");
        command.env("NAMECTL_NODE", format!("unix:{}", self.path("api.sock").display()));
        command.env("NAMECTL_PASSPHRASE_FILE", self.path("passphrase"));
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.command(args).output().expect("namectl starts").into()
    }

    /// The same with `--json`, which must exit with 0.
    pub fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).expect(0).json()
    }

    /// Runs with a text on standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Run {
        let mut child = self.command(args);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("namectl starts");
        // A program that fails before it reads closes the pipe.
        let _ = std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes());
        child.wait_with_output().expect("namectl ends").into()
    }
}
