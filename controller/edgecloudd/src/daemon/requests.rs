//! What operators and domains ask.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64;
use manifest::{Digest, Token};
use openflow::PortNumber;

use super::{Daemon, lock, now};
use crate::api::documents::{
    Account, Accounts, Application, Applications, Challenge, Domain, DomainState, Domains, Flow,
    Flows, Names, Registration, Rule,
};
use crate::api::{LOG_BYTES_MAX, POLL_SECONDS_MAX};
use crate::config::Mac;
use crate::pipeline::{Class, Cookie, ReplicaState, Table};
use crate::refusal::Refusal;
use crate::state::{Replica, State, word};

/// For the metrics.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// Replicas by state.
    pub replicas: Vec<(&'static str, usize)>,
    /// Applications that are served.
    pub applications: usize,
    /// Names with addresses.
    pub names: usize,
    /// Messages to the switch since the start.
    pub sent: usize,
    /// Whether the switch holds what is desired.
    pub is_ready: bool,
    /// How often domains were started again.
    pub restarts: u64,
    /// Connections to the metadata service that were closed at once, for the domain had too many.
    pub connections_refused: usize,
}

impl Daemon {
    /// All domains, by name.
    pub fn domains(&self) -> Domains {
        let state = lock(&self.state);
        let all = state.replicas.iter();
        let mut domains: Vec<Domain> = all.map(|(n, r)| described(&state, *n, r)).collect();
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        Domains { domains }
    }

    /// The domain with a name.
    ///
    /// # Errors
    /// There is none.
    pub fn domain_named(&self, name: &str) -> Result<Domain, Refusal> {
        let (number, _) = self.named(name)?;
        self.domain(number)
    }

    pub(super) fn domain(&self, number: u32) -> Result<Domain, Refusal> {
        let state = lock(&self.state);
        let replica = state.replicas.get(&number).ok_or(Refusal::Ended)?;
        Ok(described(&state, number, replica))
    }

    pub(super) fn named(&self, name: &str) -> Result<(u32, Replica), Refusal> {
        let state = lock(&self.state);
        let found = state.named(name).map(|(number, r)| (number, r.clone()));
        found.ok_or_else(|| Refusal::NotFound(format!("domain {name:?}")))
    }

    /// The end of what a domain wrote to its console.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn log(&self, name: &str) -> Result<String, Refusal> {
        let (number, replica) = self.named(name)?;
        let spec = self.spec(number, &replica.record);
        let log = self.domains.log(&spec, LOG_BYTES_MAX).await;
        log.map_err(|error| Refusal::Toolstack(error.to_string()))
    }

    /// All applications, by number.
    pub fn applications(&self) -> Applications {
        let state = lock(&self.state);
        let all = state.applications.iter().map(|(number, application)| {
            let claims = application.token.claims();
            let rules = claims.grants.iter().map(|grant| Rule {
                index: grant.index,
                rule: grant.rule.to_string(),
            });
            Application {
                number: *number,
                name: claims.application.to_string(),
                publisher: claims.publisher.to_string(),
                zone: application.record.zone,
                serial: claims.serial.0,
                expires: claims.expires.to_string(),
                account: claims.bill.account.to_string(),
                withdrawn: application.record.withdrawn.map(|w| w.as_str().to_owned()),
                rules: rules.collect(),
            }
        });
        let applications = all.collect();
        Applications { applications }
    }

    /// The names that have addresses.
    pub fn names(&self) -> Names {
        let state = lock(&self.state);
        let all = state.names.iter().map(|(name, record)| {
            let addresses = record.current.iter().copied().collect();
            (name.to_string(), addresses)
        });
        Names {
            names: all.collect(),
        }
    }

    /// The names that have addresses, for the resolver.
    pub fn known_names(&self) -> Vec<(manifest::Name, Vec<IpAddr>)> {
        let state = lock(&self.state);
        let names = state.names.iter();
        names
            .map(|(name, record)| (name.clone(), record.current.iter().copied().collect()))
            .collect()
    }

    /// What the switch holds, by table and precedence.
    ///
    /// # Errors
    /// The switch.
    pub async fn flows(&self) -> Result<Flows, Refusal> {
        let flows = self.switch.flows().await;
        let mut flows = flows.map_err(|error| Refusal::Switch(error.to_string()))?;
        flows.sort_by_key(|flow| (flow.key.table, std::cmp::Reverse(flow.key.priority)));
        let flows = flows.iter().map(described_flow).collect();
        Ok(Flows { flows })
    }

    /// Adds up what the switch counted since the last time.
    ///
    /// # Errors
    /// The switch, or the database.
    pub async fn account(&self) -> Result<(), Refusal> {
        let _in_order = self.accounting.lock().await;
        let counters = self.switch.counters().await;
        let counters = counters.map_err(|error| Refusal::Switch(error.to_string()))?;
        if counters.lost > 0 {
            tracing::error!(flows = counters.lost, "went uncounted");
        }
        let mut state = lock(&self.state);
        let changes = state.accounted(&counters);
        if !changes.is_empty() {
            self.store.write(&changes)?;
            changes.into_iter().for_each(|change| state.take(change));
        }
        Ok(())
    }

    /// What was carried until now, by who pays.
    ///
    /// # Errors
    /// The switch, or the database.
    pub async fn accounts(&self) -> Result<Accounts, Refusal> {
        self.account().await?;
        let state = lock(&self.state);
        let accounts = state.accounts.iter().map(|(key, amount)| Account {
            account: key.account.clone(),
            application: key.application,
            rule: Some(key.rule).filter(|rule| *rule != Cookie::NO_RULE),
            packets: amount.packets,
            bytes: amount.bytes,
        });
        let accounts = accounts.collect();
        Ok(Accounts { accounts })
    }

    /// Where connections of domains that had too many are counted.
    pub fn connections_refused(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.connections_refused)
    }

    /// For the metrics.
    pub fn numbers(&self) -> Numbers {
        let state = lock(&self.state);
        let count = |wanted: ReplicaState| {
            let all = state.replicas.values();
            let running = all.filter(|r| r.running.is_some() && r.record.state() == wanted);
            (word(wanted), running.count())
        };
        let states = [
            ReplicaState::Starting,
            ReplicaState::Live,
            ReplicaState::Draining,
            ReplicaState::Failed,
        ];
        let served = |a: &&crate::state::Application| a.record.withdrawn.is_none();
        Numbers {
            replicas: states.map(count).to_vec(),
            applications: state.applications.values().filter(served).count(),
            names: state.names.len(),
            sent: self.sent.load(Ordering::Relaxed),
            is_ready: self.is_ready(),
            connections_refused: self.connections_refused.load(Ordering::Relaxed),
            restarts: state
                .replicas
                .values()
                .map(|r| u64::from(r.record.restarts))
                .sum(),
        }
    }

    /// The replica that asks, by its address, with its application's token.
    pub(super) fn asking(
        &self,
        address: IpAddr,
    ) -> Result<(u32, Replica, Token, Vec<u8>), Refusal> {
        let state = lock(&self.state);
        let (number, replica) = state.addressed(address).ok_or(Refusal::NotADomain)?;
        let application = state.applications.get(&replica.record.application);
        let application = application.filter(|a| a.record.withdrawn.is_none());
        let application = application.ok_or(Refusal::NotADomain)?;
        let (token, bytes) = (application.token.clone(), application.record.token.clone());
        Ok((number, replica.clone(), token, bytes))
    }

    /// A nonce for a domain, and the token that it is to prove.
    ///
    /// # Errors
    /// No domain asks.
    pub fn challenge(&self, address: IpAddr) -> Result<Challenge, Refusal> {
        let (number, _, _, token) = self.asking(address)?;
        let mut nonce = [0; 32];
        let drawn = getrandom::fill(&mut nonce);
        drawn.map_err(|error| Refusal::Malformed(format!("no random numbers: {error}")))?;
        let mut nonces = lock(&self.nonces);
        nonces.entry(number).or_default().issue(nonce, now());
        Ok(Challenge {
            nonce: BASE64.encode(&nonce),
            token: BASE64.encode(&token),
        })
    }

    /// A domain proves that it has its token's key.
    ///
    /// # Errors
    /// No domain asks, or the proof does not hold.
    pub fn register(&self, address: IpAddr, registration: &Registration) -> Result<(), Refusal> {
        let (number, replica, token, bytes) = self.asking(address)?;
        let decode = |what: &str, text: &str| {
            let decoded = BASE64.decode(text.as_bytes());
            decoded.map_err(|error| Refusal::Malformed(format!("`{what}`: {error}")))
        };
        let given = decode("token", &registration.token)?;
        // Of digests, so that the time it takes says nothing of the bytes.
        if Digest::of(&given) != Digest::of(&bytes) {
            return Err(manifest::ProofRefusal::OtherToken.into());
        }
        let proof = decode("proof", &registration.proof)?;
        let mut nonces = lock(&self.nonces);
        let window = nonces.entry(number).or_default();
        window.check(&proof, &token, &bytes, now())?;
        drop(nonces);
        self.change_replica(number, |record| record.registered = true)?;
        tracing::info!(domain = replica.record.name, "registered");
        Ok(())
    }

    /// An appliance's configuration.
    ///
    /// # Errors
    /// No domain asks.
    pub fn configuration(&self, address: IpAddr) -> Result<String, Refusal> {
        let (_, replica, ..) = self.asking(address)?;
        Ok(replica.record.configuration)
    }

    /// A domain wants connections from now on; returns once the switch brings them.
    ///
    /// # Errors
    /// No domain asks, it has not registered, or the switch.
    pub async fn be_ready(&self, address: IpAddr) -> Result<(), Refusal> {
        let (number, replica, ..) = self.asking(address)?;
        if !replica.record.registered {
            return Err(Refusal::NotRegistered);
        }
        let changed = self.change_replica(number, |record| record.ready = true)?;
        self.applied(changed).await?;
        tracing::info!(domain = replica.record.name, "ready");
        Ok(())
    }

    /// A domain wants no new connections; returns once the switch brings none.
    ///
    /// # Errors
    /// No domain asks, or the switch.
    pub async fn drain(&self, address: IpAddr) -> Result<(), Refusal> {
        let (number, ..) = self.asking(address)?;
        let changed = self.change_replica(number, |record| record.draining = true)?;
        self.applied(changed).await
    }

    /// A domain's state: at once, or as soon as it is another than the one that it knows and the
    /// switch has learned of that.
    ///
    /// # Errors
    /// No domain asks.
    pub async fn state(
        &self,
        address: IpAddr,
        known: Option<&str>,
    ) -> Result<DomainState, Refusal> {
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(POLL_SECONDS_MAX);
        loop {
            changed.borrow_and_update();
            let (_, replica, ..) = self.asking(address)?;
            let state = word(replica.record.state());
            if known.is_some_and(|known| known != state) {
                // Who hears that he drains may end at once: the switch has to know it before, or
                // it still sends him clients, and so must what its datapath remembers. One that is
                // away keeps nobody from hearing it.
                let number = *self.changed.borrow();
                let is_applied = self.applied(number).await.is_ok();
                if is_applied
                    && replica.record.state() == ReplicaState::Draining
                    && let Err(error) = self.switch.settled().await
                {
                    tracing::warn!(%error, "the switch may still send clients to who drains");
                }
            } else if known.is_some() {
                let news = tokio::time::timeout_at(deadline, changed.changed());
                if news.await.is_ok() {
                    continue;
                }
            }
            let state = state.to_owned();
            return Ok(DomainState { state });
        }
    }
}

fn described(state: &State, number: u32, replica: &Replica) -> Domain {
    let record = &replica.record;
    let application = state.applications.get(&record.application);
    let told = match replica.running {
        Some(_) => word(record.state()),
        None => "stopped",
    };
    Domain {
        name: record.name.clone(),
        replica: number,
        application: record.application,
        application_name: application
            .map(|a| a.token.application().to_string())
            .unwrap_or_default(),
        state: told.to_owned(),
        registered: record.registered,
        addresses: record.addresses.clone(),
        mac: Mac(record.mac).to_string(),
        port: replica.running.map(|running| {
            let PortNumber(port) = running.port;
            port
        }),
        id: replica.running.and_then(|running| running.id),
        restarts: record.restarts,
        memory_mib: record.memory_mib,
        image: record.image.display().to_string(),
    }
}

fn described_flow(flow: &openflow::Flow) -> Flow {
    let number = flow.key.table;
    let table = Table::with_number(number).map(Table::name);
    let cookie = Cookie::with_number(flow.cookie);
    let class = cookie.map(|cookie| match cookie.class {
        Class::Deny(reason) => format!("deny {}", reason.as_str()),
        class => format!("{class:?}").to_lowercase(),
    });
    let rule = cookie.map(|cookie| cookie.rule);
    Flow {
        table: table.map_or_else(|| number.to_string(), str::to_owned),
        flow: flow.to_string(),
        class: class.unwrap_or_else(|| "not ours".to_owned()),
        application: cookie.map_or(0, |cookie| cookie.application),
        rule: rule.filter(|rule| *rule != Cookie::NO_RULE),
    }
}
