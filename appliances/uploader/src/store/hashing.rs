//! The thread that hashes what was written, so that the one that writes goes on meanwhile: at SHA-256's one and a
//! half gigabytes a second it would be half of what that one does.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ring::digest::{Context, SHA256};

use crate::limits::{EXTENT_BYTES_MIN, HASHES_WAITING_MAX};
use crate::store::record::Digest;

/// A hash, now or as soon as the thread comes to it.
type Promise = Arc<OnceLock<Context>>;

/// Over the first bytes of an upload. A clone costs nothing.
#[derive(Clone)]
pub(super) struct Hash {
    promise: Promise,
    /// How many these are.
    bytes: u64,
}

/// One more piece under a hash.
struct Job {
    before: Promise,
    bytes: Bytes,
    after: Promise,
}

/// Hands pieces to the thread, which ends with this value.
pub(super) struct Hasher(SyncSender<Job>);

impl Job {
    fn run(&self) {
        let mut context = self.before.wait().clone();
        context.update(&self.bytes);
        // Nobody else has this promise to keep.
        let _ = self.after.set(context);
    }
}

impl Hasher {
    pub(super) fn start() -> io::Result<Hasher> {
        let (sender, jobs) = sync_channel(HASHES_WAITING_MAX);
        let run = move |jobs: Receiver<Job>| jobs.iter().for_each(|job| job.run());
        let thread = std::thread::Builder::new().name("hash".to_owned());
        thread.spawn(move || run(jobs))?;
        Ok(Hasher(sender))
    }
}

impl Hash {
    /// Over nothing.
    pub(super) fn new() -> Hash {
        let promise = Promise::default();
        let _ = promise.set(Context::new(&SHA256));
        Hash { promise, bytes: 0 }
    }

    /// Adds what it has not of the bytes at a place: the first of those that are written anew were in it before.
    pub(super) fn update(&mut self, offset: u64, bytes: &Bytes, hasher: &Hasher) {
        let known = self.bytes.checked_sub(offset);
        let Some(known) = known.filter(|known| *known <= bytes.len() as u64) else {
            return;
        };
        let job = Job {
            before: Arc::clone(&self.promise),
            bytes: bytes.slice(known as usize..),
            after: Promise::default(),
        };
        self.bytes = offset + bytes.len() as u64;
        self.promise = Arc::clone(&job.after);
        // A little is done sooner than handed over.
        let is_little = job.bytes.len() < EXTENT_BYTES_MIN && job.before.get().is_some();
        if is_little {
            job.run();
        } else if let Err(unsent) = hasher.0.send(job) {
            // What the thread took before it ended it has done.
            unsent.0.run();
        }
    }

    /// What all of it hashes to.
    pub(super) fn digest(&self) -> Digest {
        finish(self.promise.wait().clone())
    }
}

/// What a context has come to.
pub(super) fn finish(context: Context) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Digest(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        finish(context)
    }

    #[test]
    fn pieces_hash_to_what_all_of_them_do() {
        let hasher = Hasher::start().expect("a thread");
        let bytes: Vec<u8> = (0..2_000_000u32).map(|i| (i / 7) as u8).collect();
        let bytes = Bytes::from(bytes);
        let mut hash = Hash::new();
        let mut kept = hash.clone();
        let mut at = 0;
        for length in [1, 300_000, 4096, 65_536, 65_535, 900_000] {
            if length == 65_536 {
                kept = hash.clone();
            }
            hash.update(at as u64, &bytes.slice(at..at + length), &hasher);
            at += length;
        }
        assert_eq!(hash.digest(), of(&bytes[..at]));
        // A part of what is written anew was in it.
        hash.update(at as u64 - 1000, &bytes.slice(at - 1000..at + 5), &hasher);
        assert_eq!(hash.digest(), of(&bytes[..at + 5]));
        // What was kept has not gone on.
        assert_eq!(kept.digest(), of(&bytes[..304_097]));
    }
}
