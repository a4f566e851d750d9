//! A conversation with xenstored over the shared page (`io/xs_wire.h`, `xenstore_domain_interface`).
//!
//! Requests are answered in order, watch events come in between. A request can be *posted*, when its
//! answer does not matter, or *called*, which waits; a xenstored that is silent for [`PATIENCE_NS`] or
//! sends what is no message breaks the conversation, and every later request fails at once: a guest
//! loses its configuration then, not its life.

use super::super::ring::{BrokenRing, Reader, Writer};
use super::super::{Hypervisor, Port};
use super::wire::{HEADER, Header, Kind, PAYLOAD_MAX, strings};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU32};

/// How long an answer may take. xenstored answers in well under a millisecond; dom0 may be overloaded.
pub const PATIENCE_NS: u64 = 10_000_000_000;
/// Watch events kept until somebody looks; xenstored merges equal ones, and we set few watches.
const EVENTS_MAX: usize = 64;
/// A transaction that loses this often against others is given up.
const TRANSACTION_TRIES: usize = 16;
/// Requests on their way at once: xenstored takes no more from a domain that has twenty answers to read
/// (its `quota-outstanding`), and some may be there that nobody waits for.
const AT_ONCE_MAX: usize = 16;

/// `struct xenstore_domain_interface`.
#[repr(C)]
pub struct XenstorePage {
    /// What we say.
    pub requests: [AtomicU8; 1024],
    /// What xenstored says.
    pub answers: [AtomicU8; 1024],
    /// How much of `requests` xenstored has taken.
    pub req_consumed: AtomicU32,
    /// How much we have put into `requests`.
    pub req_produced: AtomicU32,
    /// How much of `answers` we have taken.
    pub rsp_consumed: AtomicU32,
    /// How much xenstored has put into `answers`.
    pub rsp_produced: AtomicU32,
}

impl XenstorePage {
    /// A page on which nothing has been said. (Xen's own is made by the toolstack.)
    #[allow(clippy::new_without_default, reason = "for fakes of xenstored only")]
    pub const fn new() -> Self {
        XenstorePage {
            requests: [const { AtomicU8::new(0) }; 1024],
            answers: [const { AtomicU8::new(0) }; 1024],
            req_consumed: AtomicU32::new(0),
            req_produced: AtomicU32::new(0),
            rsp_consumed: AtomicU32::new(0),
            rsp_produced: AtomicU32::new(0),
        }
    }
}

const _: () = assert!(core::mem::offset_of!(XenstorePage, req_consumed) == 2048);

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// There is no such node.
    NotFound,
    /// The node's permissions exclude this domain.
    Denied,
    /// Somebody else changed what a transaction had read: try again.
    Again,
    /// xenstored refused for another reason.
    Refused,
    /// The request does not fit a message.
    TooLong,
    /// xenstored did not answer in time, or not in its protocol; the conversation is over.
    Broken,
}

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such node",
            Self::Denied => "this domain may not use the node",
            Self::Again => "the transaction lost against another one",
            Self::Refused => "xenstored refused",
            Self::TooLong => "the request is longer than xenstore's 4096 bytes",
            Self::Broken => "xenstored does not answer (is it running in dom0?)",
        })
    }
}

impl From<BrokenRing> for StoreError {
    fn from(_: BrokenRing) -> Self {
        Self::Broken
    }
}

/// Something under a watched path changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchEvent {
    /// The path that changed.
    pub path: Vec<u8>,
    /// The token that the watch was set with.
    pub token: Vec<u8>,
}

/// What is asked for together with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'r> {
    /// A node's value.
    Read(&'r [u8]),
    /// The names of a node's children, as [`children`] reads them.
    Directory(&'r [u8]),
    /// Sets a node, to a value.
    Write(&'r [u8], &'r [u8]),
    /// Events when anything at or below the path changes, with a token; one comes at once.
    Watch(&'r [u8], &'r [u8]),
}

/// The names in the answer to [`Request::Directory`].
pub fn children(answer: &[u8]) -> Vec<Vec<u8>> {
    strings(answer).map(<[u8]>::to_vec).collect()
}

/// An answer's payload.
pub type Answer = Result<Vec<u8>, StoreError>;

/// Our end of the conversation.
pub struct Client<'p> {
    page: &'p XenstorePage,
    port: Port,
    next_request: u32,
    /// Bytes of a message that has not arrived whole.
    partial: Vec<u8>,
    events: VecDeque<WatchEvent>,
    broken: bool,
    /// Requests sent so far.
    requests: u64,
    /// How often answers were waited for: what a launch costs in time.
    round_trips: u64,
}

impl<'p> Client<'p> {
    /// A conversation on a shared page and its event channel.
    pub fn new(page: &'p XenstorePage, port: Port) -> Self {
        Self {
            page,
            port,
            next_request: 1,
            partial: Vec::new(),
            events: VecDeque::new(),
            broken: false,
            requests: 0,
            round_trips: 0,
        }
    }

    /// The event channel: pending when something has arrived.
    pub fn port(&self) -> Port {
        self.port
    }

    /// How many requests have been sent.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// How often answers have been waited for.
    pub fn round_trips(&self) -> u64 {
        self.round_trips
    }

    /// The value of a node.
    pub fn read(
        &mut self,
        hypervisor: &impl Hypervisor,
        path: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.call(hypervisor, Kind::Read, 0, &[path, b"\0"])
    }

    /// The names of a node's children.
    pub fn directory(
        &mut self,
        hypervisor: &impl Hypervisor,
        path: &[u8],
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let payload = self.call(hypervisor, Kind::Directory, 0, &[path, b"\0"])?;
        Ok(children(&payload))
    }

    /// Sets a node's value.
    pub fn write(
        &mut self,
        hypervisor: &impl Hypervisor,
        path: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.call(hypervisor, Kind::Write, 0, &[path, b"\0", value])
            .map(drop)
    }

    /// Sets nodes all at once, or none of them.
    pub fn write_all(
        &mut self,
        hypervisor: &impl Hypervisor,
        nodes: &[(&[u8], &[u8])],
    ) -> Result<(), StoreError> {
        for _ in 0..TRANSACTION_TRIES {
            let answer = self.call(hypervisor, Kind::TransactionStart, 0, &[b"\0"])?;
            let transaction = strings(&answer)
                .next()
                .and_then(|text| core::str::from_utf8(text).ok()?.parse().ok())
                .ok_or(StoreError::Broken)?;
            let written = nodes.iter().try_for_each(|(path, value)| {
                let parts: [&[u8]; 3] = [path, b"\0", value];
                self.call(hypervisor, Kind::Write, transaction, &parts)
                    .map(drop)
            });
            let verdict: &[u8] = if written.is_ok() { b"T\0" } else { b"F\0" };
            let ended = self.call(hypervisor, Kind::TransactionEnd, transaction, &[verdict]);
            match written.and(ended.map(drop)) {
                Err(StoreError::Again) => {}
                result => return result,
            }
        }
        Err(StoreError::Again)
    }

    /// Asks for events when anything at or below `path` changes; one event comes at once. Does not wait.
    pub fn post_watch(
        &mut self,
        hypervisor: &impl Hypervisor,
        path: &[u8],
        token: &[u8],
    ) -> Result<(), StoreError> {
        self.post(hypervisor, Kind::Watch, 0, &[path, b"\0", token, b"\0"])
            .map(drop)
    }

    /// Sets a node's value without waiting for the answer.
    pub fn post_write(
        &mut self,
        hypervisor: &impl Hypervisor,
        path: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.post(hypervisor, Kind::Write, 0, &[path, b"\0", value])
            .map(drop)
    }

    /// Has several things done in this order, without waiting for each: one round trip for all. The answers
    /// are in the same order.
    pub fn exchange(&mut self, hypervisor: &impl Hypervisor, requests: &[Request]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(requests.len());
        for some in requests.chunks(AT_ONCE_MAX) {
            let mut bytes = Vec::new();
            let mut add = |kind, parts: &[&[u8]]| self.compose(kind, 0, parts, &mut bytes);
            let asked: Vec<_> = some
                .iter()
                .map(|request| match *request {
                    Request::Read(path) => add(Kind::Read, &[path, b"\0"]),
                    Request::Directory(path) => add(Kind::Directory, &[path, b"\0"]),
                    Request::Write(path, value) => add(Kind::Write, &[path, b"\0", value]),
                    Request::Watch(path, token) => add(Kind::Watch, &[path, b"\0", token, b"\0"]),
                })
                .collect();
            let sent = self.send(hypervisor, &bytes);
            self.round_trips += 1;
            answers.extend(asked.into_iter().map(|asked| {
                sent?;
                self.await_answer(hypervisor, asked?)
            }));
        }
        answers
    }

    /// The next watch event that has arrived. Answers to posted requests are dropped here.
    pub fn take_event(&mut self, hypervisor: &impl Hypervisor) -> Option<WatchEvent> {
        while !self.broken {
            match self.receive(hypervisor) {
                Ok(Some((header, payload))) if header.kind == Kind::WatchEvent => {
                    self.keep(&payload)
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => self.broken = true,
            }
        }
        self.events.pop_front()
    }

    /// Sends a request and waits for its answer.
    fn call(
        &mut self,
        hypervisor: &impl Hypervisor,
        kind: Kind,
        transaction: u32,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, StoreError> {
        let request = self.post(hypervisor, kind, transaction, parts)?;
        self.round_trips += 1;
        self.await_answer(hypervisor, request)
    }

    fn await_answer(&mut self, hypervisor: &impl Hypervisor, request: u32) -> Answer {
        let deadline = hypervisor.now().saturating_add(PATIENCE_NS);
        let answer = self.answer(hypervisor, request, deadline);
        self.broken |= answer == Err(StoreError::Broken);
        answer
    }

    fn answer(
        &mut self,
        hypervisor: &impl Hypervisor,
        request: u32,
        deadline: u64,
    ) -> Result<Vec<u8>, StoreError> {
        loop {
            match self.receive(hypervisor)? {
                Some((header, payload)) if header.kind == Kind::WatchEvent => self.keep(&payload),
                Some((header, payload)) if header.request == request => {
                    return if header.kind == Kind::Error {
                        Err(refusal(&payload))
                    } else {
                        Ok(payload)
                    };
                }
                Some(_) => {}
                None if hypervisor.now() >= deadline => return Err(StoreError::Broken),
                None => hypervisor.wait(self.port, deadline),
            }
        }
    }

    /// Sends a request, and says under which number.
    fn post(
        &mut self,
        hypervisor: &impl Hypervisor,
        kind: Kind,
        transaction: u32,
        parts: &[&[u8]],
    ) -> Result<u32, StoreError> {
        let mut bytes = Vec::new();
        let request = self.compose(kind, transaction, parts, &mut bytes)?;
        self.send(hypervisor, &bytes)?;
        Ok(request)
    }

    /// Adds a request to what will be sent, and says under which number.
    fn compose(
        &mut self,
        kind: Kind,
        transaction: u32,
        parts: &[&[u8]],
        bytes: &mut Vec<u8>,
    ) -> Result<u32, StoreError> {
        let length = parts.iter().map(|part| part.len()).sum();
        if length > PAYLOAD_MAX {
            return Err(StoreError::TooLong);
        }
        let request = self.next_request;
        self.next_request = request.wrapping_add(1);
        self.requests += 1;
        let header = Header {
            kind,
            request,
            transaction,
            length,
        };
        bytes.extend_from_slice(&header.emit());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(request)
    }

    /// Sends whole messages. They go in one piece where there is room: xenstored, once woken, may run
    /// before we do.
    fn send(&mut self, hypervisor: &impl Hypervisor, mut bytes: &[u8]) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let page = self.page;
        let deadline = hypervisor.now().saturating_add(PATIENCE_NS);
        let mut ring = Writer::new(&page.requests, &page.req_consumed, &page.req_produced);
        while !bytes.is_empty() {
            let Ok(count) = ring.write(bytes) else {
                self.broken = true;
                return Err(StoreError::Broken);
            };
            bytes = &bytes[count..];
            // It looks at the ring until that is empty; only then it has to be woken.
            if ring.was_empty_before(count) {
                hypervisor.notify(self.port);
            }
            if count == 0 {
                if hypervisor.now() >= deadline {
                    self.broken = true;
                    return Err(StoreError::Broken);
                }
                hypervisor.wait(self.port, deadline);
            }
        }
        Ok(())
    }

    /// The next whole message, if it has arrived.
    fn receive(
        &mut self,
        hypervisor: &impl Hypervisor,
    ) -> Result<Option<(Header, Vec<u8>)>, StoreError> {
        loop {
            let wanted = match self.partial.first_chunk::<HEADER>() {
                Some(header) => {
                    let header = Header::parse(header).map_err(|_| StoreError::Broken)?;
                    let end = HEADER + header.length;
                    if self.partial.len() == end {
                        let payload = self.partial.split_off(HEADER);
                        self.partial.clear();
                        return Ok(Some((header, payload)));
                    }
                    end
                }
                None => HEADER,
            };
            let have = self.partial.len();
            self.partial.resize(wanted, 0);
            let page = self.page;
            let mut ring = Reader::new(&page.answers, &page.rsp_consumed, &page.rsp_produced);
            let was_full = ring.available() == Ok(page.answers.len());
            let count = ring.read(&mut self.partial[have..]);
            self.partial.truncate(have + count.unwrap_or(0));
            match count? {
                0 => return Ok(None),
                // xenstored waits for room.
                _ if was_full => hypervisor.notify(self.port),
                _ => {}
            }
        }
    }

    fn keep(&mut self, payload: &[u8]) {
        let mut parts = strings(payload);
        let (Some(path), Some(token)) = (parts.next(), parts.next()) else {
            return;
        };
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(WatchEvent {
                path: path.to_vec(),
                token: token.to_vec(),
            });
        }
    }
}

fn refusal(payload: &[u8]) -> StoreError {
    match payload.strip_suffix(b"\0").unwrap_or(payload) {
        b"ENOENT" => StoreError::NotFound,
        b"EACCES" | b"EPERM" => StoreError::Denied,
        b"EAGAIN" => StoreError::Again,
        _ => StoreError::Refused,
    }
}

#[cfg(test)]
mod tests;
