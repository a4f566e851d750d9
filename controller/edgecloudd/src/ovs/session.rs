//! A session through a socket.

use std::path::Path;
use std::time::Duration;

use openflow::{
    BundleAdd, BundleControl, BundleFlags, BundleStep, ErrorMessage, Features, Flow,
    FlowStatsRequest, Group, Message, Meter, MultipartBody, MultipartRequest, Port, PortNumber,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::Connection;

/// How long the switch may take over one question, however long the answer: 20,000 flows in a bundle
/// take it under a second, and a switch that was asked to restart is gone, not slow.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The most flows, groups, meters or ports of one dump: ten times what the pipeline is meant for.
pub const DUMP_MAX: usize = 1_000_000;
/// How much is read at once.
const READ: usize = 65_536;

/// Why a session ended, or what it was asked was not done.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The socket.
    #[error("the switch's socket: {0}; is ovs-vswitchd running?")]
    Io(#[from] std::io::Error),
    /// It closed the connection.
    #[error("the switch closed the connection; it restarts, or another program of it was killed")]
    Closed,
    /// It said nothing for [`ANSWER_WITHIN`].
    #[error("the switch did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
    /// It does not speak 1.5.
    #[error(
        "the switch's highest version is {0:#04x}, not 0x06; set protocols=OpenFlow15 on the bridge"
    )]
    Version(u8),
    /// It spoke before it said HELLO.
    #[error("the switch spoke before its HELLO; this is no OpenFlow switch")]
    NoHello,
    /// What it sent cannot be read.
    #[error("the switch sent what is no OpenFlow: {0}")]
    Nonsense(String),
    /// It answered with something else.
    #[error("the switch answered {0} to another question")]
    Unexpected(&'static str),
    /// It refused something other than a message of a bundle.
    #[error("{0}")]
    Peer(String),
    /// It sent more than anybody asked for.
    #[error("the switch sent more messages, or a longer dump, than allowed")]
    Flood,
    /// Ours could not be written.
    #[error("a message cannot be written: {0}")]
    Emit(#[from] openflow::EmitError),
    /// It refused a message of a bundle, and therefore did nothing of the bundle.
    #[error("message {index} of the bundle: {error}; nothing of the bundle was done")]
    Refused {
        /// Which message, from 0.
        index: usize,
        /// Why.
        error: String,
    },
}

/// A session. Dropped, it closes; what is installed stays.
#[derive(Debug)]
pub struct Session {
    socket: UnixStream,
    connection: Connection,
    features: Features,
    next_bundle: u32,
}

impl Session {
    /// Connects to a bridge's socket and agrees on OpenFlow 1.5.
    ///
    /// # Errors
    /// Nobody is there, or it is no such switch.
    pub async fn connect(path: &Path) -> Result<Session, SessionError> {
        let mut session = Session {
            socket: UnixStream::connect(path).await?,
            connection: Connection::new(),
            features: Features {
                datapath_id: 0,
                buffers: 0,
                tables: 0,
                auxiliary_id: 0,
                capabilities: 0,
            },
            next_bundle: 1,
        };
        let deadline = Instant::now() + ANSWER_WITHIN;
        while !session.connection.is_agreed() {
            session.pump(deadline).await?;
        }
        let asked = session.connection.send(&Message::FeaturesRequest)?;
        let Message::FeaturesReply(features) = session.answer(asked, deadline).await? else {
            return Err(SessionError::Unexpected("something"));
        };
        session.features = features;
        Ok(session)
    }

    /// What the switch is.
    pub fn features(&self) -> Features {
        self.features
    }

    /// All flows, in the order of the switch.
    ///
    /// # Errors
    /// The session's, or more than [`DUMP_MAX`].
    pub async fn flows(&mut self) -> Result<Vec<Flow>, SessionError> {
        let request = MultipartRequest::Flow(FlowStatsRequest::all());
        let stats = self.dump(request, |body| match body {
            MultipartBody::Flow(part) => Some(part),
            _ => None,
        });
        Ok(stats.await?.into_iter().map(|one| one.flow).collect())
    }

    /// All groups.
    ///
    /// # Errors
    /// The session's, or more than [`DUMP_MAX`].
    pub async fn groups(&mut self) -> Result<Vec<Group>, SessionError> {
        let request = MultipartRequest::GroupDesc(Group::ALL);
        let groups = self.dump(request, |body| match body {
            MultipartBody::GroupDesc(part) => Some(part),
            _ => None,
        });
        groups.await
    }

    /// All meters.
    ///
    /// # Errors
    /// The session's, or more than [`DUMP_MAX`].
    pub async fn meters(&mut self) -> Result<Vec<Meter>, SessionError> {
        let request = MultipartRequest::MeterConfig(Meter::ALL);
        let meters = self.dump(request, |body| match body {
            MultipartBody::MeterConfig(part) => Some(part),
            _ => None,
        });
        meters.await
    }

    /// All ports.
    ///
    /// # Errors
    /// The session's, or more than [`DUMP_MAX`].
    pub async fn ports(&mut self) -> Result<Vec<Port>, SessionError> {
        let request = MultipartRequest::PortDesc(PortNumber::ANY);
        let ports = self.dump(request, |body| match body {
            MultipartBody::PortDesc(part) => Some(part),
            _ => None,
        });
        ports.await
    }

    /// Sends messages one by one and waits until all are done; the first refusal is the error, with
    /// the others done. For what a bundle does not take: Open vSwitch takes no meters.
    ///
    /// # Errors
    /// The session's, or the refusal.
    pub async fn each(&mut self, messages: &[Message]) -> Result<(), SessionError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        for message in messages {
            self.connection.send(message)?;
        }
        let barrier = self.connection.send(&Message::BarrierRequest)?;
        let mut refusal = None;
        loop {
            match self.next(deadline).await? {
                (xid, Message::BarrierReply) if xid == barrier => break,
                (_, Message::Error(error)) => {
                    refusal.get_or_insert(SessionError::Peer(error.to_string()));
                }
                _ => {}
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Does all messages at once, in order, or none.
    ///
    /// # Errors
    /// [`SessionError::Refused`] names the message; then, as with the session's errors before the
    /// commit, nothing was done. An error while it is committed leaves open whether it was.
    pub async fn bundle(&mut self, messages: &[Message]) -> Result<(), SessionError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let id = self.next_bundle;
        self.next_bundle = id.wrapping_add(1);
        let flags = BundleFlags::ATOMIC_ORDERED;
        let control = |step| Message::BundleControl(BundleControl { id, step, flags });
        self.connection.send(&control(BundleStep::OpenRequest))?;
        let mut numbers = Vec::with_capacity(messages.len());
        for message in messages {
            let message = Box::new(message.clone());
            let add = Message::BundleAdd(BundleAdd { id, flags, message });
            numbers.push(self.connection.send(&add)?);
        }
        // Open vSwitch commits what is left of a bundle of which it refused a message: ask first.
        let barrier = self.connection.send(&Message::BarrierRequest)?;
        let mut refusal = None;
        loop {
            match self.next(deadline).await? {
                (xid, Message::BarrierReply) if xid == barrier => break,
                (xid, Message::Error(error)) => {
                    refusal.get_or_insert(refused(&numbers, xid, error));
                }
                _ => {}
            }
        }
        if let Some(refusal) = refusal {
            let discard = control(BundleStep::DiscardRequest);
            self.end_bundle(&discard, &numbers, deadline).await?;
            return Err(refusal);
        }
        let commit = control(BundleStep::CommitRequest);
        self.end_bundle(&commit, &numbers, deadline).await
    }

    /// Commits or discards. A message that fails only at the commit is named before the commit is.
    async fn end_bundle(
        &mut self,
        how: &Message,
        numbers: &[u32],
        deadline: Instant,
    ) -> Result<(), SessionError> {
        let end = self.connection.send(how)?;
        let mut refusal = None;
        loop {
            match self.next(deadline).await? {
                (xid, Message::BundleControl(_)) if xid == end => {
                    break;
                }
                (xid, Message::Error(error)) => {
                    let refused = refused(numbers, xid, error);
                    refusal.get_or_insert(refused);
                    if xid == end {
                        break;
                    }
                }
                _ => {}
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    async fn dump<T>(
        &mut self,
        request: MultipartRequest,
        part: impl Fn(MultipartBody) -> Option<Vec<T>>,
    ) -> Result<Vec<T>, SessionError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let asked = self.connection.send(&Message::MultipartRequest(request))?;
        let mut all = Vec::new();
        loop {
            let Message::MultipartReply(reply) = self.answer(asked, deadline).await? else {
                return Err(SessionError::Unexpected("something"));
            };
            let kind = SessionError::Unexpected("another multipart");
            all.extend(part(reply.body).ok_or(kind)?);
            if all.len() > DUMP_MAX {
                return Err(SessionError::Flood);
            }
            if !reply.more {
                return Ok(all);
            }
        }
    }

    /// The answer to one question. What the switch says unasked meanwhile is passed over.
    async fn answer(&mut self, asked: u32, deadline: Instant) -> Result<Message, SessionError> {
        loop {
            match self.next(deadline).await? {
                (xid, Message::Error(error)) if xid == asked => {
                    return Err(SessionError::Peer(error.to_string()));
                }
                (xid, message) if xid == asked => return Ok(message),
                _ => {}
            }
        }
    }

    async fn next(&mut self, deadline: Instant) -> Result<(u32, Message), SessionError> {
        loop {
            if let Some(message) = self.connection.next_message() {
                return Ok(message);
            }
            self.pump(deadline).await?;
        }
    }

    /// Writes and reads what can be: both, for a switch that cannot write does not read either.
    async fn pump(&mut self, deadline: Instant) -> Result<(), SessionError> {
        let (mut from, mut to) = self.socket.split();
        let mut bytes = vec![0; READ];
        let outgoing = self.connection.outgoing();
        let moved = async {
            tokio::select! {
                read = from.read(&mut bytes) => read.map(|count| (Some(count), 0)),
                sent = to.write(outgoing), if !outgoing.is_empty() => sent.map(|count| (None, count)),
            }
        };
        let moved = timeout_at(deadline, moved).await;
        let (read, sent) = moved.map_err(|_| SessionError::Silent)??;
        self.connection.sent(sent);
        match read {
            Some(0) => Err(SessionError::Closed),
            Some(count) => self
                .connection
                .receive(bytes.get(..count).unwrap_or_default()),
            None => Ok(()),
        }
    }
}

/// Which message of a bundle an error is about, by the numbers they were sent with.
fn refused(numbers: &[u32], xid: u32, error: ErrorMessage) -> SessionError {
    let error = error.to_string();
    match numbers.iter().position(|number| *number == xid) {
        Some(index) => SessionError::Refused { index, error },
        None => SessionError::Peer(error),
    }
}
