//! The console ring (`io/console.h`), shared with xenconsoled.
//!
//! States of the output: *flowing*, then, when the ring has been full for [`PATIENCE_NS`] without the
//! other end taking a byte, *stalled*. A stalled console drops what does not fit, at once, so that a
//! guest never hangs on a reader that is gone; it counts what it dropped, and says so when there is room
//! again.

use super::ring::{Reader, Writer};
use super::{Hypervisor, Port};
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU8, AtomicU32};

/// How long a writer waits for room before the reader is taken for dead. xenconsoled looks at a ring
/// within milliseconds, and is rate-limited to 200 ms (`RATE_LIMIT_PERIOD` of `tools/console/daemon`).
pub const PATIENCE_NS: u64 = 2_000_000_000;

/// Waits are made of slices.
const SLICE_NS: u64 = 10_000_000;
const DRAIN_SLICE_NS: u64 = 2_000_000;

/// `struct xencons_interface`.
#[repr(C)]
pub struct ConsolePage {
    input: [AtomicU8; 1024],
    output: [AtomicU8; 2048],
    in_consumed: AtomicU32,
    in_produced: AtomicU32,
    out_consumed: AtomicU32,
    out_produced: AtomicU32,
}

const _: () = assert!(core::mem::offset_of!(ConsolePage, in_consumed) == 3072);

/// A console.
pub struct Console<'p> {
    page: &'p ConsolePage,
    port: Port,
    stalled: bool,
    dropped: u64,
}

impl<'p> Console<'p> {
    /// The console on a shared page and its event channel.
    pub fn new(page: &'p ConsolePage, port: Port) -> Self {
        Self {
            page,
            port,
            stalled: false,
            dropped: 0,
        }
    }

    /// The event channel: pending when there is input, or room for output.
    pub fn port(&self) -> Port {
        self.port
    }

    /// How many bytes were dropped since the console stalled.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Writes all of `data`, waiting for room; drops what finds none within [`PATIENCE_NS`].
    pub fn write(&mut self, hypervisor: &impl Hypervisor, data: &[u8]) {
        if self.stalled && !self.recovered(hypervisor) {
            self.dropped += data.len() as u64;
            return;
        }
        self.write_patiently(hypervisor, data);
    }

    /// Waits until the other end has taken everything, about `limit_ns` at most.
    pub fn drain(&mut self, hypervisor: &impl Hypervisor, limit_ns: u64) {
        // Not every taken byte is announced, so it looks again and again.
        let mut patience = Patience::new(limit_ns, DRAIN_SLICE_NS);
        while !self.stalled && !self.writer().is_empty() && patience.lasts(hypervisor) {
            hypervisor.notify(self.port);
            hypervisor.wait(self.port, hypervisor.now() + DRAIN_SLICE_NS);
        }
    }

    /// Takes what was typed, and says how much that was.
    pub fn read(&mut self, hypervisor: &impl Hypervisor, data: &mut [u8]) -> usize {
        let page = self.page;
        let mut reader = Reader::new(&page.input, &page.in_consumed, &page.in_produced);
        let count = reader.read(data).unwrap_or(0);
        if count > 0 {
            hypervisor.notify(self.port);
        }
        count
    }

    /// Whether something was typed.
    pub fn has_input(&self) -> bool {
        let page = self.page;
        let reader = Reader::new(&page.input, &page.in_consumed, &page.in_produced);
        reader.available().is_ok_and(|available| available > 0)
    }

    fn writer(&self) -> Writer<'p> {
        let page = self.page;
        Writer::new(&page.output, &page.out_consumed, &page.out_produced)
    }

    fn write_patiently(&mut self, hypervisor: &impl Hypervisor, mut data: &[u8]) {
        let mut patience = Patience::new(PATIENCE_NS, SLICE_NS);
        while !data.is_empty() {
            let Ok(count) = self.writer().write(data) else {
                self.stall(data.len());
                return;
            };
            data = &data[count..];
            if count > 0 {
                hypervisor.notify(self.port);
                patience = Patience::new(PATIENCE_NS, SLICE_NS);
                continue;
            }
            if !patience.lasts(hypervisor) {
                self.stall(data.len());
                return;
            }
            hypervisor.wait(self.port, hypervisor.now() + SLICE_NS);
        }
    }

    fn stall(&mut self, unwritten: usize) {
        self.stalled = true;
        self.dropped += unwritten as u64;
    }

    /// Whether a stalled console flows again: the ring must be empty, so that the note about what is
    /// missing surely fits.
    fn recovered(&mut self, hypervisor: &impl Hypervisor) -> bool {
        if !self.writer().is_empty() {
            return false;
        }
        self.stalled = false;
        let dropped = core::mem::take(&mut self.dropped);
        let mut note = Note {
            bytes: [0; 96],
            length: 0,
        };
        let _ = writeln!(
            note,
            "\n[edgecloud: {dropped} bytes dropped, nobody read this console]"
        );
        self.write_patiently(hypervisor, &note.bytes[..note.length]);
        !self.stalled
    }
}

/// A bounded wait that neither a clock that jumps forward nor slices that end early can cut short: both the
/// time and the number of slices must have passed. Otherwise a domain's last words are lost.
struct Patience {
    limit_ns: u64,
    slices_left: u64,
    since: Option<u64>,
}

impl Patience {
    fn new(limit_ns: u64, slice_ns: u64) -> Self {
        Self {
            limit_ns,
            slices_left: limit_ns / slice_ns,
            since: None,
        }
    }

    /// Whether another slice is to be waited for.
    fn lasts(&mut self, hypervisor: &impl Hypervisor) -> bool {
        let now = hypervisor.now();
        let since = *self.since.get_or_insert(now);
        let over = self.slices_left == 0 && now.saturating_sub(since) >= self.limit_ns;
        self.slices_left = self.slices_left.saturating_sub(1);
        !over
    }
}

/// A line of text without the heap.
struct Note {
    bytes: [u8; 96],
    length: usize,
}

impl core::fmt::Write for Note {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        let place = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::{Cell, RefCell};

    /// A xenconsoled that takes everything at each wait, or nothing when it is dead.
    struct Fake<'p> {
        page: &'p ConsolePage,
        alive: Cell<bool>,
        now: Cell<u64>,
        seen: RefCell<Vec<u8>>,
    }

    impl Hypervisor for Fake<'_> {
        fn notify(&self, _port: Port) {}
        fn now(&self) -> u64 {
            self.now.get()
        }
        fn wait(&self, _port: Port, deadline: u64) {
            if self.alive.get() {
                self.take();
            } else {
                self.now.set(deadline);
            }
        }
    }

    impl Fake<'_> {
        fn take(&self) {
            let page = self.page;
            let mut ring = Reader::new(&page.output, &page.out_consumed, &page.out_produced);
            let mut bytes = [0; 2048];
            let count = ring.read(&mut bytes).unwrap();
            self.seen.borrow_mut().extend_from_slice(&bytes[..count]);
        }
    }

    fn page() -> ConsolePage {
        ConsolePage {
            input: [const { AtomicU8::new(0) }; 1024],
            output: [const { AtomicU8::new(0) }; 2048],
            in_consumed: AtomicU32::new(0),
            in_produced: AtomicU32::new(0),
            out_consumed: AtomicU32::new(0),
            out_produced: AtomicU32::new(0),
        }
    }

    fn fake(page: &ConsolePage) -> Fake<'_> {
        Fake {
            page,
            alive: Cell::new(true),
            now: Cell::new(1),
            seen: RefCell::default(),
        }
    }

    #[test]
    fn more_than_the_ring_holds_arrives_whole() {
        let page = page();
        let daemon = fake(&page);
        let text: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let mut console = Console::new(&page, Port(2));
        console.write(&daemon, &text);
        console.drain(&daemon, 1_000_000_000);
        assert_eq!(*daemon.seen.borrow(), text);
    }

    #[test]
    fn a_dead_reader_costs_one_wait_and_the_loss_is_told() {
        let page = page();
        let daemon = fake(&page);
        daemon.alive.set(false);
        let mut console = Console::new(&page, Port(2));
        console.write(&daemon, &[b'a'; 3000]);
        let after_first = daemon.now.get();
        assert_eq!(after_first, 1 + PATIENCE_NS);
        console.write(&daemon, &[b'b'; 100]);
        console.drain(&daemon, PATIENCE_NS);
        assert_eq!(
            daemon.now.get(),
            after_first,
            "a stalled console does not wait"
        );
        assert_eq!(console.dropped(), 952 + 100);

        daemon.alive.set(true);
        daemon.take();
        console.write(&daemon, b"back\n");
        console.drain(&daemon, PATIENCE_NS);
        let seen = daemon.seen.borrow();
        let text = String::from_utf8_lossy(&seen[2048..]).into_owned();
        assert_eq!(
            text,
            "\n[edgecloud: 1052 bytes dropped, nobody read this console]\nback\n"
        );
    }

    #[test]
    fn an_impossible_index_stalls_instead_of_hanging() {
        let page = page();
        let daemon = fake(&page);
        page.out_consumed
            .store(9, core::sync::atomic::Ordering::Relaxed);
        let mut console = Console::new(&page, Port(2));
        console.write(&daemon, b"lost");
        assert_eq!(console.dropped(), 4);
    }

    #[test]
    fn input_is_read_in_pieces() {
        let page = page();
        let daemon = fake(&page);
        Writer::new(&page.input, &page.in_consumed, &page.in_produced)
            .write(b"typed")
            .unwrap();
        let mut console = Console::new(&page, Port(2));
        assert!(console.has_input());
        let mut bytes = [0; 3];
        assert_eq!(console.read(&daemon, &mut bytes), 3);
        assert_eq!(console.read(&daemon, &mut bytes), 2);
        assert!(!console.has_input());
    }
}
