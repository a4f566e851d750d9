use super::fake::{Fragment, Netback, Seen};
use super::*;
use crate::net::{Gso, RxChecksum};
use crate::xen::grants::Entry;

const SIZES: Sizes = Sizes {
    rx_pages: 32,
    tx_pages: 36,
};

fn entries() -> Vec<Entry> {
    (0..256).map(|_| Entry::default()).collect()
}

fn front<'e>(entries: &'e [Entry]) -> (Netfront, Netback<'e>, Grants<'e>) {
    let mut grants = Grants::new(entries);
    let front = Netfront::new(DomainId(0), SIZES, &mut grants).unwrap();
    (front, Netback::new(entries), grants)
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + seed) as u8).collect()
}

fn send(front: &mut Netfront, bytes: &[u8], meta: TxMeta) {
    assert!(front.has_room(bytes.len()));
    front.send(bytes.len(), meta, |place| place.copy_from_slice(bytes));
    let _ = front.publish();
}

fn receive(front: &mut Netfront) -> Vec<(RxMeta, Vec<u8>)> {
    let mut packets = Vec::new();
    front
        .receive(|meta, bytes| packets.push((meta, bytes.to_vec())))
        .unwrap();
    packets
}

const WHOLE: fn(&[u8]) -> Fragment = |bytes| Fragment {
    bytes,
    offset: 0,
    flags: 0,
};

#[test]
fn packets_of_all_sizes_arrive_as_they_were_sent() {
    let entries = entries();
    let (mut front, mut back, _grants) = front(&entries);
    for round in 0..3000 {
        let length = 14 + round * 331 % 60_000;
        let bytes = pattern(length, round);
        send(&mut front, &bytes, TxMeta::COMPLETE);
        let seen = back.take(&front).unwrap();
        assert_eq!(
            (seen.bytes == bytes, seen.gso_size),
            (true, None),
            "round {round}"
        );
        front.reclaim().unwrap();
    }
    assert_eq!(front.counters().tx_packets, 3000);
}

#[test]
fn offload_is_asked_for_as_the_header_says() {
    let entries = entries();
    let (mut front, mut back, _grants) = front(&entries);
    let meta = TxMeta {
        checksum: TxChecksum::Partial {
            start: 34,
            offset: 16,
        },
        gso: Some(Gso {
            size: 1448,
            kind: GsoKind::TcpV4,
        }),
    };
    let bytes = pattern(FRAME_MAX, 1);
    send(&mut front, &bytes, meta);
    let Seen {
        bytes: seen,
        flags,
        gso_size,
    } = back.take(&front).unwrap();
    assert!(seen == bytes);
    assert_eq!(gso_size, Some(1448));
    let blank = wire::TX_CSUM_BLANK | wire::TX_DATA_VALIDATED;
    assert_eq!(flags & blank, blank);
    front.reclaim().unwrap();
    assert!(
        front.has_room(FRAME_MAX),
        "the answer to the extra info was not taken for a packet's"
    );
}

#[test]
fn a_full_interface_has_no_room_until_the_backend_answers() {
    let entries = entries();
    let (mut front, mut back, _grants) = front(&entries);
    let mut sent = 0;
    while front.has_room(1514) {
        send(&mut front, &pattern(1514, sent), TxMeta::COMPLETE);
        sent += 1;
    }
    assert!(sent > 20);
    front.reclaim().unwrap();
    assert!(!front.has_room(1514));
    for number in 0..sent {
        assert!(back.take(&front).unwrap().bytes == pattern(1514, number));
    }
    front.reclaim().unwrap();
    assert!(front.has_room(FRAME_MAX));
}

#[test]
fn received_packets_are_put_together_and_buffers_posted_again() {
    let entries = entries();
    let (mut front, mut back, _grants) = front(&entries);
    for round in 0..500 {
        let bytes = pattern(5000, round);
        back.give(&front, &[WHOLE(&bytes[..100])], None);
        back.give(
            &front,
            &[
                Fragment {
                    bytes: &bytes[..4000],
                    offset: 96,
                    flags: 1 | 1 << 2 | 1 << 3,
                },
                Fragment {
                    bytes: &bytes[4000..],
                    offset: 8,
                    flags: 0,
                },
            ],
            Some([1 | 1448 << 16, 1]),
        );
        let packets = receive(&mut front);
        assert_eq!(packets.len(), 2, "round {round}");
        assert_eq!(packets[0], (RxMeta::default(), bytes[..100].to_vec()));
        assert_eq!(
            packets[1].0,
            RxMeta {
                checksum: RxChecksum::Verified,
                gso_size: Some(1448)
            }
        );
        assert!(packets[1].1 == bytes);
    }
    assert_eq!(front.counters().rx_bytes, 500 * 5100);
}

#[test]
fn senseless_packets_are_counted_and_dropped() {
    let entries = entries();
    let (mut front, mut back, _grants) = front(&entries);
    let bytes = pattern(200, 0);
    // Beyond the page, an error, an extra info that never ends with a packet that never ends.
    back.give(
        &front,
        &[Fragment {
            bytes: &bytes,
            offset: 4000,
            flags: 0,
        }],
        None,
    );
    back.give(
        &front,
        &[Fragment {
            bytes: &[0; 0xffff],
            offset: 0,
            flags: 0,
        }],
        None,
    );
    back.give(
        &front,
        &[Fragment {
            bytes: &bytes,
            offset: 0,
            flags: 1 << 2,
        }],
        None,
    );
    assert_eq!(receive(&mut front), []);
    let counters = front.counters();
    assert_eq!(
        (
            counters.rx_malformed,
            counters.rx_errors,
            counters.rx_packets
        ),
        (2, 1, 0)
    );
    // Too long in sum: 20 fragments of 4000 bytes.
    let long = pattern(4000, 0);
    let fragments: Vec<_> = (0..20)
        .map(|_| Fragment {
            bytes: &long,
            offset: 0,
            flags: 1 << 2,
        })
        .collect();
    back.give(&front, &fragments, None);
    assert_eq!(receive(&mut front), []);
    back.give(&front, &[WHOLE(&bytes)], None);
    assert_eq!(receive(&mut front).len(), 1, "the interface goes on");
}

#[test]
fn answers_come_in_any_order() {
    let entries = entries();
    let (mut front, mut back, _grants) = front(&entries);
    let mut late = Vec::new();
    // Around the ring more than once, with a packet in eight answered after the others.
    for number in 0..600 {
        send(&mut front, &pattern(60, number), TxMeta::COMPLETE);
        let (seen, answers) = back.take_unanswered(&front).unwrap();
        assert_eq!(seen.bytes, pattern(60, number));
        if number % 8 == 0 {
            late.push(answers);
        } else {
            back.answer(&front, &answers);
        }
        if late.len() == 40 {
            for answers in late.drain(..).rev() {
                back.answer(&front, &answers);
            }
        }
        assert_eq!(front.reclaim(), Ok(()));
    }
    for answers in late {
        back.answer(&front, &answers);
    }
    assert_eq!(front.reclaim(), Ok(()));
    assert_eq!(front.tx.room(), FrontRing::<3>::ENTRIES);
}

#[test]
fn a_backend_that_never_answers_is_noticed() {
    let entries = entries();
    let (mut front, mut back, _grants) = front(&entries);
    assert!(!front.is_unanswered());
    send(&mut front, &pattern(60, 1), TxMeta::COMPLETE);
    assert!(front.is_unanswered());
    let (_, answers) = back.take_unanswered(&front).unwrap();
    assert_eq!(front.reclaim(), Ok(()));
    assert!(front.is_unanswered());
    back.answer(&front, &answers);
    assert_eq!(front.reclaim(), Ok(()));
    send(&mut front, &pattern(60, 2), TxMeta::COMPLETE);
    assert!(!front.is_unanswered());
}

#[test]
fn a_backend_that_lies_ends_the_interface() {
    for nonsense in [false, true] {
        let entries = entries();
        let (mut front, mut back, mut grants) = front(&entries);
        send(&mut front, &[0; 60], TxMeta::COMPLETE);
        if nonsense {
            back.answer_nonsense(&front)
        } else {
            back.lie(&front)
        }
        assert_eq!(front.reclaim(), Err(Broken));
        assert!(!front.has_room(60));
        assert_eq!(front.receive(|_, _| ()), Err(Broken));
        front.release(&mut grants);
    }
}

#[test]
fn release_gives_all_grants_back() {
    let entries = entries();
    let mut grants = Grants::new(&entries);
    let before = grants.available();
    for _ in 0..20 {
        let front = Netfront::new(DomainId(0), SIZES, &mut grants).unwrap();
        front.release(&mut grants);
    }
    assert_eq!(grants.available(), before);
}

#[test]
fn sizes_follow_memory_within_bounds() {
    assert_eq!(
        Sizes::for_memory(4 << 20),
        Sizes {
            rx_pages: 32,
            tx_pages: 36
        }
    );
    assert_eq!(
        Sizes::for_memory(1 << 30),
        Sizes {
            rx_pages: 256,
            tx_pages: 256
        }
    );
}
