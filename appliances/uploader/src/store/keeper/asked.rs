//! What commands do to uploads. Nothing of it is durable before the group's commit.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::Id;
use crate::metadata::Metadata;
use crate::store::keeper::{Keeper, Pending, lock, now_s};
use crate::store::record::{Body, Delivery, Digest, Extent, Record};
use crate::store::work::{Disk, Work};
use crate::store::{Note, Opened, StoreError, Stored};

impl Keeper {
    /// An upload as this group of commands finds it.
    pub(super) fn record(&self, id: Id) -> Result<(Record, Option<Arc<Body>>), StoreError> {
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

    pub(super) fn create(
        &mut self,
        length: Option<u64>,
        partial: bool,
        metadata: Metadata,
        expected: Option<Digest>,
    ) -> Result<Id, StoreError> {
        self.check()?;
        let id = Id::random().ok_or(StoreError::Failed)?;
        let record = Record {
            length,
            partial,
            metadata,
            created_s: now_s(),
            body: id,
            expected,
            whole: None,
            delivery: Delivery::Waiting,
            attempts: 0,
            remote: None,
            twin_of: None,
        };
        let added = self.changed.iter().filter_map(|pending| match pending {
            Pending::Put(_, record, _) => Some(record.bytes()),
            _ => None,
        });
        let (count, bytes) = added.fold((1, record.bytes()), |(count, sum), bytes| {
            (count + 1, sum + bytes)
        });
        if !lock(&self.ledger).has_room(count, bytes) {
            return Err(StoreError::TooMany);
        }
        let work = Work::resume(length, None);
        self.space
            .promise(work.promised)
            .map_err(|_| StoreError::Full)?;
        self.works.insert(id, work);
        self.changed.push(Pending::Put(id, Box::new(record), None));
        if length == Some(0) {
            self.finished.push(id);
        }
        Ok(id)
    }

    /// An upload that is on its way, for the one who may change it.
    pub(super) fn work(&mut self, id: Id, lease: Option<u64>) -> Result<&mut Work, StoreError> {
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

    pub(super) fn open_upload(&mut self, id: Id, hold: bool) -> Result<u64, StoreError> {
        self.lease += 1;
        let lease = self.lease;
        match self.work(id, None) {
            Ok(work) => work.lease = lease,
            Err(StoreError::IsWhole) => return Ok(lease),
            Err(error) => return Err(error),
        }
        if let Some(work) = self.works.get_mut(&id) {
            let was_held = std::mem::replace(&mut work.is_held, hold);
            if hold || was_held {
                // What came for a checksum that never came, or would be mixed with what has one.
                work.roll_back(&mut self.space);
                work.is_held = hold;
            }
            // One that was killed before anybody finished it may be whole and not know it.
            if !hold && (work.is_dirty() || work.is_whole()) {
                self.finished.push(id);
            }
        }
        Ok(lease)
    }

    pub(super) fn opened(&self, id: Id, lease: u64) -> Result<Opened, StoreError> {
        let ledger = lock(&self.ledger);
        let entry = ledger.get(id).ok_or(StoreError::Unknown)?;
        Ok(Opened {
            lease,
            offset: entry.offset(),
            length: entry.record.length,
        })
    }

    pub(super) fn append(&mut self, id: Id, lease: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.work(id, Some(lease))?;
        let mut disk = Disk {
            device: self.device.as_ref(),
            layout: &self.layout,
            space: &mut self.space,
            hasher: &self.hasher,
        };
        let work = self.works.get_mut(&id).ok_or(StoreError::Unknown)?;
        match work.append(bytes, &mut disk) {
            Ok(written) => self.wrote(written),
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

    /// Counts bytes of bodies that were written.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.volatile += bytes;
        self.unindexed += bytes;
    }

    pub(super) fn finish(
        &mut self,
        id: Id,
        lease: u64,
        length: Option<u64>,
        digest: Option<Digest>,
    ) -> Result<(), StoreError> {
        let work = match self.work(id, Some(lease)) {
            Ok(work) => work,
            // What was whole before is whole still.
            Err(StoreError::IsWhole) => {
                let (record, _) = self.record(id)?;
                let has = record.whole.map(|whole| whole.digest);
                let same = length.is_none_or(|length| record.length == Some(length));
                return match digest.is_none_or(|digest| has == Some(digest)) {
                    false => Err(StoreError::Mismatch),
                    true if same => Ok(()),
                    true => Err(StoreError::Length),
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
        if digest.is_some() {
            let (mut record, body) = self.record(id)?;
            record.expected = digest;
            self.changed.push(Pending::Put(id, Box::new(record), body));
        }
        if let Some(work) = self.works.get_mut(&id) {
            work.is_held = false;
        }
        self.finished.push(id);
        Ok(())
    }

    pub(super) fn stored(&self, id: Id) -> Result<Stored, StoreError> {
        let ledger = lock(&self.ledger);
        let entry = ledger.get(id).ok_or(match self.mismatched.contains(&id) {
            true => StoreError::Mismatch,
            false => StoreError::Unknown,
        })?;
        // What its client still has must not be thought safe.
        if entry.record.delivery == Delivery::Damaged {
            return Err(StoreError::Damaged);
        }
        Ok(Stored {
            offset: entry.offset(),
            whole: entry.record.whole,
        })
    }

    pub(super) fn join(
        &mut self,
        parts: &[Id],
        metadata: Metadata,
        digest: Option<Digest>,
    ) -> Result<Id, StoreError> {
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
        let id = self.create(Some(0), false, metadata, digest)?;
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

    pub(super) fn remove(&mut self, id: Id) -> Result<(), StoreError> {
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
    pub(super) fn promote(&mut self, id: Id) -> Result<(), StoreError> {
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
    pub(super) fn leave(&mut self, id: Id, body: Option<Arc<Body>>) {
        let Some(body) = body else {
            return;
        };
        if !self.is_shared(id, &body) {
            self.give_back(body);
        }
    }

    /// Whether another upload has a body, as this group of commands leaves it.
    pub(super) fn is_shared(&self, id: Id, body: &Body) -> bool {
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

    pub(super) fn note(&mut self, id: Id, note: Note) -> Result<(), StoreError> {
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
    pub(super) fn give_up(&mut self, id: Id, delivery: Delivery) {
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
    pub(super) fn deliver(&mut self, id: Id, delivered: Delivery) {
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
