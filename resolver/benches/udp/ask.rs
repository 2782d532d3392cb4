//! A client that measures how long each answer takes, at a steady rate.
//!
//! It sends each query when it is due, whatever has been answered so far, and keeps nothing but times: a client that
//! prints every query is busy printing when answers come, and so measures itself. Times are taken by the client, from
//! before the system call that sends to after the one that receives.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// As many clients, so that each worker of a server gets its share.
const SOCKETS: usize = 16;
/// Queries of one socket that can be told apart, which is every one that is waiting.
const IDS: usize = 1 << 16;
/// How long answers may still come after the last query.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was seen.
pub(crate) struct Seen {
    /// How long each answered query took, sorted.
    pub(crate) taken: Vec<Duration>,
    pub(crate) asked: usize,
    /// By how much the query that was sent latest was late.
    pub(crate) latest: Duration,
}

struct Way {
    socket: UdpSocket,
    sent_at: Vec<Option<Instant>>,
}

impl Way {
    fn to(port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, sent_at: vec![None; IDS] }
    }

    fn ask(&mut self, id: u16, datagram: &mut [u8]) {
        datagram[..2].copy_from_slice(&id.to_be_bytes());
        self.sent_at[usize::from(id)] = Some(Instant::now());
        // A full send buffer is a lost query, as it would be for any client.
        let _ = self.socket.send(datagram);
    }

    fn take_answers(&mut self, taken: &mut Vec<Duration>) {
        let mut answer = [0; 2048];
        loop {
            match self.socket.recv(&mut answer) {
                Ok(len) if len > 12 && answer[2] & 0x80 != 0 => {
                    let id = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
                    taken.extend(self.sent_at[id].take().map(|sent_at| sent_at.elapsed()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("no answer can be received: {error}"),
            }
        }
    }
}

/// Asks a server on this machine `rate` of the `datagrams` a second.
pub(crate) fn ask(port: u16, mut datagrams: Vec<Vec<u8>>, rate: u32, lasting: Duration) -> Seen {
    let mut ways: Vec<Way> = (0..SOCKETS).map(|_| Way::to(port)).collect();
    let mut seen = Seen { taken: Vec::new(), asked: 0, latest: Duration::ZERO };
    let each = Duration::from_secs(1) / rate;
    let began = Instant::now();
    let mut due = Duration::ZERO;
    while began.elapsed() < lasting + PATIENCE {
        while due < lasting && due <= began.elapsed() {
            seen.latest = seen.latest.max(began.elapsed() - due);
            let datagram = seen.asked % datagrams.len();
            let id = (seen.asked / SOCKETS % IDS) as u16;
            ways[seen.asked % SOCKETS].ask(id, &mut datagrams[datagram]);
            seen.asked += 1;
            due += each;
        }
        let mut fds: Vec<_> = ways.iter().map(|way| PollFd::new(way.socket.as_fd(), PollFlags::POLLIN)).collect();
        // It does not sleep: to be woken takes longer than what is measured.
        poll(&mut fds, PollTimeout::ZERO).unwrap();
        let readable: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        for (way, _) in ways.iter_mut().zip(readable).filter(|(_, readable)| *readable) {
            way.take_answers(&mut seen.taken);
        }
    }
    seen.taken.sort_unstable();
    seen
}
