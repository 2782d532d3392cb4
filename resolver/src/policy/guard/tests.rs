//! The bound on amplification, and who is counted.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::{
    signing::{Line, OverBudget, SigningRequest},
    *,
};
use crate::zones::query::Transport;

const SECOND: u64 = 1_000_000_000;

fn guard(toml: &str) -> Guard {
    Guard::new(&toml::from_str(toml).expect("it parses")).expect("random")
}

fn at(guard: &Guard, ns: u64) -> Now {
    Now { ns, ..guard.now() }
}

fn query(options: &[u8]) -> Vec<u8> {
    let header = [7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    [&header, &b"\x05alice\x03p2p\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0"[..], &[options.len() as u8], options]
        .concat()
}

fn stranger(guard: &Guard, src: [u8; 4]) -> Standing {
    guard.standing(&query(b""), IpAddr::from(src), &guard.now())
}

/// The cookie that a client at `src` learns.
fn learn(guard: &Guard, src: IpAddr) -> Vec<u8> {
    let first = guard.standing(&query(b"\0\x0a\0\x08client-c"), src, &guard.now());
    [b"\0\x0a\0\x18", &first.cookie_out().expect("a cookie")[..]].concat()
}

#[test]
fn a_host_then_its_network_is_limited_and_every_second_refusal_slips() {
    let guard = guard("rate_limit = 10");
    let now = at(&guard, SECOND);
    let admit = |src| guard.admit(&stranger(&guard, src), &now);
    let said: Vec<_> = (0..14).map(|_| admit([192, 0, 2, 1])).collect();
    assert!(said[..10].iter().all(|admission| *admission == Admission::Answer));
    assert_eq!(said[10..], [Admission::Drop, Admission::Slip, Admission::Drop, Admission::Slip]);
    // Eight hosts' worth for the /24, of which one has been used.
    let others: Vec<_> = (0..100).map(|i| admit([192, 0, 2, 2 + i])).collect();
    assert_eq!(others.iter().filter(|admission| **admission == Admission::Answer).count(), 70);
    assert_eq!(others.iter().filter(|admission| **admission == Admission::Slip).count(), 15);
    assert_eq!(admit([198, 51, 100, 1]), Admission::Answer);
    // A second later all is forgiven.
    assert_eq!(guard.admit(&stranger(&guard, [192, 0, 2, 1]), &at(&guard, 2 * SECOND)), Admission::Answer);
}

#[test]
fn the_lists_can_change_and_the_counts_stay() {
    let guard = guard("rate_limit = 1");
    let now = at(&guard, SECOND);
    let src = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(guard.admit(&stranger(&guard, [192, 0, 2, 1]), &now), Admission::Answer);
    assert!(guard.may_ask(src) && !guard.may_forward(src));
    let lists = |toml| guard.set_access(&toml::from_str(toml).expect("it parses"));
    lists("deny = ['192.0.2.0/24']\nforward_allow = ['192.0.2.1']\nrate_limit = 1000");
    assert!(!guard.may_ask(src) && guard.may_forward(src));
    lists("");
    assert!(guard.may_ask(src) && !guard.may_forward(src));
    // The rate is that of the start, and what was spent is spent.
    assert_ne!(guard.admit(&stranger(&guard, [192, 0, 2, 1]), &now), Admission::Answer);
    lists("exempt = ['192.0.2.1']");
    assert_eq!(guard.admit(&stranger(&guard, [192, 0, 2, 1]), &now), Admission::Answer);
}

#[test]
fn slip_can_be_all_or_none() {
    for (slip, expected) in [(0, Admission::Drop), (1, Admission::Slip)] {
        let guard = guard(&format!("rate_limit = 1\nslip = {slip}"));
        let now = at(&guard, SECOND);
        let said = [(); 5].map(|()| guard.admit(&stranger(&guard, [192, 0, 2, 1]), &now));
        assert_eq!(said[1..], [expected; 4]);
    }
}

#[test]
fn loopback_and_clients_with_a_cookie_are_not_limited() {
    let guard = guard("rate_limit = 1\nfree_bytes = 1\nudp_bytes_without_cookie = 600");
    let now = at(&guard, SECOND);
    let client = IpAddr::from([192, 0, 2, 1]);
    let cookie = learn(&guard, client);
    let known = guard.standing(&query(&cookie), client, &now);
    let near = guard.standing(&query(b""), IpAddr::from([127, 0, 0, 9]), &now);
    assert_eq!((known.max_bytes, near.max_bytes), (1232, 1232));
    for standing in [known, near] {
        for _ in 0..1_000 {
            assert_eq!(guard.admit(&standing, &now), Admission::Answer);
            assert!(guard.may_send(&standing, 40, 1232, &now));
        }
    }
    // The same cookie from somewhere else proves nothing.
    let thief = guard.standing(&query(&cookie), IpAddr::from([192, 0, 2, 2]), &now);
    assert_eq!((thief.max_bytes, matches!(thief.cookie, Cookie::Invalid(_))), (600, true));
    assert_eq!([(); 2].map(|()| guard.admit(&thief, &now)), [Admission::Answer, Admission::Drop]);
}

#[test]
fn without_cookies_none_is_given_or_believed() {
    let guard = guard("cookies = 'off'");
    for option in [&b"\0\x0a\0\x08client-c"[..], b"\0\x0a\0\x03bad"] {
        let standing = guard.standing(&query(option), IpAddr::from([192, 0, 2, 1]), &guard.now());
        assert_eq!((standing.cookie, standing.cookie_out()), (Cookie::Absent, None));
    }
}

#[test]
fn limits_can_be_turned_off() {
    let guard = guard("rate_limit = 0\nfree_bytes = 0\nsignatures_per_second = 0");
    let (now, standing) = (guard.now(), stranger(&guard, [192, 0, 2, 1]));
    for _ in 0..10_000 {
        assert_eq!(guard.admit(&standing, &now), Admission::Answer);
        assert!(guard.may_send(&standing, 40, 512, &now));
        assert_eq!(sign(&guard, [192, 0, 2, 1], Transport::Datagram, &now), Ok(Duration::ZERO));
    }
}

/// One signature, if it may be made within two seconds, or at once for a datagram; and how long it has to wait.
fn sign(guard: &Guard, src: [u8; 4], transport: Transport, now: &Now) -> Result<Duration, OverBudget> {
    let patience = Duration::from_secs(if transport == Transport::Stream { 2 } else { 0 });
    let request = SigningRequest { src: IpAddr::from(src), transport, signatures: 1 };
    let wait = guard.line_up(Line::Network, &request, patience, now)?;
    let turn = at(guard, now.ns + wait.as_nanos() as u64);
    Ok(wait + guard.line_up(Line::Everybody, &request, patience - wait, &turn)?)
}

#[test]
fn signatures_are_counted_by_transport() {
    let guard = guard("signatures_per_second = 1");
    let now = at(&guard, SECOND);
    // Loopback has no share: the budget itself.
    let granted = |transport| (0..100).filter(|_| sign(&guard, [127, 0, 0, 1], transport, &now).is_ok()).count();
    assert_eq!([Transport::Datagram, Transport::Stream].map(granted), [32, 34]);
}

/// Two networks for ten seconds, at 100 signatures a second: one asks a thousand times a second, the other twenty times.
/// How many of their queries are signed, and the longest wait of the other's.
fn two_networks(transport: Transport) -> ([u32; 2], Duration) {
    let guard = guard("signatures_per_second = 100");
    let requests = [[192, 0, 2, 1], [198, 51, 100, 1]];
    let requests = requests.map(|src| SigningRequest { src: IpAddr::from(src), transport, signatures: 1 });
    let patience = Duration::from_secs(if transport == Transport::Stream { 2 } else { 0 });
    let (mut signed, mut longest, mut in_line) = ([0; 2], Duration::ZERO, Vec::new());
    for ms in 0..10_000 {
        let now = at(&guard, SECOND + ms * SECOND / 1_000);
        for (index, request) in requests.iter().enumerate().filter(|(index, _)| *index == 0 || ms % 50 == 0) {
            if let Ok(wait) = guard.line_up(Line::Network, request, patience, &now) {
                in_line.push((now.ns + wait.as_nanos() as u64, index, wait));
            }
        }
        for (_, index, waited) in in_line.extract_if(.., |(turn_ns, ..)| *turn_ns <= now.ns) {
            if let Ok(wait) = guard.line_up(Line::Everybody, &requests[index], patience - waited, &now) {
                signed[index] += 1;
                longest = longest.max(if index == 1 { waited + wait } else { Duration::ZERO });
            }
        }
    }
    // Nor does it cost the other kind of transport anything.
    let unused = if transport == Transport::Stream { Transport::Datagram } else { Transport::Stream };
    assert_eq!(sign(&guard, [192, 0, 2, 1], unused, &at(&guard, SECOND)), Ok(Duration::ZERO));
    (signed, longest)
}

#[test]
fn a_network_has_its_share_of_the_signatures() {
    let guard = guard("signatures_per_second = 100");
    let now = at(&guard, SECOND);
    let granted = (0..200).filter(|host| sign(&guard, [192, 0, 2, *host], Transport::Datagram, &now).is_ok()).count();
    assert_eq!(granted, 24);
    assert_eq!(sign(&guard, [198, 51, 100, 1], Transport::Datagram, &now), Ok(Duration::ZERO));
    // The same for as long as it goes on: a quarter of the rate, and the other gets what it asks for at once.
    for transport in [Transport::Datagram, Transport::Stream] {
        let ([greedy, modest], longest) = two_networks(transport);
        assert_eq!((modest, longest), (200, Duration::ZERO));
        assert!((270..=275).contains(&greedy), "{greedy} for {transport:?}");
    }
}

#[test]
fn the_line_for_signatures_is_bounded_and_in_order() {
    let guard = guard("signatures_per_second = 100000000");
    let now = at(&guard, SECOND);
    let line_up = |src, signatures| {
        let request = SigningRequest { src, transport: Transport::Stream, signatures };
        let waits =
            [Line::Network, Line::Everybody].map(|line| guard.line_up(line, &request, Duration::from_secs(2), &now));
        (waits[0], waits[1])
    };
    let near = IpAddr::from([127, 0, 0, 1]);
    let waits: Vec<_> = (0..10_000).map_while(|_| line_up(near, 1).1.ok()).collect();
    assert!(waits.is_sorted());
    // What is there at once, and as many as may wait, however short the wait.
    assert_eq!(waits.len(), 32 + 4_096);
    let far = IpAddr::from([192, 0, 2, 1]);
    assert_eq!((0..10_000).filter(|_| line_up(far, 1).0.is_ok()).count(), 24 + 1_024);
}

#[tokio::test]
async fn what_is_refused_costs_nothing() {
    let guard = guard("signatures_per_second = 1");
    let request =
        |src: [u8; 4], signatures| SigningRequest { src: src.into(), transport: Transport::Datagram, signatures };
    // All that everybody has, but for one.
    assert_eq!(guard.wait_to_sign(&request([127, 0, 0, 1], 31)).await, Ok(()));
    for _ in 0..1_000 {
        assert_eq!(guard.wait_to_sign(&request([192, 0, 2, 1], 20)).await, Err(OverBudget));
    }
    assert_eq!(guard.wait_to_sign(&request([192, 0, 2, 1], 1)).await, Ok(()));
    let network = request([192, 0, 2, 1], 23);
    assert_eq!(guard.line_up(Line::Network, &network, Duration::ZERO, &guard.now()), Ok(Duration::ZERO));
    assert_eq!(guard.wait_to_sign(&request([192, 0, 2, 1], 0)).await, Ok(()));
}

#[test]
fn the_worst_query_stays_below_the_bound() {
    // 500 questions of 40 bytes in a second, each answered with 512: one network sends 20,000 bytes.
    let guard = guard("rate_limit = 100000\nfree_bytes = 8000");
    let (mut bytes_in, mut bytes_out) = (0, 0);
    for i in 0..5_000_u64 {
        let now = at(&guard, SECOND + i * SECOND / 500);
        let standing = stranger(&guard, [192, 0, 2, i as u8]);
        bytes_in += 40;
        bytes_out += if guard.may_send(&standing, 40, 512, &now) { 512 } else { 56 };
    }
    let ratio = f64::from(bytes_out) / f64::from(bytes_in);
    // Below the bound, for what a short answer leaves of its question's credit is lost.
    assert!((1.5..3.0).contains(&ratio), "{ratio}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any mix of questions and answers from one network: once it sends twice as many bytes per second as it may get for
    /// free, no second but the first, which may use up a burst, gives back more than three times what came in it.
    #[test]
    fn amplification_is_at_most_three(
        mix in vec((28..300_usize, 28..1_232_usize, any::<u8>()), 1..40), per_second in 600..5_000_u64,
        rate_limit in 50..100_000_u32, free_bytes in 0..8_000_u32,
    ) {
        let guard = guard(&format!("rate_limit = {rate_limit}\nfree_bytes = {}", free_bytes.max(1)));
        let real = guard.now();
        for second in 1..5_u64 {
            let (mut bytes_in, mut bytes_out) = (0, 0);
            for i in 0..per_second {
                let (question, answer, host) = mix[i as usize % mix.len()];
                let now = Now { ns: second * SECOND + i * SECOND / per_second, ..real };
                let standing = Standing { cookie: Cookie::Absent, ..stranger(&guard, [192, 0, 2, host]) };
                bytes_in += question;
                bytes_out += match guard.admit(&standing, &now) {
                    Admission::Drop => 0,
                    Admission::Answer if guard.may_send(&standing, question, answer, &now) => answer,
                    // With a cookie to learn.
                    Admission::Answer | Admission::Slip => question + 16,
                };
            }
            // The first second includes the burst.
            if second > 1 {
                prop_assert!(bytes_in >= 2 * free_bytes as usize, "the mix sends enough");
                prop_assert!(bytes_out <= 3 * bytes_in, "{bytes_out} for {bytes_in}");
            }
        }
    }
}
