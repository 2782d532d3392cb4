//! A server on loopback sockets, and the simplest clients.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RecordType},
};
use prometheus::{Registry, TextEncoder};
use resolver::{DnsConfig, DnsMetrics, Resolver, SharedTable, sign::ZoneKey};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// A running server and its metrics.
pub struct Running {
    pub resolver: Resolver,
    pub registry: Registry,
}

impl Running {
    pub async fn start(config: DnsConfig, table: SharedTable) -> Self {
        Self::start_with_key(config, table, None).await
    }

    pub async fn start_with_key(config: DnsConfig, table: SharedTable, key: Option<ZoneKey>) -> Self {
        let registry = Registry::new();
        let metrics = Arc::new(DnsMetrics::new(&registry).expect("a fresh registry"));
        let resolver = Resolver::bind_with_key(&config, Arc::new(table), metrics, key).await.expect("it binds");
        Self { resolver, registry }
    }

    pub fn addr(&self) -> SocketAddr {
        self.resolver.local_addrs()[0]
    }

    pub fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics")
    }

    pub async fn stop(self) {
        self.resolver.shutdown(Duration::from_secs(5)).await.expect("it stops");
    }
}

pub fn config() -> DnsConfig {
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    DnsConfig { listen, server_id: Some("testbed".to_owned()), ..DnsConfig::default() }
}

pub fn request(name: &str, qtype: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), qtype));
    message
}

pub fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

pub async fn send_udp(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let local: IpAddr = if addr.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { "::1".parse().expect("v6") };
    let socket = UdpSocket::bind((local, 0)).await.expect("a socket");
    socket.connect(addr).await.expect("connected");
    socket.send(bytes).await.expect("sent");
    let mut buffer = vec![0; 65_535];
    let len = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("in time").expect("received");
    buffer.truncate(len);
    buffer
}

pub async fn udp(addr: SocketAddr, request: &Message) -> Message {
    let bytes = send_udp(addr, &request.to_vec().expect("encodes")).await;
    let response = Message::from_vec(&bytes).expect("a message");
    assert_eq!(response.metadata.id, request.metadata.id);
    response
}

pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let frame = [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    stream.write_all(&frame).await.expect("written");
}

pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Message {
    let len = timeout(DEADLINE, stream.read_u16()).await.expect("in time").expect("a length");
    let mut bytes = vec![0; usize::from(len)];
    timeout(DEADLINE, stream.read_exact(&mut bytes)).await.expect("in time").expect("a message");
    Message::from_vec(&bytes).expect("a message")
}

pub async fn tcp(addr: SocketAddr, request: &Message) -> Message {
    let mut stream = TcpStream::connect(addr).await.expect("connected");
    write_frame(&mut stream, &request.to_vec().expect("encodes")).await;
    read_frame(&mut stream).await
}
