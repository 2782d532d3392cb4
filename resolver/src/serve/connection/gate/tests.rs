//! Who is let in, and who has to go.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn gate(max: usize, max_per_client: usize) -> Arc<Gate> {
    Gate::new(ConnectionsConfig { max, max_per_client, ..ConnectionsConfig::default() })
}

fn unread(gate: &Gate) -> Unread {
    Unread { _permit: gate.unread.clone().try_acquire_owned().expect("few have not been read") }
}

/// A connection on which something has come.
fn enter(gate: &Arc<Gate>, ip: IpAddr) -> Option<Pass> {
    gate.enter(ip, unread(gate)).inspect(Pass::has_spoken)
}

fn enter_unproven(gate: &Arc<Gate>, ip: IpAddr) -> Option<Pass> {
    gate.enter_unproven(ip, unread(gate)).inspect(Pass::has_spoken)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn is_evicted(pass: &Pass) -> bool {
    timeout(Duration::from_millis(1), pass.evicted()).await.is_ok()
}

fn set_idle_since(pass: &Pass, ms: u64) {
    pass.seat.state.store((ms << KIND_BITS) | IDLE, Ordering::Relaxed);
}

fn set_busy_since(pass: &Pass, ms: u64) {
    pass.seat.state.store((ms << KIND_BITS) | BUSY, Ordering::Relaxed);
}

#[tokio::test]
async fn who_has_not_been_read_makes_room_for_nobody() {
    // Once for the places of a network, once for all places.
    for (gate, its) in [(gate(100, 8), "192.0.2.1"), (gate(8, 100), "198.51.100.1")] {
        // Here first, so idle for longer than all others, if that counted.
        let unread_one = gate.enter(ip("192.0.2.9"), unread(&gate)).expect("room");
        // Saying what becomes of it before it is read does not make it idle.
        unread_one.idle();
        unread_one.busy();
        let others: Vec<Pass> = (0..7).map(|_| enter(&gate, ip(its)).expect("room")).collect();
        let mut newcomers = Vec::new();
        for other in &others {
            let newcomer = enter(&gate, ip(its)).expect("in the place of another");
            assert!(is_evicted(other).await && !is_evicted(&unread_one).await);
            newcomer.busy();
            newcomers.push(newcomer);
        }
        assert!(gate.enter(ip(its), unread(&gate)).is_none(), "one has not been read, and the rest have work");
        unread_one.has_spoken();
        assert!(gate.enter(ip(its), unread(&gate)).is_some());
        assert!(is_evicted(&unread_one).await && unread_one.is_evicted());
    }
}

#[tokio::test]
async fn the_silent_end_no_conversation_and_are_not_kept_out() {
    let silent = |gate: &Arc<Gate>| {
        let pass = gate.enter(ip("192.0.2.1"), unread(gate)).expect("room");
        pass.has_been_read();
        // Nothing that is done for it makes it look as if it had spoken.
        pass.busy();
        pass.idle();
        pass
    };
    let mut gate = gate(100, 8);
    // The gate has been open for a while.
    Arc::get_mut(&mut gate).expect("nobody has it").epoch -= Duration::from_secs(1);
    let speakers: Vec<Pass> = (0..4).map(|_| enter(&gate, ip("192.0.2.1")).expect("room")).collect();
    let mut crowd: Vec<Pass> = (0..4).map(|_| silent(&gate)).collect();
    speakers.iter().zip([5, 1, 2, 3]).for_each(|(pass, ms)| set_idle_since(pass, ms));
    // Half are silent, so the one that has been idle the longest goes.
    crowd.push(silent(&gate));
    assert!(is_evicted(&speakers[1]).await);
    // From now on more than half are.
    for i in 0..20 {
        crowd.push(silent(&gate));
        assert!(is_evicted(&crowd[i]).await, "{i}");
    }
    for left in [0, 2, 3] {
        assert!(!is_evicted(&speakers[left]).await, "{left}");
    }
    // Those that speak take the place of one of them, and then of whoever has been idle the longest.
    let mut newcomers = Vec::new();
    for first in [&crowd[20], &speakers[2], &speakers[3], &speakers[0], &crowd[21]] {
        assert!(!is_evicted(first).await);
        newcomers.push(enter(&gate, ip("192.0.2.1")).expect("room"));
        assert!(is_evicted(first).await);
    }
}

#[tokio::test]
async fn who_has_not_been_read_may_be_one_of_the_silent() {
    let gate = gate(100, 4);
    let speaker = enter(&gate, ip("192.0.2.1")).expect("room");
    let enter_silently = || {
        let pass = gate.enter(ip("192.0.2.1"), unread(&gate)).expect("room");
        pass.has_been_read();
        pass
    };
    let silent = [enter_silently(), enter_silently()];
    let unread_one = gate.enter(ip("192.0.2.1"), unread(&gate)).expect("room");
    let _newcomer = gate.enter(ip("192.0.2.1"), unread(&gate)).expect("in the place of the first silent one");
    assert!(is_evicted(&silent[0]).await && !is_evicted(&silent[1]).await);
    assert!(!is_evicted(&speaker).await && !is_evicted(&unread_one).await);
}

#[tokio::test]
async fn no_more_come_than_are_read() {
    for (gate, most) in [(gate(100, 100), MAX_UNREAD), (gate(100, 11), 5), (gate(3, 5), 1), (gate(1, 1), 1)] {
        let is_full = async || timeout(Duration::from_millis(1), gate.unread()).await.is_err();
        let mut passes = Vec::new();
        for i in 0..most {
            // A refused one counts no longer.
            drop(gate.unread().await);
            passes.push(gate.enter(ip(&format!("192.0.{i}.1")), gate.unread().await).expect("room"));
        }
        assert!(is_full().await, "{most}");
        passes[0].has_been_read();
        passes[0].has_been_read();
        let again = gate.unread().await;
        assert!(is_full().await, "each counts once");
        drop(again);
        passes.truncate(1);
        let held: Vec<Unread> = (0..most).map(|_| unread(&gate)).collect();
        assert!(is_full().await, "who has left before it was read counts no longer");
        drop(held);
    }
}

#[tokio::test]
async fn the_idlest_makes_room() {
    let gate = gate(3, 3);
    let passes: Vec<Pass> = (0..3).map(|i| enter(&gate, ip(&format!("192.0.{i}.1"))).expect("there is room")).collect();
    passes.iter().zip([20, 10, 30]).for_each(|(pass, ms)| set_idle_since(pass, ms));
    let newest = enter(&gate, ip("198.51.100.1")).expect("in the place of the second");
    assert!(is_evicted(&passes[1]).await && !is_evicted(&passes[0]).await && !is_evicted(&passes[2]).await);
    for pass in [&passes[0], &passes[2], &newest] {
        pass.busy();
    }
    assert!(enter(&gate, ip("198.51.100.1")).is_none(), "nobody is idle");
    passes[2].idle();
    assert!(enter(&gate, ip("198.51.100.1")).is_some());
}

#[tokio::test]
async fn a_network_makes_room_among_its_own() {
    let gate = gate(10, 2);
    let stranger = enter(&gate, ip("2001:db8:0:100::1")).expect("room");
    set_idle_since(&stranger, 0);
    let one = enter(&gate, ip("2001:db8:0:1::1")).expect("room");
    let two = enter(&gate, ip("2001:db8:0:ff:ffff::2")).expect("room");
    set_idle_since(&one, 6);
    set_idle_since(&two, 5);
    let three = enter(&gate, ip("2001:db8:0:1::3")).expect("in the place of the second");
    assert!(is_evicted(&two).await && !is_evicted(&one).await && !is_evicted(&stranger).await);
    one.busy();
    three.busy();
    assert!(enter(&gate, ip("2001:db8:0:1::1")).is_none());
}

#[tokio::test]
async fn who_is_busy_for_very_long_makes_room_if_nobody_is_idle() {
    let limit_ms = u64::try_from(BUSY_LIMIT.as_millis()).expect("short");
    let mut gate = gate(3, 3);
    // The gate has been open for a while.
    Arc::get_mut(&mut gate).expect("nobody has it").epoch -= 3 * BUSY_LIMIT;
    let passes: Vec<Pass> = (0..3).map(|i| enter(&gate, ip(&format!("192.0.{i}.1"))).expect("there is room")).collect();
    passes.iter().zip([2, 1, limit_ms]).for_each(|(pass, ms)| set_busy_since(pass, ms));
    // Working on further queries does not make it look fresh.
    passes[1].busy();
    set_idle_since(&passes[2], 2 * limit_ms);
    enter(&gate, ip("198.51.100.1")).expect("in the place of the idle one").busy();
    assert!(is_evicted(&passes[2]).await && !is_evicted(&passes[0]).await && !is_evicted(&passes[1]).await);
    let third = enter(&gate, ip("198.51.100.1")).expect("the last one has left again");
    third.busy();
    let fourth = enter(&gate, ip("198.51.100.1")).expect("in the place of the second");
    assert!(is_evicted(&passes[1]).await && !is_evicted(&passes[0]).await && !is_evicted(&third).await);
    fourth.busy();
    set_busy_since(&passes[0], 3 * limit_ms);
    assert!(enter(&gate, ip("198.51.100.1")).is_none(), "all have work that may still take its time");
}

#[tokio::test]
async fn who_has_proved_nothing_takes_nobodys_place() {
    let many = gate(1_000, 1_000);
    let strangers: Vec<Pass> =
        (0..UNPROVEN_PER_CLIENT).map(|_| enter_unproven(&many, ip("192.0.2.1")).expect("few")).collect();
    assert!(enter_unproven(&many, ip("192.0.2.2")).is_none(), "its network has its share");
    let _elsewhere: Vec<Pass> = (UNPROVEN_PER_CLIENT..UNPROVEN)
        .map(|i| enter_unproven(&many, ip(&format!("198.51.{i}.1"))).expect("few"))
        .collect();
    assert!(enter_unproven(&many, ip("203.0.113.1")).is_none(), "there are many by now");
    let _proven = enter(&many, ip("192.0.2.1")).expect("there is room");
    assert!(!is_evicted(&strangers[0]).await);
    for small in [gate(1, 3), gate(3, 1)] {
        let first = enter_unproven(&small, ip("192.0.2.1")).expect("the first");
        assert!(enter_unproven(&small, ip("192.0.2.1")).is_none());
        assert!(!is_evicted(&first).await);
    }
}

#[test]
fn a_newcomer_to_a_crowd_gets_a_smaller_share() {
    let gate = gate(16, 16);
    let shares: Vec<(usize, Pass)> = (0..4)
        .map(|i| enter(&gate, ip(&format!("192.0.{i}.1"))).expect("room"))
        .map(|pass| (pass.max_in_work(), pass))
        .collect();
    assert_eq!(shares.iter().map(|(share, _)| *share).collect::<Vec<_>>(), [64, 64, 8, 8]);
    drop(shares);
    assert_eq!(enter(&gate, ip("192.0.2.1")).expect("room").max_in_work(), 64, "the crowd has gone");
    let limits = ConnectionsConfig { max: 1, max_in_work: 3, ..ConnectionsConfig::default() };
    assert_eq!(enter(&Gate::new(limits), ip("192.0.2.1")).expect("room").max_in_work(), 1, "never none");
}

#[test]
fn leaving_gives_the_place_back() {
    let gate = gate(2, 1);
    for _ in 0..5 {
        let pass = enter(&gate, ip("192.0.2.1")).expect("room");
        pass.busy();
        // A mapped address is the same client.
        assert!(enter(&gate, ip("::ffff:192.0.2.200")).is_none());
        assert!(enter(&gate, ip("192.0.3.1")).is_some());
    }
    assert!(gate.lock().seats.is_empty() && gate.lock().per_network.is_empty());
}
