//! The hotspot: what is known in memory, on the disk and at the controller, kept together.
//!
//! A login is decided, written down, taken over, and only then opens the way ([`Gate`]); if that fails
//! the session goes again, unless it was there before. What the controller lets through and no session
//! explains is closed, and what a session explains and the controller has forgotten is opened
//! ([`Hotspot::reconcile`]), so a crash of either at any moment heals.

mod begin;
mod forget;
#[cfg(test)]
mod tests;
mod vouchers;

pub use self::begin::Proof;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgecloud_appliance::Log;
use edgecloud_appliance::metrics::{Counter, Gauge, Registry};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{Semaphore, mpsc};

use crate::attempts::{Attempts, Who};
use crate::clock::Clock;
use crate::csrf::Forms;
use crate::gate::{Admission, Gate, GateError};
use crate::limits::{ADMISSION_GRACE_SECONDS, PASSWORDS_WAITING_MAX};
use crate::refusal::Refused;
use crate::session::{Carried, End, Left, Login, Pass, Quota, Session};
use crate::store::{Store, StoreError, Stored, Write};
use crate::subscriber::{self, Subscriber};
use crate::table::Table;
use crate::token::{Publishers, Replays};
use crate::voucher::{Code, Voucher};

/// A session began, carried something, or ended: what accounting hears of.
#[derive(Clone, Debug)]
pub struct Event {
    /// What the session is now.
    pub session: Session,
    /// Why it ended, if it did.
    pub end: Option<End>,
    /// When.
    pub at: u64,
}

/// Who is known from the start.
#[derive(Debug, Default)]
pub struct Known {
    /// The operator's own list.
    pub subscribers: HashMap<String, Subscriber>,
    /// Publishers' keys.
    pub publishers: Publishers,
}

/// The hotspot.
#[derive(Debug)]
pub struct Hotspot {
    state: Mutex<State>,
    store: Store,
    gate: Gate,
    known: Known,
    /// The time.
    pub clock: Clock,
    /// The fields of our forms.
    pub forms: Forms,
    log: Log,
    figures: Figures,
    /// One password is worked on at a time, and some wait.
    passwords: Semaphore,
    waiting: Semaphore,
    events: Option<mpsc::Sender<Event>>,
}

#[derive(Debug, Default)]
struct State {
    table: Table,
    vouchers: HashMap<String, Voucher>,
    attempts: Attempts,
    replays: Replays,
}

#[derive(Debug)]
struct Figures {
    sessions: Gauge,
    began: Counter,
    ended: Vec<(End, Counter)>,
    bytes: Counter,
    unheard: Counter,
}

impl Figures {
    fn of(metrics: &Registry) -> Self {
        let ended = |end: End| {
            let labels = [("reason", end.reason())];
            let help = "Sessions that ended, by reason.";
            (
                end,
                metrics.counter("edgecloud_auth_ended_total", help, &labels),
            )
        };
        Self {
            sessions: metrics.gauge("edgecloud_auth_sessions", "Clients that are let in.", &[]),
            began: metrics.counter("edgecloud_auth_begun_total", "Sessions that began.", &[]),
            ended: End::ALL.map(ended).into(),
            bytes: metrics.counter("edgecloud_auth_bytes_total", "What sessions carried.", &[]),
            unheard: metrics.counter(
                "edgecloud_auth_unaccounted_total",
                "Events that accounting had no room for.",
                &[],
            ),
        }
    }
}

impl Hotspot {
    /// The hotspot with what its store remembers.
    ///
    /// # Errors
    /// The store.
    pub fn open(
        store: Store,
        gate: Gate,
        known: Known,
        log: Log,
        metrics: &Registry,
        events: Option<mpsc::Sender<Event>>,
    ) -> Result<Self, StoreError> {
        let Stored {
            sessions,
            passes,
            vouchers,
            tokens,
            latest,
            key,
        } = store.load()?;
        let mut state = State::default();
        let mut passes: HashMap<String, Pass> = passes.into_iter().collect();
        for session in sessions {
            if let Some(pass) = passes.get(&session.pass) {
                state.table.take(session, pass.clone());
            }
        }
        for (key, pass) in passes.drain() {
            state.table.take_pass(key, pass);
        }
        state.vouchers = vouchers.into_iter().collect();
        for (id, (expires, client)) in tokens {
            state.replays.take(id, expires, client);
        }
        let figures = Figures::of(metrics);
        figures.sessions.set(count(state.table.len()));
        Ok(Self {
            state: Mutex::new(state),
            store,
            gate,
            known,
            clock: Clock::from(latest),
            forms: Forms::new(&key),
            log,
            figures,
            passwords: Semaphore::new(1),
            waiting: Semaphore::new(PASSWORDS_WAITING_MAX),
            events,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left to a client, if it is let in.
    pub fn left(&self, client: IpAddr) -> Option<Left> {
        let now = self.clock.now();
        self.state().table.left(client, now)
    }

    /// All sessions with what is left, for the operator.
    pub fn sessions(&self) -> Vec<(Session, Pass)> {
        let state = self.state();
        let all = state.table.sessions();
        all.map(|(s, p)| (s.clone(), p.clone())).collect()
    }

    /// Counts an attempt of a client, and of an account; refuses if there were too many.
    fn attempt(&self, all: &[Who]) -> Result<(), Refused> {
        let now = self.clock.now();
        let mut state = self.state();
        match all.iter().all(|who| state.attempts.begin(who, now)) {
            true => Ok(()),
            false => Err(Refused::TooOften),
        }
    }

    fn forgive(&self, all: &[Who]) {
        let mut state = self.state();
        all.iter().for_each(|who| state.attempts.succeeded(who));
    }

    /// A client redeems a voucher.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn redeem(&self, from: SocketAddr, typed: &str) -> Result<(), Refused> {
        let who = [Who::client(from.ip())];
        self.attempt(&who)?;
        let hash = Code::typed(typed).ok_or(Refused::WrongVoucher)?.hash();
        let voucher = self.state().vouchers.get(&hash).cloned();
        let voucher = voucher.ok_or(Refused::WrongVoucher)?;
        self.forgive(&who);
        let login = voucher.login(&hash);
        let is_new = self.state().table.pass(&login.key).is_none();
        if is_new && self.clock.now() >= voucher.good_until {
            return Err(Refused::TooOld);
        }
        self.begin(from, login, Proof::Voucher(hash)).await
    }

    /// A subscriber of the operator's own list logs in; nothing if the name is not there and may be
    /// somebody else's.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn subscribe(
        &self,
        from: SocketAddr,
        name: &str,
        password: &[u8],
    ) -> Result<(), Refused> {
        let subscriber = self.known.subscribers.get(name);
        let hash = subscriber.map(|subscriber| subscriber.password.clone());
        let _waits = self.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        let right = {
            let _turn = self.passwords.acquire().await.map_err(|_| Refused::Busy)?;
            let password = password.to_vec();
            let right = move || subscriber::is_right(hash.as_deref(), &password);
            let worked = tokio::task::spawn_blocking(right).await;
            worked.map_err(|_| Refused::Busy)?
        };
        let subscriber = subscriber.filter(|_| right).ok_or(Refused::WrongAccount)?;
        let login = Login {
            key: format!("subscriber:{name}"),
            quota: subscriber.quota,
            renews: true,
            class: None,
        };
        self.begin(from, login, Proof::Password).await
    }

    /// Whether a name is on the operator's own list.
    pub fn is_subscriber(&self, name: &str) -> bool {
        self.known.subscribers.contains_key(name)
    }

    /// Runs what checks a password, within what a client and whose account it is may fail.
    ///
    /// # Errors
    /// Too many failed, or what the check says.
    pub async fn attempted<T>(
        &self,
        client: IpAddr,
        account: Who,
        check: impl Future<Output = Result<T, Refused>>,
    ) -> Result<T, Refused> {
        let who = [Who::client(client), account];
        self.attempt(&who)?;
        let result = check.await;
        if !matches!(result, Err(Refused::WrongAccount)) {
            self.forgive(&who);
        }
        result
    }

    /// A client shows a publisher's token.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn show(&self, from: SocketAddr, token: &str) -> Result<(), Refused> {
        let client = from.ip();
        let who = [Who::client(client)];
        self.attempt(&who)?;
        let now = self.clock.now();
        let verified = self.known.publishers.check(token, client, now);
        let verified = verified.map_err(Refused::Token)?;
        self.unused(&mut self.state(), &verified, client, now)?;
        self.forgive(&who);
        let login = verified.login.clone();
        self.begin(from, login, Proof::Token(verified)).await
    }

    fn failed(&self, error: &StoreError) -> Refused {
        self.log.often(error, &[]);
        Refused::Store
    }

    async fn let_through(&self, client: IpAddr, port: Option<u16>) -> Result<(), GateError> {
        let admission = {
            let state = self.state();
            let session = state.table.session(client);
            session.map(|(session, pass)| Admission {
                address: session.client,
                port,
                kbit: pass.quota.kbit,
                expires: pass.until().saturating_add(ADMISSION_GRACE_SECONDS),
            })
        };
        match admission {
            Some(admission) => self.gate.open(&admission).await,
            None => Ok(()),
        }
    }

    fn hear(&self, client: IpAddr, end: Option<End>) {
        let state = self.state();
        let session = state
            .table
            .session(client)
            .map(|(session, _)| session.clone());
        drop(state);
        if let Some(session) = session {
            self.tell(session, end);
        }
    }

    fn tell(&self, session: Session, end: Option<End>) {
        let Some(events) = &self.events else {
            return;
        };
        let at = self.clock.now();
        if events.try_send(Event { session, end, at }).is_err() {
            self.figures.unheard.add(1);
        }
    }

    /// Ends a client's session; whether it had one.
    pub async fn end(&self, client: IpAddr, end: End) -> bool {
        if self.state().table.session(client).is_none() {
            return false;
        }
        // A controller that is away is told again by `reconcile`, and ends it by itself in the end.
        match self.gate.close(client).await {
            Ok(Some(last)) => self.count(&[(client, last.carried)]),
            Ok(None) => {}
            Err(error) => self.log.often(&error, &[("client", &client)]),
        }
        let mut state = self.state();
        let Some(session) = state.table.end(client) else {
            return false;
        };
        self.figures.sessions.set(count(state.table.len()));
        if let Err(error) = self.store.write(&[Write::NoSession(client)]) {
            self.failed(&error);
        }
        drop(state);
        if let Some((_, counter)) = self.figures.ended.iter().find(|(e, _)| *e == end) {
            counter.add(1);
        }
        let reason = end.reason();
        self.log
            .often("ended", &[("client", &client), ("reason", &reason)]);
        self.tell(session, Some(end));
        true
    }

    /// Adds what counters say, and writes it down.
    fn count(&self, totals: &[(IpAddr, Carried)]) {
        let now = self.clock.now();
        let mut state = self.state();
        let mut changed = Vec::new();
        for (client, total) in totals {
            let before = state
                .table
                .session(*client)
                .map(|(session, _)| session.carried.bytes());
            if let Some((session, pass)) = state.table.count(*client, *total) {
                let now = session.carried.bytes();
                self.figures.bytes.add(now - before.unwrap_or(now));
                changed.push((session.clone(), pass.clone()));
            }
        }
        if changed.is_empty() {
            return;
        }
        let mut writes = vec![Write::Latest(now)];
        for (session, pass) in &changed {
            writes.push(Write::Session(session));
            writes.push(Write::Pass(&session.pass, pass));
        }
        if let Err(error) = self.store.write(&writes) {
            self.failed(&error);
        }
    }

    /// Changes what a client's pass is good for.
    ///
    /// # Errors
    /// It has none, the disk, or the controller.
    pub async fn change(&self, client: IpAddr, quota: Quota) -> Result<(), Refused> {
        {
            let mut state = self.state();
            let found = state.table.session(client).ok_or(Refused::NotFound)?;
            let (session, mut pass) = (found.0.clone(), found.1.clone());
            pass.quota = quota;
            let written = self.store.write(&[Write::Pass(&session.pass, &pass)]);
            written.map_err(|error| self.failed(&error))?;
            state.table.change(&session.pass, pass);
        }
        let changed = self.let_through(client, None).await;
        changed.map_err(|error| {
            self.log.often(&error, &[("client", &client)]);
            Refused::ControllerAway
        })
    }

    /// Ends what is over.
    pub async fn end_due(&self) {
        let now = self.clock.now();
        let due = self.state().table.due(now);
        for client in due {
            self.end(client, End::Time).await;
        }
    }

    /// Brings sessions, counters and the controller together.
    ///
    /// # Errors
    /// The controller is away or refuses.
    pub async fn reconcile(&self) -> Result<(), GateError> {
        let Some(open) = self.gate.list().await? else {
            return Ok(());
        };
        let totals: Vec<(IpAddr, Carried)> = open.iter().map(|c| (c.address, c.carried)).collect();
        self.count(&totals);
        let now = self.clock.now();
        let listed: HashMap<IpAddr, Carried> = totals.into_iter().collect();
        let (over, missing, strange) = {
            let state = self.state();
            let sessions = || state.table.sessions().map(|(session, _)| session.client);
            let verdict = |client| Some((client, state.table.verdict(client, now)?));
            let over: Vec<(IpAddr, End)> = sessions().filter_map(verdict).collect();
            let missing = sessions().filter(|client| !listed.contains_key(client));
            let missing: Vec<IpAddr> = missing.collect();
            let strange = listed.keys().filter(|c| state.table.session(**c).is_none());
            (over, missing, strange.copied().collect::<Vec<IpAddr>>())
        };
        for (client, end) in over {
            self.end(client, end).await;
        }
        // One that fails keeps nobody else waiting; the first failure is told.
        let mut result = Ok(());
        for client in strange {
            // It may have logged in meanwhile.
            if self.state().table.session(client).is_none() {
                result = result.and(self.gate.close(client).await.map(drop));
            }
        }
        for client in missing {
            result = result.and(self.let_through(client, None).await);
        }
        result
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn random() -> Result<u64, Refused> {
    let mut bytes = [0; 8];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| Refused::Store)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Ends what is over, brings all together and forgets what is old, until the appliance ends.
pub async fn keep(hotspot: Arc<Hotspot>, drain: edgecloud_appliance::Drain, log: Log) {
    let mut look = tokio::time::interval(crate::limits::LOOK_TIME);
    let mut bring = tokio::time::interval(crate::limits::COUNT_TIME);
    let mut forget = tokio::time::interval(crate::limits::FORGET_TIME);
    loop {
        tokio::select! {
            () = drain.begun() => return,
            _ = look.tick() => hotspot.end_due().await,
            _ = forget.tick() => hotspot.forget_old(),
            _ = bring.tick() => {
                if let Err(error) = hotspot.reconcile().await {
                    log.often(&error, &[]);
                }
            }
        }
    }
}
