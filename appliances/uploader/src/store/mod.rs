//! The store: uploads on a raw device, durable before anybody is told so.
//!
//! One thread, the [`keeper`], takes commands and writes their bytes; another, the [`committer`], makes durable
//! what was written, bodies and index by one flush, while the keeper goes on writing. Only then the commands
//! are answered: the more uploads come at once, the fewer flushes each takes. What is durable is in the
//! [`ledger`], where everybody may look.
//!
//! *States of an upload.* made → arriving, by one client at a time (a newer one takes over) → whole → waiting,
//! or the twin of another that waits → delivered, or refused by its origin → forgotten.
//!
//! *Failures.* When a write or a flush fails nothing is acknowledged any more: what the device has kept can
//! only be told by reading it anew. Bytes that do not have their checksum are never sent.

mod committer;
mod device;
mod hashing;
mod index;
mod keeper;
mod layout;
mod ledger;
#[cfg(test)]
mod power;
mod record;
mod region;
mod space;
#[cfg(test)]
mod tests;
mod undo;
mod work;

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use committer::CommitError;
pub use device::Device;
pub(crate) use device::{Disk, DiskError};
pub(crate) use keeper::Keeper;
pub use layout::LayoutError;
pub(crate) use layout::number;
pub use ledger::{Entry, Ledger};
#[cfg(test)]
pub(crate) use power::{Faulty, Random};
pub use record::{Body, Delivery, Digest, Extent, Record, Whole};

use crate::id::Id;
use crate::limits::COMMANDS_WAITING_MAX;
use crate::metadata::Metadata;
use crate::store::layout::Layout;

/// Why the store does not do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such upload.
    #[error("there is no such upload")]
    Unknown,
    /// Another request goes on with the upload.
    #[error("another request goes on with this upload")]
    TakenOver,
    /// The upload would be longer than its client said.
    #[error("the upload is longer than was said")]
    TooLong,
    /// The length was said before, or is less than what came.
    #[error("the length is another already")]
    Length,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// There are more uploads than are remembered.
    #[error("too many uploads are remembered")]
    TooMany,
    /// The bytes are not what was said of them; they are forgotten.
    #[error("the upload does not have its digest")]
    Mismatch,
    /// It is whole, and cannot change.
    #[error("the upload is whole")]
    IsWhole,
    /// Parts of a concatenation are missing, unfinished, or none.
    #[error("the parts of this upload are not there")]
    Parts,
    /// The disk gave back other bytes than it was given.
    #[error("the disk has damaged the upload")]
    Damaged,
    /// The disk fails; nothing is taken any more.
    #[error("the disk fails")]
    Failed,
}

/// Errors of the device end everything: [`StoreError::Failed`].
impl From<io::Error> for StoreError {
    fn from(_: io::Error) -> StoreError {
        StoreError::Failed
    }
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0}")]
    Disk(#[from] DiskError),
    #[error("{0}")]
    Layout(#[from] LayoutError),
    #[error("the device fails: {0}")]
    Io(#[from] io::Error),
    #[error("{0}; the device was changed by something else, or is broken")]
    Index(#[from] index::IndexError),
    #[error("what became durable last cannot be checked: {0}")]
    Recover(#[from] index::RecoverError),
    #[error("the index contradicts itself about {0}; the device was changed by something else")]
    Contradiction(&'static str),
    #[error("no thread for the disk: {0}")]
    Thread(io::Error),
}

/// An upload as its client finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who may append; nobody else may from now on.
    pub lease: u64,
    /// Durable bytes.
    pub offset: u64,
    /// Bytes of the whole, if they were said.
    pub length: Option<u64>,
}

/// An upload after bytes became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Durable bytes.
    pub offset: u64,
    /// If they are all.
    pub whole: Option<Whole>,
}

/// What became of an attempt to send an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The origin has it.
    Delivered(u16),
    /// The origin does not want it.
    Refused(u16),
    /// It could not be sent.
    Failed,
    /// The disk has damaged it.
    Damaged,
    /// A resource was made for it at the origin, or is gone there.
    Remote(Option<String>),
    /// It shall be sent although it was refused.
    Again,
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the keeper is asked.
pub(crate) enum Command {
    Create {
        length: Option<u64>,
        partial: bool,
        metadata: Metadata,
        digest: Option<Digest>,
        reply: Reply<Id>,
    },
    Open {
        id: Id,
        hold: bool,
        reply: Reply<Opened>,
    },
    Append {
        id: Id,
        lease: u64,
        bytes: Bytes,
        reply: Reply<()>,
    },
    Finish {
        id: Id,
        lease: u64,
        length: Option<u64>,
        digest: Option<Digest>,
        reply: Reply<Stored>,
    },
    RollBack {
        id: Id,
        lease: u64,
        reply: Reply<()>,
    },
    Join {
        parts: Vec<Id>,
        metadata: Metadata,
        digest: Option<Digest>,
        reply: Reply<Id>,
    },
    Remove {
        id: Id,
        reply: Reply<()>,
    },
    Note {
        id: Id,
        note: Note,
        reply: Reply<()>,
    },
    /// The commit that was under way has ended.
    Committed(Result<(), CommitError>),
}

/// The store, as everybody knows it.
#[derive(Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    ledger: Arc<Mutex<Ledger>>,
    device: Arc<dyn Device>,
    layout: Layout,
    signals: Arc<Signals>,
    /// Whether a power cut tore the last commit, of which nobody was told; it was taken back.
    pub(crate) took_back: bool,
}

/// What others wait for.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Something became durable.
    changed: Notify,
    /// The disk fails.
    failed: Notify,
}

impl Store {
    /// Starts a store on a device, which is made ours if it is blank.
    pub(crate) fn start(device: Arc<dyn Device>) -> Result<Store, OpenError> {
        let (mut keeper, committer) = Keeper::open(Arc::clone(&device))?;
        let (commands, waiting) = mpsc::channel(COMMANDS_WAITING_MAX);
        let signals = Arc::new(Signals::default());
        let store = Store {
            commands,
            ledger: keeper.ledger(),
            device,
            layout: keeper.layout(),
            took_back: keeper.took_back,
            signals: Arc::clone(&signals),
        };
        // There is one at a time, so that the keeper never waits to hand it over.
        let (commits, coming) = sync_channel(1);
        let done = store.commands.downgrade();
        let thread = std::thread::Builder::new().name("commit".to_owned());
        let run = move || committer.run(&coming, &done);
        thread.spawn(run).map_err(OpenError::Thread)?;
        let thread = std::thread::Builder::new().name("store".to_owned());
        let run = move || keeper.run(waiting, &commits, &signals);
        thread.spawn(run).map_err(OpenError::Thread)?;
        Ok(store)
    }

    /// Waits until something became durable since the last time.
    pub(crate) async fn changed(&self) {
        self.signals.changed.notified().await;
    }

    /// Waits until the disk fails.
    pub(crate) async fn failed(&self) {
        self.signals.failed.notified().await;
    }

    /// What is durable. Nobody keeps this for long.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a part of a body. It blocks.
    ///
    /// # Errors
    /// A device that fails, and bytes that are not what they were.
    pub fn read(&self, extent: &Extent) -> Result<Vec<u8>, StoreError> {
        work::read(self.device.as_ref(), &self.layout, extent)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| StoreError::Failed)?;
        answer.await.map_err(|_| StoreError::Failed)?
    }

    /// Makes an upload, which must come to a digest if one is said; its name is durable.
    ///
    /// # Errors
    /// No room for it.
    pub async fn create(
        &self,
        length: Option<u64>,
        partial: bool,
        metadata: Metadata,
        digest: Option<Digest>,
    ) -> Result<Id, StoreError> {
        self.ask(|reply| Command::Create {
            length,
            partial,
            metadata,
            digest,
            reply,
        })
        .await
    }

    /// Goes on with an upload, in place of whoever did so far. With `hold` nothing that is appended becomes
    /// durable before it is finished.
    ///
    /// # Errors
    /// An unknown upload.
    pub async fn open(&self, id: Id, hold: bool) -> Result<Opened, StoreError> {
        self.ask(|reply| Command::Open { id, hold, reply }).await
    }

    /// Adds bytes, which are not durable yet; the answer comes when they are written.
    ///
    /// # Errors
    /// By the answer: another has taken over; more bytes than were said; a disk that is full or fails.
    pub async fn append_later(
        &self,
        id: Id,
        lease: u64,
        bytes: Bytes,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Append {
            id,
            lease,
            bytes,
            reply,
        };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| StoreError::Failed)?;
        Ok(answer)
    }

    /// Makes durable what was added, and sets length and digest of the whole if they are known only now.
    ///
    /// # Errors
    /// As for [`Store::append_later`]; another length or digest than was said.
    pub async fn finish(
        &self,
        id: Id,
        lease: u64,
        length: Option<u64>,
        digest: Option<Digest>,
    ) -> Result<Stored, StoreError> {
        self.ask(|reply| Command::Finish {
            id,
            lease,
            length,
            digest,
            reply,
        })
        .await
    }

    /// Takes back what was added and is not durable.
    ///
    /// # Errors
    /// Another has taken over.
    pub async fn roll_back(&self, id: Id, lease: u64) -> Result<(), StoreError> {
        self.ask(|reply| Command::RollBack { id, lease, reply })
            .await
    }

    /// Makes one upload of parts, which are then gone.
    ///
    /// # Errors
    /// Another digest than was said. Parts that are not whole, not partial, or not there.
    pub async fn join(
        &self,
        parts: Vec<Id>,
        metadata: Metadata,
        digest: Option<Digest>,
    ) -> Result<Id, StoreError> {
        self.ask(|reply| Command::Join {
            parts,
            metadata,
            digest,
            reply,
        })
        .await
    }

    /// Forgets an upload.
    ///
    /// # Errors
    /// An unknown upload.
    pub async fn remove(&self, id: Id) -> Result<(), StoreError> {
        self.ask(|reply| Command::Remove { id, reply }).await
    }

    /// Writes down what became of an attempt to send it.
    ///
    /// # Errors
    /// An unknown upload.
    pub async fn note(&self, id: Id, note: Note) -> Result<(), StoreError> {
        self.ask(|reply| Command::Note { id, note, reply }).await
    }
}
