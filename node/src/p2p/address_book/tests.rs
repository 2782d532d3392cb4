//! The address book: who gets in, who stays, and what an attacker can do.

use rand::{SeedableRng, rngs::StdRng};

use super::*;

const TELLER: Netgroup = Netgroup::V4([20, 1]);
const NOW: Millis = Millis(0);

fn address(a: u8, b: u8, c: u8) -> Multiaddr {
    format!("/ip4/{a}.{b}.{c}.1/tcp/9353").parse().expect("an address")
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn book() -> AddressBook {
    AddressBook::new([5; 32])
}

/// A peer that is the same in every run.
fn peer(number: u32) -> PeerId {
    let mut bytes = [0; 38];
    // An Ed25519 key in protobuf, under the identity hash.
    bytes[..6].copy_from_slice(&[0, 36, 8, 1, 18, 32]);
    bytes[6..10].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).expect("a peer id")
}

fn nobody() -> BTreeSet<PeerId> {
    BTreeSet::new()
}

/// Every entry stands in its place, and every place belongs to an entry.
fn check_places(book: &AddressBook) {
    for (peer, entry) in &book.entries {
        assert_eq!(book.table.get(entry.slot), Some(*peer));
    }
    assert!(book.len() <= MAX_PEERS);
}

#[test]
fn failures_back_off() {
    let (mut book, mut rng, peer) = (book(), rng(), PeerId::random());
    book.hear(peer, &address(8, 8, 8), TELLER);
    let mut waits = Vec::new();
    for _ in 1..MAX_FAILURES {
        book.failed(NOW, &peer, &mut rng);
        let ready = (0..).find(|s| {
            book.next_to_dial(Millis(s * 1_000), &mut StdRng::seed_from_u64(1), &nobody(), &BTreeSet::new()).is_some()
        });
        waits.push(ready.expect("some time"));
    }
    assert!(waits.is_sorted() && waits[0] >= 2 && waits[4] >= 32, "{waits:?}");
    book.failed(NOW, &peer, &mut rng);
    assert!(book.is_empty(), "hearsay that never answers is forgotten");
    check_places(&book);
}

#[test]
fn one_outbound_peer_per_group_but_home_is_exempt() {
    let (mut book, mut rng) = (book(), rng());
    book.hear(PeerId::random(), &address(8, 8, 8), TELLER);
    let taken = BTreeSet::from([Netgroup::V4([8, 8]), Netgroup::Home]);
    assert!(book.next_to_dial(NOW, &mut rng, &nobody(), &taken).is_none());
    book.hear(PeerId::random(), &address(192, 168, 1), TELLER);
    assert!(book.next_to_dial(NOW, &mut rng, &nobody(), &taken).is_some());
}

#[test]
fn one_group_cannot_fill_the_book_whoever_tells_of_it() {
    let mut book = book();
    for index in 0..20_000u32 {
        let source = Netgroup::V4([21, (index % 4) as u8]);
        book.hear(PeerId::random(), &address(8, 8, (index % 250) as u8), source);
    }
    // From one source it reaches one bucket.
    assert!(book.len() <= 4 * 16, "{}", book.len());
    for index in 0..5_000 {
        book.reached(1 + index, PeerId::random(), &address(8, 8, 8));
    }
    let reached = book.entries.values().filter(|entry| entry.slot.part == Part::Reached).count();
    assert!(reached <= Part::Reached.places() / 16, "{reached}");
    check_places(&book);
}

#[test]
fn one_source_fills_at_most_an_eighth_and_displaces_only_what_it_told() {
    let mut book = book();
    let others: Vec<_> = (0..50u8).map(|index| (PeerId::random(), Netgroup::V4([30, index]))).collect();
    for (index, (peer, source)) in others.iter().enumerate() {
        book.hear(*peer, &address(9, index as u8, 9), *source);
    }
    let before: Vec<_> = others.iter().filter(|(peer, _)| book.entries.contains_key(peer)).collect();
    for index in 0..20_000u32 {
        book.hear(PeerId::random(), &address(60 + (index % 100) as u8, (index / 100) as u8, 1), TELLER);
    }
    assert!(before.iter().all(|(peer, _)| book.entries.contains_key(peer)));
    assert!(book.len() <= before.len() + Part::Hearsay.places() / 8, "{}", book.len());
    check_places(&book);
}

#[test]
fn a_local_network_of_hundreds_fits() {
    let mut book = book();
    for index in 0..500u32 {
        book.hear(PeerId::random(), &address(10, 0, (index % 250) as u8), Netgroup::Home);
    }
    assert!(book.len() > 400, "{}", book.len());
}

#[test]
fn a_reached_peer_finds_room_in_a_book_of_hearsay() {
    let mut book = book();
    for index in 0..200_000u32 {
        let source = Netgroup::V4([21, (index / 250) as u8]);
        book.hear(peer(index), &address(60 + (index % 100) as u8, (index / 100) as u8, 1), source);
    }
    let full = Part::Hearsay.places();
    assert!(book.len() > full * 9 / 10, "{}", book.len());
    let reached: Vec<_> = (0..100u8).map(|index| (peer(u32::MAX - u32::from(index)), address(130, index, 1))).collect();
    for (index, (peer, address)) in reached.iter().enumerate() {
        book.reached(1 + index as u64, *peer, address);
    }
    assert!(reached.iter().all(|(peer, _)| book.entries.contains_key(peer)));
    check_places(&book);
}

#[test]
fn a_reached_peer_gives_way_only_after_it_was_tried_again() {
    let (mut book, mut rng) = (book(), rng());
    let at = address(8, 8, 8);
    // Peers of one group until one finds its place taken.
    let (holder, peer) = loop {
        let peer = PeerId::random();
        book.reached(1, peer, &at);
        if let Some(challenge) = book.challenges.first() {
            break *challenge;
        }
    };
    let slot = book.entries[&holder].slot;
    assert_eq!(book.entries[&peer].slot.part, Part::Hearsay, "it waits among the hearsay");
    assert_eq!(book.next_feeler(NOW, &mut rng, &nobody()).map(|(peer, _)| peer), Some(holder), "who is tried first");
    let mut other = book.clone();
    book.reached(2, holder, &at);
    assert_eq!(book.table.get(slot), Some(holder), "it is there, and stays");
    other.failed(NOW, &holder, &mut rng);
    assert_eq!(other.table.get(slot), Some(peer), "it is not, and goes");
    check_places(&book);
    check_places(&other);
}

#[test]
fn the_text_form_round_trips() {
    let mut book = book();
    let peer = PeerId::random();
    book.reached(77, peer, &address(8, 8, 8));
    for index in 0..100u8 {
        book.hear(PeerId::random(), &address(60, index, 1), Netgroup::V4([21, index % 3]));
    }
    book.set_anchors([peer]);
    let (again, skipped) = AddressBook::from_text(&book.to_text(), [9; 32]);
    assert_eq!(skipped, 0);
    assert_eq!(again.to_text(), book.to_text());
    assert_eq!(again.secret(), book.secret());
    assert_eq!(again.to_share(80, &mut rng(), 10).len(), 1);
    assert!(again.to_share(77 + FRESH_S, &mut rng(), 10).is_empty());
    let (junk, skipped) = AddressBook::from_text("junk\n1 2 3\n\n", [9; 32]);
    assert_eq!(skipped, 3, "and it can be told");
    assert!(junk.is_empty() && *junk.secret() == [9; 32]);
    check_places(&again);
}

#[test]
fn anchors_come_first_after_a_restart() {
    let mut book = book();
    let peers: Vec<_> = (0..100u8).map(|index| (PeerId::random(), address(60, index, 1))).collect();
    peers.iter().for_each(|(peer, address)| book.reached(1, *peer, address));
    let anchors = [peers[3].0, peers[70].0, peers[71].0];
    book.set_anchors(anchors);
    let (again, _) = AddressBook::from_text(&book.to_text(), [9; 32]);
    let (mut busy, mut rng) = (nobody(), rng());
    for _ in 0..ANCHORS {
        let (peer, _) = again.next_to_dial(NOW, &mut rng, &busy, &BTreeSet::new()).expect("somebody");
        assert!(anchors[..ANCHORS].contains(&peer), "the first two are anchors");
        busy.insert(peer);
    }
}

/// Fills the outbound places of a node that has just started; an attacker answers always, an honest peer mostly.
fn outbound(book: &mut AddressBook, rng: &mut StdRng, hostile: &BTreeSet<PeerId>) -> BTreeSet<PeerId> {
    let (mut busy, mut taken, mut connected) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    while connected.len() < 10 {
        let Some((peer, addresses)) = book.next_to_dial(NOW, rng, &busy, &taken) else { break };
        busy.insert(peer);
        if hostile.contains(&peer) || rng.random_bool(0.7) {
            taken.insert(Netgroup::of(&addresses[0]));
            book.reached(1, peer, &addresses[0]);
            connected.insert(peer);
        } else {
            book.failed(NOW, &peer, rng);
        }
    }
    connected
}

/// Protocol §12, eclipse: 1,000 hostile addresses in four groups, told again and again, against forty honest ones; the
/// node restarts 100 times. In no run of 1,000 restarts are all outbound peers hostile.
#[test]
fn hostile_groups_cannot_take_all_outbound_places() {
    let mut eclipsed = 0;
    for seed in 0..10 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut book = AddressBook::new(rng.random());
        let enemies: Vec<_> = (0..1_000u32)
            .map(|index| (PeerId::random(), address(60 + (index % 4) as u8, 1, (index / 4) as u8)))
            .collect();
        let hostile: BTreeSet<_> = enemies.iter().map(|(peer, _)| *peer).collect();
        let honest: Vec<_> = (0..40u8).map(|index| (PeerId::random(), address(80 + index, 1, 1))).collect();
        // The enemy is first, and loud.
        for _ in 0..3 {
            enemies.iter().for_each(|(peer, at)| book.hear(*peer, at, Netgroup::of(at)));
        }
        honest.iter().for_each(|(peer, at)| book.hear(*peer, at, TELLER));
        for restart in 0..100 {
            if restart % 10 == 0 {
                enemies.iter().for_each(|(peer, at)| book.hear(*peer, at, Netgroup::of(at)));
            }
            let connected = outbound(&mut book, &mut rng, &hostile);
            assert!(connected.intersection(&hostile).count() <= 4, "one of each of its groups");
            eclipsed += usize::from(connected.is_subset(&hostile));
            book.set_anchors(connected.into_iter().take(2));
            // Hearsay that failed may be told again.
            honest.iter().for_each(|(peer, at)| book.hear(*peer, at, TELLER));
            (book, _) = AddressBook::from_text(&book.to_text(), [0; 32]);
        }
        check_places(&book);
    }
    assert_eq!(eclipsed, 0);
}
