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
            6 => self.add_two(),
            _ => self.add(which),
        }
    }

    fn make(&mut self) -> Result<(), PowerGone> {
        let random = &mut self.random;
        let metadata = ["url aHR0cDovL2Ev", "url aHR0cDovL2Iv"][random.below(2) as usize];
        // Few seeds and sizes, so that the same request comes again.
        let sizes = [0, 1, 4096, 5000, 262_144, 300_000, 700_000];
        let bytes = pattern(sizes[random.below(7) as usize], random.below(2) as u8);
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

    /// One phone's bytes come while another's become durable.
    fn add_two(&mut self) -> Result<(), PowerGone> {
        let open = |known: &&Known| !known.is_removed && !known.is_whole;
        let mut open = self.known.iter().filter(open);
        let (Some(first), Some(second)) = (open.next(), open.next_back()) else {
            return Ok(());
        };
        let ((a, a_bytes), (b, b_bytes)) = (
            (first.id, first.bytes.clone()),
            (second.id, second.bytes.clone()),
        );
        let (at_a, at_b) = (self.bench.open(a)?, self.bench.open(b)?);
        if [a, b].map(|id| self.bench.entry(id).record.whole.is_some()) != [false; 2] {
            // `add` finds out that it was durable before anybody heard so.
            return Ok(());
        }
        let (rest_a, rest_b) = (
            &a_bytes[at_a.offset as usize..],
            &b_bytes[at_b.offset as usize..],
        );
        let half = self.random.below(rest_b.len() as u64 + 1) as usize;
        self.bench
            .append(a, at_a.lease, &rest_a[..rest_a.len() / 2])?;
        self.bench.append(b, at_b.lease, &rest_b[..half])?;
        let (mut stored, commit) = self.bench.begin(|reply| Command::Finish {
            id: a,
            lease: at_a.lease,
            length: None,
            digest: None,
            reply,
        });
        let (half, last) = rest_b[half..].split_at((rest_b.len() - half) / 2);
        let appended = self.bench.write(b, at_b.lease, half);
        let outcome = commit.map(|commit| self.bench.committer.commit(commit));
        appended.and_then(|()| self.bench.write(b, at_b.lease, last))?;
        let ended = outcome.map(Command::Committed);
        let next = self.bench.keeper.serve(ended.into_iter().collect());
        self.bench.conclude(next);
        let stored = stored.try_recv().expect("an answer")?;
        let is_a = |known: &&mut Known| known.id == a;
        let known = self.known.iter_mut().find(is_a).expect("known");
        known.acknowledged = at_a.offset as usize + rest_a.len() / 2;
        known.is_whole = stored.whole.is_some();
        assert!(stored.offset as usize >= known.acknowledged);
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
        if let Ok(bench) = Bench::start(disk.clone()) {
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

/// The index may have become durable without the bodies; then it is as if the upload had not gone on.
#[test]
fn a_torn_commit_is_taken_back() {
    let bytes = pattern(300_000, 6);
    let (mut torn, mut kept) = (0, 0);
    for seed in 0..96 {
        let mut bench = Bench::new();
        let id = bench.create(Some(300_000), "").expect("made");
        let lease = bench.open(id).expect("opened").lease;
        bench.append(id, lease, &bytes[..10_000]).expect("appended");
        bench.finish(id, lease, None).expect("stored");
        let lease = bench.open(id).expect("opened").lease;
        bench.append(id, lease, &bytes[10_000..]).expect("appended");
        // All is written, and the flush does not end.
        bench.disk.fail_flushes();
        assert_eq!(bench.finish(id, lease, None), Err(StoreError::Failed));
        let mut bench = bench.reboot(&mut Random::of(seed));
        torn += u32::from(bench.keeper.took_back);
        let offset = bench.entry(id).offset() as usize;
        assert!(bench.bytes(id) == bytes[..offset] && [10_000, 300_000].contains(&offset));
        kept += u32::from(offset == 300_000);
        // It goes on from there.
        let opened = bench.open(id).expect("opened");
        if offset == 10_000 {
            let rest = bench.append(id, opened.lease, &bytes[10_000..]);
            rest.expect("appended");
        }
        let whole = bench.finish(id, opened.lease, None).expect("stored").whole;
        assert_eq!(whole.expect("whole").digest.to_string(), sha256(&bytes));
        let bench = bench.reboot(&mut Random::of(seed));
        assert!(!bench.keeper.took_back && bench.bytes(id) == bytes);
    }
    assert!(torn > 8 && kept > 0, "{torn} torn, {kept} kept");
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
