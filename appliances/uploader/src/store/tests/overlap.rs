//! What is written, asked and taken back while a commit is under way.

use super::*;

impl Bench {
    /// Adds bytes, whatever is under way.
    pub(super) fn write(&mut self, id: Id, lease: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let bytes = Bytes::copy_from_slice(bytes);
        let (mut answer, next) = self.begin(|reply| Command::Append {
            id,
            lease,
            bytes,
            reply,
        });
        // Without a commit under way this may begin one.
        self.conclude(next);
        answer.try_recv().expect("an answer")
    }

    fn begin_finish(&mut self, id: Id, lease: u64) -> (Asked<Stored>, Option<Commit>) {
        self.begin(|reply| Command::Finish {
            id,
            lease,
            length: None,
            digest: None,
            reply,
        })
    }
}

/// An upload of which so much has come that a commit of it has begun by itself, and another that is finished
/// while that is under way.
fn two(bytes: &[u8]) -> (Bench, Id, u64, Asked<Stored>, Commit) {
    let mut bench = Bench::new();
    let (first, second) = (
        bench.create(Some(5), "").expect("made"),
        bench.create(None, "").expect("made"),
    );
    let of_first = bench.open(first).expect("opened").lease;
    bench.write(first, of_first, b"01234").expect("written");
    let lease = bench.open(second).expect("opened").lease;
    let bytes = Bytes::copy_from_slice(bytes);
    let (_, commit) = bench.begin(|reply| Command::Append {
        id: second,
        lease,
        bytes,
        reply,
    });
    let (stored, None) = bench.begin_finish(first, of_first) else {
        panic!("a second commit at once");
    };
    (bench, second, lease, stored, commit.expect("a commit"))
}

#[test]
fn what_is_written_meanwhile_becomes_durable_with_the_next_commit() {
    let bytes = pattern(2_000_000, 4);
    let (mut bench, second, lease, mut stored, commit) = two(&bytes[..1_100_000]);
    assert_eq!(commit.fresh.len(), 4, "whole extents of it");
    bench
        .write(second, lease, &bytes[1_100_000..1_900_000])
        .expect("written");
    assert!(stored.try_recv().is_err(), "nothing is durable yet");
    bench.conclude(Some(commit));
    let stored = stored.try_recv().expect("an answer").expect("stored");
    assert!(stored.whole.is_some());
    let offset = bench.entry(second).offset();
    assert_eq!(
        offset,
        4 * 262_144,
        "whole extents, as they were at its beginning"
    );
    bench
        .write(second, lease, &bytes[1_900_000..])
        .expect("written");
    let finished = bench.ask(|reply| Command::Finish {
        id: second,
        lease,
        length: Some(2_000_000),
        digest: None,
        reply,
    });
    let whole = finished.expect("stored").whole.expect("whole");
    assert_eq!(whole.digest.to_string(), sha256(&bytes));
    let bench = bench.reboot(&mut Random::of(3));
    assert!(bench.bytes(second) == bytes);
}

#[test]
fn what_is_taken_back_meanwhile_is_only_what_came_meanwhile() {
    let bytes = pattern(40_000_000, 5);
    let (mut bench, second, lease, _, commit) = two(&bytes[..1_100_000]);
    let mut at = 1_100_000;
    let refused = loop {
        let piece = &bytes[at..at + 1_000_000];
        match bench.write(second, lease, piece) {
            Ok(()) => at += 1_000_000,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full);
    bench.conclude(Some(commit));
    let opened = bench.open(second).expect("opened");
    assert_eq!(opened.offset, 4 * 262_144);
    let from = opened.offset as usize;
    bench
        .write(second, opened.lease, &bytes[from..2_000_000])
        .expect("there is room again");
    let finished = bench.ask(|reply| Command::Finish {
        id: second,
        lease: opened.lease,
        length: Some(2_000_000),
        digest: None,
        reply,
    });
    let whole = finished.expect("stored").whole.expect("whole");
    assert_eq!(whole.digest.to_string(), sha256(&bytes[..2_000_000]));
    assert!(bench.bytes(second) == bytes[..2_000_000]);
}

#[test]
fn who_begins_is_answered_meanwhile_and_who_changes_something_waits() {
    let (mut bench, second, _, _, commit) = two(&pattern(1_100_000, 6));
    let third = bench.begin(|reply| Command::Create {
        length: Some(1),
        partial: false,
        metadata: Metadata::default(),
        digest: None,
        reply,
    });
    let (mut made, None) = third else {
        panic!("a second commit at once");
    };
    let (mut opened, _) = bench.begin(|reply| Command::Open {
        id: second,
        hold: false,
        reply,
    });
    assert!(made.try_recv().is_err() && opened.try_recv().is_err());
    bench.conclude(Some(commit));
    let made = made.try_recv().expect("an answer").expect("made");
    let opened = opened.try_recv().expect("an answer").expect("opened");
    assert_eq!(opened.offset, 1_100_000);
    // What is durable and does not change can be gone on with at once.
    let (_, commit) = bench.begin(|reply| Command::Note {
        id: second,
        note: Note::Failed,
        reply,
    });
    let (mut opened, None) = bench.begin(|reply| Command::Open {
        id: made,
        hold: false,
        reply,
    }) else {
        panic!("a second commit at once");
    };
    let opened = opened.try_recv().expect("an answer at once");
    assert_eq!(opened.expect("opened").offset, 0);
    bench.conclude(commit);
}
