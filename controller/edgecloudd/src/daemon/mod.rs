//! The daemon: one state, under one lock, and one task that brings what follows from it into the
//! switch.
//!
//! **A change** is decided on the state, written down, taken over, and then the switch learns it:
//! [`Daemon::change`] returns a number, and [`Daemon::applied`] waits until the switch holds the
//! state of that number or a later one. Changes that come while the switch is busy go together.
//!
//! **A replica** has one task ([`supervise`](self)) that prepares it, waits for the switch, starts
//! it, asks it whether it lives, and starts it again when it has died.
//!
//! **After `kill -9`** the state is read again, domains that still run are found, and the switch gets
//! what it already holds: nothing is sent. Domains are not children that end with the daemon.

mod admissions;
mod free;
mod launch;
mod listings;
mod requests;
mod start;
mod supervise;
mod trace;
mod withdraw;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use manifest::{ReplayWindow, Timestamp, Verifier};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::domains::{Domains, Spec};
use crate::names::{Interest, Learned};
use crate::pipeline::Host;
use crate::refusal::Refusal;
use crate::state::{Change, ReplicaRecord, State};
use crate::store::{Store, StoreError};
use crate::switch::Switch;

pub use start::StartError;

/// How long an order to the switch is waited for: a switch that takes longer is as good as gone.
const SWITCH_TIME_MAX: Duration = Duration::from_secs(20);
/// Between attempts to reach a switch that is gone.
const SWITCH_RETRY: Duration = Duration::from_millis(500);
/// Between looks for tokens that expired and names that nobody needs.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Between looks at what the switch counted: what it counted since is lost when it is killed.
const ACCOUNT_EVERY: Duration = Duration::from_secs(5);

/// The daemon of a host.
pub struct Daemon {
    config: Config,
    verifier: Verifier,
    host: Host,
    store: Store,
    state: Mutex<State>,
    /// What was taken away though the disk refused it; locked after the state.
    unwritten: Mutex<Vec<Change>>,
    switch: Arc<dyn Switch>,
    domains: Arc<dyn Domains>,
    /// By replica: what one asks for takes nothing from the others.
    nonces: Mutex<BTreeMap<u32, ReplayWindow>>,
    supervisors: Mutex<BTreeMap<u32, AbortHandle>>,
    /// The number of the last change.
    changed: watch::Sender<u64>,
    /// The number of the last change that the switch holds.
    applied: watch::Sender<u64>,
    interest: watch::Sender<Interest>,
    /// Messages to the switch since the start.
    sent: AtomicUsize,
    /// Who opened connections, as the switch listed them last.
    listings: listings::Listings,
    /// Connections of domains that had too many.
    connections_refused: Arc<AtomicUsize>,
    /// Held while the switch is asked what it counted: answers are added in their order.
    accounting: tokio::sync::Mutex<()>,
}

/// The clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Timestamp::from_seconds(seconds)
        .unwrap_or_else(|| Timestamp::from_seconds(0).expect("1970 is a moment"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Daemon {
    /// Decides on the state, writes down what was decided, and takes it over. What `decide` returns
    /// comes back with the number of the change.
    fn change<T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<(T, u64), Refusal> {
        let mut state = lock(&self.state);
        let (told, changes) = decide(&state)?;
        if changes.is_empty() {
            return Ok((told, *self.changed.borrow()));
        }
        self.write(&changes)?;
        Ok((told, self.take(&mut state, changes)))
    }

    /// As [`Daemon::change`], for what takes something away: it is done even if it cannot be written
    /// down, for who has to be cut off must not stay because a disk is full. It is written with the
    /// next change that can be, before it. Comes with why it is not written.
    fn take_away<T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<(T, u64, Option<StoreError>), Refusal> {
        let mut state = lock(&self.state);
        let (told, changes) = decide(&state)?;
        if changes.is_empty() {
            return Ok((told, *self.changed.borrow(), None));
        }
        let error = self.write(&changes).err();
        if let Some(error) = &error {
            tracing::error!(%error, "done, but not written down yet: a daemon that starts now would undo it");
            lock(&self.unwritten).extend_from_slice(&changes);
        }
        Ok((told, self.take(&mut state, changes), error))
    }

    /// Writes changes down, after those that could not be.
    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut unwritten = lock(&self.unwritten);
        self.store.write(unwritten.iter().chain(changes))?;
        unwritten.clear();
        Ok(())
    }

    /// Writes what could not be written, if there is room now.
    fn write_unwritten(&self) {
        let _state = lock(&self.state);
        if !lock(&self.unwritten).is_empty() && self.write(&[]).is_ok() {
            tracing::info!("what was not written down is now");
        }
    }

    fn take(&self, state: &mut State, changes: Vec<Change>) -> u64 {
        for change in changes {
            state.take(change);
        }
        self.note(state)
    }

    /// Changes what is not written down: where replicas run.
    fn note_running(&self, number: u32, running: Option<crate::state::Running>) -> u64 {
        let mut state = lock(&self.state);
        if let Some(replica) = state.replicas.get_mut(&number) {
            replica.running = running;
        }
        self.note(&state)
    }

    fn note(&self, state: &State) -> u64 {
        let interest = state.interest();
        self.interest.send_if_modified(|held| {
            let is_news = *held != interest;
            *held = interest;
            is_news
        });
        self.changed.send_modify(|number| *number += 1);
        *self.changed.borrow()
    }

    /// Changes one replica, if it is there.
    fn change_replica(
        &self,
        number: u32,
        change: impl FnOnce(&mut ReplicaRecord),
    ) -> Result<u64, Refusal> {
        let changed = self.change(|state| {
            let Some(replica) = state.replicas.get(&number) else {
                return Ok(((), vec![]));
            };
            let mut record = replica.record.clone();
            change(&mut record);
            let changes = match record == replica.record {
                true => vec![],
                false => vec![Change::Replica(number, Box::new(record))],
            };
            Ok(((), changes))
        });
        changed.map(|((), number)| number)
    }

    /// Waits until the switch holds a change.
    async fn applied(&self, number: u64) -> Result<(), Refusal> {
        let mut applied = self.applied.subscribe();
        let waited = applied.wait_for(|applied| *applied >= number);
        match tokio::time::timeout(SWITCH_TIME_MAX, waited).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Refusal::Switch(
                "it did not take the flows in time".to_owned(),
            )),
        }
    }

    /// Whether the switch holds what is desired.
    pub fn is_ready(&self) -> bool {
        *self.applied.borrow() == *self.changed.borrow()
    }

    /// Of which names addresses are wanted; what is wanted now comes at once.
    pub fn interest(&self) -> watch::Receiver<Interest> {
        self.interest.subscribe()
    }

    /// Takes over what the resolver learned, in the order in which it comes, for ever.
    pub async fn keep_learning(self: Arc<Self>, mut learned: mpsc::Receiver<Learned>) {
        while let Some(news) = learned.recv().await {
            self.learn(news);
        }
    }

    /// Takes over what the resolver learned, and tells it once the switch has it.
    pub fn learn(self: &Arc<Self>, learned: Learned) {
        let changed = self.change(|state| {
            let change = state.learned(&learned.name, learned.current, now());
            Ok(((), change.into_iter().collect()))
        });
        let daemon = Arc::clone(self);
        let (name, installed) = (learned.name, learned.installed);
        tokio::spawn(async move {
            let applied = match changed {
                Ok(((), number)) => daemon.applied(number).await,
                Err(error) => Err(error),
            };
            match (applied, installed) {
                // Who asked may have gone.
                (Ok(()), Some(tell)) => drop(tell.send(())),
                (Err(error), _) => tracing::warn!(%name, %error, "not learned"),
                _ => {}
            }
        });
    }

    /// Brings changes into the switch, for ever.
    async fn keep_applied(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            let number = *changed.borrow_and_update();
            if self.apply().await {
                self.applied.send_replace(number);
                // The sender is our own, and stays.
                let _ = changed.changed().await;
            } else {
                tokio::time::sleep(SWITCH_RETRY).await;
            }
        }
    }

    async fn apply(&self) -> bool {
        let desired = lock(&self.state).desired(&self.host);
        let desired = match desired {
            Ok(desired) => Arc::new(desired),
            Err(error) => {
                tracing::error!(%error, "what is desired cannot be; the switch keeps what it has");
                return false;
            }
        };
        match self.switch.apply(desired).await {
            Ok(sent) => {
                if sent > 0 {
                    tracing::info!(sent, "the switch was changed");
                }
                self.sent.fetch_add(sent, Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the switch could not be changed; trying again");
                false
            }
        }
    }

    /// What a domain is made of.
    fn spec(&self, number: u32, record: &ReplicaRecord) -> Spec {
        let prefixes = &self.config.domain_network.prefixes;
        let with_prefix = |address: &IpAddr| {
            let range = prefixes.iter().find(|range| range.contains(*address))?;
            Some((*address, range.prefix()))
        };
        let mut environment: BTreeMap<String, zeroize::Zeroizing<String>> = record
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        let metadata = format!("http://{}/v1/", crate::pipeline::METADATA);
        environment.insert("EDGECLOUD_METADATA".to_owned(), metadata.into());
        environment.insert("EDGECLOUD_KEY".to_owned(), record.key.clone());
        Spec {
            number,
            name: record.name.clone(),
            image: record.image.clone(),
            memory_mib: record.memory_mib,
            mac: record.mac,
            addresses: record.addresses.iter().filter_map(with_prefix).collect(),
            gateways: self.config.domain_network.gateways.clone(),
            resolvers: self.config.network.resolvers.clone(),
            environment,
            disk: record.disk.clone(),
        }
    }
}

/// The parts of a daemon that tests take others of.
impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("host", &self.config.host)
            .finish_non_exhaustive()
    }
}
