//! The thread that writes to the disk, and decides what becomes durable when.
//!
//! While a commit is under way, bodies are written on, and whoever begins with an upload is answered; all
//! other commands wait, and are served together when it has ended. What came of an upload by the beginning of
//! a commit is its *mark*: that is what the commit's end makes durable, whatever came since.

mod asked;
mod commit;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::id::Id;
use crate::limits::{GROUP_MAX, RECORD_BYTES_MAX, RECORD_SHARE};
use crate::store::committer::{Commit, Committer};
use crate::store::device::Device;
use crate::store::hashing::Hasher;
use crate::store::index::{Contents, Index};
use crate::store::layout::Layout;
use crate::store::ledger::Ledger;
use crate::store::record::{Body, Delivery, Extent, Record};
use crate::store::region::Region;
use crate::store::space::Space;
use crate::store::work::{self, Work};
use crate::store::{Command, OpenError, Reply, Signals, StoreError};

/// An answer that waits for what it says to be durable.
type Answer = Box<dyn FnOnce(&Keeper, Result<(), StoreError>) + Send>;

/// All that the thread has.
pub(crate) struct Keeper {
    device: Arc<dyn Device>,
    layout: Layout,
    space: Space,
    hasher: Hasher,
    ledger: Arc<Mutex<Ledger>>,
    works: HashMap<Id, Work>,
    lease: u64,
    /// What changes with the next commit, beside the works.
    changed: Vec<Pending>,
    /// Works with something to commit.
    finished: Vec<Id>,
    /// Bytes written since a flush began.
    volatile: u64,
    /// Bytes written since all works were committed, whether anybody had asked for it or not.
    unindexed: u64,
    answers: Vec<Answer>,
    /// Bodies that nobody has any more with the next commit.
    given_back: Vec<Arc<Body>>,
    /// Bodies that nobody has any more but, perhaps, somebody who reads them.
    leaving: Vec<Arc<Body>>,
    under_way: Option<UnderWay>,
    /// Commands that wait for its end.
    waiting: VecDeque<Command>,
    /// What was not as its client had said, and is forgotten with the commit under way.
    mismatched: Vec<Id>,
    /// How often something became durable.
    changes: u64,
    has_failed: bool,
    /// Whether the last commit before this life was taken back.
    pub(super) took_back: bool,
}

/// A commit that has begun.
#[derive(Default)]
struct UnderWay {
    changed: Vec<Pending>,
    /// The works of which something becomes durable, and whether that is all of it.
    works: Vec<(Id, bool)>,
    answers: Vec<Answer>,
    leaving: Vec<Arc<Body>>,
}

impl UnderWay {
    fn concerns(&self, id: Id) -> bool {
        self.works.iter().any(|(work, _)| *work == id)
            || self.changed.iter().any(|pending| pending.is_of(id))
    }
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

impl Pending {
    fn is_of(&self, id: Id) -> bool {
        match self {
            Pending::Put(other, ..) | Pending::Remove(other) => *other == id,
            Pending::Drop(_) | Pending::Add(_) => false,
        }
    }
}

impl Keeper {
    /// Opens a device, and makes it ours if it is blank.
    pub(crate) fn open(device: Arc<dyn Device>) -> Result<(Keeper, Committer), OpenError> {
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
        // A device that cannot flush is found out before it is trusted; and what is read from now on, after
        // this process was killed or the power was gone, is there for good.
        device.flush()?;
        let took_back = index.recover(|extent| work::read(device.as_ref(), &layout, extent))?;
        let contents = index.contents()?;
        let mut keeper = Keeper {
            device: Arc::clone(&device),
            layout,
            space: Space::of(layout.blocks),
            hasher: Hasher::start().map_err(OpenError::Thread)?,
            ledger: Arc::default(),
            works: HashMap::new(),
            lease: 0,
            changed: Vec::new(),
            finished: Vec::new(),
            volatile: 0,
            unindexed: 0,
            answers: Vec::new(),
            given_back: Vec::new(),
            leaving: Vec::new(),
            under_way: None,
            waiting: VecDeque::new(),
            mismatched: Vec::new(),
            changes: 0,
            has_failed: false,
            took_back,
        };
        keeper.load(contents)?;
        Ok((keeper, Committer { device, index }))
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
        ledger.record_bytes_max = RECORD_BYTES_MAX.min(self.layout.index_bytes / RECORD_SHARE);
        Ok(())
    }

    pub(crate) fn ledger(&self) -> Arc<Mutex<Ledger>> {
        Arc::clone(&self.ledger)
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Serves until nobody asks any more.
    pub(crate) fn run(
        &mut self,
        mut commands: mpsc::Receiver<Command>,
        commits: &SyncSender<Commit>,
        signals: &Signals,
    ) {
        while let Some(first) = commands.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = commands.try_recv()
            {
                group.push(next);
            }
            let (had_failed, changes) = (self.has_failed, self.changes);
            if let Some(commit) = self.serve(group)
                && commits.send(commit).is_err()
            {
                // The other thread has panicked.
                self.end(Err(io::Error::other("nobody commits").into()));
            }
            if self.changes != changes {
                signals.changed.notify_one();
            }
            if self.has_failed && !had_failed {
                signals.failed.notify_one();
            }
        }
    }

    /// Serves commands that came together; what is to become durable next, by their one commit.
    pub(crate) fn serve(&mut self, commands: Vec<Command>) -> Option<Commit> {
        for command in commands {
            match command {
                Command::Committed(outcome) => self.end(outcome),
                command if self.must_wait(&command) => self.waiting.push_back(command),
                command => self.take(command),
            }
        }
        self.reclaim();
        self.begin()
    }

    /// Whether a command cannot be served while a commit is under way: almost all change what it commits.
    fn must_wait(&self, command: &Command) -> bool {
        let Some(under_way) = &self.under_way else {
            return false;
        };
        match command {
            Command::Append { .. } => false,
            Command::Open { id, hold, .. } => {
                let would_commit = |work: &Work| !*hold && (work.is_dirty() || work.is_whole());
                under_way.concerns(*id) || self.works.get(id).is_some_and(would_commit)
            }
            _ => true,
        }
    }

    /// From now on nothing is believed of the device.
    pub(super) fn fail(&mut self, why: &dyn std::fmt::Display) {
        self.has_failed = true;
        lock(&self.ledger).failed.get_or_insert(why.to_string());
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Create {
                length,
                partial,
                metadata,
                digest,
                reply,
            } => {
                let made = self.create(length, partial, metadata, digest);
                self.later(made, reply, |keeper, id| keeper.stored(id).map(|_| id));
            }
            Command::Open { id, hold, reply } => match self.open_upload(id, hold) {
                // All that is known of it is durable.
                Ok(lease) if !self.concerns(id) => drop(reply.send(self.opened(id, lease))),
                opened => self.later(opened, reply, move |keeper, lease| keeper.opened(id, lease)),
            },
            Command::Append {
                id,
                lease,
                bytes,
                reply,
            } => {
                let appended = self.append(id, lease, bytes);
                let _ = reply.send(appended);
            }
            Command::Finish {
                id,
                lease,
                length,
                digest,
                reply,
            } => {
                let finished = self.finish(id, lease, length, digest);
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
                digest,
                reply,
            } => {
                let joined = self.join(&parts, metadata, digest);
                self.later(joined, reply, |keeper, id| keeper.stored(id).map(|_| id));
            }
            Command::Remove { id, reply } => {
                let removed = self.remove(id);
                self.later(removed, reply, |_, ()| Ok(()));
            }
            Command::Note { id, note, reply } => {
                let noted = self.note(id, note);
                self.later(noted, reply, |_, ()| Ok(()));
            }
            Command::Committed(outcome) => self.end(outcome),
        }
    }

    /// Whether this group of commands changes an upload.
    fn concerns(&self, id: Id) -> bool {
        self.finished.contains(&id) || self.changed.iter().any(|pending| pending.is_of(id))
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

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.has_failed {
            true => Err(StoreError::Failed),
            false => Ok(()),
        }
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970.
fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
