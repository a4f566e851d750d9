//! The store on a disk that fails in all ways.

mod overlap;
mod power_cuts;

use std::sync::Arc;

use tokio::sync::oneshot;

use super::committer::{Commit, Committer};
use super::keeper::Keeper;
use super::power::{Faulty, Random};
use super::*;

const SIZE: u64 = 32 << 20;

/// Keeper and committer without their threads.
struct Bench {
    disk: Arc<Faulty>,
    keeper: Keeper,
    committer: Committer,
}

/// What waits for an answer.
type Asked<T> = oneshot::Receiver<Result<T, StoreError>>;

impl Bench {
    fn new() -> Bench {
        Bench::on(Arc::new(Faulty::of_size(SIZE)))
    }

    fn on(disk: Arc<Faulty>) -> Bench {
        Bench::start(disk).expect("a store")
    }

    fn start(disk: Arc<Faulty>) -> Result<Bench, OpenError> {
        let (keeper, committer) = Keeper::open(disk.clone())?;
        Ok(Bench {
            disk,
            keeper,
            committer,
        })
    }

    /// The power goes, and comes again.
    fn reboot(&self, random: &mut Random) -> Bench {
        Bench::on(Arc::new(self.disk.after_cut(random)))
    }

    fn ask<T>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (mut answer, commit) = self.begin(command);
        self.conclude(commit);
        answer.try_recv().expect("an answer")
    }

    /// Asks, and leaves the commit that this begins to be done later.
    fn begin<T>(
        &mut self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> (Asked<T>, Option<Commit>) {
        let (reply, answer) = oneshot::channel();
        let commit = self.keeper.serve(vec![command(reply)]);
        (answer, commit)
    }

    /// Does a commit, and those that follow.
    fn conclude(&mut self, mut next: Option<Commit>) {
        while let Some(commit) = next {
            let outcome = self.committer.commit(commit);
            next = self.keeper.serve(vec![Command::Committed(outcome)]);
        }
    }

    fn create(&mut self, length: Option<u64>, written: &str) -> Result<Id, StoreError> {
        self.make(length, false, written)
    }

    fn make(
        &mut self,
        length: Option<u64>,
        partial: bool,
        written: &str,
    ) -> Result<Id, StoreError> {
        let metadata = Metadata::parse(written).expect("metadata");
        self.ask(|reply| Command::Create {
            length,
            partial,
            metadata,
            digest: None,
            reply,
        })
    }

    fn open(&mut self, id: Id) -> Result<Opened, StoreError> {
        self.ask(|reply| Command::Open {
            id,
            hold: false,
            reply,
        })
    }

    fn append(&mut self, id: Id, lease: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.ask(|reply| Command::Append {
            id,
            lease,
            bytes,
            reply,
        })
    }

    fn finish(&mut self, id: Id, lease: u64, length: Option<u64>) -> Result<Stored, StoreError> {
        self.ask(|reply| Command::Finish {
            id,
            lease,
            length,
            digest: None,
            reply,
        })
    }

    fn note(&mut self, id: Id, note: Note) -> Result<(), StoreError> {
        self.ask(|reply| Command::Note { id, note, reply })
    }

    fn remove(&mut self, id: Id) -> Result<(), StoreError> {
        self.ask(|reply| Command::Remove { id, reply })
    }

    /// Uploads all at once.
    fn upload(&mut self, written: &str, bytes: &[u8]) -> Id {
        let id = self
            .create(Some(bytes.len() as u64), written)
            .expect("made");
        let opened = self.open(id).expect("opened");
        self.append(id, opened.lease, bytes).expect("appended");
        let stored = self.finish(id, opened.lease, None).expect("stored");
        assert_eq!(stored.offset, bytes.len() as u64);
        id
    }

    fn entry(&self, id: Id) -> Entry {
        let ledger = self.keeper.ledger();
        let ledger = ledger.lock().expect("no panic");
        ledger.get(id).expect("known").clone()
    }

    /// What is durable of an upload, from the disk.
    fn bytes(&self, id: Id) -> Vec<u8> {
        let body = self.entry(id).body;
        let extents = body.iter().flat_map(|body| &body.extents);
        let read = |extent| work::read(self.disk.as_ref(), &self.keeper.layout(), extent);
        extents
            .flat_map(|extent| read(extent).expect("as written"))
            .collect()
    }

    fn available(&self) -> u64 {
        self.keeper.ledger().lock().expect("no panic").blocks.0
    }
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(31) >> 3) as u8 ^ (at >> 11) as u8 ^ seed;
    (0..length).map(byte).collect()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn an_upload_in_pieces_is_whole_after_reboots() {
    let mut random = Random::of(1);
    for pieces in [
        &[1_usize, 4095, 4096, 10_000, 1][..],
        &[300_000, 300_000],
        &[262_144, 262_144, 5],
        &[700_001],
    ] {
        let bytes = pattern(pieces.iter().sum(), 3);
        let mut bench = Bench::new();
        let available = bench.available();
        let id = bench.create(Some(bytes.len() as u64), "").expect("made");
        let mut at = 0;
        for piece in pieces {
            let opened = bench.open(id).expect("opened");
            assert_eq!(opened.offset, at as u64);
            bench
                .append(id, opened.lease, &bytes[at..at + piece])
                .expect("appended");
            at += piece;
            let stored = bench.finish(id, opened.lease, None).expect("stored");
            assert_eq!(stored.offset, at as u64);
            bench = bench.reboot(&mut random);
            assert!(bench.bytes(id) == bytes[..at]);
        }
        let whole = bench.entry(id).record.whole.expect("whole");
        assert_eq!(whole.digest.to_string(), sha256(&bytes));
        bench.note(id, Note::Delivered(200)).expect("noted");
        assert_eq!(bench.available(), available, "all blocks are free again");
        assert_eq!(bench.entry(id).offset(), bytes.len() as u64);
        bench = bench.reboot(&mut random);
        assert_eq!(bench.available(), available);
    }
}

#[test]
fn a_length_may_come_last() {
    let mut bench = Bench::new();
    let bytes = pattern(100_000, 1);
    let id = bench.create(None, "").expect("made");
    let lease = bench.open(id).expect("opened").lease;
    bench.append(id, lease, &bytes).expect("appended");
    let stored = bench.finish(id, lease, None).expect("stored");
    assert_eq!((stored.offset, stored.whole), (100_000, None));
    let lease = bench.open(id).expect("opened").lease;
    assert_eq!(bench.finish(id, lease, Some(5)), Err(StoreError::Length));
    let stored = bench.finish(id, lease, Some(100_000)).expect("stored");
    assert_eq!(
        stored.whole.map(|whole| whole.digest.to_string()),
        Some(sha256(&bytes))
    );
    // Who did not hear the answer asks again.
    assert!(bench.finish(id, lease, Some(100_000)).is_ok());
    assert_eq!(bench.finish(id, lease, Some(7)), Err(StoreError::Length));
    assert_eq!(bench.append(id, lease, b"x"), Err(StoreError::IsWhole));
}

#[test]
fn whoever_comes_last_goes_on() {
    let mut bench = Bench::new();
    let id = bench.create(Some(10), "").expect("made");
    let first = bench.open(id).expect("opened").lease;
    bench.append(id, first, b"01234").expect("appended");
    let second = bench.open(id).expect("opened");
    assert_eq!(second.offset, 5, "what came is kept");
    assert_eq!(
        bench.append(id, first, b"xxxxx"),
        Err(StoreError::TakenOver)
    );
    assert_eq!(bench.finish(id, first, None), Err(StoreError::TakenOver));
    bench.append(id, second.lease, b"56789").expect("appended");
    assert!(
        bench
            .finish(id, second.lease, None)
            .expect("stored")
            .whole
            .is_some()
    );
    assert_eq!(bench.bytes(id), b"0123456789");
}

#[test]
fn more_than_was_said_and_more_than_fits_is_refused() {
    let mut bench = Bench::new();
    let available = bench.available() * 4096;
    assert_eq!(bench.create(Some(available + 1), ""), Err(StoreError::Full));
    let id = bench.create(Some(available - 4096), "").expect("it fits");
    assert_eq!(bench.create(Some(4097), ""), Err(StoreError::Full));
    bench.remove(id).expect("removed");
    let id = bench.create(None, "").expect("made");
    let lease = bench.open(id).expect("opened").lease;
    let piece = pattern(1 << 20, 0);
    let refused = (0..64).find_map(|_| bench.append(id, lease, &piece).err());
    assert_eq!(refused, Some(StoreError::Full));
    let opened = bench.open(id).expect("what is durable stays");
    assert!(opened.offset <= available);
    bench.remove(id).expect("removed");
    assert_eq!(bench.available() * 4096, available);
    let id = bench.create(Some(3), "").expect("made");
    let lease = bench.open(id).expect("opened").lease;
    assert_eq!(bench.append(id, lease, b"0123"), Err(StoreError::TooLong));
    bench.append(id, lease, b"012").expect("appended");
}

#[test]
fn a_part_with_a_wrong_checksum_leaves_no_trace() {
    let mut bench = Bench::new();
    let bytes = pattern(600_000, 9);
    let id = bench.create(Some(600_000), "").expect("made");
    let lease = bench.open(id).expect("opened").lease;
    bench.append(id, lease, &bytes[..1000]).expect("appended");
    bench.finish(id, lease, None).expect("stored");
    let lease = bench
        .ask(|reply| Command::Open {
            id,
            hold: true,
            reply,
        })
        .expect("opened")
        .lease;
    bench
        .append(id, lease, &pattern(500_000, 77))
        .expect("appended");
    bench
        .ask(|reply| Command::RollBack { id, lease, reply })
        .expect("rolled back");
    let opened = bench.open(id).expect("opened");
    assert_eq!(opened.offset, 1000);
    bench
        .append(id, opened.lease, &bytes[1000..])
        .expect("appended");
    let whole = bench.finish(id, opened.lease, None).expect("stored").whole;
    assert_eq!(
        whole.map(|whole| whole.digest.to_string()),
        Some(sha256(&bytes))
    );
    assert!(bench.bytes(id) == bytes);
}

#[test]
fn the_same_bytes_are_stored_once_and_the_same_request_goes_once() {
    let mut bench = Bench::new();
    let bytes = pattern(400_000, 5);
    let (me, you) = (
        "url aHR0cDovL2Ev,cookie bWU=",
        "url aHR0cDovL2Ev,cookie eW91",
    );
    let first = bench.upload(me, &bytes);
    let available = bench.available();
    let again = bench.upload(me, &bytes);
    let other = bench.upload(you, &bytes);
    assert_eq!(bench.available(), available, "no block more");
    assert_eq!(bench.entry(again).record.twin_of, Some(first));
    assert!(bench.entry(first).is_waiting() && bench.entry(other).is_waiting());
    // Taken back by one phone, it still goes for the other request.
    bench.remove(first).expect("removed");
    assert!(bench.entry(again).is_waiting());
    bench = bench.reboot(&mut Random::of(4));
    assert!(bench.bytes(again) == bytes && bench.bytes(other) == bytes);
    bench.note(again, Note::Delivered(201)).expect("noted");
    assert!(
        bench.bytes(other) == bytes,
        "somebody else still needs the bytes"
    );
    // A phone that did not hear the answer.
    let retried = bench.upload(me, &bytes);
    assert!(
        !bench.entry(retried).is_waiting(),
        "it was delivered just now"
    );
    assert!(bench.bytes(other) == bytes);
    bench.note(other, Note::Delivered(201)).expect("noted");
    bench = bench.reboot(&mut Random::of(5));
    assert_eq!(bench.available(), Bench::new().available());
}

#[test]
fn parts_become_one() {
    let mut bench = Bench::new();
    let bytes = pattern(300_001, 2);
    let parts: Vec<Id> = [&bytes[..100_001], &bytes[100_001..]]
        .into_iter()
        .map(|part| {
            let id = bench.make(Some(part.len() as u64), true, "").expect("made");
            let lease = bench.open(id).expect("opened").lease;
            bench.append(id, lease, part).expect("appended");
            bench.finish(id, lease, None).expect("stored");
            assert!(!bench.entry(id).is_waiting(), "a part goes nowhere");
            id
        })
        .collect();
    let join = |bench: &mut Bench, parts: &[Id]| {
        let (parts, metadata) = (parts.to_vec(), Metadata::default());
        bench.ask(|reply| Command::Join {
            parts,
            metadata,
            digest: None,
            reply,
        })
    };
    assert_eq!(
        join(&mut bench, &[parts[0], parts[0]]),
        Err(StoreError::Parts)
    );
    let id = join(&mut bench, &parts).expect("joined");
    bench = bench.reboot(&mut Random::of(2));
    assert!(bench.bytes(id) == bytes);
    let whole = bench.entry(id).record.whole.expect("whole");
    assert_eq!(whole.digest.to_string(), sha256(&bytes));
    assert_eq!(bench.open(parts[0]), Err(StoreError::Unknown));
    bench.note(id, Note::Delivered(200)).expect("noted");
    assert_eq!(bench.available(), Bench::new().available());
}

#[test]
fn what_is_not_as_was_said_is_forgotten() {
    let mut bench = Bench::new();
    let bytes = pattern(400_000, 8);
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let right = Digest(digest.as_ref().try_into().expect("32 bytes"));
    let available = bench.available();
    for (said, wanted) in [
        (Digest([1; 32]), Err(StoreError::Mismatch)),
        (right, Ok(Some(right))),
    ] {
        // It is said at the beginning, or at the end.
        for is_first in [true, false] {
            let made = bench.ask(|reply| Command::Create {
                length: Some(400_000),
                partial: false,
                metadata: Metadata::default(),
                digest: is_first.then_some(said),
                reply,
            });
            let id = made.expect("made");
            let lease = bench.open(id).expect("opened").lease;
            bench.append(id, lease, &bytes).expect("appended");
            let finished = bench.ask(|reply| Command::Finish {
                id,
                lease,
                length: None,
                digest: (!is_first).then_some(said),
                reply,
            });
            let digest = finished.map(|stored| stored.whole.map(|whole| whole.digest));
            assert_eq!(digest, wanted);
            bench = bench.reboot(&mut Random::of(7));
            let opened = bench.open(id).map(|opened| opened.offset);
            match wanted {
                Ok(_) => assert_eq!(opened, Ok(400_000)),
                Err(_) => assert_eq!(opened, Err(StoreError::Unknown)),
            }
            if wanted.is_err() {
                assert_eq!(bench.available(), available, "all blocks are free again");
            }
        }
    }
}

#[test]
fn without_a_flush_nothing_is_acknowledged() {
    let mut bench = Bench::new();
    let id = bench.create(Some(10), "").expect("made");
    let lease = bench.open(id).expect("opened").lease;
    bench.append(id, lease, b"01234").expect("appended");
    bench.disk.fail_flushes();
    assert_eq!(bench.finish(id, lease, None), Err(StoreError::Failed));
    assert_eq!(bench.create(Some(1), ""), Err(StoreError::Failed));
    assert!(
        bench
            .keeper
            .ledger()
            .lock()
            .expect("no panic")
            .failed
            .is_some()
    );
    // Nor when the flush failed of which nobody was to be told.
    let mut bench = Bench::new();
    let id = bench.create(Some(1 << 20), "").expect("made");
    let lease = bench.open(id).expect("opened").lease;
    bench.disk.fail_flushes();
    bench
        .append(id, lease, &pattern(512 << 10, 1))
        .expect("written");
    assert_eq!(bench.finish(id, lease, None), Err(StoreError::Failed));
    let mute = Arc::new(Faulty::of_size(SIZE));
    mute.fail_flushes();
    assert!(Keeper::open(mute).is_err());
}

#[test]
fn what_the_disk_has_damaged_is_found_out() {
    let mut bench = Bench::new();
    let id = bench.upload("", &pattern(10_000, 1));
    let extent = bench.entry(id).body.expect("a body").extents[0];
    bench
        .disk
        .spoil(bench.keeper.layout().place(extent.block) + 5000);
    let read = work::read(bench.disk.as_ref(), &bench.keeper.layout(), &extent);
    assert_eq!(read, Err(StoreError::Damaged));
}

#[test]
fn others_disks_are_not_touched() {
    let disk = Faulty::of_size(SIZE);
    disk.write_at(1080, b"\x53\xef")
        .expect("an ext4 superblock");
    let before = disk.operations();
    let disk = Arc::new(disk);
    assert!(matches!(
        Keeper::open(disk.clone()),
        Err(OpenError::Layout(LayoutError::Foreign))
    ));
    assert_eq!(disk.operations(), before);
    let small = Arc::new(Faulty::of_size(1 << 20));
    assert!(matches!(
        Keeper::open(small),
        Err(OpenError::Layout(LayoutError::TooSmall(_)))
    ));
}

#[test]
fn a_damaged_copy_is_neither_shared_nor_taken_for_safe() {
    let mut bench = Bench::new();
    let bytes = pattern(400_000, 8);
    let spoil = |bench: &Bench, id: Id| {
        let extent = bench.entry(id).body.expect("a body").extents[0];
        let place = bench.keeper.layout().place(extent.block);
        bench.disk.spoil(place + 5000);
    };
    let damaged = bench.upload("url aHR0cDovL2Ev,cookie bWU=", &bytes);
    spoil(&bench, damaged);
    bench.note(damaged, Note::Damaged).expect("noted");
    let again = bench.upload("url aHR0cDovL2Ev,cookie eW91", &bytes);
    assert!(bench.entry(again).is_waiting() && bench.bytes(again) == bytes);

    // The disk spoils the beginning of one that goes on after the program was started again.
    let id = bench.create(Some(600_000), "").expect("made");
    let lease = bench.open(id).expect("opened").lease;
    bench.append(id, lease, &bytes).expect("written");
    bench.finish(id, lease, None).expect("kept");
    bench = bench.reboot(&mut Random::of(9));
    spoil(&bench, id);
    let lease = bench.open(id).expect("opened").lease;
    bench
        .append(id, lease, &pattern(200_000, 9))
        .expect("written");
    let finished = bench.finish(id, lease, None).map(drop);
    assert_eq!(
        finished,
        Err(StoreError::Damaged),
        "its client has it still"
    );
}

#[test]
fn records_are_refused_before_the_index_is_full() {
    let mut bench = Bench::new();
    let written = format!("url aHR0cDovL2Ev,cookie {}", "YWFh".repeat(2000));
    let mut made = Vec::new();
    let refused = loop {
        match bench.create(Some(5), &written) {
            Ok(id) => made.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::TooMany);
    assert!(made.len() > 100, "{}", made.len());
    for id in &made {
        let lease = bench.open(*id).expect("opened").lease;
        bench.append(*id, lease, b"small").expect("written");
        bench.finish(*id, lease, None).expect("kept");
        bench
            .note(*id, Note::Failed)
            .expect("the index has room for changes");
    }
    bench = bench.reboot(&mut Random::of(10));
    bench.remove(made[0]).expect("removed");
    bench
        .create(Some(5), &written)
        .expect("there is room again");
}
