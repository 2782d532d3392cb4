//! Many datagrams per system call.
//!
//! [`Inbox`] receives with `recvmmsg`, [`Outbox`] sends with `sendmmsg`. Both own their memory and reuse it; what is
//! allocated per batch is a list of pointers for the kernel.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg},
};
use tracing::debug;

use super::SendBuffer;
use crate::query::MAX_UDP_BYTES;

/// The most datagrams received or sent at once: enough to spread the cost of a system call thin, and few enough that
/// the first of them does not wait noticeably for the last.
pub(super) const BATCH: usize = 64;
/// The longest datagram read whole. Longer ones are cut, and then answered with FORMERR like any damaged message.
const DATAGRAM_BYTES: usize = 4096;

/// Received datagrams.
pub(super) struct Inbox {
    headers: MultiHeaders<SockaddrStorage>,
    bytes: Vec<u8>,
    /// Length and sender of each datagram of the batch.
    received: Vec<(usize, Option<SockaddrStorage>)>,
}

/// Responses to be sent.
pub(super) struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<SendBuffer>,
    lengths: Vec<usize>,
    addresses: Vec<Option<SockaddrStorage>>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            bytes: vec![0; BATCH * DATAGRAM_BYTES],
            received: Vec::with_capacity(BATCH),
        }
    }

    /// Receives what is waiting, without waiting itself. Gives the number of datagrams.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received.clear();
        let mut slices: Vec<_> = self.bytes.chunks_mut(DATAGRAM_BYTES).map(|room| [IoSliceMut::new(room)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(messages) => self.received.extend(messages.map(|message| (message.bytes, message.address))),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.received.len())
    }

    /// The datagrams of the batch and their senders, for the latter both as the kernel and as the library says it.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], SockaddrStorage, SocketAddr)> {
        self.bytes.chunks(DATAGRAM_BYTES).zip(&self.received).filter_map(|(bytes, (len, address))| {
            let address = (*address)?;
            Some((bytes.get(..*len)?, address, socket_addr(&address)?))
        })
    }
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; MAX_UDP_BYTES as usize]; BATCH],
            lengths: Vec::with_capacity(BATCH),
            addresses: Vec::with_capacity(BATCH),
        }
    }

    /// Room for one more response. There is always some: a batch is never larger than the one received.
    pub(super) fn room(&mut self) -> Option<&mut SendBuffer> {
        self.buffers.get_mut(self.lengths.len())
    }

    /// Adds what was written to the room.
    pub(super) fn push(&mut self, bytes: usize, to: SockaddrStorage) {
        self.lengths.push(bytes);
        self.addresses.push(Some(to));
    }

    /// Sends everything. A response that cannot be sent is dropped, as the network would: its client asks again.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        let responses = self.buffers.iter().zip(&self.lengths);
        let slices: Vec<_> = responses.map(|(buffer, &len)| [IoSlice::new(&buffer[..len.min(buffer.len())])]).collect();
        let mut sent = 0;
        while sent < slices.len() {
            let (rest, addresses) = (&slices[sent..], &self.addresses[sent..]);
            let flags = MsgFlags::empty();
            match sendmmsg(socket.as_raw_fd(), &mut self.headers, rest, addresses, [], flags) {
                Ok(results) => sent += results.count().max(1),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    debug!(%error, "response not sent");
                    sent += 1;
                }
            }
        }
        self.lengths.clear();
        self.addresses.clear();
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}
