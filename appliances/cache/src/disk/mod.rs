//! The disk tier: responses that have arrived whole, on a block device or a file, found again after a
//! restart.
//!
//! | file | holds |
//! |---|---|
//! | `layout.rs` | how the disk is divided; the label and the index's blocks |
//! | `record.rs` | a response as bytes, with checksums |
//! | `index.rs` | what is there, in memory |
//! | `volume.rs` | the ring of records |
//! | `region.rs` | a publisher's part of the disk |
//!
//! One thread does all that waits for the disk, in the order in which it was asked. Memory stays the tier
//! from which is served: what is found here is read into a body there, and its readers read it while it
//! arrives, as if an origin sent it.
//!
//! *Threats.* Power that fails in the middle of a write, a disk that forgets or lies, another's disk: each
//! byte that is served has passed a checksum, and each record says where it lies on which disk.

mod index;
mod layout;
mod record;
mod region;
#[cfg(test)]
mod tests;
mod volume;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use edgecloud_appliance::Log;
use http::HeaderMap;
use tokio::sync::oneshot;

use crate::body::{Body, End, Live};
use crate::limits::{DISK_CANDIDATES_MAX, DISK_FLUSH_TIME, DISK_KEEPS_MAX, INDEX_RECORD_BYTES};
use crate::purge::Ban;
use crate::store::{Entry, Key};

use index::Index;
use record::Meaning;
pub(crate) use region::{Region, Regions};
use volume::{Volume, lock};

/// Why there is no disk tier.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot use the disk {path}: {source}; name a block device, or a file with as many bytes as it may have"
)]
pub(crate) struct DiskError {
    path: String,
    source: io::Error,
}

impl DiskError {
    fn of(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            source,
        }
    }
}

/// The tier. Clones speak of the same.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    id: u64,
    index: Arc<Mutex<Index>>,
    work: Sender<Work>,
    /// Responses that wait to be written: they hold memory. All else that waits is bounded by the
    /// requests that wait for it.
    keeps: Arc<AtomicUsize>,
}

/// The memory into which bodies are read: where they are counted, and how many bytes there may be.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) live: Live,
    pub(crate) bytes_max: u64,
}

/// What the disk's thread is asked for.
#[derive(Debug)]
enum Work {
    Keep(Key, Arc<Entry>),
    Load(Key, HeaderMap, oneshot::Sender<Option<Arc<Entry>>>),
    Remove(Key),
    Ban(Ban, oneshot::Sender<bool>),
    Flush(oneshot::Sender<bool>),
}

impl Disk {
    /// Opens a region and reads what it holds; `index_bytes` is how much memory may know of it.
    pub(crate) fn open(
        region: Region,
        index_bytes: u64,
        memory: Memory,
        log: &Log,
    ) -> Result<Self, DiskError> {
        let started = Instant::now();
        let path = region.path.clone();
        let wrong = |source| DiskError::of(&path, source);
        let bytes = region.bytes();
        let records_max = usize::try_from(index_bytes / INDEX_RECORD_BYTES).unwrap_or(usize::MAX);
        // Numbers of formattings need only differ; the standard library has them from the system.
        let id = RandomState::new().hash_one(bytes);
        let volume = Volume::open(region, id, records_max).map_err(wrong)?;
        let (work, asked) = channel();
        let disk = Self {
            id: volume.id(),
            index: Arc::clone(volume.index()),
            work,
            keeps: Arc::default(),
        };
        let (objects, mib) = (disk.objects(), bytes >> 20);
        let ms = started.elapsed().as_millis();
        log.tell("disk", &[("objects", &objects), ("mib", &mib), ("ms", &ms)]);
        let (keeps, log) = (Arc::clone(&disk.keeps), log.clone());
        let thread = std::thread::Builder::new().name("disk".to_owned());
        let serve = move || serve(volume, &asked, &keeps, &memory, &log, Instant::now);
        thread.spawn(serve).map_err(wrong)?;
        Ok(disk)
    }

    /// Responses that are there.
    pub(crate) fn objects(&self) -> usize {
        lock(&self.index).records()
    }

    /// Writes a response that has arrived whole; it is left out if too many wait.
    pub(crate) fn keep(&self, key: &Key, entry: &Arc<Entry>) {
        if self.keeps.fetch_add(1, Ordering::Relaxed) >= DISK_KEEPS_MAX {
            self.keeps.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.ask(Work::Keep(Key::clone(key), Arc::clone(entry)));
    }

    /// Finds a response to a request; its body may still be read from the disk.
    pub(crate) async fn load(&self, key: &Key, request: &HeaderMap) -> Option<Arc<Entry>> {
        if !lock(&self.index).has(Volume::hash(self.id, key)) {
            return None;
        }
        let (tell, told) = oneshot::channel();
        self.ask(Work::Load(Key::clone(key), request.clone(), tell));
        told.await.ok().flatten()
    }

    /// Forgets an address, whatever waits to be written for it.
    pub(crate) fn remove(&self, key: &Key) {
        lock(&self.index).remove(Volume::hash(self.id, key));
        self.ask(Work::Remove(Key::clone(key)));
    }

    /// Forbids what is there; whether that outlasts a restart.
    pub(crate) async fn ban(&self, ban: Ban) -> bool {
        let (tell, told) = oneshot::channel();
        self.ask(Work::Ban(ban, tell));
        told.await.unwrap_or(false)
    }

    /// Writes what is still to be written; whether the disk has it now.
    pub(crate) async fn flush(&self) -> bool {
        let (tell, told) = oneshot::channel();
        self.ask(Work::Flush(tell));
        told.await.unwrap_or(false)
    }

    /// The thread is there as long as the tier.
    fn ask(&self, work: Work) {
        let _ = self.work.send(work);
    }
}

/// The disk's thread. What it has written is flushed each second, however much there is to do.
fn serve(
    mut volume: Volume,
    asked: &Receiver<Work>,
    keeps: &AtomicUsize,
    memory: &Memory,
    log: &Log,
    now: impl Fn() -> Instant,
) {
    let mut flushed = now();
    loop {
        let done = match asked.recv_timeout(DISK_FLUSH_TIME) {
            Ok(work) => perform(&mut volume, work, keeps, memory),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(error) = done {
            log.often(
                format_args!("disk: {error}; the cache goes on from memory"),
                &[],
            );
        }
        if volume.is_dirty() && now().duration_since(flushed) >= DISK_FLUSH_TIME {
            // Without a flush it gets there later; a disk that fails says so above.
            let _ = volume.flush();
            flushed = now();
        }
    }
}

fn perform(
    volume: &mut Volume,
    work: Work,
    keeps: &AtomicUsize,
    memory: &Memory,
) -> io::Result<()> {
    match work {
        Work::Keep(key, entry) => {
            keeps.fetch_sub(1, Ordering::Relaxed);
            volume.keep(&key, &entry)
        }
        Work::Remove(key) => volume.remove(&key),
        Work::Load(key, request, tell) => {
            load(volume, &key, &request, memory, tell);
            Ok(())
        }
        Work::Ban(ban, tell) => {
            let done = volume.ban(ban).and_then(|()| volume.flush());
            let _ = tell.send(done.is_ok()); // Who asked may be gone.
            done
        }
        Work::Flush(tell) => {
            let done = volume.flush();
            let _ = tell.send(done.is_ok());
            done
        }
    }
}

/// Finds the newest response that answers a request, hands it over, and reads its body.
fn load(
    volume: &Volume,
    key: &Key,
    request: &HeaderMap,
    memory: &Memory,
    tell: oneshot::Sender<Option<Arc<Entry>>>,
) {
    let hash = Volume::hash(volume.id(), key);
    let places = lock(volume.index()).get(hash);
    for place in places.into_iter().take(DISK_CANDIDATES_MAX) {
        let Some(mut found) = volume.find(place) else {
            lock(volume.index()).remove_one(hash, place.position);
            continue;
        };
        let bytes = found.head.body_bytes;
        let Meaning::Response { key: its, entry } = &mut found.head.meaning else {
            continue;
        };
        if **its != **key || !entry.selecting.matches(request) {
            continue;
        }
        let forbids = |ban: &Ban| ban.means(key, &entry.headers);
        if lock(volume.index()).is_banned(place.position, forbids) {
            lock(volume.index()).remove_one(hash, place.position);
            continue;
        }
        if memory.live.bytes() + bytes > memory.bytes_max {
            break; // What there is no room for is as good as not there.
        }
        entry.length = Some(bytes);
        entry.body = Arc::new(Body::counted(&memory.live));
        let (body, mut tell) = (Arc::clone(&entry.body), Some(tell));
        let entry: Arc<Entry> = Arc::new((**entry).clone());
        // Who asked hears of it when the first chunk is known to be good.
        let mut announce = || tell.take().map(|tell| tell.send(Some(Arc::clone(&entry))));
        let whole = volume.read_body(&found, |chunk| {
            body.append(Bytes::copy_from_slice(chunk));
            announce();
        });
        if whole {
            body.finish(End::Whole);
            announce();
        } else {
            body.finish(End::Broken);
            lock(volume.index()).remove_one(hash, place.position);
        }
        return;
    }
    let _ = tell.send(None);
}
