//! What xenstored says, right or wrong. The input is a list of turns: a request of ours, then what comes
//! over the ring in pieces, whose indices a turn may also set to anything.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::Relaxed;

use edgecloud_runtime::xen::ring::{Reader, Writer};
use edgecloud_runtime::xen::xenstore::client::{Client, PATIENCE_NS, XenstorePage};
use edgecloud_runtime::xen::xenstore::wire::{Header, Kind, PAYLOAD_MAX};
use edgecloud_runtime::xen::{Hypervisor, Port};

use crate::Target;
use crate::input::Input;

pub(super) const TARGET: Target = Target {
    name: "xenstore",
    run,
    seeds,
};

/// Requests of one input: each may wait for its patience, piece by piece.
const TURNS_MAX: usize = 64;

/// A xenstored that sends what the input says whenever the guest waits.
struct Daemon<'a> {
    page: &'a XenstorePage,
    says: RefCell<Input<'a>>,
    now: Cell<u64>,
}

impl Hypervisor for Daemon<'_> {
    fn notify(&self, _: Port) {}

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn wait(&self, _: Port, deadline: u64) {
        let mut says = self.says.borrow_mut();
        let page = self.page;
        let how = says.byte();
        if how & 0x80 != 0 {
            // Half of the patience passes, so that every wait ends.
            self.now.set(deadline.min(self.now.get() + PATIENCE_NS / 2));
        }
        if how & 0x40 != 0 {
            page.rsp_produced.store(says.word(), Relaxed);
        }
        if how & 0x20 != 0 {
            page.req_consumed.store(says.word(), Relaxed);
        }
        let mut taken = [0; 1024];
        let read =
            Reader::new(&page.requests, &page.req_consumed, &page.req_produced).read(&mut taken);
        let mut ring = Writer::new(&page.answers, &page.rsp_consumed, &page.rsp_produced);
        let piece = says.piece();
        let written = ring.write(piece);
        if says.is_empty() || (read == Ok(0) && written == Ok(0)) {
            self.now.set(deadline);
        }
    }
}

fn run(data: &[u8]) {
    let page = XenstorePage::new();
    let mut input = Input(data);
    let requests = input.piece();
    let daemon = Daemon {
        page: &page,
        says: RefCell::new(input),
        now: Cell::new(0),
    };
    let mut client = Client::new(&page, Port(1));
    for &request in requests.iter().take(TURNS_MAX) {
        match request % 6 {
            0 => drop(client.read(&daemon, b"name")),
            1 => {
                if let Ok(names) = client.directory(&daemon, b"device") {
                    assert!(names.len() <= PAYLOAD_MAX);
                }
            }
            2 => drop(client.write_all(&daemon, &[(b"data/x", &[b'x'; 3000])])),
            3 => drop(client.post_watch(&daemon, b"device", b"token")),
            4 => drop(client.post_write(&daemon, b"data/y", b"1")),
            _ => {
                // Bounded: what is kept, and what fits into the ring meanwhile.
                let events = std::iter::from_fn(|| client.take_event(&daemon)).take(5000);
                assert!(events.count() < 5000);
            }
        }
    }
}

/// Requests, and one answer to each, told in one piece.
fn conversation(requests: &[u8], answers: &[(Kind, u32, &[u8])]) -> Vec<u8> {
    let mut data = (requests.len() as u16).to_be_bytes().to_vec();
    data.extend(requests);
    for &(kind, request, payload) in answers {
        let header = Header {
            kind,
            request,
            transaction: 0,
            length: payload.len(),
        };
        data.push(0); // time stands still, the indices are true
        data.extend((16 + payload.len() as u16).to_be_bytes());
        data.extend(header.emit());
        data.extend(payload);
    }
    data
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        conversation(
            &[0, 0],
            &[(Kind::Read, 1, b"hello"), (Kind::Error, 2, b"ENOENT\0")],
        ),
        conversation(&[1], &[(Kind::Directory, 1, b"vif\0vbd\0")]),
        conversation(
            &[3, 0, 5],
            &[
                (Kind::Watch, 1, b"OK\0"),
                (Kind::WatchEvent, 0, b"device\0token\0"),
                (Kind::Read, 2, b"hello"),
            ],
        ),
        conversation(
            &[2],
            &[
                (Kind::TransactionStart, 1, b"7\0"),
                (Kind::Write, 2, b"OK\0"),
                (Kind::TransactionEnd, 3, b"OK\0"),
            ],
        ),
    ]
}
