//! Many datagrams per system call.
//!
//! [`Inbox`] receives with `recvmmsg`, [`Outbox`] sends with `sendmmsg`. Both own their memory and reuse it; what is
//! allocated per batch is a list of pointers for the kernel.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg},
};
use tracing::debug;

use super::route::{Control, Route};
use crate::{serve::intake::MAX_QUERY_BYTES, zones::query::MAX_UDP_BYTES};

/// The most datagrams received or sent at once: enough to spread the cost of a system call thin, and few enough that
/// the first of them does not wait noticeably for the last.
pub(super) const BATCH: usize = 64;
/// The longest datagram read whole: one byte more than a query may have. Longer ones are cut, and are too long as well.
const DATAGRAM_BYTES: usize = MAX_QUERY_BYTES + 1;

/// Room for any response to a datagram.
pub type SendBuffer = [u8; MAX_UDP_BYTES as usize];

/// Received datagrams.
pub(super) struct Inbox {
    headers: MultiHeaders<SockaddrStorage>,
    control: Control,
    bytes: Vec<u8>,
    /// Length of each datagram of the batch, and the way back.
    received: Vec<(usize, Option<Route>)>,
}

/// Responses to be sent.
pub(super) struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<SendBuffer>,
    lengths: Vec<usize>,
    routes: Vec<Route>,
}

impl Inbox {
    pub(super) fn new(control: Control) -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, control.room()),
            control,
            bytes: vec![0; BATCH * DATAGRAM_BYTES],
            received: Vec::with_capacity(BATCH),
        }
    }

    /// Receives what is waiting, without waiting itself. Gives the number of datagrams.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received.clear();
        let control = self.control;
        let mut slices: Vec<_> = self.bytes.chunks_mut(DATAGRAM_BYTES).map(|room| [IoSliceMut::new(room)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(messages) => self.received.extend(messages.map(|message| {
                let from = control.read(message.cmsgs().into_iter().flatten());
                (message.bytes, message.address.map(|to| Route { to, from }))
            })),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.received.len())
    }

    /// The datagrams of the batch, their senders, and the way back.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr, Route)> {
        self.bytes.chunks(DATAGRAM_BYTES).zip(&self.received).filter_map(|(bytes, (len, route))| {
            let route = (*route)?;
            Some((bytes.get(..*len)?, route.client()?, route))
        })
    }
}

impl Outbox {
    pub(super) fn new(control: Control) -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, control.room()),
            buffers: vec![[0; MAX_UDP_BYTES as usize]; BATCH],
            lengths: Vec::with_capacity(BATCH),
            routes: Vec::with_capacity(BATCH),
        }
    }

    /// Room for one more response. There is always some: a batch is never larger than the one received.
    pub(super) fn room(&mut self) -> Option<&mut SendBuffer> {
        self.buffers.get_mut(self.lengths.len())
    }

    /// Adds what was written to the room.
    pub(super) fn push(&mut self, bytes: usize, route: Route) {
        self.lengths.push(bytes);
        self.routes.push(route);
    }

    /// Sends everything. A response that cannot be sent is dropped, as the network would: its client asks again.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        let Self { headers, buffers, lengths, routes } = self;
        let responses = buffers.iter().zip(&*lengths);
        let slices: Vec<_> = responses.map(|(buffer, &len)| [IoSlice::new(&buffer[..len.min(buffer.len())])]).collect();
        let clients: Vec<_> = routes.iter().map(|route| Some(route.to)).collect();
        let mut at = 0;
        // One call can say only one address to send from; nearly always there is only one.
        for run in routes.chunk_by(|one, next| one.from == next.from) {
            let (info, end) = (run[0].from.packet_info(), at + run.len());
            send_run(socket, headers, &slices[at..end], &clients[at..end], &info.messages());
            at = end;
        }
        lengths.clear();
        routes.clear();
    }
}

fn send_run(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    slices: &[[IoSlice<'_>; 1]],
    clients: &[Option<SockaddrStorage>],
    control: &[ControlMessage<'_>],
) {
    let mut sent = 0;
    while sent < slices.len() {
        let (rest, clients) = (&slices[sent..], &clients[sent..]);
        match sendmmsg(socket.as_raw_fd(), headers, rest, clients, control, MsgFlags::empty()) {
            Ok(results) => sent += results.count().max(1),
            Err(Errno::EINTR) => {}
            Err(error) => {
                debug!(%error, "response not sent");
                sent += 1;
            }
        }
    }
}
