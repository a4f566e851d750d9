//! The power goes at any write or flush, again and again. What was acknowledged is there afterwards, and the
//! origin has each request once.

use std::collections::HashMap;

use super::*;

/// Cuts in all, in worlds of some lives each.
const WORLDS: u64 = 48;
const LIVES: u64 = 8;
const _: () = assert!(WORLDS * LIVES >= 300);
/// Writes and flushes until the power goes: some uploads' worth.
const OPERATIONS_MAX: u64 = 60;
/// What a life does at most, if the power does not go.
const STEPS_MAX: u64 = 40;

/// What clients and the origin know of an upload.
struct Known {
    id: Id,
    metadata: String,
    bytes: Vec<u8>,
    /// Whether its length was said when it was made.
    is_told: bool,
    /// Acknowledged bytes.
    acknowledged: usize,
    is_whole: bool,
    is_delivered: bool,
    /// Somebody asked to take it back; if that was not acknowledged it may be there or not.
    is_removed: bool,
}

struct World {
    bench: Bench,
    random: Random,
    known: Vec<Known>,
    /// What the origin took: the request, by the key that came with it.
    origin: HashMap<String, (String, Vec<u8>)>,
}

/// Nobody answers any more.
struct PowerGone;

impl From<StoreError> for PowerGone {
    fn from(error: StoreError) -> PowerGone {
        assert_eq!(error, StoreError::Failed, "only the power is missing");
        PowerGone
    }
}

impl World {
    /// One step, of a client or of the sender.
    fn step(&mut self) -> Result<(), PowerGone> {
        let choice = self.random.below(10);
        let which = self.random.below(self.known.len() as u64) as usize;
        match choice {
            _ if self.known.is_empty() => self.make(),
            0 | 1 if self.known.len() < 24 => self.make(),
            2 if self.random.below(3) == 0 => self.take_back(which),
            3..=5 => self.deliver(),
            _ => self.add(which),
        }
    }

    fn make(&mut self) -> Result<(), PowerGone> {
        let random = &mut self.random;
        let metadata = ["url aHR0cDovL2Ev", "url aHR0cDovL2Iv"][random.below(2) as usize];
        // Few seeds and sizes, so that the same request comes again.
        let sizes = [0, 1, 4096, 5000, 262_144, 300_000];
        let bytes = pattern(sizes[random.below(6) as usize], random.below(2) as u8);
        let is_told = random.below(3) > 0;
        let length = is_told.then_some(bytes.len() as u64);
        let id = self.bench.create(length, metadata)?;
        self.known.push(Known {
            id,
            metadata: metadata.to_owned(),
            is_whole: length == Some(0),
            bytes,
            is_told,
            acknowledged: 0,
            is_delivered: false,
            is_removed: false,
        });
        Ok(())
    }

    fn add(&mut self, which: usize) -> Result<(), PowerGone> {
        let known = &mut self.known[which];
        if known.is_removed || known.is_whole {
            return Ok(());
        }
        let opened = self.bench.open(known.id)?;
        let (from, rest) = (
            opened.offset as usize,
            known.bytes.len() - opened.offset as usize,
        );
        assert!(from >= known.acknowledged);
        known.acknowledged = from;
        if self.bench.entry(known.id).record.whole.is_some() {
            // It was durable when the power went, before anybody heard so.
            known.is_whole = true;
            return Ok(());
        }
        let known = &mut self.known[which];
        let piece = match self.random.below(2) {
            0 => rest,
            _ => self.random.below(rest as u64 + 1) as usize,
        };
        self.bench
            .append(known.id, opened.lease, &known.bytes[from..from + piece])?;
        let is_last = piece == rest;
        let length = (is_last && !known.is_told).then_some(known.bytes.len() as u64);
        let stored = self.bench.finish(known.id, opened.lease, length)?;
        assert_eq!(stored.offset as usize, from + piece);
        assert_eq!(stored.whole.is_some(), is_last);
        known.acknowledged = from + piece;
        known.is_whole = is_last;
        Ok(())
    }

    fn take_back(&mut self, which: usize) -> Result<(), PowerGone> {
        let known = &mut self.known[which];
        // What is on its way cannot be taken back: the service refuses that.
        if known.is_removed || self.origin.contains_key(&known.id.to_string()) {
            return Ok(());
        }
        known.is_removed = true;
        Ok(self.bench.remove(known.id)?)
    }

    /// Sends one that waits. The power may go between the origin's taking it and our writing that down.
    fn deliver(&mut self) -> Result<(), PowerGone> {
        let waiting: Vec<Id> = {
            let ledger = self.bench.keeper.ledger();
            let ledger = ledger.lock().expect("no panic");
            let waiting = ledger.iter().filter(|(_, entry)| entry.is_waiting());
            waiting.map(|(id, _)| id).collect()
        };
        let Some(id) = waiting.into_iter().min() else {
            return Ok(());
        };
        let request = (
            self.bench.entry(id).record.metadata.written(),
            self.bench.bytes(id),
        );
        // An origin knows a key, and takes what comes with it once.
        let taken = self
            .origin
            .entry(id.to_string())
            .or_insert_with(|| request.clone());
        assert!(*taken == request, "the same key has the same request");
        self.bench.note(id, Note::Delivered(201))?;
        for known in self.known.iter_mut().filter(|known| known.id == id) {
            known.is_delivered = true;
        }
        Ok(())
    }

    /// What must be so after each cut.
    fn check(&self) {
        for known in self.known.iter().filter(|known| !known.is_removed) {
            let entry = self.bench.entry(known.id);
            let offset = entry.offset() as usize;
            assert!(
                offset >= known.acknowledged,
                "{offset} of {}",
                known.acknowledged
            );
            assert!(entry.record.whole.is_some() || !known.is_whole);
            assert!(
                !(known.is_delivered && entry.is_waiting()),
                "it would go again"
            );
            if entry.body.is_some() {
                assert!(self.bench.bytes(known.id) == known.bytes[..offset]);
            }
            if entry.record.whole.is_some() && entry.body.is_none() && !known.bytes.is_empty() {
                let request = (known.metadata.clone(), known.bytes.clone());
                let has = self.origin.values().any(|taken| *taken == request);
                assert!(has, "what is gone here is at the origin");
            }
        }
    }

    /// All that was begun is finished and sent.
    fn conclude(&mut self) {
        for which in 0..self.known.len() {
            for _ in 0..64 {
                let known = &self.known[which];
                if known.is_whole || known.is_removed {
                    break;
                }
                assert!(self.add(which).is_ok());
            }
        }
        while {
            let ledger = self.bench.keeper.ledger();
            let ledger = ledger.lock().expect("no panic");
            ledger.iter().any(|(_, entry)| entry.is_waiting())
        } {
            assert!(self.deliver().is_ok());
        }
        let mut requests: HashMap<(String, Vec<u8>), usize> = HashMap::new();
        for taken in self.origin.values() {
            *requests.entry(taken.clone()).or_default() += 1;
        }
        assert!(
            requests.values().all(|count| *count == 1),
            "a duplicate at the origin"
        );
        for known in self.known.iter().filter(|known| !known.is_removed) {
            let request = (known.metadata.clone(), known.bytes.clone());
            assert!(
                requests.contains_key(&request),
                "what was acknowledged is at the origin"
            );
        }
    }
}

fn world(seed: u64) {
    let mut random = Random::of(seed);
    let mut disk = Arc::new(Faulty::of_size(SIZE));
    let mut world: Option<World> = None;
    for _ in 0..LIVES {
        disk.cut_after(random.below(OPERATIONS_MAX));
        // The power may go while the disk is made or repaired, too.
        if let Ok(keeper) = Keeper::open(disk.clone()) {
            let bench = Bench {
                disk: disk.clone(),
                keeper,
            };
            let mut now = match world.take() {
                Some(before) => World { bench, ..before },
                None => World {
                    bench,
                    random: Random::of(seed + 1),
                    known: Vec::new(),
                    origin: HashMap::new(),
                },
            };
            now.check();
            for _ in 0..STEPS_MAX {
                if now.step().is_err() {
                    break;
                }
            }
            world = Some(now);
        }
        disk = Arc::new(disk.after_cut(&mut random));
    }
    if let Some(before) = world {
        let bench = Bench::on(disk);
        let mut world = World { bench, ..before };
        world.check();
        world.conclude();
    }
}

#[test]
fn what_was_acknowledged_survives_and_the_origin_has_it_once() {
    let seed = match std::env::var("UPLOADER_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => u64::from(std::process::id()) << 20,
    };
    for number in 0..WORLDS {
        let seed = seed + number;
        println!("UPLOADER_SEED={seed}");
        world(seed);
    }
}

/// The origin has it, and before that is written down the power goes.
#[test]
fn power_loss_between_sent_and_acknowledged() {
    for operations in 0..12 {
        let mut bench = Bench::new();
        let id = bench.upload("url aHR0cDovL2Ev", &pattern(10_000, 1));
        bench.disk.cut_after(operations);
        let noted = bench.note(id, Note::Delivered(201));
        let bench = bench.reboot(&mut Random::of(operations));
        let entry = bench.entry(id);
        match noted {
            // It goes again, by the same name and so with the same key, and whole.
            Err(_) => assert!(!entry.is_waiting() || bench.bytes(id) == pattern(10_000, 1)),
            Ok(()) => assert!(!entry.is_waiting(), "after {operations} operations"),
        }
    }
}
