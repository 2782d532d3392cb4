//! The bound on amplification, and who is counted.

use proptest::{collection::vec, prelude::*};

use super::*;

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
        assert!(guard.may_send(&standing, 40, 512, &now) && guard.may_sign(Transport::Datagram).is_ok());
    }
}

#[test]
fn signatures_are_counted_by_transport() {
    let guard = guard("signatures_per_second = 1");
    for transport in [Transport::Datagram, Transport::Stream] {
        let granted = (0..100).filter(|_| guard.may_sign(transport).is_ok()).count();
        assert!((32..40).contains(&granted), "{granted}");
        assert!(guard.may_sign(transport).is_err_and(|over| (1..=SECOND).contains(&over.wait_ns)));
    }
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
