//! The stack as a whole: its parts, time, and the shell's three calls.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use super::autoconfiguration::Autoconfiguration;
use super::buffer::Pool;
use super::config::Config;
use super::counters::Counters;
use super::device::{Capabilities, TxDevice};
use super::neighbor::Neighbors;
use super::network::Network;
use super::packet::Mac;
use super::reassembly::Reassembly;
use super::route::Routes;
use super::secret::{Secret, TableKey};
use super::sockets::{SocketId, Sockets};
use super::tcp::time_wait::TimeWait;
use super::tcp::{Limits, Tuple};
use super::time::{Instant, earlier};

/// How much memory sockets may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Bytes of buffers of all TCP connections together.
    pub total: usize,
    /// Most unread bytes of one connection.
    pub receive_max: usize,
    /// Most unsent and unacknowledged bytes of one connection.
    pub send_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            total: 16 << 20,
            receive_max: 1 << 20,
            send_max: 1 << 20,
        }
    }
}

/// What the stack runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its Ethernet address.
    pub mac: Mac,
    /// What its device can do.
    pub capabilities: Capabilities,
    /// What the sockets may use.
    pub memory: Memory,
}

/// A TCP/IP stack for one interface. See the module's documentation.
pub struct Stack {
    pub(super) network: Network,
    pub(super) sockets: Sockets,
    pub(super) pool: Pool,
    pub(super) limits: Limits,
    pub(super) secret: Secret,
    /// Connections by what their packets say.
    pub(super) connections: HashMap<Tuple, u32, TableKey>,
    /// Bound and listening TCP sockets by port.
    pub(super) tcp_ports: BTreeMap<u16, Vec<u32>>,
    pub(super) udp_ports: BTreeMap<u16, Vec<u32>>,
    pub(super) time_wait: TimeWait,
    /// Handshakes that all listeners together may have unfinished: each costs a connection without
    /// buffers, so an eighth of the sockets' memory at most.
    pub(super) half_open_max: u32,
    pub(super) timers: BTreeSet<(Instant, u32)>,
    /// Connections that may have something to send, each once.
    pub(super) dirty: VecDeque<u32>,
    /// Writers that found the pool empty.
    pub(super) starved: Vec<u32>,
    /// UDP writers that found too much waiting for the device.
    pub(super) crowded: Vec<u32>,
    pub(super) reassembly: Reassembly,
    pub(super) autoconfiguration: Option<Autoconfiguration>,
    pub(super) config: Config,
    /// The device had no room; it will call again.
    device_full: bool,
}

impl Stack {
    /// A stack with these addresses. `secret` must be unpredictable: sequence numbers, ports and hash
    /// keys come from it.
    pub fn new(interface: Interface, config: Config, secret: [u8; 32], now: Instant) -> Stack {
        let Interface {
            mac,
            capabilities,
            memory,
        } = interface;
        let capabilities = bounded(capabilities, &config);
        let mut secret = Secret::new(&secret);
        let neighbors = Neighbors::new(secret.table_key());
        let mut network = Network::new(
            mac,
            capabilities,
            Routes::new(&config, mac),
            neighbors,
            secret.draw(None) as u16,
            now,
        );
        network.announce_arp();
        network.announce_ndisc(now);
        let wanted = config.dhcp || config.slaac;
        let autoconfiguration = wanted.then(|| {
            Autoconfiguration::new(mac, capabilities.mtu, &config, secret.draw(None), now)
        });
        Stack {
            network,
            sockets: Sockets::default(),
            pool: Pool::new(memory.total),
            limits: Limits {
                receive_max: memory.receive_max,
                send_max: memory.send_max,
            },
            connections: HashMap::with_hasher(secret.table_key()),
            tcp_ports: BTreeMap::new(),
            udp_ports: BTreeMap::new(),
            time_wait: TimeWait::new(secret.table_key(), (memory.total / 4096).clamp(64, 4096)),
            half_open_max: (memory.total / 8192).clamp(64, 2048) as u32,
            timers: BTreeSet::new(),
            dirty: VecDeque::new(),
            starved: Vec::new(),
            crowded: Vec::new(),
            reassembly: Reassembly::default(),
            autoconfiguration,
            config,
            device_full: false,
            secret,
        }
    }

    /// Sends what is to be sent, until nothing is left or the device is full. To be called after frames
    /// came in, after socket calls, at the deadline, and when a full device has room again.
    pub fn transmit(&mut self, now: Instant, device: &mut impl TxDevice) {
        self.advance(now);
        // What we send to ourselves may call for answers to ourselves. The bound lets a busy loopback
        // connection come back to the shell now and then.
        for _ in 0..16 {
            let flushed = self.network.flush(device);
            // A device that is full, or not there, keeps nobody from speaking to himself.
            self.device_full = !self.emit_dirty(now, device) || !flushed;
            if !self.receive_loopback(now) {
                break;
            }
        }
        self.device_full |= !self.network.flush(device);
        self.wake_writers();
    }

    /// When [`Stack::transmit`] must be called at the latest, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.network.has_loopback() || (self.wants_transmit() && !self.device_full) {
            return Some(Instant(0));
        }
        let timers = self.timers.first().map(|&(at, _)| at);
        let autoconfiguration = self
            .autoconfiguration
            .as_ref()
            .and_then(Autoconfiguration::deadline);
        let sockets = earlier(timers, self.time_wait.deadline());
        earlier(
            sockets,
            earlier(self.network.neighbors.deadline(), autoconfiguration),
        )
    }

    /// Whether something waits to be sent: after socket calls, to know whether [`Stack::transmit`] is due.
    pub fn wants_transmit(&self) -> bool {
        !self.dirty.is_empty() || self.network.is_waiting()
    }

    /// Whether some connection holds written bytes that its peer has not acknowledged.
    pub fn is_delivering(&self) -> bool {
        let unsent = |id: u32| self.tcp_unsent_bytes(SocketId(id)) > 0;
        self.sockets.ids().into_iter().any(unsent)
    }

    /// Names the sockets whose readiness gained an edge since the last call; new data on a readable
    /// socket is an edge too, as edge-triggered `epoll` wants it.
    pub fn take_changed(&mut self, tell: &mut dyn FnMut(SocketId)) {
        self.sockets.take_changed(tell);
    }

    /// Whether [`Stack::take_changed`] has any to name.
    pub fn has_changed(&self) -> bool {
        self.sockets.has_changed()
    }

    /// What happened so far.
    pub fn counters(&mut self) -> &Counters {
        let counters = &mut self.network.counters;
        counters.buffer_bytes = self.pool.bytes_in_use();
        counters.tcp_connections = self.connections.len() as u32;
        counters.tcp_time_wait = self.time_wait.len() as u32;
        counters
    }

    /// Own addresses with their prefix lengths, those from DHCP and routers included.
    pub fn addresses(&self) -> &[(IpAddr, u8)] {
        self.network.routes.addresses()
    }

    /// Whether packets to this address come back to ourselves. `bind` to others' addresses works without
    /// asking; a shell that wants Linux's EADDRNOTAVAIL where `IP_TRANSPARENT` is not set asks here.
    pub fn is_own_address(&self, address: IpAddr) -> bool {
        self.network.routes.is_own(super::route::unmap(address))
    }

    /// Name servers and fixed host names.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether DHCP or a router still has to give an address. A link-local one does not count.
    pub fn is_waiting_for_address(&self) -> bool {
        self.addresses().len() < 2 && self.autoconfiguration.is_some()
    }

    /// The device was connected again, perhaps elsewhere: neighbours are forgotten, ours are told, and
    /// the device may have learned or unlearned tricks.
    pub fn relink(&mut self, now: Instant, capabilities: Capabilities) {
        self.network.capabilities = bounded(capabilities, &self.config);
        self.device_full = false;
        for id in self.network.neighbors.clear().connections {
            self.settle(now, id);
        }
        self.network.announce_arp();
        self.network.announce_ndisc(now);
    }

    /// Lets time pass.
    fn advance(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timers.first().filter(|&&(at, _)| at <= now) {
            self.timers.remove(&(at, id));
            let Some(connection) = self.sockets.connection(id) else {
                continue;
            };
            connection.scheduled = None;
            let outcome = connection.on_timer(now, &mut self.pool);
            self.apply(now, id, outcome, None);
        }
        self.time_wait.expire(now);
        for id in self.network.on_timer(now) {
            self.unreachable(now, id);
        }
        self.autoconfigure(now);
    }

    /// Packets to ourselves; whether there were any.
    fn receive_loopback(&mut self, now: Instant) -> bool {
        let mut any = false;
        // Only those that are there now: their answers wait for the next round.
        while let Some(frame) = self.network.pop_loopback() {
            any = true;
            self.receive_own(now, &frame);
        }
        any
    }

    /// There is room again: writers may try once more.
    fn wake_writers(&mut self) {
        if !self.starved.is_empty() && self.pool.bytes_left() > 0 {
            for id in core::mem::take(&mut self.starved) {
                self.sockets.notify(id);
            }
        }
        if !self.crowded.is_empty() && self.network.has_room() {
            for id in core::mem::take(&mut self.crowded) {
                self.sockets.notify(id);
            }
        }
    }

    fn autoconfigure(&mut self, now: Instant) {
        let Some(auto) = &mut self.autoconfiguration else {
            return;
        };
        let news = auto.poll(now);
        for frame in auto.take_frames() {
            self.network.enqueue(frame);
        }
        let Some(news) = news else { return };
        self.network
            .routes
            .remove(&news.lost_addresses, &news.lost_gateways);
        self.network.routes.add(&news.addresses, &news.gateways);
        for server in news.dns {
            if !self.config.dns.contains(&server) {
                self.config.dns.push(server);
            }
        }
        self.network.announce_arp();
    }
}

/// The smallest packet that every IPv4 network passes (RFC 791 §3.2); a device that says less is mistaken.
const MTU_MIN: u16 = 576;

/// What a device says of itself, without what cannot be.
fn bounded(mut capabilities: Capabilities, config: &Config) -> Capabilities {
    let mtu = config.mtu.unwrap_or(u16::MAX).min(capabilities.mtu);
    capabilities.mtu = mtu.max(MTU_MIN);
    capabilities.gso_v4 &= capabilities.checksum_v4;
    capabilities.gso_v6 &= capabilities.checksum_v6;
    capabilities
}
