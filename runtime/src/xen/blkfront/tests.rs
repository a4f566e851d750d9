use super::super::grants::{Entry, fake as grant_table};
use super::fake::{Fake, Lie, Random, parameters};
use super::*;

const BACKEND: DomainId = DomainId(0);
const CAPACITY: usize = 1 << 20;

/// A frontend, its table of grants and its backend.
struct Pair<'e> {
    front: Blkfront,
    grants: Grants<'e>,
    back: Fake<'e>,
    random: Random,
}

fn entries() -> Vec<Entry> {
    (0..512).map(|_| Entry::default()).collect()
}

impl<'e> Pair<'e> {
    fn new(entries: &'e [Entry], seed: u64) -> Self {
        let mut grants = Grants::new(entries);
        let mut front = Blkfront::new(BACKEND, 44, &mut grants).unwrap();
        let back = Fake::new(entries, parameters(CAPACITY));
        front.connect(&back.parameters);
        Self {
            front,
            grants,
            back,
            random: Random(seed),
        }
    }

    fn answer_all(&mut self) {
        let _ = self.front.publish();
        self.back.answer_all(&self.front, &mut self.random);
        let _ = self.front.collect();
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), Failure> {
        self.answer_all();
        self.front.take(ticket, 0, &mut [])
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let ticket = self.front.flush().unwrap();
        self.wait(ticket)
    }

    fn read(&mut self, sector: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
        let ticket = self.front.read(sector, bytes);
        self.answer_all();
        let mut read = vec![0xee; bytes];
        self.front.take(ticket, 0, &mut read).map(|()| read)
    }
}

#[test]
fn names_are_those_of_the_document() {
    for (number, name) in [
        (51712, Some("xvda")),
        (51713, Some("xvda1")),
        (51728, Some("xvdb")),
        (51967, Some("xvdp15")),
        (0x1000_0000 | 16 << 8, Some("xvdq")),
        (0x1000_0000 | 26 << 8 | 3, Some("xvdaa3")),
        (0x1000_0000 | 701 << 8, Some("xvdzz")),
        (0x1000_0000 | 702 << 8, None),
        (768, None),
        (2048, None),
    ] {
        assert_eq!(disk_name(number).as_deref(), name, "{number}");
    }
}

#[test]
fn parts_are_gathered_and_parts_are_taken() {
    let entries = entries();
    let mut pair = Pair::new(&entries, 1);
    let body: Vec<u8> = (0..REQUEST_MAX - 8).map(|n| n as u8).collect();
    let ticket = pair.front.write(3, &[b"head", &body, b"tail"]);
    assert_eq!(pair.wait(ticket), Ok(()));
    let start = 3 * SECTOR;
    assert_eq!(&pair.back.contents[start..][..4], b"head");
    assert_eq!(&pair.back.contents[start + 4..][..body.len()], &body);
    assert_eq!(&pair.back.contents[start + REQUEST_MAX - 4..][..4], b"tail");

    let ticket = pair.front.read(3, REQUEST_MAX);
    pair.answer_all();
    let mut middle = [0; 5000];
    assert_eq!(pair.front.take(ticket, 4 + 4090, &mut middle), Ok(()));
    assert_eq!(middle[..], body[4090..9090]);
    assert_eq!(pair.front.pages.available(), 44);
}

#[test]
fn room_is_what_there_are_pages_and_slots_for() {
    let entries = entries();
    let mut pair = Pair::new(&entries, 1);
    let large: Vec<_> = (0..3).map(|_| pair.front.read(0, REQUEST_MAX)).collect();
    assert_eq!(pair.front.room(), REQUEST_MAX);
    let last = pair.front.read(0, 10 * PAGE);
    assert_eq!(pair.front.room(), PAGE);
    let small = pair.front.read(0, SECTOR);
    assert_eq!(pair.front.room(), 0);
    pair.answer_all();
    for ticket in large.into_iter().chain([last, small]) {
        assert!(pair.front.is_answered(&ticket));
        assert_eq!(pair.front.take(ticket, 0, &mut []), Ok(()));
    }
    let small: Vec<_> = (0..32).map(|_| pair.front.read(0, SECTOR)).collect();
    assert_eq!(pair.front.room(), 0, "the ring is full");
    assert_eq!(pair.front.flush(), None);
    pair.answer_all();
    for ticket in small {
        assert_eq!(pair.front.take(ticket, 0, &mut []), Ok(()));
    }
}

#[test]
fn errors_are_those_of_their_request() {
    let entries = entries();
    let mut pair = Pair::new(&entries, 1);
    pair.back.bad_sectors = 8..9;
    let good = pair.front.read(0, PAGE);
    let bad = pair.front.read(8, PAGE);
    pair.answer_all();
    assert_eq!(pair.front.take(bad, 0, &mut []), Err(Failure::Error));
    assert_eq!(pair.front.take(good, 0, &mut []), Ok(()));
    assert_eq!(pair.front.counters().errors, 1);
    assert_eq!(pair.front.broken(), None);
}

#[test]
fn a_flush_that_is_refused_is_not_tried_again() {
    let entries = entries();
    let mut pair = Pair::new(&entries, 1);
    let mut both = pair.back.parameters;
    both.barrier = true;
    pair.front.connect(&both);
    assert_eq!(pair.flush(), Ok(()));
    assert_eq!(pair.back.seen, [0, 0, 0, 1]);
    pair.back.refuses_flush = true;
    assert_eq!(pair.flush(), Err(Failure::NotSupported));
    assert!(pair.front.can_flush());
    assert_eq!(pair.flush(), Ok(()), "a barrier takes its place");
    assert_eq!(pair.back.seen, [0, 0, 1, 2]);
    pair.back.refuses_barrier = true;
    assert_eq!(pair.flush(), Err(Failure::NotSupported));
    assert!(!pair.front.can_flush());
}

#[test]
fn a_backend_that_lies_breaks_the_device() {
    for (lie, why) in [
        (Lie::UnknownRequest, Broken::UnknownRequest),
        (Lie::Twice, Broken::UnknownRequest),
        (Lie::UnknownStatus, Broken::UnknownStatus),
        (Lie::Ring, Broken::Ring),
    ] {
        let entries = entries();
        let mut pair = Pair::new(&entries, 1);
        let tickets: Vec<_> = (0..4).map(|n| pair.front.read(n, SECTOR)).collect();
        pair.back.lie = Some(lie);
        let _ = pair.front.publish();
        pair.back.take(&pair.front);
        assert!(pair.back.answer(&pair.front, &mut pair.random));
        let _ = pair.front.collect();
        assert_eq!(pair.front.broken(), Some(why));
        for ticket in tickets {
            assert!(pair.front.is_answered(&ticket));
            let taken = pair.front.take(ticket, 0, &mut []);
            assert!(
                lie == Lie::Twice || taken == Err(Failure::Broken),
                "{lie:?}"
            );
        }
        let late = pair.front.write(0, &[&[0; SECTOR]]);
        assert_eq!(pair.wait(late), Err(Failure::Broken));
        assert_eq!(pair.back.seen[1], 0, "nothing more is sent");
    }
}

#[test]
fn a_broken_device_has_room_though_its_ring_has_none() {
    let entries = entries();
    let mut pair = Pair::new(&entries, 1);
    for _ in 0..40 {
        let ticket = pair.front.read(0, SECTOR);
        pair.front.give_up(Broken::Detached);
        assert!(pair.front.is_answered(&ticket));
        assert_eq!(pair.front.take(ticket, 0, &mut []), Err(Failure::Broken));
    }
}

#[test]
fn what_was_not_answered_is_sent_again_to_another_backend() {
    let entries = entries();
    let mut pair = Pair::new(&entries, 5);
    let old_ring = pair.front.ring_grant();
    let before = pair.grants.available();
    let first = pair.front.write(0, &[&[1; PAGE]]);
    let second = pair.front.write(8, &[&[2; PAGE]]);
    let third = pair.front.read(16, SECTOR);
    pair.back.contents[16 * SECTOR..][..4].copy_from_slice(b"here");
    let _ = pair.front.publish();
    pair.back.take(&pair.front);
    assert!(pair.back.answer(&pair.front, &mut pair.random));
    let _ = pair.front.collect();

    assert!(pair.front.reopen(DomainId(3), &mut pair.grants));
    assert_eq!(pair.grants.available(), before, "the old grants have ended");
    assert_ne!(pair.front.ring_grant(), old_ring);
    assert_eq!(
        pair.front.room(),
        0,
        "nothing is sent before it is connected"
    );
    pair.back.restart();
    pair.front.connect(&pair.back.parameters);
    pair.answer_all();
    assert_eq!(pair.back.seen.iter().sum::<usize>(), 3 + 2);
    let mut read = [0; 4];
    assert_eq!(pair.front.take(third, 0, &mut read), Ok(()));
    assert_eq!(&read, b"here");
    for ticket in [first, second] {
        assert_eq!(pair.front.take(ticket, 0, &mut []), Ok(()));
    }
    assert_eq!(pair.back.contents[..PAGE], [1; PAGE]);
    assert_eq!(pair.back.contents[PAGE..2 * PAGE], [2; PAGE]);
}

#[test]
fn closing_gives_every_grant_back_that_is_not_in_use() {
    let entries = entries();
    let mut pair = Pair::new(&entries, 1);
    grant_table::set_in_use(&entries, pair.front.ring_grant().0, true);
    pair.front.close(&mut pair.grants);
    assert_eq!(pair.grants.available(), 512 - 8 - 1);
}

#[test]
fn what_was_flushed_survives_a_loss_of_power() {
    for seed in 0..50 {
        let entries = entries();
        let mut pair = Pair::new(&entries, seed);
        let mut flushed = vec![0u8; CAPACITY / PAGE];
        for round in 1..20 {
            let mut written = Vec::new();
            for _ in 0..pair.random.below(8) {
                let page = pair.random.below(flushed.len());
                let ticket = pair.front.write(page as u64 * 8, &[&[round; PAGE]]);
                written.push((page, ticket));
            }
            let pages: Vec<_> = written.iter().map(|(page, _)| *page).collect();
            for (_, ticket) in written {
                assert_eq!(pair.wait(ticket), Ok(()));
            }
            assert_eq!(pair.flush(), Ok(()));
            pages.iter().for_each(|&page| flushed[page] = round);
        }
        let unflushed = pair.front.write(0, &[&[99; PAGE]]);
        assert_eq!(pair.wait(unflushed), Ok(()));
        pair.back.lose_power(&mut pair.random);
        for (page, &round) in flushed.iter().enumerate().skip(1) {
            let bytes = &pair.back.contents[page * PAGE..][..PAGE];
            assert!(bytes.iter().all(|&byte| byte == round), "seed {seed}");
        }
        assert!(
            pair.back.contents[..PAGE]
                .iter()
                .all(|&byte| byte == 99 || byte == flushed[0])
        );
    }
}

/// Against a plain vector: requests that do not overlap, in flight at once and answered in any order.
#[test]
fn random_requests_do_what_they_say() {
    for seed in 0..20 {
        let entries = entries();
        let mut pair = Pair::new(&entries, seed);
        let mut model = vec![0u8; CAPACITY];
        let mut flying: Vec<(Ticket, u64, usize, bool)> = Vec::new();
        for round in 0..2_000u64 {
            let length = SECTOR * (1 + pair.random.below(REQUEST_MAX / SECTOR));
            let sector = pair.random.below((CAPACITY - length) / SECTOR) as u64;
            let range = sector..sector + (length / SECTOR) as u64;
            let overlaps = flying.iter().any(|(_, other, length, _)| {
                let other_end = other + (length / SECTOR) as u64;
                *other < range.end && range.start < other_end
            });
            if length <= pair.front.room() && !overlaps {
                let write = pair.random.one_in(2);
                let ticket = if write {
                    let bytes = vec![round as u8; length];
                    model[sector as usize * SECTOR..][..length].copy_from_slice(&bytes);
                    pair.front.write(sector, &[&bytes])
                } else {
                    pair.front.read(sector, length)
                };
                flying.push((ticket, sector, length, write));
            }
            if pair.random.one_in(2) {
                let _ = pair.front.publish();
                pair.back.take(&pair.front);
                pair.back.answer(&pair.front, &mut pair.random);
                let _ = pair.front.collect();
            }
            let answered = flying
                .iter()
                .position(|(ticket, ..)| pair.front.is_answered(ticket));
            if let Some(index) = answered {
                let (ticket, sector, length, write) = flying.swap_remove(index);
                let mut bytes = vec![0; if write { 0 } else { length }];
                assert_eq!(pair.front.take(ticket, 0, &mut bytes), Ok(()));
                assert!(
                    write || bytes == model[sector as usize * SECTOR..][..length],
                    "seed {seed}, round {round}"
                );
            }
        }
        for (ticket, ..) in flying {
            assert_eq!(pair.wait(ticket), Ok(()));
        }
        assert!(pair.back.contents == model, "seed {seed}");
        assert_eq!(pair.read(0, PAGE).unwrap(), model[..PAGE]);
    }
}
