//! A session through a socket.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use openflow::{
    BundleAdd, BundleControl, BundleFlags, BundleStep, ErrorMessage, Features, Flow, FlowStats,
    FlowStatsRequest, Group, Message, Meter, MultipartBody, MultipartRequest, Port, PortNumber,
    SwitchConfig, multipart::PortStats,
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
/// What the switch said unasked and nobody has taken: packets of appliances that sleep, ports that
/// change, flows that went. A revocation deletes some thousand flows at once. What is beyond is
/// passed over and counted ([`Session::passed_over`]).
pub const UNASKED_MAX: usize = 65_536;
/// `NXPIF_NXT_PACKET_IN2`.
const PACKET_IN_2: u32 = 2;
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
    /// It said something in another version than both agreed on.
    #[error("the switch sent a message of version {0:#04x} in a session of 0x06")]
    OtherVersion(u8),
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
    /// Where it is read into.
    bytes: Vec<u8>,
    features: Features,
    next_bundle: u32,
    unasked: VecDeque<Message>,
    passed_over: u64,
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
            bytes: vec![0; READ],
            features: Features {
                datapath_id: 0,
                buffers: 0,
                tables: 0,
                auxiliary_id: 0,
                capabilities: 0,
            },
            next_bundle: 1,
            unasked: VecDeque::new(),
            passed_over: 0,
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

    /// The process at the other end, as the kernel knows it; None if it is in no namespace of ours.
    pub fn peer_process(&self) -> Option<u32> {
        let process = self.socket.peer_cred().ok()?.pid()?;
        u32::try_from(process).ok().filter(|id| *id != 0)
    }

    /// Asks for what a switch says unasked: packets (as NXT_PACKET_IN2), ports, flows that went.
    /// Open vSwitch says nothing of it on a management socket before that.
    ///
    /// # Errors
    /// The session's.
    pub async fn listen(&mut self) -> Result<(), SessionError> {
        let whole = SwitchConfig {
            flags: 0,
            miss_send_len: u16::MAX,
        };
        let format = Message::SetPacketInFormat(PACKET_IN_2);
        self.each(&[Message::SetConfig(whole), format]).await
    }

    /// The next that the switch says unasked. It may be dropped at any time, and nothing is lost.
    ///
    /// # Errors
    /// The session's.
    pub async fn unasked(&mut self) -> Result<Message, SessionError> {
        loop {
            if let Some(message) = self.unasked.pop_front() {
                return Ok(message);
            }
            let message = self.read(None).await?.1;
            self.keep(message);
        }
    }

    /// The next that it said unasked and that was read already.
    pub fn take_unasked(&mut self) -> Option<Message> {
        self.unasked.pop_front()
    }

    /// How much of what the switch said unasked was passed over, for it came faster than it was
    /// taken.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Asks whether it is there.
    ///
    /// # Errors
    /// The session's.
    pub async fn echo(&mut self) -> Result<(), SessionError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let asked = self.connection.send(&Message::EchoRequest(Vec::new()))?;
        match self.answer(asked, deadline).await? {
            Message::EchoReply(_) => Ok(()),
            _ => Err(SessionError::Unexpected("something")),
        }
    }

    /// All flows, in the order of the switch.
    ///
    /// # Errors
    /// The session's, or more than [`DUMP_MAX`].
    pub async fn flows(&mut self) -> Result<Vec<Flow>, SessionError> {
        let stats = self.flow_stats(FlowStatsRequest::all()).await?;
        Ok(stats.into_iter().map(|one| one.flow).collect())
    }

    /// Flows, and what they counted.
    ///
    /// # Errors
    /// The session's, or more than [`DUMP_MAX`].
    pub async fn flow_stats(
        &mut self,
        request: FlowStatsRequest,
    ) -> Result<Vec<FlowStats>, SessionError> {
        let stats = self.dump(MultipartRequest::Flow(request), |body| match body {
            MultipartBody::Flow(part) => Some(part),
            _ => None,
        });
        stats.await
    }

    /// What the ports counted.
    ///
    /// # Errors
    /// The session's, or more than [`DUMP_MAX`].
    pub async fn port_stats(&mut self) -> Result<Vec<PortStats>, SessionError> {
        let stats = self.dump(MultipartRequest::Port(PortNumber::ANY), |body| match body {
            MultipartBody::Port(part) => Some(part),
            _ => None,
        });
        stats.await
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
                (_, message) => self.keep(message),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Does all messages at once, in order, or none.
    ///
    /// # Errors
    /// [`SessionError::Refused`] names the message; then, as with the session's errors before the
    /// commit, nothing was done. An error while it is committed leaves open whether it was.
    pub async fn bundle(&mut self, messages: Vec<Message>) -> Result<(), SessionError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let id = self.next_bundle;
        self.next_bundle = id.wrapping_add(1);
        let flags = BundleFlags::ATOMIC_ORDERED;
        let control = |step| Message::BundleControl(BundleControl { id, step, flags });
        self.connection.send(&control(BundleStep::OpenRequest))?;
        let mut numbers = Vec::with_capacity(messages.len());
        for message in messages {
            let message = Box::new(message);
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
                (_, message) => self.keep(message),
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
                (_, message) => self.keep(message),
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

    /// Keeps what is said unasked; answers that nobody waits for any more are none of it.
    fn keep(&mut self, message: Message) {
        let is_unasked = matches!(
            message,
            Message::PacketIn2(_) | Message::PortStatus(_) | Message::FlowRemoved(_)
        );
        if !is_unasked {
            return;
        }
        if self.unasked.len() < UNASKED_MAX {
            self.unasked.push_back(message);
        } else {
            self.passed_over += 1;
        }
    }

    /// The answer to one question. What the switch says unasked meanwhile is kept.
    async fn answer(&mut self, asked: u32, deadline: Instant) -> Result<Message, SessionError> {
        loop {
            match self.next(deadline).await? {
                (xid, Message::Error(error)) if xid == asked => {
                    return Err(SessionError::Peer(error.to_string()));
                }
                (xid, message) if xid == asked => return Ok(message),
                (_, message) => self.keep(message),
            }
        }
    }

    async fn next(&mut self, deadline: Instant) -> Result<(u32, Message), SessionError> {
        self.read(Some(deadline)).await
    }

    async fn read(&mut self, deadline: Option<Instant>) -> Result<(u32, Message), SessionError> {
        loop {
            if let Some(message) = self.connection.next_message() {
                return Ok(message);
            }
            match deadline {
                Some(deadline) => self.pump(deadline).await?,
                None => self.exchange().await?,
            }
        }
    }

    async fn pump(&mut self, deadline: Instant) -> Result<(), SessionError> {
        let moved = timeout_at(deadline, self.exchange()).await;
        moved.map_err(|_| SessionError::Silent)?
    }

    /// Writes and reads what can be: both, for a switch that cannot write does not read either. It may
    /// be dropped at any time, and nothing is lost.
    async fn exchange(&mut self) -> Result<(), SessionError> {
        let (mut from, mut to) = self.socket.split();
        let outgoing = self.connection.outgoing();
        let (read, sent) = tokio::select! {
            read = from.read(&mut self.bytes) => read.map(|count| (Some(count), 0)),
            sent = to.write(outgoing), if !outgoing.is_empty() => sent.map(|count| (None, count)),
        }?;
        self.connection.sent(sent);
        match read {
            Some(0) => Err(SessionError::Closed),
            Some(count) => self
                .connection
                .receive(self.bytes.get(..count).unwrap_or_default()),
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

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// HELLO of 1.5, and the answer to FEATURES_REQUEST, which is the second message.
    const HELLO: [u8; 8] = [6, 0, 0, 8, 0, 0, 0, 1];
    const FEATURES: [u8; 32] = {
        let mut bytes = [0; 32];
        (bytes[0], bytes[1], bytes[3], bytes[7]) = (6, 6, 32, 2);
        bytes
    };

    /// What becomes of a session, and of its first dump, with a switch that says these pieces, one
    /// for each time that it is spoken to, and then nothing more.
    fn end(pieces: Vec<Vec<u8>>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("switch");
        runtime.block_on(async {
            let listener = UnixListener::bind(&path).expect("a socket");
            let switch = tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.expect("somebody");
                let mut asked = vec![0; READ];
                for piece in pieces {
                    // It may have gone.
                    let _ = socket.read(&mut asked).await;
                    let _ = socket.write_all(&piece).await;
                }
                let _ = socket.shutdown().await;
                while matches!(socket.read(&mut asked).await, Ok(1..)) {}
            });
            let ended = async { Session::connect(&path).await?.flows().await };
            let ended = ended
                .await
                .expect_err("no switch is as bad as that")
                .to_string();
            switch.await.expect("the switch ends");
            ended
        })
    }

    #[test]
    fn what_is_no_such_switch_is_refused_by_name() {
        let greeted = |piece: &[u8]| end(vec![[&HELLO[..], piece].concat()]);
        for (ended, words) in [
            // Cut short.
            (end(vec![HELLO[..5].to_vec()]), "closed the connection"),
            (greeted(&FEATURES[..20]), "closed the connection"),
            // Of another version, before and after both have agreed.
            (end(vec![vec![4, 0, 0, 8, 0, 0, 0, 1]]), "0x04"),
            (greeted(&[4, 20, 0, 8, 0, 0, 0, 2]), "version 0x04"),
            // Too long for who has not greeted; too short for any message.
            (end(vec![vec![6, 0, 0xff, 0xff, 0, 0, 0, 1]]), "length"),
            (greeted(&[6, 6, 0, 7, 0, 0, 0, 2]), "length"),
            // Errors in place of a greeting, and of an answer.
            (
                end(vec![vec![6, 1, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0]]),
                "HELLO_FAILED",
            ),
            (
                greeted(&[6, 1, 0, 12, 0, 0, 0, 2, 0, 1, 0, 5]),
                "BAD_REQUEST",
            ),
            // Another answer than was asked for.
            (greeted(&[6, 21, 0, 8, 0, 0, 0, 2]), "another question"),
        ] {
            assert!(ended.contains(words), "{words}: {ended}");
        }
    }

    #[test]
    fn answers_to_a_dump_that_are_none_end_it() {
        let greeting = [&HELLO[..], &FEATURES].concat();
        // A multipart of ports, and a part whose flow is longer than the message.
        let ports = [6, 19, 0, 16, 0, 0, 0, 3, 0, 13, 0, 0, 0, 0, 0, 0];
        let long = [
            6, 19, 0, 24, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0,
        ];
        let error = [6, 1, 0, 12, 0, 0, 0, 3, 0, 1, 0, 5];
        for (dump, words) in [
            (&ports[..], "another multipart"),
            (&long, "no OpenFlow"),
            (&error, "BAD_REQUEST"),
            (&long[..10], "closed the connection"),
        ] {
            let ended = end(vec![greeting.clone(), dump.to_vec()]);
            assert!(ended.contains(words), "{words}: {ended}");
        }
    }
}
