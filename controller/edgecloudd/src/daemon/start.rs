//! How the daemon starts: what it remembers, and what still runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use manifest::{RevocationList, Signed, Token};
use tokio::sync::watch;

use super::{ACCOUNT_EVERY, Daemon, TIDY_EVERY, lock};
use crate::config::Config;
use crate::domains::Domains;
use crate::pipeline::Host;
use crate::refusal::Refusal;
use crate::state::{Application, Change, Replica, Running, State};
use crate::store::{Remembered, Store, StoreError};
use crate::switch::{Switch, SwitchError};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The switch.
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// The configuration.
    #[error("{0}")]
    Config(String),
    /// The toolstack.
    #[error(transparent)]
    Domains(#[from] crate::domains::DomainsError),
}

impl Daemon {
    /// Reads what it remembers, finds what still runs, and begins to keep the switch as desired.
    ///
    /// # Errors
    /// A part of the host that does not work.
    pub async fn start(
        config: Config,
        store: Store,
        host: Host,
        switch: Arc<dyn Switch>,
        domains: Arc<dyn Domains>,
    ) -> Result<Arc<Daemon>, StartError> {
        let verifier = config.verifier();
        let verifier = verifier.map_err(|error| StartError::Config(error.to_string()))?;
        let state = recall(store.remembered()?, &config);
        let interest = state.interest();
        let daemon = Arc::new(Daemon {
            config,
            verifier,
            host,
            store,
            state: Mutex::new(state),
            unwritten: Mutex::default(),
            switch,
            domains,
            nonces: Mutex::default(),
            supervisors: Mutex::new(BTreeMap::new()),
            changed: watch::Sender::new(1),
            applied: watch::Sender::new(0),
            interest: watch::Sender::new(interest),
            sent: AtomicUsize::new(0),
            listings: super::listings::Listings::default(),
            connections_refused: Arc::default(),
            accounting: tokio::sync::Mutex::new(()),
        });
        daemon.find_all().await?;
        let applier = Arc::clone(&daemon);
        tokio::spawn(async move { applier.keep_applied().await });
        daemon.resume();
        let tidier = Arc::clone(&daemon);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                tidier.tidy();
            }
        });
        let accountant = Arc::clone(&daemon);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(ACCOUNT_EVERY).await;
                if let Err(error) = accountant.account().await {
                    tracing::warn!(%error, "not accounted; tried again");
                }
            }
        });
        Ok(daemon)
    }

    /// Finds what still runs, before the switch is told anything: it holds that already. What ended while there
    /// was no daemon is buried: who has not registered anew gets nobody, and its interface is no port any more.
    async fn find_all(&self) -> Result<(), StartError> {
        let replicas: Vec<(u32, crate::state::ReplicaRecord)> = lock(&self.state)
            .replicas
            .iter()
            .map(|(number, replica)| (*number, replica.record.clone()))
            .collect();
        for (number, record) in replicas {
            let spec = self.spec(number, &record);
            let Some(found) = self.domains.find(&spec).await? else {
                if record.registered
                    && let Err(error) = self.note_end(number)
                {
                    tracing::error!(%error, "an end was not written down");
                }
                self.clear(&spec).await;
                continue;
            };
            let port = self.switch.port(&found.interface).await?;
            let id = Some(found.id);
            self.note_running(number, Some(Running { port, id }));
        }
        Ok(())
    }

    /// Goes on with every replica where it was. One that drained and has ended meanwhile was to end.
    fn resume(self: &Arc<Self>) {
        let is_ending = |replica: &Replica| {
            replica.record.ending || (replica.record.draining && replica.running.is_none())
        };
        let numbers: Vec<(u32, bool)> = lock(&self.state)
            .replicas
            .iter()
            .map(|(number, replica)| (*number, is_ending(replica)))
            .collect();
        for (number, is_ending) in numbers {
            if is_ending {
                self.end_later(number);
            } else {
                self.supervise(number, None);
            }
        }
    }

    /// Tokens that expired, and names that nobody needs.
    fn tidy(self: &Arc<Self>) {
        let now = super::now();
        self.write_unwritten();
        let tidied = self.change(|state| Ok(((), state.stale_names(now))));
        let expired = self.withdraw_expired(now);
        self.end_admissions(now);
        for refusal in [tidied.map(drop), expired]
            .into_iter()
            .filter_map(Result::err)
        {
            tracing::error!(error = %refusal, "not tidied");
        }
    }
}

/// The state as it was written. What cannot be believed any more is told and left out.
fn recall(remembered: Remembered, config: &Config) -> State {
    let mut state = State::default();
    let keys = &config.authority_keys;
    for (number, record) in remembered.applications {
        match Signed::<Token>::open(&record.token, keys) {
            Ok(signed) if signed.document().number().get() == number => {
                let token = signed.into_document();
                state.take(Change::Application(Box::new(Application { record, token })));
            }
            _ => tracing::error!(number, "an application's token is no longer believed"),
        }
    }
    for (number, mut record) in remembered.replicas {
        let is_known = state.applications.contains_key(&record.application);
        record.ending |= !is_known;
        let running = None;
        state.replicas.insert(number, Replica { record, running });
    }
    for (name, record) in remembered.names {
        if let Ok(name) = name.parse() {
            state.take(Change::Name(name, record));
        }
    }
    if let Some(bytes) = remembered.revocations {
        match Signed::<RevocationList>::open(&bytes, keys) {
            Ok(signed) => state.revocations = signed.into_document(),
            Err(error) => tracing::error!(%error, "the revocation list is no longer believed"),
        }
    }
    state.admissions = remembered.admissions;
    state.accounts = remembered.accounts;
    state.seen = remembered.seen.unwrap_or_default();
    state.next_replica = remembered.next_replica.unwrap_or(1);
    state
}

impl Daemon {
    /// Where images are that are named without a path.
    pub(super) fn images(&self) -> PathBuf {
        self.config.directory.join("images")
    }

    /// A replica as it is now.
    pub(super) fn replica(&self, number: u32) -> Result<Replica, Refusal> {
        let state = lock(&self.state);
        let found = state.replicas.get(&number);
        found
            .cloned()
            .ok_or_else(|| Refusal::NotFound(format!("replica {number}")))
    }
}
