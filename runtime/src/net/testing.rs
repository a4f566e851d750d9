//! Two stacks on a simulated link with rate, delay, loss, reordering and duplication, and a clock that
//! jumps to the next event. Everything random comes from one seed, which a failing test shows and
//! `NET_SEED` replays.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use super::time::{MS, SECOND};
use super::*;
use crate::Errno;

/// A seeded generator (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    /// The generator of the test of this name.
    pub(crate) fn seeded(name: &str) -> Random {
        let fixed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let seed = std::env::var("NET_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(fixed);
        println!("seed of {name}: replay with NET_SEED={seed}");
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// What a link does to frames.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) delay: u64,
    /// Bytes per second; 0 for any.
    pub(crate) rate: u64,
    /// Bytes that wait before a slow link drops.
    pub(crate) queue: u64,
    pub(crate) loss_percent: u32,
    pub(crate) reorder_percent: u32,
    pub(crate) duplicate_percent: u32,
}

impl Link {
    pub(crate) const PERFECT: Link = Link {
        delay: MS,
        rate: 0,
        queue: u64::MAX,
        loss_percent: 0,
        reorder_percent: 0,
        duplicate_percent: 0,
    };
}

/// A driver whose frames end in a list.
pub(crate) struct Port {
    pub(crate) frames: Vec<(TxMeta, Vec<u8>)>,
    pub(crate) room: usize,
    /// The longest frame that is not to be cut.
    pub(crate) packet_max: usize,
}

impl TxDevice for Port {
    fn has_room(&self, _: usize) -> bool {
        self.frames.len() < self.room
    }

    fn send(&mut self, len: usize, meta: TxMeta, fill: impl FnOnce(&mut [u8])) {
        assert!(self.has_room(len), "sent without room");
        match meta.gso {
            None => assert!(len <= self.packet_max, "a packet of {len} bytes"),
            Some(gso) => {
                assert!(len <= 65_549 && gso.size > 0);
                let headers = if gso.kind == GsoKind::TcpV4 { 54 } else { 74 };
                assert!(usize::from(gso.size) + headers <= self.packet_max);
            }
        }
        let mut frame = vec![0xee; len];
        fill(&mut frame);
        self.frames.push((meta, frame));
    }
}

/// A frame on the link: the earliest arrival first, then in the order of sending.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    arrival: Instant,
    order: u64,
    to: usize,
    meta: (Option<u16>, bool),
    frame: Vec<u8>,
}

/// Two hosts, `a` at 10.0.0.1 and fd00::1, `b` at 10.0.0.2 and fd00::2.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: [Stack; 2],
    pub(crate) link: Link,
    pub(crate) random: Random,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    free_at: [Instant; 2],
    /// Every frame that was sent: (from which host, frame).
    pub(crate) sent: Vec<(usize, Vec<u8>)>,
    pub(crate) keep_sent: bool,
    pub(crate) port_room: usize,
    pub(crate) packet_max: usize,
}

pub(crate) fn mac(host: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, host as u8 + 1])
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no address"))
}

pub(crate) fn stack(host: usize, text: &str, capabilities: Capabilities) -> Stack {
    let interface = Interface {
        mac: mac(host),
        capabilities,
        memory: Memory::default(),
    };
    Stack::new(
        interface,
        text.parse().unwrap(),
        [host as u8 + 1; 32],
        Instant(SECOND),
    )
}

/// A device that leaves nothing to be wished for.
pub(crate) const OFFLOADING: Capabilities = Capabilities {
    mtu: 1500,
    checksum_v4: true,
    checksum_v6: true,
    gso_v4: true,
    gso_v6: true,
    frame_max: 65_535,
};

impl World {
    pub(crate) fn new(name: &str, link: Link, capabilities: Capabilities) -> World {
        let a = stack(
            0,
            "ip=10.0.0.1/24,ip=fd00::1/64,gateway=10.0.0.2",
            capabilities,
        );
        let b = stack(1, "ip=10.0.0.2/24,ip=fd00::2/64", capabilities);
        World::of(name, link, [a, b])
    }

    pub(crate) fn of(name: &str, link: Link, hosts: [Stack; 2]) -> World {
        World {
            now: Instant(SECOND),
            hosts,
            link,
            random: Random::seeded(name),
            flying: BinaryHeap::new(),
            order: 0,
            free_at: [Instant(0); 2],
            sent: Vec::new(),
            keep_sent: false,
            port_room: usize::MAX,
            packet_max: 1514,
        }
    }

    /// Lets both hosts send what they have.
    pub(crate) fn transmit(&mut self) {
        for host in 0..2 {
            loop {
                let mut port = Port {
                    frames: Vec::new(),
                    room: self.port_room,
                    packet_max: self.packet_max,
                };
                self.hosts[host].transmit(self.now, &mut port);
                let full = port.frames.len() == self.port_room;
                for (meta, frame) in port.frames {
                    self.launch(host, meta, frame);
                }
                if !full {
                    break;
                }
            }
        }
    }

    fn launch(&mut self, from: usize, meta: TxMeta, frame: Vec<u8>) {
        if self.keep_sent {
            self.sent.push((from, frame.clone()));
        }
        let link = self.link;
        let mut at = self.now;
        if let Some(transmission) = (frame.len() as u64 * SECOND).checked_div(link.rate) {
            let waiting = self.free_at[from].since(self.now);
            if waiting / 1000 * link.rate / (SECOND / 1000) > link.queue {
                return;
            }
            at = self.free_at[from].max(self.now).after(transmission);
            self.free_at[from] = at;
        }
        at = at.after(link.delay);
        if self.random.chance(link.loss_percent) {
            return;
        }
        if self.random.chance(link.reorder_percent) {
            at = at.after(link.delay + self.random.next() % (5 * MS));
        }
        let partial = matches!(meta.checksum, TxChecksum::Partial { .. });
        let gso = meta.gso.map(|gso| gso.size);
        let copies = 1 + usize::from(self.random.chance(link.duplicate_percent));
        for _ in 0..copies {
            self.order += 1;
            let meta = (gso, partial);
            self.flying.push(Reverse(Flying {
                arrival: at,
                order: self.order,
                to: 1 - from,
                meta,
                frame: frame.clone(),
            }));
        }
    }

    /// Goes on to the next event; false if there is none.
    pub(crate) fn step(&mut self) -> bool {
        self.transmit();
        let arrival = self.flying.peek().map(|Reverse(next)| next.arrival);
        let deadlines = self.hosts.iter().filter_map(Stack::next_deadline);
        let Some(next) = arrival.into_iter().chain(deadlines).min() else {
            return false;
        };
        self.now = self.now.max(next);
        while self
            .flying
            .peek()
            .is_some_and(|Reverse(flying)| flying.arrival <= self.now)
        {
            let Some(Reverse(Flying {
                to,
                meta: (gso_size, partial),
                frame,
                ..
            })) = self.flying.pop()
            else {
                break;
            };
            let checksum = if partial {
                RxChecksum::PartialPseudo
            } else {
                RxChecksum::Unknown
            };
            self.hosts[to].receive(self.now, RxMeta { checksum, gso_size }, &frame);
        }
        self.transmit();
        true
    }

    /// Steps until `done`, for at most `seconds` of the simulated clock.
    pub(crate) fn run(&mut self, seconds: u64, mut done: impl FnMut(&mut World) -> bool) {
        let end = self.now.after(seconds * SECOND);
        let mut idle = 0;
        loop {
            if done(self) {
                self.transmit();
                return;
            }
            assert!(self.now <= end, "not done after {seconds} s");
            if !self.step() {
                // Nothing will happen by itself, but `done` may yet do something.
                idle += 1;
                assert!(idle < 10_000, "nothing happens any more");
            }
        }
    }

    /// Lets `millis` pass.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now.after(millis * MS);
        loop {
            self.transmit();
            let arrival = self.flying.peek().map(|Reverse(next)| next.arrival);
            let deadlines = self.hosts.iter().filter_map(Stack::next_deadline);
            match arrival.into_iter().chain(deadlines).min() {
                Some(next) if next <= end => {
                    self.step();
                }
                _ => break,
            }
        }
        self.now = end;
        self.transmit();
    }

    pub(crate) fn listen(&mut self, host: usize, address: &str, backlog: usize) -> SocketId {
        let address = addr(address);
        let family = if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let stack = &mut self.hosts[host];
        let id = stack.tcp_socket(family).unwrap();
        stack.tcp_bind(id, address).unwrap();
        stack.tcp_listen(id, backlog).unwrap();
        id
    }

    pub(crate) fn connect(&mut self, host: usize, address: &str) -> SocketId {
        let address = addr(address);
        let family = if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let stack = &mut self.hosts[host];
        let id = stack.tcp_socket(family).unwrap();
        assert_eq!(
            stack.tcp_connect(self.now, id, address),
            Err(Errno::EINPROGRESS)
        );
        id
    }

    /// A connection from host 0 to a listener on host 1: client, server.
    pub(crate) fn pair(&mut self, address: &str) -> (SocketId, SocketId) {
        let any = if addr(address).is_ipv4() {
            "0.0.0.0:80"
        } else {
            "[::]:80"
        };
        let listener = self.listen(1, any, 16);
        let client = self.connect(0, address);
        let mut server = None;
        self.run(60, |world| {
            server = server.or_else(|| world.hosts[1].tcp_accept(listener).ok());
            server.is_some() && world.hosts[0].readiness(client).writable
        });
        self.hosts[1].close(self.now, listener);
        (client, server.unwrap().0)
    }

    /// Writes all of `data`, at most what fits now; how much.
    pub(crate) fn send(&mut self, host: usize, id: SocketId, data: &[u8]) -> usize {
        let now = self.now;
        match self.hosts[host].tcp_send(now, id, data) {
            Ok(n) => n,
            Err(Errno::EAGAIN) => 0,
            Err(error) => panic!("send: {error:?}"),
        }
    }

    /// Reads what there is; the end of the stream as `true`.
    pub(crate) fn recv(&mut self, host: usize, id: SocketId, into: &mut Vec<u8>) -> bool {
        let mut buffer = [0; 16_384];
        loop {
            match self.hosts[host].tcp_recv(self.now, id, &mut buffer) {
                Ok(0) => return true,
                Ok(n) => into.extend(&buffer[..n]),
                Err(Errno::EAGAIN) => return false,
                Err(error) => panic!("recv: {error:?}"),
            }
        }
    }

    /// Sends `data` from one host to the other, closes that direction, and checks what arrives.
    pub(crate) fn transfer(
        &mut self,
        from: usize,
        sender: SocketId,
        receiver: SocketId,
        data: &[u8],
    ) {
        let (mut sent, mut received, mut shut) = (0, Vec::new(), false);
        self.run(3600, |world| {
            if !shut {
                sent += world.send(from, sender, &data[sent..]);
            }
            if sent == data.len() && !shut {
                shut = true;
                let now = world.now;
                world.hosts[from]
                    .tcp_shutdown(now, sender, Shutdown::Write)
                    .unwrap();
            }
            world.recv(1 - from, receiver, &mut received)
        });
        assert!(
            received == data,
            "{} of {} bytes arrived, or others",
            received.len(),
            data.len()
        );
    }
}
