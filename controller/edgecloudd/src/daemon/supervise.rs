//! One replica's life: prepared, known to the switch, started, asked whether it lives, and started
//! again when it has died, later each time.

use std::sync::Arc;
use std::time::Duration;

use manifest::Digest;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::{Daemon, launch, lock};
use crate::domains::Spec;
use crate::health::Judge;
use crate::refusal::Refusal;
use crate::state::{Change, ReplicaRecord, Running};

/// Before a domain that died is started again: at first, and at most.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(60);
/// A domain that lived so long died of something new.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Who waits for a domain's start.
pub(super) type Told = oneshot::Sender<Result<(), Refusal>>;

impl Daemon {
    /// Begins to look after a replica; one that runs already is left running.
    pub(super) fn supervise(self: &Arc<Self>, number: u32, told: Option<Told>) {
        let daemon = Arc::clone(self);
        let task = tokio::spawn(async move { daemon.keep_running(number, told).await });
        lock(&self.supervisors).insert(number, task.abort_handle());
    }

    async fn keep_running(self: Arc<Self>, number: u32, mut told: Option<Told>) {
        let mut pause = RESTART_AFTER;
        while let Ok(replica) = self.replica(number) {
            let spec = self.spec(number, &replica.record);
            let started = match replica.running {
                Some(Running { id: Some(id), .. }) => Ok(id),
                _ => self.begin(number, &replica.record, &spec).await,
            };
            let since = Instant::now();
            match (started, told.take()) {
                (Ok(id), waiting) => {
                    tracing::info!(domain = spec.name, id, "runs");
                    // Who launched it may have gone.
                    let _ = waiting.map(|waiting| waiting.send(Ok(())));
                    tokio::select! {
                        () = self.domains.ended(&spec, id) => {}
                        () = self.keep_asking(number, &replica.record) => {}
                    }
                    tracing::warn!(domain = spec.name, id, "ended");
                }
                (Err(refusal), Some(waiting)) => {
                    self.give_up(number, &spec).await;
                    let _ = waiting.send(Err(refusal));
                    return;
                }
                (Err(refusal), None) => {
                    tracing::error!(domain = spec.name, error = %refusal, "does not start");
                }
            }
            if !self.bury(number, &spec).await {
                return;
            }
            if since.elapsed() > STABLE_AFTER {
                pause = RESTART_AFTER;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RESTART_AFTER_MAX);
        }
    }

    /// Makes a domain and starts it; the switch knows it before it says a word.
    async fn begin(
        &self,
        number: u32,
        record: &ReplicaRecord,
        spec: &Spec,
    ) -> Result<u32, Refusal> {
        let toolstack = |error: crate::domains::DomainsError| Refusal::Toolstack(error.to_string());
        let switch = |error: crate::switch::SwitchError| Refusal::Switch(error.to_string());
        let digest = Digest::from_hex(&record.digest);
        let digest = digest.ok_or_else(|| Refusal::Malformed("the image's digest".to_owned()))?;
        launch::image_is(&record.image, digest).await?;
        // What an earlier life of the daemon left half made.
        self.domains.destroy(spec).await.map_err(toolstack)?;
        let interface = self.domains.prepare(spec).await.map_err(toolstack)?;
        let port = self.switch.plug(&interface).await.map_err(switch)?;
        for address in &record.addresses {
            let told = self.switch.neighbour(*address, record.mac).await;
            told.map_err(switch)?;
        }
        let changed = self.note_running(number, Some(Running { port, id: None }));
        self.applied(changed).await?;
        let id = self.domains.start(spec).await.map_err(toolstack)?;
        self.note_running(number, Some(Running { port, id: Some(id) }));
        Ok(id)
    }

    /// Asks a domain that said that it is ready whether it lives, for ever.
    async fn keep_asking(&self, number: u32, record: &ReplicaRecord) {
        let health = self.config.health;
        // The metadata service needs one of IPv4, so there is one.
        let Some(address) = record.addresses.iter().find(|address| address.is_ipv4()) else {
            return std::future::pending().await;
        };
        let mut judge = Judge::new(record.failed, health.failures);
        let mut was_ready = record.ready;
        loop {
            if !judge.doubts() {
                sleep(health.interval()).await;
            }
            let Ok(replica) = self.replica(number) else {
                return std::future::pending().await;
            };
            if !replica.record.ready {
                was_ready = false;
                continue;
            }
            if !was_ready {
                judge = Judge::new(false, health.failures);
                was_ready = true;
            }
            let answered = record.probe.ask(*address, health.timeout()).await;
            let Some(failed) = judge.hear(answered) else {
                continue;
            };
            tracing::warn!(domain = record.name, failed, "health changed");
            if let Err(error) = self.change_replica(number, |record| record.failed = failed) {
                tracing::error!(%error, "health not written down");
            }
        }
    }

    /// After a domain has ended: the switch forgets it, then the rest of it goes. Whether it is to
    /// be started again: not one that was asked to drain.
    async fn bury(self: &Arc<Self>, number: u32, spec: &Spec) -> bool {
        let changed = self.note_running(number, None);
        let recorded = self.note_end(number);
        if let Err(error) = &recorded {
            tracing::error!(%error, "an end was not written down");
        }
        let again = self
            .replica(number)
            .is_ok_and(|replica| !replica.record.draining);
        if let Err(error) = self.applied(recorded.unwrap_or(changed)).await {
            tracing::error!(%error, "an end was not told to the switch");
        }
        if again {
            self.clear(spec).await;
        } else {
            self.give_up(number, spec).await;
        }
        again
    }

    /// Writes down that a domain has ended.
    pub(super) fn note_end(&self, number: u32) -> Result<u64, Refusal> {
        self.change_replica(number, |record| {
            record.registered = false;
            record.ready = false;
            record.failed = false;
            record.restarts += 1;
        })
    }

    /// Removes a replica for good.
    pub(super) async fn give_up(&self, number: u32, spec: &Spec) {
        self.note_running(number, None);
        self.clear(spec).await;
        let removed = self.take_away(|state| {
            let known = state.replicas.contains_key(&number);
            let changes = known.then_some(Change::NoReplica(number));
            Ok(((), changes.into_iter().collect()))
        });
        match removed {
            Ok(((), changed, _)) => {
                if let Err(error) = self.applied(changed).await {
                    tracing::error!(%error, "a removal was not told to the switch");
                }
            }
            Err(error) => tracing::error!(%error, "not removed"),
        }
        lock(&self.supervisors).remove(&number);
        lock(&self.nonces).remove(&number);
    }

    /// Ends a domain and removes its port, as far as they are there.
    pub(super) async fn clear(&self, spec: &Spec) {
        let found = self.domains.interface(spec);
        if let Err(error) = self.domains.destroy(spec).await {
            tracing::error!(domain = spec.name, %error, "not destroyed");
        }
        if let Some(interface) = found
            && let Err(error) = self.switch.unplug(&interface).await
        {
            tracing::error!(domain = spec.name, %error, "not unplugged");
        }
    }
}
