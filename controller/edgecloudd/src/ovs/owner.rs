//! The task that owns the switch: it holds the session, and the last that was desired.
//!
//! **States.** Away (no session; tries again with growing pauses up to [`PAUSE_MAX`]) → connected:
//! dumps, sends the difference, flushes what is to be flushed → there: does what handles ask, tells
//! what the switch says, looks every [`AUDIT_EVERY`] whether the switch still holds what it should →
//! away, when the session ends for whatever reason. Nobody has to ask again after that: what was
//! desired last is installed, and zones that were to be flushed are.
//!
//! **Restarts.** Of the daemon: the switch keeps what it holds, and the difference is nothing. Of
//! ovs-vswitchd: its tables are empty and, with `fail_mode=secure`, pass nothing until this task has
//! filled them in one bundle. Before it has been told what is desired it changes nothing at all.
//!
//! **Threats.** More requests than the switch can take: [`REQUESTS_MAX`] wait, further callers do
//! until there is room. States that come faster than they are installed: only the latest is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openflow::multipart::PortStats;
use openflow::{FlowStatsRequest, Message, PacketIn2};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::counters::{Counters, Removed, incarnation};
use super::{Session, SessionError, change, dump};
use crate::pipeline::{DesiredState, Installed, compile};

/// How often the switch is asked whether it is there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How often all that it holds is compared with what it should: others can write to the bridge, too.
pub const AUDIT_EVERY: Duration = Duration::from_secs(60);
/// The pauses between attempts to connect: a restart of ovs-vswitchd takes less than a second.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest of them: short enough that nobody waits for it.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the switch may take to tell what deleted flows counted.
const REMOVED_WITHIN: Duration = Duration::from_secs(5);
/// Requests that wait, of a daemon that makes a few at once.
const REQUESTS_MAX: usize = 256;
/// Events that a listener may be late by.
const EVENTS_MAX: usize = 1024;

/// Which switch.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bridge's management socket, such as `/run/openvswitch/br0.mgmt`.
    pub socket: PathBuf,
}

/// What became of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// How many messages it took; 0 if the switch held it all.
    pub sent: usize,
}

/// Why something was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OwnerError {
    /// The switch is away. A state will be installed, and a zone flushed, when it is back.
    #[error("the switch is away: {0}")]
    Away(String),
    /// The switch refused it; what was installed before is in place.
    #[error("the switch refused: {0}")]
    Refused(String),
    /// The task has ended.
    #[error("the task that owns the switch has ended")]
    Ended,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// There is a session, and the switch holds what is desired.
    Connected {
        /// Which switch.
        datapath: u64,
        /// How many messages that took.
        sent: usize,
    },
    /// The session ended.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// A packet for an appliance that sleeps: the switch holds it until [`Handle::resume`].
    Summon {
        /// The application's number.
        application: u32,
        /// The packet.
        packet: Arc<PacketIn2>,
    },
    /// A port came, went or changed.
    Port(openflow::PortStatus),
}

enum Request {
    Apply(
        Arc<DesiredState>,
        oneshot::Sender<Result<Applied, OwnerError>>,
    ),
    Flush(u16, oneshot::Sender<Result<(), OwnerError>>),
    Counters(oneshot::Sender<Result<Counters, OwnerError>>),
    Ports(oneshot::Sender<Result<Vec<PortStats>, OwnerError>>),
    Installed(oneshot::Sender<Result<Installed, OwnerError>>),
    Resume(Arc<PacketIn2>),
}

/// Asks the owner. Clones ask the same; when the last is dropped, the owner ends and the switch
/// keeps what it holds.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Event>,
}

impl Handle {
    /// Makes the switch hold what is desired, now and after every restart. Of several states that
    /// wait only the last is installed, and all callers get its outcome.
    ///
    /// # Errors
    /// The switch is away, and will get it when it is back; or it refuses it.
    pub async fn apply(&self, state: Arc<DesiredState>) -> Result<Applied, OwnerError> {
        self.ask(|answer| Request::Apply(state, answer)).await
    }

    /// Makes the switch forget the connections of a zone: those of an application that was revoked.
    /// First apply a state without it, or they begin anew.
    ///
    /// # Errors
    /// The switch is away, and will be told when it is back, as long as this process lives.
    pub async fn flush_zone(&self, zone: u16) -> Result<(), OwnerError> {
        self.ask(|answer| Request::Flush(zone, answer)).await
    }

    /// What the flows that carry traffic counted, with those that went since the last call.
    ///
    /// # Errors
    /// The switch is away.
    pub async fn counters(&self) -> Result<Counters, OwnerError> {
        self.ask(Request::Counters).await
    }

    /// What the ports counted.
    ///
    /// # Errors
    /// The switch is away.
    pub async fn ports(&self) -> Result<Vec<PortStats>, OwnerError> {
        self.ask(Request::Ports).await
    }

    /// What the switch holds, by a dump.
    ///
    /// # Errors
    /// The switch is away.
    pub async fn installed(&self) -> Result<Installed, OwnerError> {
        self.ask(Request::Installed).await
    }

    /// Lets a held packet go on through the tables as they are now. One whose switch was restarted
    /// meanwhile is gone: its sender repeats it.
    ///
    /// # Errors
    /// The task has ended.
    pub async fn resume(&self, packet: Arc<PacketIn2>) -> Result<(), OwnerError> {
        let sent = self.requests.send(Request::Resume(packet)).await;
        sent.map_err(|_| OwnerError::Ended)
    }

    /// What happens from now on. Who is late by more than some hundred events is told how many he
    /// missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, OwnerError>>) -> Request,
    ) -> Result<T, OwnerError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| OwnerError::Ended)?;
        answered.await.map_err(|_| OwnerError::Ended)?
    }
}

/// The owner.
#[derive(Debug)]
pub struct Owner {
    settings: Settings,
    requests: mpsc::Receiver<Request>,
    events: broadcast::Sender<Event>,
    /// What is desired, once somebody has said so.
    desired: Option<Arc<Installed>>,
    /// What the switch holds, as far as known; None means ask it.
    installed: Option<Arc<Installed>>,
    /// Zones to be flushed.
    flush: BTreeSet<u16>,
    /// Which start of the switch it is.
    incarnation: String,
    removed: Removed,
}

impl Owner {
    /// Starts it on the current runtime.
    pub fn start(settings: Settings) -> Handle {
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let owner = Owner {
            settings,
            requests: received,
            events: events.clone(),
            desired: None,
            installed: None,
            flush: BTreeSet::new(),
            incarnation: String::new(),
            removed: Removed::default(),
        };
        tokio::spawn(owner.run());
        Handle { requests, events }
    }

    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        while !self.requests.is_closed() {
            let reason = match self.connect().await {
                Ok(session) => {
                    pause = PAUSE_MIN;
                    let Some(reason) = self.serve(session).await else {
                        return;
                    };
                    let text = reason.clone();
                    let _ = self.events.send(Event::Disconnected { reason: text });
                    tracing::warn!(reason, "the switch is away");
                    reason
                }
                Err(error) => error.to_string(),
            };
            self.installed = None;
            self.removed.give_up();
            if self.rest(pause, &reason).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// A session with a switch that holds what is desired.
    async fn connect(&mut self) -> Result<Session, SessionError> {
        let mut session = Session::connect(&self.settings.socket).await?;
        let incarnation = incarnation(session.peer_process());
        if self.incarnation != incarnation {
            self.removed.restarted();
            self.incarnation = incarnation;
        }
        session.listen().await?;
        let sent = match self.settle(&mut session).await {
            Ok(sent) => sent,
            Err(refusal) if is_refusal(&refusal) => {
                // The switch is there all the same, and keeps what it had.
                tracing::error!(%refusal, "the switch refuses what is desired");
                0
            }
            Err(error) => return Err(error),
        };
        self.flush_all(&mut session).await?;
        let datapath = session.features().datapath_id;
        tracing::info!(datapath, sent, "the switch is there");
        // Nobody may listen.
        let _ = self.events.send(Event::Connected { datapath, sent });
        Ok(session)
    }

    /// Until the session ends, and why; None when nobody asks any more.
    async fn serve(&mut self, mut session: Session) -> Option<String> {
        let mut keep_alive = interval(KEEP_ALIVE);
        let mut audit = interval(AUDIT_EVERY);
        for timer in [&mut keep_alive, &mut audit] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer.reset();
        }
        loop {
            let outcome = tokio::select! {
                request = self.requests.recv() => self.answer(&mut session, request?).await,
                message = session.unasked() => message.map(|message| self.tell(message)),
                _ = keep_alive.tick() => session.echo().await,
                _ = audit.tick() => self.audit(&mut session).await,
            };
            if let Err(error) = outcome {
                return Some(error.to_string());
            }
        }
    }

    async fn answer(
        &mut self,
        session: &mut Session,
        request: Request,
    ) -> Result<(), SessionError> {
        match request {
            Request::Apply(state, answer) => self.apply(session, state, answer).await,
            Request::Flush(zone, answer) => {
                self.flush.insert(zone);
                let done = self.flush_all(session).await;
                reply(answer, done)
            }
            Request::Counters(answer) => {
                let done = self.counters(session).await;
                reply(answer, done)
            }
            Request::Ports(answer) => reply(answer, session.port_stats().await),
            Request::Installed(answer) => {
                let done = dump(session).await;
                reply(answer, done)
            }
            Request::Resume(packet) => {
                let resume = Message::Resume(PacketIn2::clone(&packet));
                // A packet that the switch does not know any more is none to end a session for.
                match session.each(&[resume]).await {
                    Err(SessionError::Peer(error)) => {
                        tracing::info!(error, "a held packet could not go on");
                        Ok(())
                    }
                    other => other,
                }
            }
        }
    }

    /// Installs the last of the states that wait. Whatever else waits behind them is done after.
    async fn apply(
        &mut self,
        session: &mut Session,
        mut state: Arc<DesiredState>,
        answer: oneshot::Sender<Result<Applied, OwnerError>>,
    ) -> Result<(), SessionError> {
        let mut answers = vec![answer];
        let mut behind = Vec::new();
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Apply(later, answer) => {
                    state = later;
                    answers.push(answer);
                }
                other => behind.push(other),
            }
        }
        let before = self.desired.replace(compiled(state).await);
        let done = self.settle(session).await.map(|sent| Applied { sent });
        if matches!(
            done,
            Err(SessionError::Refused { .. } | SessionError::Peer(_))
        ) {
            // After a restart of the switch it must be something that it takes.
            self.desired = before;
        }
        let ended = share(answers, done);
        if ended.is_err() {
            behind
                .into_iter()
                .for_each(|request| self.refuse(request, "it went"));
            return ended;
        }
        for request in behind {
            Box::pin(self.answer(session, request)).await?;
        }
        Ok(())
    }

    /// Makes the switch hold what is desired; how many messages that took.
    async fn settle(&mut self, session: &mut Session) -> Result<usize, SessionError> {
        let Some(desired) = self.desired.clone() else {
            return Ok(0);
        };
        let installed = match self.installed.take() {
            Some(known) => known,
            None => Arc::new(dump(session).await?),
        };
        // If that fails, what is installed is not known any more.
        let report = change(session, &installed, &desired).await?;
        self.removed.expect(&installed, &desired);
        self.installed = Some(desired);
        Ok(report.sent())
    }

    async fn audit(&mut self, session: &mut Session) -> Result<(), SessionError> {
        self.installed = None;
        let sent = match self.settle(session).await {
            Err(refusal) if is_refusal(&refusal) => 0,
            other => other?,
        };
        if sent != 0 {
            tracing::warn!(
                sent,
                "somebody else had changed the bridge; it is as desired again"
            );
        }
        Ok(())
    }

    async fn flush_all(&mut self, session: &mut Session) -> Result<(), SessionError> {
        let zones = self.flush.iter();
        let messages: Vec<Message> = zones
            .map(|zone| Message::ConntrackFlushZone(*zone))
            .collect();
        if !messages.is_empty() {
            session.each(&messages).await?;
            self.flush.clear();
        }
        Ok(())
    }

    async fn counters(&mut self, session: &mut Session) -> Result<Counters, SessionError> {
        self.hear_removed(session).await?;
        let stats = session.flow_stats(FlowStatsRequest::all()).await?;
        // Flows that went before the dump was answered were told of before it, too.
        while let Some(message) = session.take_unasked() {
            self.tell(message);
        }
        let removed = std::mem::take(&mut self.removed);
        Ok(Counters::of(self.incarnation.clone(), removed, &stats))
    }

    /// Open vSwitch tells what a flow counted last some time after it said that it had deleted it.
    async fn hear_removed(&mut self, session: &mut Session) -> Result<(), SessionError> {
        let deadline = Instant::now() + REMOVED_WITHIN;
        while !self.removed.expects_none() {
            let Ok(message) = timeout_at(deadline, session.unasked()).await else {
                let lost = self.removed.give_up();
                tracing::warn!(lost, "the switch did not tell what deleted flows counted");
                break;
            };
            self.tell(message?);
        }
        Ok(())
    }

    /// Tells whoever listens.
    fn tell(&mut self, message: Message) {
        let event = match message {
            Message::FlowRemoved(removed) => return self.removed.add(&removed),
            Message::PacketIn2(packet) => match <[u8; 4]>::try_from(packet.userdata.as_slice()) {
                Ok(number) => Event::Summon {
                    application: u32::from_be_bytes(number),
                    packet: Arc::new(packet),
                },
                Err(_) => return,
            },
            Message::PortStatus(status) => Event::Port(status),
            _ => return,
        };
        let _ = self.events.send(event);
    }

    /// Waits before the next attempt, and says no to who asks meanwhile; None when nobody asks any
    /// more.
    async fn rest(&mut self, pause: Duration, reason: &str) -> Option<()> {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Some(()),
                request = self.requests.recv() => self.remember(request?, reason).await,
            }
        }
    }

    /// Keeps what is to be done when the switch is back.
    async fn remember(&mut self, request: Request, reason: &str) {
        match &request {
            Request::Apply(state, _) => self.desired = Some(compiled(state.clone()).await),
            Request::Flush(zone, _) => {
                self.flush.insert(*zone);
            }
            _ => {}
        }
        self.refuse(request, reason);
    }

    fn refuse(&mut self, request: Request, reason: &str) {
        let away = || OwnerError::Away(reason.to_owned());
        // Who asked may have gone.
        match request {
            Request::Apply(_, answer) => drop(answer.send(Err(away()))),
            Request::Flush(zone, answer) => {
                self.flush.insert(zone);
                drop(answer.send(Err(away())));
            }
            Request::Counters(answer) => drop(answer.send(Err(away()))),
            Request::Ports(answer) => drop(answer.send(Err(away()))),
            Request::Installed(answer) => drop(answer.send(Err(away()))),
            Request::Resume(_) => {}
        }
    }
}

/// Compiles without holding up the session: some ten thousand flows take a while.
async fn compiled(state: Arc<DesiredState>) -> Arc<Installed> {
    let compiling = tokio::task::spawn_blocking(move || Arc::new(compile(&state)));
    match compiling.await {
        Ok(installed) => installed,
        // It cannot be cancelled; a state that panics is a bug, and must not be passed over.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Answers; an error that ends the session is returned, too.
fn reply<T>(
    answer: oneshot::Sender<Result<T, OwnerError>>,
    done: Result<T, SessionError>,
) -> Result<(), SessionError> {
    let (told, ended) = match done {
        Ok(value) => (Ok(value), Ok(())),
        Err(error) => split(error),
    };
    // Who asked may have gone.
    let _ = answer.send(told);
    ended
}

fn share<T: Clone>(
    answers: Vec<oneshot::Sender<Result<T, OwnerError>>>,
    done: Result<T, SessionError>,
) -> Result<(), SessionError> {
    let (told, ended) = match done {
        Ok(value) => (Ok(value), Ok(())),
        Err(error) => split(error),
    };
    for answer in answers {
        let _ = answer.send(told.clone());
    }
    ended
}

/// What who asked is told, and whether the session goes on.
fn split<T>(error: SessionError) -> (Result<T, OwnerError>, Result<(), SessionError>) {
    let text = error.to_string();
    match is_refusal(&error) {
        true => (Err(OwnerError::Refused(text)), Ok(())),
        false => (Err(OwnerError::Away(text)), Err(error)),
    }
}

/// Whether the switch is there all the same, and keeps what it had.
fn is_refusal(error: &SessionError) -> bool {
    use SessionError::{Emit, Peer, Refused};
    matches!(error, Refused { .. } | Peer(_) | Emit(_))
}
