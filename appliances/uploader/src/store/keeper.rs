//! The thread that changes the disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc};

use crate::id::Id;
use crate::limits::{GROUP_MAX, UPLOADS_MAX, VOLATILE_BYTES_MAX};
use crate::metadata::Metadata;
use crate::store::device::Device;
use crate::store::index::{Change, Contents, Index};
use crate::store::layout::Layout;
use crate::store::ledger::Ledger;
use crate::store::record::{Body, Delivery, Digest, Extent, Record, Whole};
use crate::store::region::Region;
use crate::store::space::Space;
use crate::store::work::{Disk, Work};
use crate::store::{Command, Note, OpenError, Opened, Reply, StoreError, Stored};

/// An answer that waits for what it says to be durable.
type Answer = Box<dyn FnOnce(&Keeper, Result<(), StoreError>) + Send>;

/// All that the thread has.
pub(crate) struct Keeper {
    device: Arc<dyn Device>,
    layout: Layout,
    index: Index,
    space: Space,
    ledger: Arc<Mutex<Ledger>>,
    works: HashMap<Id, Work>,
    lease: u64,
    /// What changes with the next commit, beside the works.
    changed: Vec<Pending>,
    /// Works with something to commit.
    finished: Vec<Id>,
    /// Bytes written since the last flush.
    volatile: u64,
    answers: Vec<Answer>,
    /// Bodies that nobody has any more but, perhaps, somebody who reads them.
    leaving: Vec<Arc<Body>>,
    has_failed: bool,
}

/// What a commit does to an upload.
enum Pending {
    Put(Id, Box<Record>, Option<Arc<Body>>),
    Remove(Id),
    /// These extents leave the index.
    Drop(Arc<Body>),
    /// These come to it.
    Add(Arc<Body>),
}

impl Keeper {
    /// Opens a device, and makes it ours if it is blank.
    pub(crate) fn open(device: Arc<dyn Device>) -> Result<Keeper, OpenError> {
        let (layout, index) = match Layout::read(device.as_ref())? {
            Some(layout) => {
                let region = Region::open(Arc::clone(&device), &layout)?;
                (layout, Index::open(region)?)
            }
            None => {
                let layout = Layout::of_size(device.size())?;
                layout.begin(device.as_ref())?;
                let index = Index::open(Region::make(Arc::clone(&device), &layout))?;
                layout.finish(device.as_ref())?;
                (layout, index)
            }
        };
        // A device that cannot flush is found out before it is trusted.
        device.flush()?;
        let contents = index.contents()?;
        let mut keeper = Keeper {
            device,
            layout,
            index,
            space: Space::of(layout.blocks),
            ledger: Arc::default(),
            works: HashMap::new(),
            lease: 0,
            changed: Vec::new(),
            finished: Vec::new(),
            volatile: 0,
            answers: Vec::new(),
            leaving: Vec::new(),
            has_failed: false,
        };
        keeper.load(contents)?;
        Ok(keeper)
    }

    fn load(&mut self, contents: Contents) -> Result<(), OpenError> {
        let mut extents: HashMap<Id, Vec<Extent>> = HashMap::new();
        for (id, extent) in contents.extents {
            let body = extents.entry(id).or_default();
            if body.last().map_or(0, Extent::end) != extent.offset {
                return Err(OpenError::Contradiction("a body's extents"));
            }
            if !self.space.occupy(extent.run()) {
                return Err(OpenError::Contradiction("a block"));
            }
            body.push(extent);
        }
        let bodies = extents.into_iter();
        let bodies: HashMap<Id, Arc<Body>> = bodies
            .map(|(id, extents)| (id, Arc::new(Body { id, extents })))
            .collect();
        let mut ledger = lock(&self.ledger);
        for (id, record) in contents.uploads {
            let body = match record.delivery {
                Delivery::Delivered { .. } => None,
                _ => bodies.get(&record.body).cloned(),
            };
            let has = body.as_ref().map_or(0, |body| body.length());
            let is_wrong = match record.whole {
                Some(_) => body.is_some() && record.length != Some(has),
                None => record.length.is_some_and(|length| has > length),
            };
            if is_wrong {
                return Err(OpenError::Contradiction("a length"));
            }
            if record.whole.is_none() {
                let work = Work::resume(record.length, body.as_deref());
                self.space.promise_again(work.promised);
                self.works.insert(id, work);
            }
            ledger.put(id, record, body);
        }
        ledger.blocks = (self.space.available(), self.space.blocks());
        Ok(())
    }

    pub(crate) fn ledger(&self) -> Arc<Mutex<Ledger>> {
        Arc::clone(&self.ledger)
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Serves until nobody asks any more.
    pub(crate) fn run(&mut self, mut commands: mpsc::Receiver<Command>, changed: &Notify) {
        while let Some(first) = commands.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = commands.try_recv()
            {
                group.push(next);
            }
            if self.serve(group) {
                changed.notify_waiters();
                changed.notify_one();
            }
        }
    }

    /// Serves commands that came together, by one commit; whether something became durable.
    pub(crate) fn serve(&mut self, commands: Vec<Command>) -> bool {
        for command in commands {
            self.take(command);
        }
        let due = !self.answers.is_empty() || self.volatile >= VOLATILE_BYTES_MAX;
        if due {
            let committed = self.commit();
            if let Err(error) = &committed {
                self.fail(error);
            }
            let outcome = committed.map_err(|_| StoreError::Failed);
            for answer in std::mem::take(&mut self.answers) {
                answer(self, outcome);
            }
        }
        self.reclaim();
        due
    }

    /// From now on nothing is believed of the device.
    fn fail(&mut self, why: &dyn std::fmt::Display) {
        self.has_failed = true;
        lock(&self.ledger).failed.get_or_insert(why.to_string());
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Create {
                length,
                partial,
                metadata,
                reply,
            } => {
                let made = self.create(length, partial, metadata);
                self.later(made, reply, |_, id| Ok(id));
            }
            Command::Open { id, hold, reply } => {
                let opened = self.open_upload(id, hold);
                self.later(opened, reply, move |keeper, lease| keeper.opened(id, lease));
            }
            Command::Append {
                id,
                lease,
                bytes,
                reply,
            } => {
                let appended = self.append(id, lease, &bytes);
                let _ = reply.send(appended);
            }
            Command::Finish {
                id,
                lease,
                length,
                reply,
            } => {
                let finished = self.finish(id, lease, length);
                self.later(finished, reply, move |keeper, ()| keeper.stored(id));
            }
            Command::RollBack { id, lease, reply } => {
                let result = self.work(id, Some(lease)).map(drop);
                if result.is_ok()
                    && let Some(work) = self.works.get_mut(&id)
                {
                    work.roll_back(&mut self.space);
                }
                let _ = reply.send(result);
            }
            Command::Join {
                parts,
                metadata,
                reply,
            } => {
                let joined = self.join(&parts, metadata);
                self.later(joined, reply, |_, id| Ok(id));
            }
            Command::Remove { id, reply } => {
                let removed = self.remove(id);
                self.later(removed, reply, |_, ()| Ok(()));
            }
            Command::Note { id, note, reply } => {
                let noted = self.note(id, note);
                self.later(noted, reply, |_, ()| Ok(()));
            }
        }
    }

    /// Answers an error at once, and anything else when it is durable.
    fn later<A: Send + 'static, T: Send + 'static>(
        &mut self,
        result: Result<A, StoreError>,
        reply: Reply<T>,
        say: impl FnOnce(&Keeper, A) -> Result<T, StoreError> + Send + 'static,
    ) {
        // Who no longer listens has gone away.
        match result.and_then(|value| self.check().map(|()| value)) {
            Err(error) => drop(reply.send(Err(error))),
            Ok(value) => self.answers.push(Box::new(move |keeper, committed| {
                drop(reply.send(committed.and_then(|()| say(keeper, value))));
            })),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.has_failed {
            true => Err(StoreError::Failed),
            false => Ok(()),
        }
    }

    /// An upload as this group of commands finds it.
    fn record(&self, id: Id) -> Result<(Record, Option<Arc<Body>>), StoreError> {
        for pending in self.changed.iter().rev() {
            match pending {
                Pending::Put(other, record, body) if *other == id => {
                    return Ok((record.as_ref().clone(), body.clone()));
                }
                Pending::Remove(other) if *other == id => return Err(StoreError::Unknown),
                _ => {}
            }
        }
        let ledger = lock(&self.ledger);
        let entry = ledger.get(id).ok_or(StoreError::Unknown)?;
        Ok((entry.record.clone(), entry.body.clone()))
    }

    fn create(
        &mut self,
        length: Option<u64>,
        partial: bool,
        metadata: Metadata,
    ) -> Result<Id, StoreError> {
        self.check()?;
        let added = self
            .changed
            .iter()
            .filter(|pending| matches!(pending, Pending::Put(..)));
        if lock(&self.ledger).count() + added.count() >= UPLOADS_MAX {
            return Err(StoreError::TooMany);
        }
        let id = Id::random().ok_or(StoreError::Failed)?;
        let work = Work::resume(length, None);
        self.space
            .promise(work.promised)
            .map_err(|_| StoreError::Full)?;
        self.works.insert(id, work);
        let record = Record {
            length,
            partial,
            metadata,
            created_s: now_s(),
            body: id,
            whole: None,
            delivery: Delivery::Waiting,
            attempts: 0,
            remote: None,
            twin_of: None,
        };
        self.changed.push(Pending::Put(id, Box::new(record), None));
        if length == Some(0) {
            self.finished.push(id);
        }
        Ok(id)
    }

    /// An upload that is on its way, for the one who may change it.
    fn work(&mut self, id: Id, lease: Option<u64>) -> Result<&mut Work, StoreError> {
        self.check()?;
        if !self.works.contains_key(&id) {
            self.record(id)?;
            return Err(StoreError::IsWhole);
        }
        let work = self.works.get_mut(&id).ok_or(StoreError::Unknown)?;
        match lease.is_none_or(|lease| lease == work.lease) {
            true => Ok(work),
            false => Err(StoreError::TakenOver),
        }
    }

    fn open_upload(&mut self, id: Id, hold: bool) -> Result<u64, StoreError> {
        self.lease += 1;
        let lease = self.lease;
        match self.work(id, None) {
            Ok(work) => {
                work.lease = lease;
                let was_held = std::mem::replace(&mut work.is_held, hold);
                match self.works.get_mut(&id) {
                    // What came for a checksum that never came, or would be mixed with what has one.
                    Some(work) if hold || was_held => {
                        work.roll_back(&mut self.space);
                        work.is_held = hold;
                    }
                    _ => self.finished.push(id),
                }
                Ok(lease)
            }
            Err(StoreError::IsWhole) => Ok(lease),
            Err(error) => Err(error),
        }
    }

    fn opened(&self, id: Id, lease: u64) -> Result<Opened, StoreError> {
        let ledger = lock(&self.ledger);
        let entry = ledger.get(id).ok_or(StoreError::Unknown)?;
        Ok(Opened {
            lease,
            offset: entry.offset(),
            length: entry.record.length,
        })
    }

    fn append(&mut self, id: Id, lease: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.work(id, Some(lease))?;
        let mut disk = Disk {
            device: self.device.as_ref(),
            layout: &self.layout,
            space: &mut self.space,
        };
        let work = self.works.get_mut(&id).ok_or(StoreError::Unknown)?;
        match work.append(bytes, &mut disk) {
            Ok(written) => self.volatile += written,
            Err(StoreError::TooLong) => return Err(StoreError::TooLong),
            Err(error) => {
                // A part of it may be there.
                work.roll_back(&mut self.space);
                if error == StoreError::Failed {
                    self.fail(&"the device refuses a read or a write");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(&mut self, id: Id, lease: u64, length: Option<u64>) -> Result<(), StoreError> {
        let work = match self.work(id, Some(lease)) {
            Ok(work) => work,
            // What was whole before is whole still.
            Err(StoreError::IsWhole) => {
                let (record, _) = self.record(id)?;
                let same = length.is_none_or(|length| record.length == Some(length));
                return if same {
                    Ok(())
                } else {
                    Err(StoreError::Length)
                };
            }
            Err(error) => return Err(error),
        };
        if let Some(length) = length {
            let is_new = work.length.is_none() && length >= work.offset();
            if !is_new && work.length != Some(length) {
                return Err(StoreError::Length);
            }
            if work.length.is_none() {
                work.length = Some(length);
                let needs = work.needs();
                if self.space.promise(needs).is_err() {
                    if let Some(work) = self.works.get_mut(&id) {
                        work.length = None;
                    }
                    return Err(StoreError::Full);
                }
                if let Some(work) = self.works.get_mut(&id) {
                    work.promised = needs;
                }
                let (mut record, body) = self.record(id)?;
                record.length = Some(length);
                self.changed.push(Pending::Put(id, Box::new(record), body));
            }
        }
        if let Some(work) = self.works.get_mut(&id) {
            work.is_held = false;
        }
        self.finished.push(id);
        Ok(())
    }

    fn stored(&self, id: Id) -> Result<Stored, StoreError> {
        let ledger = lock(&self.ledger);
        let entry = ledger.get(id).ok_or(StoreError::Unknown)?;
        Ok(Stored {
            offset: entry.offset(),
            whole: entry.record.whole,
        })
    }

    /// Makes everything durable that was finished or changed.
    fn commit(&mut self) -> Result<(), Error> {
        self.check()?;
        let mut finished = std::mem::take(&mut self.finished);
        if self.volatile >= VOLATILE_BYTES_MAX {
            let dirty = self.works.iter().filter(|(_, work)| work.is_dirty());
            finished.extend(dirty.map(|(id, _)| *id));
        }
        finished.sort_unstable();
        finished.dedup();
        finished.retain(|id| self.works.get(id).is_some_and(|work| !work.is_held));
        for id in &finished {
            let mut disk = Disk {
                device: self.device.as_ref(),
                layout: &self.layout,
                space: &mut self.space,
            };
            if let Some(work) = self.works.get_mut(id) {
                match work.write_pending(&mut disk) {
                    Ok(bytes) => self.volatile += bytes,
                    // There is no room, so this one goes back to where it was.
                    Err(StoreError::Full) => work.roll_back(&mut self.space),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if self.volatile > 0 {
            self.device.flush()?;
        }
        let changes = self.changes(&finished)?;
        if !changes.is_empty() {
            self.index.apply(&changes)?;
        }
        self.volatile = 0;
        self.settle(&finished);
        Ok(())
    }

    /// What the index must be told. What becomes whole is added to what changes.
    fn changes(&mut self, finished: &[Id]) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for id in finished {
            let Some(work) = self.works.get(id) else {
                continue;
            };
            let is_whole = work.is_whole();
            if !work.is_dirty() && work.absorbed.is_none() && !is_whole {
                continue;
            }
            let (mut record, _) = self.record(*id)?;
            let own = work.body(*id);
            changes.extend(
                work.absorbed
                    .map(|extent| Change::NoExtent(*id, extent.offset)),
            );
            let new = work.extents[work.durable..].iter();
            changes.extend(new.map(|extent| Change::Extent(*id, *extent)));
            let body = match is_whole {
                true => self.seal(*id, &mut record, own)?,
                false => Some(own),
            };
            self.changed.push(Pending::Put(*id, Box::new(record), body));
        }
        for pending in &self.changed {
            match pending {
                Pending::Put(id, record, _) => {
                    changes.push(Change::Upload(*id, record.clone()));
                }
                Pending::Remove(id) => changes.push(Change::NoUpload(*id)),
                Pending::Drop(body) => {
                    let gone = |extent: &Extent| Change::NoExtent(body.id, extent.offset);
                    changes.extend(body.extents.iter().map(gone));
                }
                Pending::Add(body) => {
                    let new = |extent: &Extent| Change::Extent(body.id, *extent);
                    changes.extend(body.extents.iter().map(new));
                }
            }
        }
        Ok(changes)
    }

    /// Makes a whole upload of one whose last byte is there. One that has the same bytes as another shares
    /// its body, which is the result; one that is the same request as another waits for that one's end.
    fn seal(
        &mut self,
        id: Id,
        record: &mut Record,
        own: Arc<Body>,
    ) -> Result<Option<Arc<Body>>, Error> {
        let digest = match self.digest(id) {
            Ok(digest) => digest,
            Err(StoreError::Damaged) => {
                record.delivery = Delivery::Damaged;
                Digest([0; 32])
            }
            Err(error) => return Err(error.into()),
        };
        let identity = identity(record, digest);
        record.whole = Some(Whole { digest, identity });
        if record.partial || record.delivery == Delivery::Damaged {
            return Ok(Some(own));
        }
        match self.same_request(id, identity) {
            Some((other, Delivery::Waiting)) => record.twin_of = Some(other),
            Some((_, delivered)) => {
                record.delivery = delivered;
                record.metadata.forget_secrets();
                self.give_back(own);
                return Ok(None);
            }
            None => {}
        }
        let same = lock(&self.ledger).same_body(digest);
        let stays = |body: &Arc<Body>| {
            let drops = |pending: &Pending| matches!(pending, Pending::Drop(it) if it.id == body.id);
            !self.changed.iter().any(drops)
        };
        let Some(same) = same.filter(|same| same.id != id && stays(same)) else {
            return Ok(Some(own));
        };
        record.body = same.id;
        self.give_back(own);
        Ok(Some(same))
    }

    fn digest(&mut self, id: Id) -> Result<Digest, StoreError> {
        let disk = Disk {
            device: self.device.as_ref(),
            layout: &self.layout,
            space: &mut self.space,
        };
        let work = self.works.get(&id).ok_or(StoreError::Unknown)?;
        work.digest(&disk)
    }

    /// A body leaves the index, and its blocks are free when nobody reads it any more.
    fn give_back(&mut self, body: Arc<Body>) {
        self.changed.push(Pending::Drop(Arc::clone(&body)));
        self.leaving.push(body);
    }

    /// An upload that is the same request, and on its way or just delivered.
    fn same_request(&self, id: Id, identity: Digest) -> Option<(Id, Delivery)> {
        let now_s = now_s();
        let in_group = self.changed.iter().filter_map(|pending| match pending {
            Pending::Put(other, ..) => Some(*other),
            _ => None,
        });
        let known = lock(&self.ledger).with_identity(identity);
        let mut others = in_group.chain(known).filter(|other| *other != id);
        others.find_map(|other| {
            let (record, _) = self.record(other).ok()?;
            record
                .is_same_as(identity, now_s)
                .then_some((other, record.delivery))
        })
    }

    /// Takes over what is durable now.
    fn settle(&mut self, finished: &[Id]) {
        for id in finished {
            if let Some(work) = self.works.get_mut(id) {
                work.settle(&mut self.space);
                if work.is_whole() {
                    self.space.release(work.promised);
                    self.works.remove(id);
                }
            }
        }
        let mut ledger = lock(&self.ledger);
        for pending in self.changed.drain(..) {
            match pending {
                Pending::Put(id, record, body) => ledger.put(id, *record, body),
                Pending::Remove(id) => drop(ledger.remove(id)),
                Pending::Drop(_) | Pending::Add(_) => {}
            }
        }
        ledger.blocks = (self.space.available(), self.space.blocks());
    }

    /// Gives back the blocks of bodies that nobody reads any more.
    fn reclaim(&mut self) {
        if self.has_failed || !self.changed.is_empty() {
            return;
        }
        let space = &mut self.space;
        self.leaving.retain(|body| {
            let is_read = Arc::strong_count(body) > 1;
            if !is_read {
                body.extents
                    .iter()
                    .for_each(|extent| space.free(extent.run()));
            }
            is_read
        });
        lock(&self.ledger).blocks = (self.space.available(), self.space.blocks());
    }

    fn join(&mut self, parts: &[Id], metadata: Metadata) -> Result<Id, StoreError> {
        self.check()?;
        let mut extents: Vec<Extent> = Vec::new();
        let mut gone = Vec::new();
        for (at, id) in parts.iter().enumerate() {
            let (record, body) = self.record(*id).map_err(|_| StoreError::Parts)?;
            let is_good = record.partial && record.whole.is_some() && !parts[..at].contains(id);
            let body = body.filter(|_| is_good).ok_or(StoreError::Parts)?;
            let start = extents.last().map_or(0, Extent::end);
            extents.extend(body.extents.iter().map(|extent| Extent {
                offset: start + extent.offset,
                ..*extent
            }));
            gone.push((*id, body));
        }
        let id = self.create(Some(0), false, metadata)?;
        let length = extents.last().map_or(0, Extent::end);
        let (mut record, _) = self.record(id)?;
        record.length = Some(length);
        let body = Arc::new(Body { id, extents });
        for (part, its) in gone {
            self.changed.push(Pending::Drop(its));
            self.changed.push(Pending::Remove(part));
        }
        self.changed.push(Pending::Add(Arc::clone(&body)));
        // Its digest is read from the disk when it is sealed.
        self.works
            .insert(id, Work::resume(Some(length), Some(&body)));
        self.changed
            .push(Pending::Put(id, Box::new(record), Some(body)));
        Ok(id)
    }

    fn remove(&mut self, id: Id) -> Result<(), StoreError> {
        self.check()?;
        let (record, body) = self.record(id)?;
        if let Some(mut work) = self.works.remove(&id) {
            work.roll_back(&mut self.space);
            self.space.release(work.promised);
        }
        self.changed.push(Pending::Remove(id));
        self.leave(id, body);
        if record.twin_of.is_none() {
            self.promote(id)?;
        }
        Ok(())
    }

    /// Another goes in place of one that is gone, and for all that were its twins.
    fn promote(&mut self, id: Id) -> Result<(), StoreError> {
        let mut twins = lock(&self.ledger).twins_of(id).into_iter();
        let Some(first) = twins.next() else {
            return Ok(());
        };
        for (twin, of) in [(first, None)]
            .into_iter()
            .chain(twins.map(|twin| (twin, Some(first))))
        {
            let Ok((mut record, body)) = self.record(twin) else {
                continue;
            };
            record.twin_of = of;
            self.changed
                .push(Pending::Put(twin, Box::new(record), body));
        }
        Ok(())
    }

    /// A body leaves with the upload that had it last.
    fn leave(&mut self, id: Id, body: Option<Arc<Body>>) {
        let Some(body) = body else {
            return;
        };
        if !self.is_shared(id, &body) {
            self.give_back(body);
        }
    }

    /// Whether another upload has a body, as this group of commands leaves it.
    fn is_shared(&self, id: Id, body: &Body) -> bool {
        let mut others = lock(&self.ledger).with_body(body.id);
        others.extend(self.changed.iter().filter_map(|pending| match pending {
            Pending::Put(other, ..) => Some(*other),
            _ => None,
        }));
        others
            .into_iter()
            .filter(|other| *other != id)
            .any(|other| {
                let has = self.record(other).ok().and_then(|(_, has)| has);
                has.is_some_and(|has| has.id == body.id)
            })
    }

    fn note(&mut self, id: Id, note: Note) -> Result<(), StoreError> {
        self.check()?;
        let (mut record, body) = self.record(id)?;
        let at_s = now_s();
        match note {
            Note::Failed => record.attempts = record.attempts.saturating_add(1),
            Note::Remote(remote) => record.remote = remote,
            Note::Again => record.delivery = Delivery::Waiting,
            Note::Damaged => {
                self.give_up(id, Delivery::Damaged);
                return Ok(());
            }
            Note::Refused(status) => {
                self.give_up(id, Delivery::Refused { status, at_s });
                return Ok(());
            }
            Note::Delivered(status) => {
                let delivered = Delivery::Delivered { status, at_s };
                let twins = lock(&self.ledger).twins_of(id);
                for id in [id].into_iter().chain(twins) {
                    self.deliver(id, delivered);
                }
                return Ok(());
            }
        }
        self.changed.push(Pending::Put(id, Box::new(record), body));
        Ok(())
    }

    /// It does not go for now, and neither do its twins.
    fn give_up(&mut self, id: Id, delivery: Delivery) {
        let twins = lock(&self.ledger).twins_of(id);
        for id in [id].into_iter().chain(twins) {
            if let Ok((mut record, body)) = self.record(id) {
                record.delivery = delivery;
                record.twin_of = None;
                self.changed.push(Pending::Put(id, Box::new(record), body));
            }
        }
    }

    /// The origin has it: the body may go, and what gives power there.
    fn deliver(&mut self, id: Id, delivered: Delivery) {
        let Ok((mut record, body)) = self.record(id) else {
            return;
        };
        record.delivery = delivered;
        record.metadata.forget_secrets();
        record.remote = None;
        record.twin_of = None;
        self.changed.push(Pending::Put(id, Box::new(record), None));
        self.leave(id, body);
    }
}

/// Why nothing became durable.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the device fails: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Index(#[from] crate::store::index::IndexError),
    #[error("{0}")]
    Store(#[from] StoreError),
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What makes an upload the same as another: the request, and its bytes.
fn identity(record: &Record, digest: Digest) -> Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&record.metadata.identity());
    context.update(&digest.0);
    let mut identity = [0; 32];
    identity.copy_from_slice(context.finish().as_ref());
    Digest(identity)
}

/// Seconds since 1970.
fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
