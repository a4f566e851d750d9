//! What power failures and broken disks leave behind is never served.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use edgecloud_appliance::Log;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::record::{CHUNK, Meaning};
use super::region::Region;
use super::volume::{Volume, lock};
use super::{Disk, Memory, Work, load, perform, serve};
use crate::body::{Body, Live};
use crate::directives::Directives;
use crate::freshness::Freshness;
use crate::limits::DISK_FLUSH_TIME;
use crate::purge::Ban;
use crate::share::Share;
use crate::store::{Entry, Key};
use crate::variance::Selecting;

const DISK_BYTES: u64 = 2 << 20;
const RECORDS_MAX: usize = 1000;

/// A file that has no name any more.
fn disk() -> File {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(DISK_BYTES).expect("its length");
    file
}

fn open(file: &File) -> Volume {
    let file = file.try_clone().expect("a clone");
    Volume::open(Region::of_file(file, DISK_BYTES), 42, RECORDS_MAX).expect("a volume")
}

/// A response whose body is told by its number.
fn response(number: u64, bytes: usize) -> Entry {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "video/mp2t".parse().expect("a value"));
    headers.insert(
        "cache-tag",
        format!("t{}", number % 3).parse().expect("a value"),
    );
    let directives = Directives::default();
    let body: Vec<u8> = (0..bytes)
        .map(|at| (at as u64 * 7 + number) as u8)
        .collect();
    Entry {
        status: StatusCode::OK,
        selecting: Selecting::default(),
        freshness: Freshness::of(StatusCode::OK, &headers, &directives, 10, number),
        headers,
        received: number,
        body: Arc::new(Body::whole(Bytes::from(body))),
        length: Some(bytes as u64),
        part: None,
        is_sliced: false,
    }
}

/// The newest response that is found whole.
fn found(volume: &Volume, key: &str) -> Option<(Box<Entry>, Vec<u8>)> {
    let hash = Volume::hash(volume.id(), key);
    let places = lock(volume.index()).get(hash);
    places.into_iter().find_map(|place| {
        let found = volume.find(place)?;
        let mut body = Vec::new();
        let whole = volume.read_body(&found, |chunk| body.extend_from_slice(chunk));
        let Meaning::Response { key: its, entry } = found.head.meaning else {
            panic!("a ban under an address")
        };
        let banned =
            lock(volume.index()).is_banned(place.position, |ban| ban.means(key, &entry.headers));
        (whole && its == key && !banned).then_some((entry, body))
    })
}

#[track_caller]
fn check(volume: &Volume, key: &str, number: u64, bytes: usize) {
    let (entry, body) = found(volume, key).expect("it is there");
    let wanted = response(number, bytes);
    assert_eq!(body, wanted.body.bytes());
    assert_eq!(entry.headers, wanted.headers);
    assert_eq!(entry.freshness, wanted.freshness);
    assert_eq!((entry.status, entry.received), (wanted.status, number));
}

#[test]
fn what_was_flushed_is_there_after_a_restart() {
    let file = disk();
    let mut volume = open(&file);
    let sizes = [0, 1, 4000, 4096, CHUNK - 1, CHUNK + 1, 5 * CHUNK];
    for (number, bytes) in sizes.into_iter().enumerate() {
        let entry = response(number as u64, bytes);
        volume.keep(&format!("k{number}"), &entry).expect("kept");
    }
    volume.keep("k1", &response(100, 10)).expect("kept");
    volume.remove("k2").expect("removed");
    volume
        .ban("tag t0".parse().expect("a ban"))
        .expect("banned");
    volume.keep("k6", &response(200, 20)).expect("kept");
    for restart in 0..3 {
        if restart > 0 {
            volume.flush().expect("flushed");
            volume = open(&file);
        }
        check(&volume, "k1", 100, 10);
        check(&volume, "k4", 4, CHUNK - 1);
        check(&volume, "k5", 5, CHUNK + 1);
        check(&volume, "k6", 200, 20);
        for gone in ["k0", "k2", "k3"] {
            assert!(found(&volume, gone).is_none(), "{gone}");
        }
    }
}

#[test]
fn the_ring_goes_round_and_forgets_the_oldest() {
    let file = disk();
    let mut volume = open(&file);
    for number in 0..500 {
        let bytes = (number as usize * 997) % 50_000;
        volume
            .keep(&format!("k{number}"), &response(number, bytes))
            .expect("kept");
        check(&volume, &format!("k{number}"), number, bytes);
    }
    volume.flush().expect("flushed");
    let again = open(&file);
    let records = |volume: &Volume| lock(volume.index()).records();
    assert_eq!(records(&again), records(&volume));
    assert!(records(&again) > 20 && found(&again, "k0").is_none());
    let newest = (0..500u64).rev().take(records(&again));
    for number in newest {
        check(
            &again,
            &format!("k{number}"),
            number,
            (number as usize * 997) % 50_000,
        );
    }
    let huge = response(1, DISK_BYTES as usize);
    volume.keep("huge", &huge).expect("left out");
    assert!(found(&volume, "huge").is_none());
}

#[test]
fn a_ban_that_is_lost_bans_everything_before_it() {
    let file = disk();
    let mut volume = open(&file);
    volume.keep("old", &response(1, 10)).expect("kept");
    volume.ban(Ban::Tag("t1".into())).expect("banned");
    volume.keep("new", &response(1, 10)).expect("kept");
    volume.flush().expect("flushed");
    // The record of the ban is the second block of the extents.
    let label = super::layout::Label::dividing(DISK_BYTES, 42, 0).expect("a label");
    file.write_all_at(&[0; 4096], label.extents() + 4096)
        .expect("spoilt");
    let volume = open(&file);
    assert!(found(&volume, "old").is_none());
    check(&volume, "new", 1, 10);
}

#[test]
fn another_disk_is_begun_anew() {
    let file = disk();
    let mut volume = open(&file);
    volume.keep("a", &response(1, 10)).expect("kept");
    volume.flush().expect("flushed");
    file.write_all_at(b"another", 0).expect("spoilt");
    let other = file.try_clone().expect("a clone");
    let volume =
        Volume::open(Region::of_file(other, DISK_BYTES), 43, RECORDS_MAX).expect("a volume");
    assert!(found(&volume, "a").is_none());
    assert!(Volume::open(Region::of_file(disk(), 1000), 1, 1).is_err());
}

/// A tier whose thread is the test, what it is asked, and its disk.
fn unattended(volume: &Volume) -> (Disk, Receiver<Work>) {
    let (work, asked) = channel();
    let disk = Disk {
        id: volume.id(),
        index: Arc::clone(volume.index()),
        work,
        keeps: Arc::default(),
    };
    (disk, asked)
}

fn memory(bytes_max: u64) -> Memory {
    Memory {
        live: Live::default(),
        bytes_max,
    }
}

#[test]
fn what_memory_has_no_room_for_is_not_read() {
    let mut volume = open(&disk());
    volume.keep("k", &response(1, 1000)).expect("kept");
    let (key, memory) = (Key::from("k"), memory(1999));
    let read = || {
        let (tell, mut told) = oneshot::channel();
        load(&volume, &key, &HeaderMap::new(), &memory, tell);
        told.try_recv().expect("an answer")
    };
    let first = read().expect("it is there");
    assert_eq!((first.body.arrived(), memory.live.bytes()), (1000, 1000));
    assert!(read().is_none(), "two are a byte too much");
    drop(first);
    assert!(read().is_some());
}

/// A part that has `k` on its disk, for which nobody works but the test.
fn unattended_share() -> (Volume, Share, Receiver<Work>) {
    let mut volume = open(&disk());
    volume.keep("k", &response(1, 10)).expect("kept");
    let (disk, asked) = unattended(&volume);
    let share = Share::of_memory(1 << 20, Some(disk));
    (volume, share, asked)
}

/// The purge comes while the disk is being asked.
#[test]
fn what_is_purged_while_it_is_read_stays_away() {
    let (mut volume, share, asked) = unattended_share();
    let (key, request) = (Key::from("k"), HeaderMap::new());
    let mut context = Context::from_waker(Waker::noop());
    let mut attend = || {
        let work = asked.try_recv().expect("it is asked");
        perform(&mut volume, work, &AtomicUsize::new(0), &memory(1 << 20)).expect("it is done");
    };
    for purged in [false, true] {
        let mut warming = pin!(share.warm(&key, &request));
        assert!(warming.as_mut().poll(&mut context).is_pending());
        let mut purging = pin!(share.purge_all(vec![Ban::Tag("t1".into())]));
        if purged {
            assert!(purging.as_mut().poll(&mut context).is_pending());
        }
        attend();
        let Poll::Ready(found) = warming.as_mut().poll(&mut context) else {
            panic!("it was read")
        };
        assert_eq!(found.is_some(), !purged);
        if purged {
            attend();
            assert_eq!(purging.as_mut().poll(&mut context), Poll::Ready((1, true)));
            assert!(share.store.find(&key, &request, None).is_none());
        }
    }
}

/// A POST is answered while the disk is being asked.
#[test]
fn what_becomes_invalid_while_it_is_read_stays_away() {
    let (mut volume, share, asked) = unattended_share();
    let (key, request) = (Key::from("k"), HeaderMap::new());
    let mut context = Context::from_waker(Waker::noop());
    let mut warming = pin!(share.warm(&key, &request));
    assert!(warming.as_mut().poll(&mut context).is_pending());
    share.invalidate(&key);
    let work = asked.try_recv().expect("it is asked");
    perform(&mut volume, work, &AtomicUsize::new(0), &memory(1 << 20)).expect("it is done");
    assert!(matches!(
        warming.as_mut().poll(&mut context),
        Poll::Ready(None)
    ));
    assert!(share.store.find(&key, &request, None).is_none());
    // What is asked for afterwards is stored.
    let entry = Arc::new(response(1, 10));
    share.insert(&key, &entry, share.since()).expect("stored");
}

/// One piece of work follows on the other, so that the thread never waits.
#[test]
fn the_index_is_written_while_there_is_much_to_do() {
    let file = disk();
    let volume = open(&file);
    let (disk, asked) = unattended(&volume);
    for number in 0..5 {
        disk.keep(
            &format!("k{number}").into(),
            &Arc::new(response(number, 10)),
        );
    }
    drop(disk);
    let (start, asked_for) = (Instant::now(), AtomicU64::new(0));
    let now = || start + DISK_FLUSH_TIME * asked_for.fetch_add(1, Ordering::Relaxed) as u32 / 2;
    let log = Log::new("test");
    serve(volume, &asked, &AtomicUsize::new(5), &memory(0), &log, now);
    let volume = open(&file);
    for number in 0..3 {
        check(&volume, &format!("k{number}"), number, 10);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// The power fails after some writes of some blocks, in any order: whole blocks of the disk are as
    /// they were at an earlier time.
    #[test]
    fn a_torn_object_is_never_served(
        steps in prop::collection::vec((0u64..20, 0usize..200_000), 1..60),
        cut in 0usize..60,
        torn in prop::collection::vec(0u64..(DISK_BYTES / 512), 0..200),
        noise in any::<u8>(),
    ) {
        let file = disk();
        let mut volume = open(&file);
        let mut written: HashMap<String, Vec<(u64, usize)>> = HashMap::new();
        let mut before = vec![0; DISK_BYTES as usize];
        for (number, (key, bytes)) in steps.iter().enumerate() {
            if number == cut % steps.len() {
                volume.flush().expect("flushed");
                file.read_exact_at(&mut before, 0).expect("a copy");
            }
            let key = format!("k{key}");
            volume.keep(&key, &response(number as u64, *bytes)).expect("kept");
            written.entry(key).or_default().push((number as u64, *bytes));
        }
        volume.flush().expect("flushed");
        for (count, sector) in torn.iter().enumerate() {
            let at = (sector * 512) as usize;
            let old = match count % 8 {
                0 => vec![noise; 512],
                _ => before[at..at + 512].to_vec(),
            };
            file.write_all_at(&old, at as u64).expect("torn");
        }
        let volume = open(&file);
        for (key, versions) in written {
            if let Some((entry, body)) = found(&volume, &key) {
                let version = versions.iter().find(|(number, _)| *number == entry.received);
                let (number, bytes) = version.expect("one that was written");
                prop_assert_eq!(body, response(*number, *bytes).body.bytes());
            }
        }
    }
}
