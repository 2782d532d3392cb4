//! A server on loopback sockets, and the simplest clients.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use prometheus::{Registry, TextEncoder};
use resolver::{DnsConfig, DnsMetrics, Resolver, SharedTable, serve::server::Equipment, zones::sign::ZoneKey};
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
        Self::start_with(config, table, Equipment { zone_key: key, ..Equipment::default() }).await
    }

    pub async fn start_with(config: DnsConfig, table: SharedTable, equipment: Equipment) -> Self {
        let registry = Registry::new();
        let metrics = Arc::new(DnsMetrics::new(&registry).expect("a fresh registry"));
        let resolver = Resolver::bind_with(&config, Arc::new(table), metrics, equipment).await.expect("it binds");
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

/// Waits until the metrics have a line.
pub async fn counted(running: &Running, line: &str) {
    let seen = async {
        while !running.metrics().contains(line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("{line} not in\n{}", running.metrics()));
}

/// Whether the server has closed the connection, which it must have or do soon.
pub async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let read = timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("in time");
    matches!(read, Ok(0) | Err(_))
}

/// An upstream that answers when the test wants it to.
pub struct Upstream(UdpSocket);

impl Upstream {
    pub async fn start() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"))
    }

    pub fn addr(&self) -> String {
        self.0.local_addr().expect("bound").to_string()
    }

    pub async fn asked(&self) -> (Message, SocketAddr) {
        let mut buffer = [0; 1_500];
        let (len, src) = timeout(DEADLINE, self.0.recv_from(&mut buffer)).await.expect("in time").expect("received");
        (Message::from_vec(&buffer[..len]).expect("a query"), src)
    }

    pub async fn answer(&self, (mut message, src): (Message, SocketAddr)) {
        message.metadata.message_type = MessageType::Response;
        let name = message.queries[0].name().clone();
        message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 99))));
        self.0.send_to(&message.to_vec().expect("encodes"), src).await.expect("sent");
    }
}
