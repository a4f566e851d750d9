//! The thread that makes durable what the [`keeper`](super::keeper) has written, so that the keeper goes on
//! writing meanwhile.
//!
//! One thing after the other: whatever was written before a commit begins is durable when it ends, bodies and
//! index by one flush. A power cut within that flush may leave an index whose bodies are torn; `undo` finds
//! that out when the device is opened, and takes the commit back, of which nobody was told.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tokio::sync::mpsc::WeakSender;

use crate::store::Command;
use crate::store::device::Device;
use crate::store::index::{Change, Index, IndexError};
use crate::store::record::Extent;

/// Changes of a commit that are taken back one by one if its bodies are torn; of more than these the bodies
/// are made durable first, so that nothing need be taken back.
const UNDONE_MAX: usize = 4096;

/// What becomes durable together.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// Of the index; without any, only bodies become durable.
    pub(super) changes: Vec<Change>,
    /// What the index will have of the bodies that are not durable yet.
    pub(super) fresh: Vec<Extent>,
}

/// Why nothing became durable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error("the device fails: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Index(#[from] IndexError),
}

/// What the thread has.
pub(crate) struct Committer {
    pub(super) device: Arc<dyn Device>,
    pub(super) index: Index,
}

impl Committer {
    /// Makes a commit durable.
    pub(crate) fn commit(&self, mut commit: Commit) -> Result<(), CommitError> {
        if commit.changes.len() > UNDONE_MAX && !commit.fresh.is_empty() {
            self.device.flush()?;
            commit.fresh.clear();
        }
        match commit.changes.is_empty() {
            true => self.device.flush()?,
            false => self.index.apply(&commit.changes, &commit.fresh)?,
        }
        Ok(())
    }

    /// Commits what comes, and says so where the commands come in. Ends with the keeper.
    pub(crate) fn run(self, commits: &Receiver<Commit>, done: &WeakSender<Command>) {
        while let Ok(commit) = commits.recv() {
            let outcome = self.commit(commit);
            // Without anybody who could ask, nobody waits for an answer.
            let Some(done) = done.upgrade() else {
                return;
            };
            if done.blocking_send(Command::Committed(outcome)).is_err() {
                return;
            }
        }
    }
}
