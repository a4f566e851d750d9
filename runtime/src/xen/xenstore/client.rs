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

/// Our end of the conversation.
pub struct Client<'p> {
    page: &'p XenstorePage,
    port: Port,
    next_request: u32,
    /// Bytes of a message that has not arrived whole.
    partial: Vec<u8>,
    events: VecDeque<WatchEvent>,
    broken: bool,
    /// Requests sent so far: what a launch costs in round trips.
    requests: u64,
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
        Ok(strings(&payload).map(<[u8]>::to_vec).collect())
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
        let length = parts.iter().map(|part| part.len()).sum();
        if length > PAYLOAD_MAX {
            return Err(StoreError::TooLong);
        }
        if self.broken {
            return Err(StoreError::Broken);
        }
        let request = self.next_request;
        self.next_request = request.wrapping_add(1);
        self.requests += 1;
        let header = Header {
            kind,
            request,
            transaction,
            length,
        }
        .emit();
        let deadline = hypervisor.now().saturating_add(PATIENCE_NS);
        for part in core::iter::once(&header[..]).chain(parts.iter().copied()) {
            if let Err(error) = self.send(hypervisor, part, deadline) {
                self.broken = true;
                return Err(error);
            }
        }
        hypervisor.notify(self.port);
        Ok(request)
    }

    fn send(
        &mut self,
        hypervisor: &impl Hypervisor,
        mut bytes: &[u8],
        deadline: u64,
    ) -> Result<(), StoreError> {
        let page = self.page;
        let mut ring = Writer::new(&page.requests, &page.req_consumed, &page.req_produced);
        while !bytes.is_empty() {
            let count = ring.write(bytes)?;
            bytes = &bytes[count..];
            if count == 0 {
                if hypervisor.now() >= deadline {
                    return Err(StoreError::Broken);
                }
                hypervisor.notify(self.port);
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
            let count = ring.read(&mut self.partial[have..]);
            self.partial.truncate(have + count.unwrap_or(0));
            match count? {
                0 => return Ok(None),
                // xenstored may wait for room.
                _ => hypervisor.notify(self.port),
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
mod tests {
    use super::*;
    use core::cell::{Cell, RefCell};
    use core::sync::atomic::Ordering;

    type Answer = Box<dyn Fn(Header, &[u8]) -> Vec<u8>>;

    /// A xenstored whose answers a test decides; it works whenever the guest waits.
    struct Fake<'p> {
        page: &'p XenstorePage,
        now: Cell<u64>,
        received: RefCell<Vec<u8>>,
        unsent: RefCell<Vec<u8>>,
        answer: Answer,
    }

    impl Hypervisor for Fake<'_> {
        fn notify(&self, _port: Port) {}
        fn now(&self) -> u64 {
            self.now.get()
        }
        fn wait(&self, _port: Port, deadline: u64) {
            if !self.work() {
                self.now.set(deadline);
            }
        }
    }

    impl<'p> Fake<'p> {
        fn new(page: &'p XenstorePage, answer: Answer) -> Self {
            let received = RefCell::default();
            Self {
                page,
                now: Cell::new(0),
                received,
                unsent: RefCell::default(),
                answer,
            }
        }

        /// Whether anything moved.
        fn work(&self) -> bool {
            let page = self.page;
            let mut bytes = [0; 1024];
            let count = Reader::new(&page.requests, &page.req_consumed, &page.req_produced)
                .read(&mut bytes)
                .unwrap();
            let mut received = self.received.borrow_mut();
            received.extend_from_slice(&bytes[..count]);
            let mut unsent = self.unsent.borrow_mut();
            while let Some(header) = received.first_chunk::<HEADER>() {
                let header = Header::parse(header).unwrap();
                if received.len() < HEADER + header.length {
                    break;
                }
                let message: Vec<u8> = received.drain(..HEADER + header.length).collect();
                unsent.extend((self.answer)(header, &message[HEADER..]));
            }
            let sent = Writer::new(&page.answers, &page.rsp_consumed, &page.rsp_produced)
                .write(&unsent)
                .unwrap();
            unsent.drain(..sent);
            count + sent > 0
        }
    }

    fn message(header: Header, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Header {
            kind,
            length: payload.len(),
            ..header
        }
        .emit()
        .to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn reads_lists_and_writes() {
        let page = XenstorePage::new();
        let daemon = Fake::new(
            &page,
            Box::new(|header, payload| match (header.kind, payload) {
                (Kind::Read, b"name\0") => message(header, Kind::Read, b"hello"),
                (Kind::Directory, b"device\0") => message(header, Kind::Directory, b"vif\0vbd\0"),
                (Kind::Write, b"data/x\0value") => message(header, Kind::Write, b"OK\0"),
                (Kind::Read, b"secret\0") => message(header, Kind::Error, b"EACCES\0"),
                _ => message(header, Kind::Error, b"ENOENT\0"),
            }),
        );
        let mut client = Client::new(&page, Port(1));
        assert_eq!(client.read(&daemon, b"name"), Ok(b"hello".to_vec()));
        assert_eq!(
            client.directory(&daemon, b"device"),
            Ok(vec![b"vif".to_vec(), b"vbd".to_vec()])
        );
        assert_eq!(client.write(&daemon, b"data/x", b"value"), Ok(()));
        assert_eq!(client.read(&daemon, b"secret"), Err(StoreError::Denied));
        assert_eq!(client.read(&daemon, b"absent"), Err(StoreError::NotFound));
        assert_eq!(
            client.read(&daemon, &[b'x'; PAYLOAD_MAX]),
            Err(StoreError::TooLong)
        );
        assert_eq!(client.requests(), 5);
    }

    #[test]
    fn messages_longer_than_the_ring_pass_in_both_directions() {
        let page = XenstorePage::new();
        let daemon = Fake::new(
            &page,
            Box::new(|header, payload| message(header, Kind::Read, &payload[..payload.len() - 1])),
        );
        let long: Vec<u8> = (0..PAYLOAD_MAX - 1)
            .map(|n| b'a' + (n % 26) as u8)
            .collect();
        assert_eq!(
            Client::new(&page, Port(1)).read(&daemon, &long),
            Ok(long.clone())
        );
    }

    #[test]
    fn events_between_answers_are_kept_and_posted_answers_dropped() {
        let page = XenstorePage::new();
        let daemon = Fake::new(
            &page,
            Box::new(|header, payload| {
                let mut bytes = Vec::new();
                if header.kind == Kind::Watch {
                    bytes = message(header, Kind::WatchEvent, payload);
                }
                bytes.extend(message(header, header.kind, b"OK\0"));
                bytes
            }),
        );
        let mut client = Client::new(&page, Port(1));
        client
            .post_watch(&daemon, b"control/shutdown", b"t")
            .unwrap();
        assert_eq!(client.read(&daemon, b"x"), Ok(b"OK\0".to_vec()));
        let event = client.take_event(&daemon).unwrap();
        assert_eq!(
            (&event.path[..], &event.token[..]),
            (&b"control/shutdown"[..], &b"t"[..])
        );
        assert_eq!(client.take_event(&daemon), None);
    }

    #[test]
    fn a_transaction_that_lost_is_tried_again() {
        let page = XenstorePage::new();
        let lost = Cell::new(3);
        let daemon = Fake::new(
            &page,
            Box::new(move |header, payload| match header.kind {
                Kind::TransactionStart => message(header, Kind::TransactionStart, b"77\0"),
                Kind::TransactionEnd if lost.get() > 0 && payload == b"T\0" => {
                    lost.set(lost.get() - 1);
                    message(header, Kind::Error, b"EAGAIN\0")
                }
                _ => {
                    assert_eq!(header.transaction, 77);
                    message(header, header.kind, b"OK\0")
                }
            }),
        );
        let mut client = Client::new(&page, Port(1));
        assert_eq!(
            client.write_all(&daemon, &[(b"a", b"1"), (b"b", b"2")]),
            Ok(())
        );
        assert_eq!(client.requests(), 4 * 4);
    }

    #[test]
    fn silence_and_nonsense_end_the_conversation() {
        let silent = XenstorePage::new();
        let daemon = Fake::new(&silent, Box::new(|_, _| Vec::new()));
        let mut client = Client::new(&silent, Port(1));
        assert_eq!(client.read(&daemon, b"x"), Err(StoreError::Broken));
        let waited = daemon.now.get();
        assert_eq!(client.read(&daemon, b"x"), Err(StoreError::Broken));
        assert_eq!(daemon.now.get(), waited, "the second request fails at once");

        let babbling = XenstorePage::new();
        let daemon = Fake::new(&babbling, Box::new(|_, _| vec![0xff; 40]));
        let mut client = Client::new(&babbling, Port(1));
        assert_eq!(client.read(&daemon, b"x"), Err(StoreError::Broken));
        assert_eq!(client.take_event(&daemon), None);

        let lying = XenstorePage::new();
        lying.rsp_produced.store(5000, Ordering::Relaxed);
        let daemon = Fake::new(&lying, Box::new(|_, _| Vec::new()));
        assert_eq!(
            Client::new(&lying, Port(1)).read(&daemon, b"x"),
            Err(StoreError::Broken)
        );
    }
}
