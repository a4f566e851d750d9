//! A disk that loses its power.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use crate::store::device::Device;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A generator of random numbers that can be started again (Numerical Recipes' LCG, 64 bits, its high half).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(seed: u64) -> Random {
        Random(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// A disk in memory. What was written and not flushed is forgotten at a cut, sector by sector and at random;
/// and the power may go at a certain write or flush.
#[derive(Debug)]
pub(crate) struct Faulty {
    size: u64,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Sectors by their numbers; the others are zeros.
    durable: BTreeMap<u64, Vec<u8>>,
    /// Each version of a sector since the last flush, the latest last.
    volatile: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Operations until the power goes.
    left: Option<u64>,
    /// Operations so far.
    done: u64,
    flushes_fail: bool,
}

impl Faulty {
    pub(crate) fn of_size(size: u64) -> Faulty {
        Faulty {
            size,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// The power goes after so many writes and flushes.
    pub(crate) fn cut_after(&self, operations: u64) {
        self.state().left = Some(operations);
    }

    /// Writes and flushes so far.
    pub(crate) fn operations(&self) -> u64 {
        self.state().done
    }

    pub(crate) fn fail_flushes(&self) {
        self.state().flushes_fail = true;
    }

    /// Spoils what is on the disk.
    pub(crate) fn spoil(&self, place: u64) {
        let mut state = self.state();
        let sector = state
            .durable
            .get_mut(&(place / SECTOR as u64))
            .expect("written");
        sector[place as usize % SECTOR] ^= 0x40;
    }

    /// The disk after a cut: of each sector that was not flushed, some version that was written since. A disk
    /// that writes in the order of places has all of the first sectors, and of the others some or none.
    pub(crate) fn after_cut(&self, random: &mut Random) -> Faulty {
        let mut state = self.state().clone();
        let order = random.below(3);
        let whole = match order {
            0 => 0,
            _ => random.below(state.volatile.len() as u64 + 1),
        };
        for (at, (sector, versions)) in (0..).zip(std::mem::take(&mut state.volatile)) {
            let kept = match order {
                _ if at < whole => versions.len(),
                1 => 0,
                _ => random.below(versions.len() as u64 + 1) as usize,
            };
            if kept > 0 {
                state.durable.insert(sector, versions[kept - 1].clone());
            }
        }
        let durable = state.durable;
        Faulty {
            size: self.size,
            state: Mutex::new(State {
                durable,
                ..State::default()
            }),
        }
    }

    fn operate(state: &mut State) -> io::Result<()> {
        match &mut state.left {
            Some(0) => Err(io::Error::other("the power is gone")),
            left => {
                if let Some(left) = left {
                    *left -= 1;
                }
                state.done += 1;
                Ok(())
            }
        }
    }
}

impl Device for Faulty {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, place: u64, bytes: &mut [u8]) -> io::Result<()> {
        if place + bytes.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let state = self.state();
        let mut at = 0;
        while at < bytes.len() {
            let (sector, within) = (
                (place + at as u64) / SECTOR as u64,
                (place as usize + at) % SECTOR,
            );
            let count = (SECTOR - within).min(bytes.len() - at);
            let newest = state
                .volatile
                .get(&sector)
                .and_then(|versions| versions.last());
            match newest.or(state.durable.get(&sector)) {
                Some(has) => bytes[at..at + count].copy_from_slice(&has[within..within + count]),
                None => bytes[at..at + count].fill(0),
            }
            at += count;
        }
        Ok(())
    }

    fn write_at(&self, place: u64, bytes: &[u8]) -> io::Result<()> {
        if place + bytes.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let state = &mut *self.state();
        // The power may go within a write: then its first sectors are written.
        let is_last = state.left == Some(0);
        let bytes = if is_last {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        let mut at = 0;
        while at < bytes.len() {
            let (sector, within) = (
                (place + at as u64) / SECTOR as u64,
                (place as usize + at) % SECTOR,
            );
            let count = (SECTOR - within).min(bytes.len() - at);
            let newest = state
                .volatile
                .get(&sector)
                .and_then(|versions| versions.last());
            let mut version = newest
                .or(state.durable.get(&sector))
                .cloned()
                .unwrap_or_else(|| vec![0; SECTOR]);
            version[within..within + count].copy_from_slice(&bytes[at..at + count]);
            state.volatile.entry(sector).or_default().push(version);
            at += count;
        }
        Faulty::operate(state)
    }

    fn flush(&self) -> io::Result<()> {
        let state = &mut *self.state();
        Faulty::operate(state)?;
        if state.flushes_fail {
            return Err(io::Error::other("no flush"));
        }
        for (sector, mut versions) in std::mem::take(&mut state.volatile) {
            state
                .durable
                .extend(versions.pop().map(|version| (sector, version)));
        }
        Ok(())
    }
}
