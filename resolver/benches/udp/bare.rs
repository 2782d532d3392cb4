//! The least that a UDP name server can do, as a measure for those that do more.
//!
//! It takes datagrams from the kernel in batches and sends each back with the same answer behind its question, without
//! looking at it. So nearly all of its processor time is what the kernel charges for receiving and sending, which every
//! server pays. It is no name server: what has anything behind its question comes back damaged, and whatever arrives is
//! answered, responses of others too.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg},
};
use socket2::{Domain, Socket, Type};

/// As many at a time as the resolver takes.
const BATCH: usize = 64;
/// As the resolver's sockets have, so that the same bursts fit.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;
/// Room for a query.
const QUERY_BYTES: usize = 512;
/// The name of the question, A, IN, an hour, 192.0.2.1.
const ANSWER: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1];

type Message = [u8; QUERY_BYTES + ANSWER.len()];

/// Starts threads with a socket each on a free port of loopback, and gives its address. They run until the process ends.
pub(crate) fn start(threads: usize) -> SocketAddr {
    let mut addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for _ in 0..threads {
        let socket = open(addr).unwrap();
        addr = socket.local_addr().unwrap();
        thread::spawn(move || serve(&socket).unwrap());
    }
    addr
}

fn open(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn serve(socket: &UdpSocket) -> io::Result<()> {
    let (mut inbox, mut outbox) = (MultiHeaders::preallocate(BATCH, None), MultiHeaders::preallocate(BATCH, None));
    let mut messages = vec![[0; QUERY_BYTES + ANSWER.len()]; BATCH];
    let (mut lengths, mut clients) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    loop {
        lengths.clear();
        clients.clear();
        receive(socket, &mut inbox, &mut messages, |len, client| {
            lengths.push(len);
            clients.push(client);
        })?;
        let answers: Vec<_> = messages.iter_mut().zip(&lengths).map(|(message, &len)| [answer(message, len)]).collect();
        let mut sent = 0;
        while sent < answers.len() {
            let (rest, clients) = (&answers[sent..], &clients[sent..]);
            sent += sendmmsg(socket.as_raw_fd(), &mut outbox, rest, clients, [], MsgFlags::empty())?.count();
        }
    }
}

/// Waits for a query, and takes what else is there with it.
fn receive(
    socket: &UdpSocket,
    inbox: &mut MultiHeaders<SockaddrIn>,
    messages: &mut [Message],
    mut take: impl FnMut(usize, Option<SockaddrIn>),
) -> io::Result<()> {
    let mut rooms: Vec<_> = messages.iter_mut().map(|message| [IoSliceMut::new(&mut message[..QUERY_BYTES])]).collect();
    match recvmmsg(socket.as_raw_fd(), inbox, rooms.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
        Ok(received) => received.for_each(|query| take(query.bytes, query.address)),
        Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Makes an authoritative response with one answer of a query of so many bytes.
fn answer(message: &mut Message, len: usize) -> IoSlice<'_> {
    message[2] |= 0x84;
    message[7] = 1;
    message[len..len + ANSWER.len()].copy_from_slice(&ANSWER);
    IoSlice::new(&message[..len + ANSWER.len()])
}
