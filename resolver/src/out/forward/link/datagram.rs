//! One datagram to a server and one back, from a socket of its own with a random port.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::UdpSocket;

use super::LinkError;
use crate::{
    dns::message::Message,
    out::forward::{
        request::{Letters, Request, random},
        response::{NOERROR, Repeats, repeats},
    },
};

/// The longest datagram there is. Servers send more than was asked for.
const MAX_BYTES: usize = 65_535;
/// Datagrams that answer something else, after which somebody may be guessing ids: the question is asked by TCP.
const MAX_WRONG: usize = 64;
/// How often a random port is tried before the kernel may choose one, from fewer.
const MAX_PORTS: usize = 10;
/// The lowest port that needs no privilege.
const MIN_PORT: u16 = 1_024;

thread_local! {
    // One for each thread, not for each question: it is filled and copied from without waiting.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_BYTES]);
}

/// What came.
pub(super) enum Received {
    Whole(Vec<u8>),
    /// A header without question, and its code, which is not that of success.
    Code(u16),
}

/// Sends `request` and waits for what answers it, without end. Other ids, senders and questions are skipped, not
/// believed.
pub(super) async fn exchange(address: SocketAddr, request: &Request) -> Result<Received, LinkError> {
    let socket = open(address).await?;
    let id = random()?;
    socket.send(&request.with_id(id)).await?;
    for _ in 0..MAX_WRONG {
        let bytes = receive(&socket).await?;
        let Some(message) = Message::new(&bytes).filter(|message| message.is_response() && message.id() == id) else {
            continue;
        };
        match repeats(&message, request) {
            Repeats::Exactly => return Ok(Received::Whole(bytes)),
            // Nothing was hidden in letters that are all the same.
            Repeats::OtherCase if request.letters() == Letters::Lower => return Ok(Received::Whole(bytes)),
            Repeats::OtherCase => return Err(LinkError::LetterCase),
            // Old servers send a header alone when they have not understood.
            Repeats::Absent if message.rcode() != NOERROR => return Ok(Received::Code(message.rcode())),
            Repeats::Absent | Repeats::Other => {}
        }
    }
    Err(LinkError::Flooded)
}

/// A socket that takes datagrams from `address` only.
async fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let from = |port| match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    };
    for _ in 0..MAX_PORTS {
        let port = random()?;
        if port < MIN_PORT {
            continue;
        }
        if let Ok(socket) = UdpSocket::bind(from(port)).await {
            socket.connect(address).await?;
            return Ok(socket);
        }
    }
    let socket = UdpSocket::bind(from(0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

async fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    loop {
        socket.readable().await?;
        let received = BUFFER.with_borrow_mut(|buffer| {
            let len = socket.try_recv(buffer)?;
            Ok(buffer[..len].to_vec())
        });
        match received {
            Err(error) if is_passing(&error) => {}
            other => return other,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    let kind: io::ErrorKind = error.kind();
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
