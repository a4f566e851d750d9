//! The network: the stack, its interface, and sockets as objects.
//!
//! Frames go from netfront into the stack and back whenever something happened: the interface's event, a
//! socket call, a deadline of the stack. All of it runs on the stack of the thread that was there.

use super::devices::{self, Driver, Frontend, Tell};
use super::{events, hypercall, memory, report, time};
use crate::descriptors::{Events, FileType, Object, Status, Watchers};
use crate::net::{
    Capabilities, Config, DropReason, Family, Instant, Interface, Mac, Memory, Shutdown, SocketId,
    Stack, TxDevice, TxMeta,
};
use crate::xen::Port;
use crate::xen::netfront::{self, Broken, Netfront, Sizes};
use crate::xen::xenbus::{self, State};
use crate::{Errno, Global, posix, random};
use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

/// The environment variable that configures the interface, as `net::Config` reads it.
const VARIABLE: &[u8] = b"NET";

/// The most that one direction of a connection may hold where memory is plenty: Linux's `tcp_wmem`. A
/// connection moves so much per round trip at most, and those of a busy host take 100 ms and more.
const CONNECTION_BUFFER_MAX: usize = 4 << 20;

struct Link {
    front: Netfront,
    frontend: Frontend,
    port: Port,
    /// What the backend offers.
    capabilities: Capabilities,
    /// Whether the backend has said that it is connected; before that nothing is sent.
    connected: bool,
    /// When the backend must have answered the first packet, once there is one.
    answer_by: Option<u64>,
}

/// How long a backend may take to answer the first packet, at first; twice as long after each time that
/// it did not, so that one that is only slow is left alone. Then it is connected anew, because Linux's
/// netback may be deaf from the beginning: 6.1's `xenvif_connect_data` can get its first event before it
/// has noted that event's number, and `xenvif_wait_for_rx_work` then ends interrupt 0 in its stead. One
/// domain in forty had such a backend, on an emulated machine.
const ANSWER_NS: u64 = 300_000_000;
const ANSWER_MAX_NS: u64 = 10_000_000_000;

struct Network {
    stack: Stack,
    link: Option<Link>,
    sockets: BTreeMap<u32, Weak<Socket>>,
    /// How long the next backend may take to answer.
    patience_ns: u64,
}

static NETWORK: Global<Option<Network>> = Global::new(None);
/// Whether the domain has been looked at for an interface.
static LOOKED: AtomicBool = AtomicBool::new(false);
/// Whether the backend is deaf, and has to be left and connected anew.
static DEAF: AtomicBool = AtomicBool::new(false);
/// Whether we have left it.
static LEFT: AtomicBool = AtomicBool::new(false);

static DRIVER: Driver = Driver {
    update,
    tick,
    next_deadline,
    linger,
    count,
};

fn now() -> Instant {
    Instant(time::now())
}

/// No interface: everything that is not for ourselves waits or is refused by the stack.
struct Unplugged;

impl TxDevice for Unplugged {
    fn has_room(&self, _len: usize) -> bool {
        false
    }

    fn send(&mut self, _len: usize, _meta: TxMeta, _fill: impl FnOnce(&mut [u8])) {}
}

impl Network {
    fn new(mac: Option<Mac>) -> Self {
        let total = memory::usage().total / 4;
        let each = (total / 4).clamp(16 << 10, CONNECTION_BUFFER_MAX);
        let interface = Interface {
            mac: mac.unwrap_or(Mac([2, 0, 0, 0, 0, 0])),
            capabilities: Capabilities::default(),
            memory: Memory {
                total,
                receive_max: each,
                send_max: each,
            },
        };
        let mut secret = [0; 32];
        random::fill(&mut secret);
        let stack = Stack::new(interface, config(mac.is_some()), secret, now());
        Self {
            stack,
            link: None,
            sockets: BTreeMap::new(),
            patience_ns: ANSWER_NS,
        }
    }

    /// When the backend must have answered, if that is still open.
    fn answer_by(&self) -> Option<u64> {
        let link = self.link.as_ref().filter(|link| link.connected)?;
        link.answer_by.filter(|_| link.front.is_unanswered())
    }

    /// Moves frames both ways, and names the sockets that changed.
    fn exchange(&mut self, changed: &mut Vec<Rc<Socket>>) {
        let at = now();
        let broken = match &mut self.link {
            Some(link) if link.connected => {
                let broken = exchange(&mut self.stack, link, at).is_err();
                if link.answer_by.is_none() && link.front.is_unanswered() {
                    link.answer_by = Some(at.0 + self.patience_ns);
                }
                broken
            }
            _ => {
                self.stack.transmit(at, &mut Unplugged);
                false
            }
        };
        if broken && let Some(link) = self.link.take() {
            report::warning(format_args!(
                "{}: its backend broke the rings' protocol",
                link.frontend.path
            ));
            unplug(link);
        }
        let sockets = &self.sockets;
        self.stack
            .take_changed(&mut |id| changed.extend(sockets.get(&id.0).and_then(Weak::upgrade)));
    }
}

fn exchange(stack: &mut Stack, link: &mut Link, at: Instant) -> Result<(), Broken> {
    let mut notify = link
        .front
        .receive(|meta, frame| stack.receive(at, meta, frame))?;
    link.front.reclaim()?;
    stack.transmit(at, &mut link.front);
    notify |= link.front.publish();
    if notify {
        hypercall::notify(link.port);
    }
    Ok(())
}

/// The configuration of the environment; without one, and with an interface, DHCP and router
/// advertisements.
fn config(has_interface: bool) -> Config {
    let Some(text) = posix::environment_value(VARIABLE) else {
        return Config {
            dhcp: has_interface,
            slaac: has_interface,
            ..Config::default()
        };
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    text.parse().unwrap_or_else(|error| {
        report::line(format_args!(
            "the network configuration NET={text} is wrong: {error}"
        ));
        report::crash()
    })
}

/// Runs `f` on the stack, then moves frames and tells the sockets' watchers.
pub fn with_stack<R>(f: impl FnOnce(&mut Stack, Instant) -> R) -> R {
    if NETWORK.borrow().is_none() {
        // The interface's address must be known first.
        devices::register(&DRIVER);
    }
    let mut changed = Vec::new();
    let result = {
        let mut guard = NETWORK.borrow();
        let network = guard.get_or_insert_with(|| Network::new(None));
        let result = f(&mut network.stack, now());
        if network.stack.wants_transmit() || network.stack.has_changed() {
            network.exchange(&mut changed);
        }
        result
    };
    changed.iter().for_each(|socket| socket.watchers.notify());
    result
}

/// Moves frames and tells the sockets' watchers.
fn poll() {
    let mut changed = Vec::new();
    if let Some(network) = NETWORK.borrow().as_mut() {
        network.exchange(&mut changed);
    }
    changed.iter().for_each(|socket| socket.watchers.notify());
}

/// When [`poll`] must be called at the latest.
fn next_deadline() -> Option<u64> {
    let guard = NETWORK.borrow();
    let network = guard.as_ref()?;
    let stack = network.stack.next_deadline().map(|Instant(at)| at);
    [stack, network.answer_by()].into_iter().flatten().min()
}

/// Tells what happened in the stack and at the interface so far.
fn count(line: Tell) {
    let mut guard = NETWORK.borrow();
    let Some(network) = guard.as_mut() else {
        return;
    };
    let interface = network
        .link
        .as_ref()
        .map(|link| link.front.counters())
        .unwrap_or_default();
    let stack = network.stack.counters();
    line("rx_packets_total", stack.rx_packets);
    line("rx_bytes_total", stack.rx_bytes);
    line("rx_errors_total", interface.rx_errors);
    line("rx_malformed_total", interface.rx_malformed);
    line("rx_gso_packets_total", stack.rx_gso_packets);
    line("tx_packets_total", stack.tx_packets);
    line("tx_bytes_total", stack.tx_bytes);
    line("tx_gso_packets_total", stack.tx_gso_packets);
    line("notifications_total", interface.notifications);
    for &reason in DropReason::ALL {
        let name = alloc::format!("drops_total{{reason=\"{}\"}}", reason.name());
        line(&name, stack.dropped(reason));
    }
    line("tcp_retransmissions_total", stack.tcp_retransmissions);
    line("tcp_timeouts_total", stack.tcp_timeouts);
    line("tcp_out_of_order_total", stack.tcp_out_of_order);
    line("tcp_accepted_total", stack.tcp_accepted);
    line("tcp_connected_total", stack.tcp_connected);
    line("tcp_resets_sent_total", stack.tcp_resets_sent);
    line("tcp_resets_received_total", stack.tcp_resets_received);
    line("tcp_connections", u64::from(stack.tcp_connections));
    line("tcp_half_open", u64::from(stack.tcp_half_open));
    line("tcp_listeners", u64::from(stack.tcp_listeners));
    line("tcp_time_wait", u64::from(stack.tcp_time_wait));
    line("udp_sockets", u64::from(stack.udp_sockets));
    line("socket_buffer_bytes", stack.buffer_bytes as u64);
}

/// Brings the interface in line with xenstore; whether a backend is waited for.
fn update() -> bool {
    let mut frontends = devices::frontends("vif").into_iter();
    let frontend = frontends.next();
    if frontends.next().is_some() {
        report::warning(format_args!("only the first network interface is used"));
    }
    if frontend.is_none() && !LOOKED.load(Ordering::Relaxed) {
        report::warning(format_args!(
            "no network interface: give the domain a `vif`, or attach one with `xl network-attach`"
        ));
    }
    LOOKED.store(true, Ordering::Relaxed);
    let link = NETWORK
        .borrow()
        .as_mut()
        .and_then(|network| network.link.take());
    match (link, frontend) {
        (None, None) => false,
        (None, Some(frontend)) => begin(frontend),
        (Some(link), None) => {
            unplug(link);
            false
        }
        (Some(link), Some(_)) => match link.frontend.backend_state() {
            State::Closing | State::Closed | State::Unknown => {
                link.frontend.publish(&[], State::Closed, &[]);
                unplug(link);
                true
            }
            State::Connected if DEAF.swap(false, Ordering::Relaxed) => {
                leave(link);
                true
            }
            state => {
                let left = LEFT.load(Ordering::Relaxed);
                if state == State::Connected && !link.connected && !left {
                    connect(link);
                } else {
                    put_back(link);
                    poll();
                }
                state != State::Connected
            }
        },
    }
}

fn put_back(link: Link) {
    if let Some(network) = NETWORK.borrow().as_mut() {
        network.link = Some(link);
    }
}

/// Makes the interface's rings and tells the backend, if that is ready; whether it is waited for.
fn begin(frontend: Frontend) -> bool {
    let (state, values) = frontend.meet(&["mac", "mtu"]);
    let value = |index: usize| values.get(index)?.as_deref();
    let mac = value(0).and_then(xenbus::mac).map(Mac);
    let mtu = value(1).and_then(xenbus::number);
    if NETWORK.borrow().is_none() {
        let network = Network::new(mac);
        *NETWORK.borrow() = Some(network);
    }
    match state {
        State::InitWait => {}
        State::Closed if LEFT.swap(false, Ordering::Relaxed) => {
            frontend.publish(&[], State::Initialising, &[]);
            return true;
        }
        _ => return true,
    }
    let sizes = Sizes::for_memory(memory::usage().total);
    let backend = frontend.backend_id;
    let Some(front) = devices::with_grants(|grants| Netfront::new(backend, sizes, grants)) else {
        report::warning(format_args!("{}: no memory for its rings", frontend.path));
        return false;
    };
    let Some(port) = devices::open_port(backend, poll) else {
        report::warning(format_args!("{}: no event channel is left", frontend.path));
        devices::with_grants(|grants| front.release(grants));
        return false;
    };
    let [tx, rx] = front.ring_grants();
    let one = || "1".to_string();
    let nodes = [
        ("tx-ring-ref", tx.0.to_string()),
        ("rx-ring-ref", rx.0.to_string()),
        ("event-channel", port.0.to_string()),
        ("request-rx-copy", one()),
        ("feature-rx-notify", one()),
        ("feature-sg", one()),
        ("feature-gso-tcpv4", one()),
        ("feature-gso-tcpv6", one()),
        ("feature-ipv6-csum-offload", one()),
    ];
    let offered = frontend.publish(&nodes, State::Connected, &OFFERS);
    put_back(Link {
        front,
        frontend,
        port,
        capabilities: capabilities(mtu, &offered),
        connected: false,
        answer_by: None,
    });
    true
}

/// The backend has connected: from now on frames go both ways.
fn connect(mut link: Link) {
    let capabilities = link.capabilities;
    link.connected = true;
    put_back(link);
    with_stack(|stack, now| stack.relink(now, capabilities));
    poll();
}

/// Goes through the states to the beginning: the backend gives its end of the rings up, and then we ours.
fn leave(link: Link) {
    report::warning(format_args!(
        "{}: its backend answers nothing; it is connected anew",
        link.frontend.path
    ));
    LEFT.store(true, Ordering::Relaxed);
    link.frontend.publish(&[], State::Closing, &[]);
    put_back(link);
    if let Some(network) = NETWORK.borrow().as_mut() {
        network.patience_ns = (network.patience_ns * 2).min(ANSWER_MAX_NS);
    }
}

/// Has the device's thread leave a backend whose time to answer is over.
fn listen() {
    let overdue = |network: &Network| network.answer_by().is_some_and(|by| by <= time::now());
    let mut guard = NETWORK.borrow();
    let Some(network) = guard.as_mut().filter(|network| overdue(network)) else {
        return;
    };
    if let Some(link) = &mut network.link {
        link.connected = false;
    }
    drop(guard);
    DEAF.store(true, Ordering::Relaxed);
    devices::changed();
}

/// What a backend may offer, of what we make use of.
const OFFERS: [&str; 4] = [
    "feature-sg",
    "feature-ipv6-csum-offload",
    "feature-gso-tcpv4",
    "feature-gso-tcpv6",
];

/// What frames may be, by the MTU that the toolstack names and the values of [`OFFERS`].
fn capabilities(mtu: Option<u64>, offered: &[Option<Vec<u8>>]) -> Capabilities {
    let [scatter, checksum_v6, gso_v4, gso_v6] = core::array::from_fn(|index| {
        let value = offered.get(index).and_then(Option::as_deref);
        value == Some(&b"1"[..])
    });
    Capabilities {
        mtu: mtu.and_then(|mtu| u16::try_from(mtu).ok()).unwrap_or(1500),
        checksum_v4: true,
        checksum_v6,
        gso_v4: scatter && gso_v4,
        gso_v6: scatter && checksum_v6 && gso_v6,
        frame_max: if scatter { netfront::FRAME_MAX } else { 1514 },
    }
}

fn unplug(link: Link) {
    devices::close_port(link.port);
    devices::with_grants(|grants| link.front.release(grants));
}

/// A TCP or UDP socket.
pub struct Socket {
    id: SocketId,
    datagrams: bool,
    watchers: Watchers,
}

impl Socket {
    /// A new socket.
    pub fn open(family: Family, datagrams: bool) -> Result<Rc<Self>, Errno> {
        let id = with_stack(|stack, _| {
            if datagrams {
                stack.udp_socket(family)
            } else {
                stack.tcp_socket(family)
            }
        })?;
        Ok(Self::register(id, datagrams))
    }

    /// The next connection that a listener has accepted.
    pub fn accept(&self) -> Result<Rc<Self>, Errno> {
        let (id, _peer) = with_stack(|stack, _| stack.tcp_accept(self.id))?;
        Ok(Self::register(id, false))
    }

    fn register(id: SocketId, datagrams: bool) -> Rc<Self> {
        let socket = Rc::new(Self {
            id,
            datagrams,
            watchers: Watchers::default(),
        });
        if let Some(network) = NETWORK.borrow().as_mut() {
            network.sockets.insert(id.0, Rc::downgrade(&socket));
        }
        socket
    }

    /// Its number in the stack.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// Whether it is a UDP socket.
    pub fn is_datagram(&self) -> bool {
        self.datagrams
    }
}

impl Object for Socket {
    fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        with_stack(|stack, now| match self.datagrams {
            true => stack
                .udp_recv(self.id, bytes, false)
                .map(|received| received.len),
            false => stack.tcp_recv(now, self.id, bytes),
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        with_stack(|stack, now| match self.datagrams {
            true => stack
                .udp_send(now, self.id, None, bytes)
                .map(|()| bytes.len()),
            false => stack.tcp_send(now, self.id, bytes),
        })
    }

    fn events(&self) -> Events {
        let guard = NETWORK.borrow();
        let Some(network) = guard.as_ref() else {
            return Events::default();
        };
        let ready = network.stack.readiness(self.id);
        Events::IN
            .when(ready.readable)
            .or(Events::OUT.when(ready.writable))
            .or(Events::RDHUP.when(ready.read_closed))
            .or(Events::HUP.when(ready.hung_up))
            .or(Events::ERR.when(ready.error))
    }

    fn watchers(&self) -> Option<&Watchers> {
        Some(&self.watchers)
    }

    fn status(&self) -> Status {
        Status {
            file_type: FileType::Socket,
            permissions: 0o777,
            size: 0,
            inode: u64::from(self.id.0),
        }
    }

    fn available(&self) -> Result<usize, Errno> {
        Ok(with_stack(|stack, _| match self.datagrams {
            true => stack.udp_readable_bytes(self.id),
            false => stack.tcp_readable_bytes(self.id),
        }))
    }

    fn shutdown(&self, read: bool, write: bool) -> Result<(), Errno> {
        let how = match (read, write) {
            (true, true) => Shutdown::Both,
            (true, false) => Shutdown::Read,
            _ => Shutdown::Write,
        };
        with_stack(|stack, now| stack.tcp_shutdown(now, self.id, how))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(network) = NETWORK.borrow().as_mut() {
            network.sockets.remove(&self.id.0);
        }
        with_stack(|stack, now| stack.close(now, self.id));
    }
}

/// Does what the stack's deadlines ask for.
fn tick() {
    if next_deadline().is_some_and(|deadline| deadline <= time::now()) {
        poll();
        listen();
    }
}

/// Has the interface's events handled while the last bytes leave: how long the end of a domain waits for
/// connections to deliver what was written, in nanoseconds.
const LINGER_NS: u64 = 2_000_000_000;

/// Waits until everything written to sockets has been acknowledged, or a while has passed.
fn linger() {
    let give_up = time::now() + LINGER_NS;
    while time::now() < give_up {
        let unsent = {
            let guard = NETWORK.borrow();
            let Some(network) = guard.as_ref() else {
                return;
            };
            network.stack.is_delivering()
        };
        if !unsent {
            return;
        }
        tick();
        events::dispatch();
        events::wait(Some(next_deadline().unwrap_or(give_up).min(give_up)));
    }
}
