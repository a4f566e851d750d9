//! What a commit has in it, and what its end changes.

use std::sync::Arc;

use crate::id::Id;
use crate::limits::{EAGER_BYTES, VOLATILE_BYTES_MAX};
use crate::store::StoreError;
use crate::store::committer::{Commit, CommitError};
use crate::store::index::Change;
use crate::store::keeper::{Keeper, Pending, UnderWay, lock, now_s};
use crate::store::record::{Body, Delivery, Digest, Extent, Record, Whole};
use crate::store::work::Disk;

impl Keeper {
    /// Begins a commit if none is under way and there is something to make durable.
    pub(super) fn begin(&mut self) -> Option<Commit> {
        let is_due = !self.answers.is_empty() || self.volatile >= EAGER_BYTES;
        if self.under_way.is_some() || !is_due {
            return None;
        }
        let begun = self.check().map_err(Error::from);
        match begun.and_then(|()| self.gather()) {
            Ok(commit) if commit.changes.is_empty() && self.volatile < EAGER_BYTES => {
                // All that was asked is durable already.
                self.end(Ok(()));
                None
            }
            Ok(commit) => {
                self.volatile = 0;
                Some(commit)
            }
            Err(error) => {
                self.fail(&error);
                self.answer(Err(StoreError::Failed));
                None
            }
        }
    }

    /// What becomes durable next: all that was finished or changed.
    fn gather(&mut self) -> Result<Commit, Error> {
        let mut finished = std::mem::take(&mut self.finished);
        finished.sort_unstable();
        finished.dedup();
        finished.retain(|id| self.works.get(id).is_some_and(|work| !work.is_held));
        for id in &finished {
            let mut disk = Disk {
                device: self.device.as_ref(),
                layout: &self.layout,
                space: &mut self.space,
                hasher: &self.hasher,
            };
            let Some(work) = self.works.get_mut(id) else {
                continue;
            };
            match work.write_pending(&mut disk) {
                Ok(bytes) => self.wrote(bytes),
                // There is no room, so this one goes back to where it was.
                Err(StoreError::Full) => work.roll_back(&mut self.space),
                Err(error) => return Err(error.into()),
            }
        }
        let mut under_way = UnderWay::default();
        let mut commit = Commit::default();
        for id in finished {
            self.include(id, true, &mut under_way, &mut commit)?;
        }
        if self.unindexed >= VOLATILE_BYTES_MAX {
            self.unindexed = 0;
            let others: Vec<Id> = self.works.keys().copied().collect();
            for id in others {
                self.include(id, false, &mut under_way, &mut commit)?;
            }
        }
        self.change_records(&mut commit);
        under_way.changed = std::mem::take(&mut self.changed);
        under_way.answers = std::mem::take(&mut self.answers);
        under_way.leaving = std::mem::take(&mut self.given_back);
        self.under_way = Some(under_way);
        Ok(commit)
    }

    /// Adds what came of an upload, if anything did; one that is finished and whole is sealed.
    fn include(
        &mut self,
        id: Id,
        is_finished: bool,
        under_way: &mut UnderWay,
        commit: &mut Commit,
    ) -> Result<(), Error> {
        let Some(work) = self.works.get_mut(&id) else {
            return Ok(());
        };
        let is_whole = is_finished && work.is_whole();
        let has_new = work.extents.len() > work.durable;
        let is_included = under_way.works.iter().any(|(other, _)| *other == id);
        if is_included || work.is_held || !(has_new || is_whole) {
            return Ok(());
        }
        if has_new {
            if let Some(absorbed) = work.absorbed {
                commit.changes.push(Change::NoExtent(id, absorbed.offset));
            }
            let new = work.begin().to_vec();
            let changes = new.iter().map(|extent| Change::Extent(id, *extent));
            commit.changes.extend(changes);
            commit.fresh.extend(new);
        }
        let own = work.body(id);
        let (mut record, _) = self.record(id)?;
        under_way.works.push((id, is_whole));
        let body = match is_whole.then(|| self.digest(id)) {
            None => Some(Arc::clone(&own)),
            Some(Ok(digest)) if record.expected.is_some_and(|expected| expected != digest) => {
                self.mismatched.push(id);
                self.changed.push(Pending::Remove(id));
                commit.fresh.retain(|extent| !own.extents.contains(extent));
                self.give_back(own);
                return Ok(());
            }
            Some(digest) => self.seal(&mut record, id, digest, Arc::clone(&own))?,
        };
        if body.as_ref().is_none_or(|body| body.id != id) {
            // Its own go at once, and their blocks may be others' as soon as the commit has ended.
            commit.fresh.retain(|extent| !own.extents.contains(extent));
        }
        self.changed.push(Pending::Put(id, Box::new(record), body));
        Ok(())
    }

    /// Adds what changes beside bodies.
    fn change_records(&self, commit: &mut Commit) {
        let changes = &mut commit.changes;
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
    }

    /// Takes over what the commit under way has made durable, answers who waited for it, and serves who had
    /// to wait for its end.
    pub(crate) fn end(&mut self, outcome: Result<(), CommitError>) {
        let Some(under_way) = self.under_way.take() else {
            return;
        };
        self.answers.splice(0..0, under_way.answers);
        match outcome {
            Ok(()) => {
                self.settle(&under_way.works, under_way.changed);
                self.leaving.extend(under_way.leaving);
                self.answer(Ok(()));
            }
            Err(error) => {
                self.fail(&error);
                self.answer(Err(StoreError::Failed));
            }
        }
        for command in std::mem::take(&mut self.waiting) {
            self.take(command);
        }
    }

    fn answer(&mut self, outcome: Result<(), StoreError>) {
        self.changes += 1;
        for answer in std::mem::take(&mut self.answers) {
            answer(self, outcome);
        }
        self.mismatched.clear();
    }

    /// Makes a whole upload of one whose last byte is there. One that has the same bytes as another shares
    /// its body, which is the result; one that is the same request as another waits for that one's end.
    pub(super) fn seal(
        &mut self,
        record: &mut Record,
        id: Id,
        digest: Result<Digest, StoreError>,
        own: Arc<Body>,
    ) -> Result<Option<Arc<Body>>, Error> {
        let digest = match digest {
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
            hasher: &self.hasher,
        };
        let work = self.works.get(&id).ok_or(StoreError::Unknown)?;
        work.digest(&disk)
    }

    /// A body leaves the index, and its blocks are free when nobody reads it any more.
    pub(super) fn give_back(&mut self, body: Arc<Body>) {
        self.changed.push(Pending::Drop(Arc::clone(&body)));
        self.given_back.push(body);
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
    fn settle(&mut self, works: &[(Id, bool)], changed: Vec<Pending>) {
        for (id, is_whole) in works {
            let Some(work) = self.works.get_mut(id) else {
                continue;
            };
            work.settle(&mut self.space);
            if *is_whole {
                self.space.release(work.promised);
                self.works.remove(id);
            }
        }
        let mut ledger = lock(&self.ledger);
        for pending in changed {
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
        if self.has_failed || self.leaving.is_empty() {
            return;
        }
        let space = &mut self.space;
        self.leaving.retain(|body| {
            let is_read = Arc::strong_count(body) > 1;
            if !is_read {
                let extents = body.extents.iter();
                extents.for_each(|extent| space.free(extent.run()));
            }
            is_read
        });
        lock(&self.ledger).blocks = (self.space.available(), self.space.blocks());
    }
}

/// Why nothing became durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
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
