//! What ends: a domain that is stopped, a token that expired or was revoked.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use manifest::{RevocationList, Signed, Timestamp};
use tokio::time::timeout;

use super::{Daemon, lock};
use crate::api::documents::{Revoked, Stop};
use crate::refusal::Refusal;
use crate::state::{Change, State, Withdrawn};

/// Longest drain.
const DRAIN_SECONDS_MAX: u64 = 3600;
/// How long a domain that was asked to end may take, before it is destroyed.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(10);
/// Between looks whether a draining domain has ended by itself.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

impl Daemon {
    /// Stops a domain: it gets no new connections, may finish, and ends.
    ///
    /// # Errors
    /// There is none, or what it was could not be written down.
    pub async fn stop(self: &Arc<Self>, name: &str, stop: Stop) -> Result<(), Refusal> {
        let (number, _) = self.named(name)?;
        let changed = self.change_replica(number, |record| record.draining = true)?;
        self.applied(changed).await?;
        // Whoever asked may go; what was asked is done.
        let daemon = Arc::clone(self);
        let ended = tokio::spawn(async move { daemon.drain_then_end(number, stop).await });
        ended
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    async fn drain_then_end(self: Arc<Self>, number: u32, stop: Stop) -> Result<(), Refusal> {
        let drained = async {
            // One whose interface has gone is gone, too.
            while self.replica(number).is_ok() {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        let seconds = stop.drain_seconds.min(DRAIN_SECONDS_MAX);
        let ended = timeout(Duration::from_secs(seconds), drained).await;
        if ended.is_err() && self.replica(number).is_ok() {
            self.change_replica(number, |record| record.ending = true)?;
            self.end(number).await;
        }
        Ok(())
    }

    /// Takes an application back: its connections are cut, its domains destroyed.
    ///
    /// # Errors
    /// There is none, or the switch did not do it; or it is done, but not written down.
    pub async fn revoke(self: &Arc<Self>, application: u32) -> Result<Revoked, Refusal> {
        let (told, changed, unwritten) = self.take_away(|state| {
            if !state.applications.contains_key(&application) {
                return Err(Refusal::NotFound(format!("application {application}")));
            }
            Ok(withdrawal(state, &[application], Withdrawn::Revoked))
        })?;
        self.cut(&told, changed).await?;
        unwritten.map_or(Ok(told), |error| Err(Refusal::Unwritten(error)))
    }

    /// Takes over the authority's list of revocations.
    ///
    /// # Errors
    /// It is not the authority's, or not newer than what is here; or it is done, but not written
    /// down.
    pub async fn take_revocations(self: &Arc<Self>, list: &str) -> Result<Revoked, Refusal> {
        let bytes = BASE64.decode(list.as_bytes());
        let bytes = bytes.map_err(|error| Refusal::Malformed(format!("`list`: {error}")))?;
        let signed = Signed::<RevocationList>::open(&bytes, &self.config.authority_keys);
        let list = signed
            .map_err(|error| Refusal::Malformed(format!("`list`: {error}")))?
            .into_document();
        let (told, changed, unwritten) = self.take_away(|state| {
            if !list.supersedes(&state.revocations) {
                return Err(Refusal::OldRevocations {
                    found: list.number(),
                    held: state.revocations.number(),
                });
            }
            let revoked: Vec<u32> = active(state)
                .filter(|(_, token)| list.contains(token.serial()))
                .map(|(number, _)| number)
                .collect();
            let (told, mut changes) = withdrawal(state, &revoked, Withdrawn::Revoked);
            changes.push(Change::Revocations(list.clone(), bytes.clone()));
            Ok((told, changes))
        })?;
        self.cut(&told, changed).await?;
        unwritten.map_or(Ok(told), |error| Err(Refusal::Unwritten(error)))
    }

    /// Withdraws what has expired.
    pub(super) fn withdraw_expired(self: &Arc<Self>, now: Timestamp) -> Result<(), Refusal> {
        // That it is not written down costs nothing: it expires after a restart again.
        let (told, changed, _) = self.take_away(|state| {
            let expired: Vec<u32> = active(state)
                .filter(|(_, token)| token.expires() <= now)
                .map(|(number, _)| number)
                .collect();
            Ok(withdrawal(state, &expired, Withdrawn::Expired))
        })?;
        if told.applications.is_empty() {
            return Ok(());
        }
        let daemon = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = daemon.cut(&told, changed).await {
                tracing::error!(%error, "what expired was not cut");
            }
        });
        Ok(())
    }

    /// After applications were withdrawn: no flow of theirs is left, no connection is remembered,
    /// and no domain runs, in this order.
    async fn cut(self: &Arc<Self>, withdrawn: &Revoked, changed: u64) -> Result<(), Refusal> {
        let (zones, replicas) = {
            let state = lock(&self.state);
            let numbers = &withdrawn.applications;
            let of = |number: &u32| state.applications.get(number).map(|a| a.record.zone);
            let zones: Vec<u16> = numbers.iter().filter_map(of).collect();
            let of = |number: &u32| state.replicas_of(*number).map(|(n, _)| n);
            let replicas: Vec<u32> = numbers.iter().flat_map(of).collect();
            (zones, replicas)
        };
        for replica in replicas {
            if let Some(task) = lock(&self.supervisors).remove(&replica) {
                task.abort();
            }
            self.end_later(replica);
        }
        self.applied(changed).await?;
        for zone in zones {
            let flushed = self.switch.flush_zone(zone).await;
            flushed.map_err(|error| Refusal::Switch(error.to_string()))?;
        }
        tracing::warn!(applications = ?withdrawn.applications, "withdrawn");
        Ok(())
    }

    /// Ends a replica, beside what else is done.
    pub(super) fn end_later(self: &Arc<Self>, number: u32) {
        let daemon = Arc::clone(self);
        tokio::spawn(async move { daemon.end(number).await });
    }

    /// Ends a replica: one that is withdrawn at once, another after it was asked to.
    async fn end(self: &Arc<Self>, number: u32) {
        if let Some(task) = lock(&self.supervisors).remove(&number) {
            task.abort();
        }
        let Ok(replica) = self.replica(number) else {
            return;
        };
        let spec = self.spec(number, &replica.record);
        let application = replica.record.application;
        let is_withdrawn = lock(&self.state)
            .applications
            .get(&application)
            .is_none_or(|application| application.record.withdrawn.is_some());
        if let Some(id) = replica.running.and_then(|running| running.id)
            && !is_withdrawn
        {
            self.domains.shutdown(&spec, id).await;
            // One that does not end is destroyed.
            let _ = timeout(SHUTDOWN_TIME_MAX, self.domains.ended(&spec, id)).await;
        }
        self.give_up(number, &spec).await;
        tracing::info!(domain = spec.name, "ended for good");
    }
}

/// The applications that are served, with their tokens.
fn active(state: &State) -> impl Iterator<Item = (u32, &manifest::Token)> {
    let all = state.applications.iter();
    let active = all.filter(|(_, application)| application.record.withdrawn.is_none());
    active.map(|(number, application)| (*number, &application.token))
}

/// What becomes different when applications are withdrawn.
fn withdrawal(state: &State, numbers: &[u32], why: Withdrawn) -> (Revoked, Vec<Change>) {
    let mut told = Revoked {
        applications: numbers.to_vec(),
        domains: vec![],
    };
    let mut changes = vec![];
    for number in numbers {
        if let Some(application) = state.applications.get(number) {
            let mut application = application.clone();
            application.record.withdrawn = Some(why);
            changes.push(Change::Application(Box::new(application)));
        }
        for (replica, known) in state.replicas_of(*number) {
            let mut record = known.record.clone();
            record.ending = true;
            record.draining = true;
            told.domains.push(record.name.clone());
            changes.push(Change::Replica(replica, Box::new(record)));
        }
    }
    (told, changes)
}
