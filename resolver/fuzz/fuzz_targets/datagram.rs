//! Any datagram is answered without a panic, and alike by both paths wherever the fast one answers.

#![no_main]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use ledger::{
    name::Name,
    record::{Record, Records},
};
use libfuzzer_sys::fuzz_target;
use prometheus::Registry;
use resolver::{dns::rtype, serve::udp::{Composer, Responder, SendBuffer}, DnsConfig, DnsMetrics, Entry, Life, NameSource, Readiness, SharedTable};

struct World {
    table: Arc<SharedTable>,
    responder: Responder,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let record = |sub: &[u8], rtype, rdata: &[u8]| Record { sub: sub.to_vec(), rtype, ttl: 300, rdata: rdata.to_vec() };
    let records = vec![
        record(b"", rtype::A, &[192, 0, 2, 1]),
        record(b"\x01*", rtype::TXT, b"\x04wild"),
        record(b"\x01c", rtype::CNAME, b"\x01a\x03p2p\0"),
        record(b"\x01n", rtype::NS, b"\x01a\x03p2p\0"),
    ];
    let life = Life { active_from: 0, expires_at: 9, grace_until: 9, revoked_until: None, last_change: 0 };
    let entry = Entry::new(life, &Records::new(records).expect("canonical"));
    let table = Arc::new(SharedTable::new(120));
    table.publish(1, 1, [(Name::new("a").expect("a name"), Some(entry))]);
    table.set_readiness(Readiness::Ready);
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    let responder = Responder::new(&DnsConfig::default(), table.clone(), metrics).expect("valid");
    World { table, responder }
});

fuzz_target!(|datagram: &[u8]| {
    let World { table, responder } = &*WORLD;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let src = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let standing = responder.standing(datagram, src.ip());
    let full = runtime.block_on(responder.clone().full(datagram.to_vec(), src, standing));
    let mut out: SendBuffer = [0; 1232];
    let view = table.view();
    if let Ok(fast) = responder.fast(&mut Composer::default(), &*view, (datagram, &standing), &mut out) {
        assert_eq!(Some(&out[..fast.bytes]), full.as_deref());
    }
});
