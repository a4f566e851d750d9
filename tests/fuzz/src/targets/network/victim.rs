//! The stack under fire, and what must hold whatever it receives.

use std::alloc::System;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use cap::Cap;
use edgecloud_runtime::net::{
    Capabilities, Config, DropReason, Family, Instant, Interface, Mac, Memory, RxMeta, SocketId,
    Stack, TxDevice, TxMeta,
};

use super::output;

/// Counts what is allocated.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Small, so that inputs of some kilobytes meet the bounds.
const MEMORY: Memory = Memory {
    total: 256 << 10,
    receive_max: 64 << 10,
    send_max: 64 << 10,
};
/// What a stack may hold beside its buffers: fragments (16 packets of 64 kB), frames that wait for the
/// device (512 kB) or for ourselves, neighbours, connections.
const OVERHEAD_MAX: usize = 8 << 20;
/// Most sockets that the harness itself holds.
const SOCKETS_MAX: usize = 32;
/// How many frames are remembered, for steps that answer one.
const FRAMES_KEPT: usize = 8;
/// A stack that has more to do than this in one instant never ends.
const ROUNDS_MAX: usize = 1000;
/// Deadlines in the day after the end; keep-alive is off, and retransmissions end within minutes.
const DEADLINES_MAX: usize = 20_000;
/// What may wait to be sent: every byte of the buffers in the smallest segments, and control frames.
const FRAMES_AT_ONCE_MAX: u64 = 5000;
/// What timers may send for ever: retransmissions, probes and questions of the few connections.
const FRAMES_PER_SECOND_MAX: u64 = 10;
const SECOND: u64 = 1_000_000_000;

pub(in super::super) const VICTIM_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Frames that can only be dropped.
const MALFORMED: [DropReason; 5] = [
    DropReason::Truncated,
    DropReason::BadHeader,
    DropReason::BadChecksum,
    DropReason::NotOurs,
    DropReason::UnknownProtocol,
];

/// A stack, its device, its user.
pub(in super::super) struct Victim {
    pub(super) stack: Stack,
    pub(super) now: Instant,
    pub(in super::super) device: Device,
    pub(super) sockets: Vec<SocketId>,
    allocated_before: usize,
}

/// Where frames go.
pub(in super::super) struct Device {
    /// What was sent last, the latest at the end.
    pub(in super::super) frames: VecDeque<Vec<u8>>,
    /// How many have been sent.
    sent: u64,
    /// How many more fit before the device is full.
    pub(super) room: usize,
    capabilities: Capabilities,
}

impl TxDevice for Device {
    fn has_room(&self, _: usize) -> bool {
        self.room > 0
    }

    fn send(&mut self, len: usize, meta: TxMeta, fill: impl FnOnce(&mut [u8])) {
        assert!(self.room > 0, "sent without room");
        self.room -= 1;
        self.sent += 1;
        let mut frame = vec![0xee; len];
        fill(&mut frame);
        output::check(&frame, meta, self.capabilities);
        if self.frames.len() == FRAMES_KEPT {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
    }
}

impl Victim {
    pub(in super::super) fn new(config: Config) -> Victim {
        let allocated_before = ALLOCATOR.allocated();
        let capabilities = Capabilities {
            gso_v4: true,
            checksum_v4: true,
            ..Capabilities::default()
        };
        let interface = Interface {
            mac: Mac(VICTIM_MAC),
            capabilities,
            memory: MEMORY,
        };
        let now = Instant(SECOND);
        let mtu = config.mtu.unwrap_or(u16::MAX).min(capabilities.mtu);
        let mut victim = Victim {
            stack: Stack::new(interface, config, [7; 32], now),
            now,
            device: Device {
                frames: VecDeque::new(),
                sent: 0,
                room: usize::MAX,
                capabilities: Capabilities {
                    mtu,
                    ..capabilities
                },
            },
            sockets: Vec::new(),
            allocated_before,
        };
        victim.settle();
        victim
    }

    /// At 10.0.0.2 and fd00::2, with listeners on port 80 and UDP sockets on 9 and connected.
    pub(super) fn with_sockets() -> Victim {
        let config = "ip=10.0.0.2/24,gateway=10.0.0.1,ip=fd00::2/64,gateway=fd00::1";
        let mut victim = Victim::new(config.parse().expect("a configuration"));
        let stack = &mut victim.stack;
        let listener = stack.tcp_socket(Family::V6).expect("a socket");
        stack.tcp_bind(listener, address(80)).expect("a free port");
        stack.tcp_listen(listener, 8).expect("bound");
        let udp = stack.udp_socket(Family::V6).expect("a socket");
        stack.udp_bind(udp, address(9)).expect("a free port");
        let connected = stack.udp_socket(Family::V4).expect("a socket");
        let peer = SocketAddr::from(([10, 0, 0, 1], 53));
        stack.udp_connect(connected, peer).expect("a route");
        victim.sockets = vec![listener, udp, connected];
        victim.settle();
        victim
    }

    /// A frame comes.
    pub(in super::super) fn receive(&mut self, meta: RxMeta, frame: &[u8]) {
        let dropped = |stack: &mut Stack| -> u64 {
            let counters = stack.counters();
            MALFORMED
                .iter()
                .map(|&reason| counters.dropped(reason))
                .sum()
        };
        let (before, sent) = (dropped(&mut self.stack), self.device.sent);
        let quiet = self.device.room > 0;
        self.stack.receive(self.now, meta, frame);
        let malformed = dropped(&mut self.stack) > before;
        self.settle();
        if malformed && quiet {
            assert_eq!(self.device.sent, sent, "a malformed frame is answered");
        }
    }

    /// Time passes, with its deadlines.
    pub(in super::super) fn pass(&mut self, milliseconds: u64) {
        let end = self.now.after(milliseconds * 1_000_000);
        let (start, sent) = (self.now, self.device.sent);
        for _ in 0..DEADLINES_MAX {
            match self.stack.next_deadline() {
                Some(at) if at <= end && self.device.room > 0 => {
                    self.now = self.now.max(at);
                    self.settle();
                }
                _ => break,
            }
        }
        let passed = self.now.since(start) / SECOND;
        let sent = self.device.sent - sent;
        assert!(
            sent <= FRAMES_AT_ONCE_MAX + passed * FRAMES_PER_SECOND_MAX,
            "{sent} frames in {passed} s, though nobody says anything"
        );
        self.now = end;
        self.settle();
    }

    /// Its own addresses.
    pub(in super::super) fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.stack.addresses().to_vec()
    }

    /// Another socket of the harness, if there is room.
    pub(super) fn hold(&mut self, id: SocketId) {
        if self.sockets.len() < SOCKETS_MAX {
            self.sockets.push(id);
        } else {
            self.stack.close(self.now, id);
        }
    }

    /// Lets the stack do what it has to do now, and looks at it.
    pub(super) fn settle(&mut self) {
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "it never comes to rest");
            self.stack.transmit(self.now, &mut self.device);
            let due = self.stack.next_deadline().is_some_and(|at| at <= self.now);
            if !due || self.device.room == 0 {
                break;
            }
        }
        self.stack.take_changed(&mut |_| {});
        let counters = self.stack.counters();
        assert!(
            counters.buffer_bytes <= MEMORY.total,
            "{} bytes",
            counters.buffer_bytes
        );
        let held = ALLOCATOR.allocated().saturating_sub(self.allocated_before);
        assert!(
            held <= MEMORY.total + OVERHEAD_MAX,
            "{held} bytes are allocated"
        );
    }

    /// All sockets are closed, and a day later nothing is left of them.
    pub(super) fn end(mut self) {
        self.device.room = usize::MAX;
        for id in std::mem::take(&mut self.sockets) {
            self.stack.close(self.now, id);
        }
        let mut deadlines = 0;
        let end = self.now.after(86_400 * SECOND);
        self.settle();
        while let Some(at) = self.stack.next_deadline().filter(|&at| at <= end) {
            deadlines += 1;
            assert!(deadlines < DEADLINES_MAX, "deadlines without end");
            assert!(at > self.now, "it was at rest");
            self.now = at;
            self.settle();
        }
        let counters = self.stack.counters();
        let left = (
            counters.tcp_connections,
            counters.tcp_half_open,
            counters.tcp_time_wait,
            counters.buffer_bytes,
        );
        assert_eq!(
            left,
            (0, 0, 0, 0),
            "connections, half open, waiting, bytes left"
        );
    }
}

/// Any of our addresses, IPv4's too.
fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([0u16; 8], port))
}
