//! `namectl` on a terminal of its own: what is asked, what is shown, and how the terminal is left.
#![allow(unsafe_code)] // The standard library knows neither terminals nor sessions.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, Stdio},
    ptr::null_mut,
    time::{Duration, Instant},
};

use crate::world::World;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A program on a terminal.
struct Session {
    /// The side of the person.
    screen: File,
    /// The side of the program, kept open so that its modes can be looked at.
    terminal: File,
    child: Child,
    shown: String,
}

fn pty() -> (File, File) {
    let (mut screen, mut terminal) = (-1, -1);
    // SAFETY: both numbers have room for what the call writes; nothing else is wanted.
    let done = unsafe { libc::openpty(&raw mut screen, &raw mut terminal, null_mut(), null_mut(), null_mut()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call succeeded, so both are open and nobody else's.
    unsafe { (OwnedFd::from_raw_fd(screen).into(), OwnedFd::from_raw_fd(terminal).into()) }
}

impl Session {
    /// Starts it with all three streams on the terminal, but those that `bend` sends elsewhere.
    fn start(mut command: Command, bend: impl FnOnce(&mut Command)) -> Self {
        let (screen, terminal) = pty();
        let stdio = || Stdio::from(terminal.try_clone().expect("cloned"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        bend(&mut command);
        let tty = terminal.as_raw_fd();
        // SAFETY: both calls are allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let is_ours = libc::setsid() >= 0 && libc::ioctl(tty, libc::TIOCSCTTY as _, 0) >= 0;
                if is_ours { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        let child = command.spawn().expect("starts");
        // SAFETY: the descriptor is open.
        assert_eq!(unsafe { libc::fcntl(screen.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
        Self { screen, terminal, child, shown: String::new() }
    }

    /// Reads what the screen shows until `done` says so.
    fn read_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + LIMIT;
        loop {
            let mut bytes = [0; 4_096];
            while let Ok(length @ 1..) = self.screen.read(&mut bytes) {
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            if done(self) {
                return;
            }
            assert!(Instant::now() < end, "too slow; the screen shows {:?}", self.shown);
            std::thread::yield_now();
        }
    }

    fn wait_for(&mut self, text: &str) -> &mut Self {
        self.read_until(|session| session.shown.contains(text));
        self
    }

    fn type_in(&mut self, text: &str) -> &mut Self {
        self.screen.write_all(text.as_bytes()).expect("the terminal takes it");
        self
    }

    /// Waits for the end; gives the exit code, or minus the signal.
    fn end(&mut self) -> i32 {
        let mut code = None;
        self.read_until(|session| {
            let status = session.child.try_wait().expect("a child");
            code = status.map(|status| status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)));
            code.is_some()
        });
        // What it said last.
        self.read_until(|_| true);
        code.expect("it has ended")
    }

    fn echoes(&self) -> bool {
        // SAFETY: all zero is a valid value of this plain structure, and the descriptor is open.
        let modes = unsafe {
            let mut modes = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.terminal.as_raw_fd(), &raw mut modes), 0);
            modes
        };
        modes.c_lflag & (libc::ECHO | libc::ICANON) == libc::ECHO | libc::ICANON
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn asking(world: &World, args: &[&str]) -> Command {
    let mut command = world.command(args);
    command.env_remove("NAMECTL_PASSPHRASE_FILE").env("TERM", "xterm");
    command
}

#[test]
fn what_ends_the_program_at_a_hidden_prompt_gives_the_terminal_back() {
    let world = World::new();
    for (how, signal) in [("\x03", libc::SIGINT), ("\x1c", libc::SIGQUIT), ("", libc::SIGTERM), ("", libc::SIGHUP)] {
        let mut session = Session::start(asking(&world, &["keys", "new"]), |_| {});
        session.wait_for("New passphrase: ");
        assert!(!session.echoes());
        match how {
            // SAFETY: the child runs, and this is its number.
            "" => assert_eq!(unsafe { libc::kill(session.child.id() as i32, signal) }, 0),
            keys => drop(session.type_in(keys)),
        }
        assert_eq!(session.end(), -signal);
        assert!(session.echoes(), "signal {signal}");
    }
}

#[test]
fn a_stop_at_a_hidden_prompt_gives_the_terminal_back_until_it_goes_on() {
    let world = World::new();
    let mut session = Session::start(asking(&world, &["keys", "new"]), |_| {});
    session.wait_for("New passphrase: ");
    let child = session.child.id() as i32;
    session.type_in("a good passphrase\n").wait_for("Again: ");
    assert!(!session.echoes());
    // Nobody is there to continue it, so the system ignores the stop itself; what is done before and after is done.
    // SAFETY: the child runs, and this is its number.
    assert_eq!(unsafe { libc::kill(child, libc::SIGTSTP) }, 0);
    session.wait_for("Again: Again: ");
    assert!(!session.echoes());
    session.type_in("a good passphrase\n");
    assert_eq!(session.end(), 0, "{}", session.shown);
    assert!(session.echoes() && world.path(".local/share/namestead/keys.nsk").exists());
    assert!(!session.shown.contains("good"), "{}", session.shown);
}

#[test]
fn secrets_are_typed_hidden_or_not_at_all() {
    let world = World::new();
    for args in [&["--json", "keys", "restore"][..], &["--no-input", "keys", "restore"]] {
        let mut session = Session::start(asking(&world, args), |_| {});
        assert_eq!(session.end(), 2, "{}", session.shown);
        assert!(session.shown.contains("needs_words") || session.shown.contains("may not be asked for"));
    }
    let errors = world.path("errors");
    let to_file = |command: &mut Command| {
        command.stderr(File::create(&errors).expect("made"));
    };
    let mut session = Session::start(asking(&world, &["keys", "restore"]), to_file);
    session.wait_for("Your 12 or 24 words (not shown): ").type_in("abandon abandon about\n");
    assert_eq!(session.end(), 2, "{}", session.shown);
    assert!(!session.shown.contains("abandon") && session.echoes());
    assert!(std::fs::read_to_string(&errors).expect("there").contains("error: "));
    for file in ["/dev/stdin", "/dev/tty"] {
        let mut session = Session::start(asking(&world, &["--passphrase-file", file, "keys", "new"]), |_| {});
        assert_eq!(session.end(), 2, "{}", session.shown);
        assert!(session.shown.contains("is a terminal"), "{}", session.shown);
    }
}

#[test]
fn questions_are_answered_on_the_terminal() {
    let world = World::with_keys();
    let command = |args| world.command(args);
    let mut session = Session::start(command(&["register", "alice"]), |_| {});
    session.wait_for("Continue? [y/N] ").type_in("n\n");
    assert_eq!(session.end(), 1);
    world.run(&["register", "alice", "--yes"]).expect(0);
    let mut session = Session::start(command(&["revoke", "alice"]), |_| {});
    session.wait_for("Type the name to confirm: ").type_in("alicia\n");
    assert_eq!(session.end(), 1);
    world.run(&["lookup", "alice"]).expect(0);
}

#[test]
fn each_stream_has_its_own_colours() {
    let world = World::new();
    let command = |env: &[(&str, &str)], args| {
        let mut command = asking(&world, args);
        command.envs(env.iter().copied());
        command
    };
    let file = world.path("stream");
    let made = || File::create(&file).expect("made");
    let errors_there = |command: &mut Command| {
        command.stderr(made());
    };
    let results_there = |command: &mut Command| {
        command.stdout(made());
    };
    let text = || std::fs::read_to_string(&file).expect("there");
    let absent = &["lookup", "nobody"][..];
    // Errors to a file: plain there.
    let mut session = Session::start(command(&[], absent), errors_there);
    assert_eq!(session.end(), 3);
    assert!(text().contains("error: ") && !text().contains('\x1b'), "{}", text());
    // Results to a file: errors in colour on the terminal.
    let mut session = Session::start(command(&[], absent), results_there);
    assert_eq!(session.end(), 3);
    assert!(session.shown.contains("\x1b[31merror:"), "{}", session.shown);
    let mut session = Session::start(command(&[], &["status"]), errors_there);
    assert_eq!(session.end(), 0);
    assert!(session.shown.contains("\x1b[32msynced"), "{}", session.shown);
    for env in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut session = Session::start(command(&[env], absent), |_| {});
        assert_eq!(session.end(), 3);
        assert!(!session.shown.contains('\x1b'), "{env:?}: {}", session.shown);
    }
}
