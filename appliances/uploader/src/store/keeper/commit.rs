//! How a group of commands becomes durable: bodies, flush, index.

use std::sync::Arc;

use crate::id::Id;
use crate::limits::VOLATILE_BYTES_MAX;
use crate::store::StoreError;
use crate::store::index::{Change, IndexError};
use crate::store::keeper::{Keeper, Pending, lock, now_s};
use crate::store::record::{Body, Delivery, Digest, Extent, Record, Whole};
use crate::store::work::Disk;

impl Keeper {
    /// Makes everything durable that was finished or changed.
    pub(super) fn commit(&mut self) -> Result<(), Error> {
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
    pub(super) fn changes(&mut self, finished: &[Id]) -> Result<Vec<Change>, Error> {
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
    pub(super) fn seal(
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
            let drops =
                |pending: &Pending| matches!(pending, Pending::Drop(it) if it.id == body.id);
            !self.changed.iter().any(drops)
        };
        let Some(same) = same.filter(|same| same.id != id && stays(same)) else {
            return Ok(Some(own));
        };
        record.body = same.id;
        self.give_back(own);
        Ok(Some(same))
    }

    pub(super) fn digest(&mut self, id: Id) -> Result<Digest, StoreError> {
        let disk = Disk {
            device: self.device.as_ref(),
            layout: &self.layout,
            space: &mut self.space,
        };
        let work = self.works.get(&id).ok_or(StoreError::Unknown)?;
        work.digest(&disk)
    }

    /// A body leaves the index, and its blocks are free when nobody reads it any more.
    pub(super) fn give_back(&mut self, body: Arc<Body>) {
        self.changed.push(Pending::Drop(Arc::clone(&body)));
        self.leaving.push(body);
    }

    /// An upload that is the same request, and on its way or just delivered.
    pub(super) fn same_request(&self, id: Id, identity: Digest) -> Option<(Id, Delivery)> {
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
    pub(super) fn settle(&mut self, finished: &[Id]) {
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
    pub(super) fn reclaim(&mut self) {
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
}

/// Why nothing became durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the device fails: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Index(#[from] IndexError),
    #[error("{0}")]
    Store(#[from] StoreError),
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
