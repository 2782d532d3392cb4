//! The way back: answers leave from the address that was asked.
//!
//! A socket that is bound to one address sends from it anyway. One on all addresses (`0.0.0.0`, `[::]`) would send from
//! whichever the routing table prefers, and clients drop answers from strangers; so it learns with each datagram which
//! of our addresses that was for, and says so when it answers (`IP_PKTINFO`, `IPV6_PKTINFO`).

use std::{
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    cmsg_space, libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, sendmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};

/// What control messages a socket deals in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Control {
    /// None: it is bound to one address.
    None,
    /// Packet information of IPv4.
    V4,
    /// Packet information of IPv6.
    V6,
}

/// Where to send an answer, and from where.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Route {
    /// The client, as the kernel says it.
    pub(super) to: SockaddrStorage,
    /// Our address that was asked.
    pub(super) from: From,
}

/// Our address that was asked, if that has to be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum From {
    /// The one that the socket is bound to.
    Bound,
    /// This one of IPv4. The unspecified address leaves the choice to the kernel.
    V4(Ipv4Addr),
    /// This one of IPv6, on the interface with that number if it is link-local.
    V6(Ipv6Addr, u32),
}

/// A [`From`] in the form of the kernel.
pub(super) enum PacketInfo {
    None,
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl Control {
    /// Prepares `socket`, before anything is received.
    pub(super) fn prepare(socket: &UdpSocket) -> io::Result<Self> {
        match socket.local_addr()?.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                setsockopt(socket, Ipv4PacketInfo, &true)?;
                Ok(Self::V4)
            }
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
                Ok(Self::V6)
            }
            _ => Ok(Self::None),
        }
    }

    /// Room for the control messages of one datagram: exactly one, for the library leaves the length of this room as
    /// the last datagram has left it.
    pub(super) fn room(self) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::V4 => Some(cmsg_space!(libc::in_pktinfo)),
            Self::V6 => Some(cmsg_space!(libc::in6_pktinfo)),
        }
    }

    /// What the control messages of a received datagram say.
    pub(super) fn read(self, messages: impl Iterator<Item = ControlMessageOwned>) -> From {
        let unknown = match self {
            Self::None => return From::Bound,
            Self::V4 => From::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => From::V6(Ipv6Addr::UNSPECIFIED, 0),
        };
        let from = messages.filter_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(From::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                // Elsewhere the routing table knows better on which interface to answer.
                let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                // Nobody may send from a group.
                Some(From::V6(if address.is_multicast() { Ipv6Addr::UNSPECIFIED } else { address }, interface))
            }
            _ => None,
        });
        from.last().unwrap_or(unknown)
    }
}

impl From {
    pub(super) fn packet_info(self) -> PacketInfo {
        let in_addr = |address: Ipv4Addr| libc::in_addr { s_addr: address.to_bits().to_be() };
        match self {
            Self::Bound => PacketInfo::None,
            Self::V4(address) => PacketInfo::V4(libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr(address),
                ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
            }),
            Self::V6(address, interface) => PacketInfo::V6(libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: interface,
            }),
        }
    }
}

impl PacketInfo {
    /// The control messages to send with an answer.
    pub(super) fn messages(&self) -> Vec<ControlMessage<'_>> {
        match self {
            Self::None => Vec::new(),
            Self::V4(info) => vec![ControlMessage::Ipv4PacketInfo(info)],
            Self::V6(info) => vec![ControlMessage::Ipv6PacketInfo(info)],
        }
    }
}

impl Route {
    /// The client, as the library says it.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        let v4 = self.to.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
        v4.or_else(|| self.to.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
    }

    /// Sends one answer without waiting.
    pub(super) fn send(&self, socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
        let (info, slices) = (self.from.packet_info(), [IoSlice::new(bytes)]);
        sendmsg(socket.as_raw_fd(), &slices, &info.messages(), MsgFlags::MSG_DONTWAIT, Some(&self.to))?;
        Ok(())
    }
}
