//! Sockets that whoever started this process has opened for plain DNS: socket activation (sd_listen_fds(3)).
//!
//! So a port below 1024 needs no privilege here, and queries that come while the node restarts wait instead of being lost.

use std::{
    env, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    process,
};

use listenfd::ListenFd;

/// The most sockets taken, as for the list of addresses.
const MAX_SOCKETS: usize = 32;

/// TCP and UDP sockets that are bound already.
#[derive(Debug, Default)]
pub struct GivenSockets {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) udp: Vec<UdpSocket>,
}

/// Why given sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// A file descriptor is something else.
    #[error("socket {index} of socket activation is neither a TCP listener nor a UDP socket: {error}")]
    Kind {
        /// Its place, from 0.
        index: usize,
        /// What the operating system says.
        error: io::Error,
    },
    /// More than anybody needs.
    #[error("socket activation gives {0} sockets, at most {MAX_SOCKETS} are taken")]
    TooMany(usize),
}

impl GivenSockets {
    /// Takes the sockets that are meant for this process (`LISTEN_PID`), if there are any. To be called once, early: it
    /// changes the environment.
    pub fn from_env() -> Result<Option<Self>, GivenError> {
        let is_ours = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(process::id()));
        if !is_ours {
            return Ok(None);
        }
        let mut given = ListenFd::from_env();
        if given.len() > MAX_SOCKETS {
            return Err(GivenError::TooMany(given.len()));
        }
        let mut sockets = Self::default();
        for index in 0..given.len() {
            if let Ok(Some(tcp)) = given.take_tcp_listener(index) {
                sockets.tcp.push(tcp);
                continue;
            }
            let udp = given.take_udp_socket(index).map_err(|error| GivenError::Kind { index, error })?;
            sockets.udp.extend(udp);
        }
        Ok((given.len() > 0).then_some(sockets))
    }

    /// The sockets of somebody who has opened them otherwise.
    pub fn new(tcp: Vec<TcpListener>, udp: Vec<UdpSocket>) -> Self {
        Self { tcp, udp }
    }

    /// Their addresses, in order and each once: what `dns.listen` would be.
    pub fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addrs: Vec<SocketAddr> = Vec::new();
        let tcp = self.tcp.iter().map(TcpListener::local_addr);
        for addr in tcp.chain(self.udp.iter().map(UdpSocket::local_addr)) {
            let addr = addr?;
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        Ok(addrs)
    }
}
