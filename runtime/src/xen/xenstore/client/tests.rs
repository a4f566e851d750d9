use super::*;
use core::cell::{Cell, RefCell};
use core::sync::atomic::Ordering;

type Daemon = Box<dyn Fn(Header, &[u8]) -> Vec<u8>>;

/// A xenstored whose answers a test decides; it works whenever the guest waits.
struct Fake<'p> {
    page: &'p XenstorePage,
    now: Cell<u64>,
    notified: Cell<u32>,
    received: RefCell<Vec<u8>>,
    unsent: RefCell<Vec<u8>>,
    answer: Daemon,
}

impl Hypervisor for Fake<'_> {
    fn notify(&self, _port: Port) {
        self.notified.set(self.notified.get() + 1);
    }
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
    fn new(page: &'p XenstorePage, answer: Daemon) -> Self {
        let received = RefCell::default();
        Self {
            page,
            now: Cell::new(0),
            notified: Cell::new(0),
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

/// More than may be on their way at once, and a refusal among them.
#[test]
fn what_is_asked_together_is_answered_in_order() {
    let page = XenstorePage::new();
    let daemon = Fake::new(
        &page,
        Box::new(|header, payload| match (header.kind, payload) {
            (Kind::Read, b"absent\0") => message(header, Kind::Error, b"ENOENT\0"),
            (Kind::Read, path) => message(header, Kind::Read, &path[..path.len() - 1]),
            _ => message(header, header.kind, b"OK\0"),
        }),
    );
    let mut client = Client::new(&page, Port(1));
    let mut requests = vec![
        Request::Write(b"state", b"4"),
        Request::Watch(b"backend/state", b"t"),
        Request::Read(b"absent"),
    ];
    let paths: Vec<Vec<u8>> = (0..40).map(|n| format!("path/{n}").into_bytes()).collect();
    requests.extend(paths.iter().map(|path| Request::Read(path)));
    let answers = client.exchange(&daemon, &requests);
    assert_eq!((client.requests(), client.round_trips()), (43, 3));
    let ok = || Ok(b"OK\0".to_vec());
    assert_eq!(answers[..3], [ok(), ok(), Err(StoreError::NotFound)]);
    assert!(
        answers[3..]
            .iter()
            .eq(paths.iter().cloned().map(Ok).collect::<Vec<_>>().iter())
    );

    let silent = XenstorePage::new();
    let daemon = Fake::new(&silent, Box::new(|_, _| Vec::new()));
    let answers = Client::new(&silent, Port(1)).exchange(&daemon, &requests[..2]);
    assert_eq!(answers, [Err(StoreError::Broken), Err(StoreError::Broken)]);
}

/// Each event is a hypercall, and wakes dom0.
#[test]
fn xenstored_is_woken_only_when_it_sleeps() {
    let page = XenstorePage::new();
    let daemon = Fake::new(
        &page,
        Box::new(|header, _| message(header, header.kind, b"OK\0")),
    );
    let mut client = Client::new(&page, Port(1));
    client.post_write(&daemon, b"a", b"1").unwrap();
    client.post_write(&daemon, b"b", b"2").unwrap();
    assert_eq!(daemon.notified.get(), 1);
    client.read(&daemon, b"c").unwrap();
    assert_eq!(daemon.notified.get(), 1);
    client.read(&daemon, b"d").unwrap();
    assert_eq!(daemon.notified.get(), 2);
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
