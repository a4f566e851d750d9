//! What an appliance is handed when it starts, to make its router of.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::beside::Beside;
use crate::certificate::Certificates;
use crate::drain::Drain;
use crate::limits::HEAD_BYTES_MAX;
use crate::log::Log;
use crate::management::Pages;
use crate::metrics::Registry;
use crate::own_name::OwnName;
use crate::readiness::Readiness;
use crate::refusal::{Refusal, Refusals};
use crate::registration::Metadata;

/// Why an appliance cannot start; it ends with it on standard error.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What an appliance is handed. `T` is its own settings: `[service]` of the document.
#[derive(Debug)]
pub struct Stage<T> {
    /// Its own settings.
    pub settings: T,
    /// Clients' connections at once, at most.
    pub connections_max: usize,
    /// Where it writes lines.
    pub log: Log,
    /// Where its figures are, beside those that every appliance has.
    pub metrics: Registry,
    /// The request to end, which it may make itself.
    pub drain: Drain,
    /// Whether requests are welcome; gates keep them away.
    pub readiness: Readiness,
    /// What runs beside its requests.
    pub background: Background,
    /// What it shows on the management listener.
    pub pages: Pages,
    /// The host's metadata service, for what an appliance's token grants beyond packets; none where
    /// it stands alone.
    pub metadata: Option<Metadata>,
    /// The only name that clients are served for, if it sets one; and who takes on what is not for it.
    pub own_name: OwnName,
    /// Certificates that clients are served beside the appliance's own.
    pub certificates: Certificates,
    /// Listeners beside those for clients.
    pub beside: Beside,
    /// How much of a body is read at once.
    pub reads: Reads,
}

/// How many bytes of a body are read at once: as many as a head may have, unless an appliance that takes many
/// large bodies says more. Each connection may hold as many.
#[derive(Clone, Debug)]
pub struct Reads(Arc<AtomicUsize>);

impl Default for Reads {
    fn default() -> Reads {
        Reads(Arc::new(AtomicUsize::new(HEAD_BYTES_MAX)))
    }
}

impl Reads {
    /// Sets it, for the connections that clients will make.
    pub fn at_once(&self, bytes: usize) {
        self.0.store(bytes.max(HEAD_BYTES_MAX), Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tasks that run beside the requests. When the appliance ends they hear of it by [`Drain::begun`]
/// and are waited for, within the same time as the requests in flight; then they are cut.
#[derive(Clone, Debug, Default)]
pub struct Background(Arc<Mutex<JoinSet<()>>>);

impl<T> Stage<T> {
    /// Refuses, logs and counts by the reasons of `R`.
    pub fn refusals<R: Refusal>(&self) -> Refusals {
        Refusals::of::<R>(&self.metrics, &self.log)
    }
}

impl Background {
    /// Runs a task. Its panic ends it alone.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is let go of here, so the set grows with what runs alone.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Takes the tasks away, to wait for them.
    pub(crate) fn take(&self) -> JoinSet<()> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
