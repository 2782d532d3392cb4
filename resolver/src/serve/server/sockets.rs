//! Opens all sockets of a configuration.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{error::BindError, given::GivenSockets};
use crate::{
    policy::config::DnsConfig,
    serve::discovery::{Encrypted, Kind},
};

/// Connections that may wait to be accepted.
const TCP_BACKLOG: i32 = 128;
/// Bytes of datagrams that may wait on each UDP socket.
const UDP_BUFFER_BYTES: usize = 1 << 20;
/// Ports to try until one is free for both UDP and TCP.
const PORT_TRIES: usize = 16;

/// Sockets that listen, and are not served yet.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Plain DNS over TCP.
    pub(super) tcp: Vec<TcpListener>,
    /// Plain DNS over UDP: for each worker a socket of each address.
    pub(super) udp: Vec<Vec<UdpSocket>>,
    /// DNS over TLS.
    pub(super) tls: Vec<TcpListener>,
    /// DNS over HTTPS.
    pub(super) https: Vec<TcpListener>,
    /// DNS over QUIC.
    pub(super) quic: Vec<UdpSocket>,
}

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Connections,
    /// One of several on the same address, read by a thread of its own.
    Datagrams,
    Quic,
}

impl Sockets {
    /// Opens what `config` lists, except plain DNS if its sockets are given.
    pub(super) fn open(config: &DnsConfig, given: Option<GivenSockets>) -> Result<Self, BindError> {
        let failed = |addr| move |error| BindError::Listen { addr, error };
        let mut sockets =
            Self { udp: std::iter::repeat_with(Vec::new).take(config.udp_workers).collect(), ..Self::default() };
        match given {
            Some(given) => sockets.take(given)?,
            None => {
                for &addr in &config.listen {
                    sockets.open_plain(addr).map_err(failed(addr))?;
                }
            }
        }
        let open_all = |addrs: &[SocketAddr], purpose| -> Result<Vec<Socket>, BindError> {
            addrs.iter().map(|&addr| open(addr, purpose).map_err(failed(addr))).collect()
        };
        let tls = &config.tls;
        sockets.tls = open_all(&tls.listen, Purpose::Connections)?.into_iter().map(Into::into).collect();
        sockets.https = open_all(&tls.https_listen, Purpose::Connections)?.into_iter().map(Into::into).collect();
        sockets.quic = open_all(&tls.quic_listen, Purpose::Quic)?.into_iter().map(Into::into).collect();
        Ok(sockets)
    }

    /// Where encrypted transports really listen.
    pub(super) fn encrypted(&self) -> io::Result<Vec<Encrypted>> {
        let tcp = |kind: Kind, list: &[TcpListener]| -> io::Result<Vec<Encrypted>> {
            list.iter().map(|socket| Ok(Encrypted { kind, addr: socket.local_addr()? })).collect()
        };
        let quic = self.quic.iter().map(|socket| Ok(Encrypted { kind: Kind::Quic, addr: socket.local_addr()? }));
        let mut all = quic.collect::<io::Result<Vec<_>>>()?;
        all.extend(tcp(Kind::Tls, &self.tls)?);
        all.extend(tcp(Kind::Https, &self.https)?);
        Ok(all)
    }

    /// Where plain DNS is listened for, each address once.
    pub(super) fn plain_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addrs = self.tcp.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        for socket in self.udp.iter().flatten() {
            let addr = socket.local_addr()?;
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        Ok(addrs)
    }

    /// Given sockets: all workers share each UDP socket, since nobody can open a second one at its address.
    fn take(&mut self, given: GivenSockets) -> io::Result<()> {
        for socket in given.tcp {
            socket.set_nonblocking(true)?;
            self.tcp.push(socket);
        }
        for socket in given.udp {
            socket.set_nonblocking(false)?;
            for sockets in &mut self.udp {
                sockets.push(socket.try_clone()?);
            }
        }
        Ok(())
    }

    /// One TCP socket for `addr`, and one UDP socket for each worker.
    fn open_plain(&mut self, addr: SocketAddr) -> io::Result<()> {
        let (tcp, first_udp) = open_pair(addr)?;
        let local = tcp.local_addr()?;
        let mut udp = Some(first_udp);
        for sockets in &mut self.udp {
            sockets.push(match udp.take() {
                Some(first) => first,
                None => open(local, Purpose::Datagrams)?.into(),
            });
        }
        self.tcp.push(tcp);
        Ok(())
    }
}

/// A TCP and a UDP socket on one port. For port 0 the kernel chooses for TCP, and UDP follows if it can.
///
/// TCP comes first because it is exclusive: UDP sockets share their port (`SO_REUSEPORT`), even with another server of
/// the same user, and only the TCP socket notices that one is there.
fn open_pair(addr: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let tcp: TcpListener = open(addr, Purpose::Connections)?.into();
        match open(tcp.local_addr()?, Purpose::Datagrams) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            udp => return Ok((tcp, udp?.into())),
        }
    }
}

fn open(addr: SocketAddr, purpose: Purpose) -> io::Result<Socket> {
    let (kind, protocol) = match purpose {
        Purpose::Connections => (Type::STREAM, Protocol::TCP),
        Purpose::Datagrams | Purpose::Quic => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        // So that 0.0.0.0 and [::] can be listened on side by side.
        socket.set_only_v6(true)?;
    }
    match purpose {
        Purpose::Connections => {
            // A restart must not wait for old connections to time out.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
        }
        // Each worker has its own socket. These block when they send, so that a full send buffer slows us down.
        Purpose::Datagrams => socket.set_reuse_port(true)?,
        Purpose::Quic => socket.set_nonblocking(true)?,
    }
    if protocol == Protocol::UDP {
        // What the system does not grant is only missed in bursts.
        drop(socket.set_recv_buffer_size(UDP_BUFFER_BYTES));
    }
    socket.bind(&addr.into())?;
    if purpose == Purpose::Connections {
        socket.listen(TCP_BACKLOG)?;
    }
    Ok(socket)
}
