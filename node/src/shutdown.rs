//! Signals: what asks the node to stop or to read its configuration again, what is ignored, and how a service manager is
//! told.
//!
//! The first SIGTERM or SIGINT stops the node in order; a second one, or the deadline, ends the process at once, which
//! is safe at any moment: everything acknowledged is on disk. SIGHUP (a closed terminal, log rotation, `systemctl
//! reload`) reads the configuration again. The other signals that end a process unless it says otherwise, and that
//! come in the ordinary life of a daemon, change nothing. SIGQUIT and those that tell of a defect keep their meaning.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long an orderly stop may take before the process ends anyway.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Signals without a meaning for the node that would end it. SIGPIPE is not here: the runtime of the language ignores it.
#[cfg(target_os = "linux")]
const IGNORED: &[libc::c_int] = &[
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    // A limit on the size of files: the write fails as on a full disk, and is handled as such.
    libc::SIGXFSZ,
];
#[cfg(not(target_os = "linux"))]
const IGNORED: &[libc::c_int] =
    &[libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGIO, libc::SIGXFSZ];

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// To stop; the name of the signal.
    Stop(&'static str),
    /// To read the configuration again.
    Reload,
}

/// The signals that the node hears.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP, and makes those harmless that mean nothing.
    pub fn install() -> io::Result<Self> {
        for number in IGNORED {
            // The handler stays when its receiver goes, and does nothing.
            drop(signal(SignalKind::from_raw(*number))?);
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Wish::Stop("SIGINT"),
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    /// Waits for the next one that asks to stop, and names it.
    pub async fn next_stop(&mut self) -> &'static str {
        loop {
            if let Wish::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

/// Tells a service manager about a change (`sd_notify(3)`), if one is listening. Best effort, as the protocol intends.
pub fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&path, state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

#[cfg(target_os = "linux")]
fn send(path: &std::ffi::OsStr, state: &str) -> io::Result<()> {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn send(_: &std::ffi::OsStr, _: &str) -> io::Result<()> {
    Ok(())
}
