//! A link with rate, delay, a queue and loss between two hosts, and a clock that jumps to the next event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cpu_ns;
use super::host::Host;

/// What the link does to frames, in each direction.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) delay_us: u64,
    /// 0 for any.
    pub(crate) bytes_per_second: u64,
    /// Bytes that wait before frames are dropped.
    pub(crate) queue: u64,
    pub(crate) loss_percent: u64,
}

impl Link {
    /// One that costs nothing.
    pub(crate) const FAST: Link = Link {
        delay_us: 1,
        bytes_per_second: 0,
        queue: 0,
        loss_percent: 0,
    };
}

const SECOND: u64 = 1_000_000_000;
/// A transfer that takes longer hangs.
const PATIENCE: u64 = 3600 * SECOND;

/// When, in which order, to whom, what.
type Flying = Reverse<(u64, u64, bool, Vec<u8>)>;

/// A client, a server, the link between them.
pub(crate) struct Pair<C, S> {
    now: u64,
    client: C,
    server: S,
    link: Link,
    flying: BinaryHeap<Flying>,
    order: u64,
    free_at: [u64; 2],
    random: u64,
    /// What the server has spent on receiving and transmitting.
    pub(crate) server_cpu_ns: u64,
}

impl<C: Host, S: Host> Pair<C, S> {
    pub(crate) fn new(link: Link, seed: u64, buffer: usize, connections: usize) -> Self {
        Pair {
            now: SECOND,
            client: C::new(0, buffer, connections),
            server: S::new(1, buffer, connections),
            link,
            flying: BinaryHeap::new(),
            order: 0,
            free_at: [0; 2],
            random: seed,
            server_cpu_ns: 0,
        }
    }

    /// The server alone.
    pub(crate) fn into_server(self) -> S {
        self.server
    }

    /// SplitMix64: whether a frame is lost.
    fn is_lost(&mut self) -> bool {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 100 < self.link.loss_percent
    }

    fn launch(&mut self, to_server: bool, frame: Vec<u8>) {
        let free_at = self.free_at[usize::from(to_server)];
        let mut at = self.now;
        if self.link.bytes_per_second > 0 {
            let waiting = free_at.saturating_sub(self.now) * self.link.bytes_per_second / SECOND;
            if waiting > self.link.queue {
                return;
            }
            at = free_at.max(self.now) + frame.len() as u64 * SECOND / self.link.bytes_per_second;
            self.free_at[usize::from(to_server)] = at;
        }
        if !self.is_lost() {
            self.order += 1;
            let arrival = at + self.link.delay_us * 1000;
            self.flying
                .push(Reverse((arrival, self.order, to_server, frame)));
        }
    }

    fn transmit(&mut self) {
        let mut frames = Vec::new();
        self.client.transmit(self.now, &mut frames);
        for frame in frames.drain(..) {
            self.launch(true, frame);
        }
        let before = cpu_ns();
        self.server.transmit(self.now, &mut frames);
        self.server_cpu_ns += cpu_ns() - before;
        for frame in frames {
            self.launch(false, frame);
        }
    }

    /// Goes on to the next event.
    fn step(&mut self) {
        self.transmit();
        let arrival = self.flying.peek().map(|Reverse(next)| next.0);
        let deadlines = [
            self.client.deadline(self.now),
            self.server.deadline(self.now),
        ];
        let next = deadlines.into_iter().flatten().chain(arrival).min();
        self.now = self.now.max(next.expect("something happens"));
        while self
            .flying
            .peek()
            .is_some_and(|Reverse(next)| next.0 <= self.now)
        {
            let Some(Reverse((_, _, to_server, frame))) = self.flying.pop() else {
                break;
            };
            if to_server {
                let before = cpu_ns();
                self.server.receive(self.now, &frame);
                self.server_cpu_ns += cpu_ns() - before;
            } else {
                self.client.receive(self.now, &frame);
            }
        }
        self.transmit();
    }

    fn run(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + PATIENCE;
        while !done(self) {
            assert!(self.now < end, "it hangs");
            self.step();
        }
    }

    /// A connection: the client's and the server's socket.
    pub(crate) fn connect(&mut self) -> (C::Socket, S::Socket) {
        let client = self.client.connect(self.now);
        let mut server = None;
        self.run(|pair| {
            server = server.or_else(|| pair.server.accept());
            server.is_some() && pair.client.is_writable(client)
        });
        (client, server.expect("accepted"))
    }

    /// Sends so many bytes from client to server; the seconds that it takes.
    pub(crate) fn transfer(&mut self, client: C::Socket, server: S::Socket, bytes: usize) -> f64 {
        static DATA: [u8; 65_536] = [b'x'; 65_536];
        let mut buffer = vec![0; 65_536];
        let (start, mut sent, mut received) = (self.now, 0, 0);
        self.run(|pair| {
            while sent < bytes {
                let data = &DATA[..DATA.len().min(bytes - sent)];
                match pair.client.send(pair.now, client, data) {
                    0 => break,
                    count => sent += count,
                }
            }
            loop {
                match pair.server.recv(pair.now, server, &mut buffer) {
                    0 => break,
                    count => received += count,
                }
            }
            received == bytes
        });
        (self.now - start) as f64 / SECOND as f64
    }

    /// A byte there, and one back.
    pub(crate) fn exchange(&mut self, client: C::Socket, server: S::Socket) {
        let mut byte = [0];
        self.client.send(self.now, client, b"?");
        self.run(|pair| pair.server.recv(pair.now, server, &mut byte) == 1);
        self.server.send(self.now, server, b"!");
        self.run(|pair| pair.client.recv(pair.now, client, &mut byte) == 1);
    }
}
