//! The guest's TCP/IP stack as a Linux process, on a TAP device, so that Linux's own tools can talk to
//! it: `cargo run -p edgecloud-runtime --no-default-features --features tap --example tap -- tap0
//! ip=10.9.0.2/24`.
//!
//! TCP port 7 echoes, 9 discards, 19 sends for ever, 80 answers every request head with a few bytes, and
//! 88 says who speaks to whom (which shows interception). UDP port 7 echoes. With `connect ADDRESS` after
//! the configuration it also connects, sends 64 MiB and closes; with `plain` it does without offloads,
//! and with `loss PERCENT` it loses frames in both directions.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Instant as Clock;

use edgecloud_runtime::Errno;
use edgecloud_runtime::net::*;

/// `TUNSETIFF` of linux/if_tun.h.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
/// `TUNSETOFFLOAD`.
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6`.
const OFFLOADS: libc::c_ulong = 7;
/// Length of `struct virtio_net_hdr` (linux/virtio_net.h).
const VNET_HEADER: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;

/// A TAP device with offloads.
struct Tap {
    file: File,
    buffer: Vec<u8>,
    loss_percent: u64,
    lottery: u64,
}

impl Tap {
    fn open(name: &str, loss_percent: u64) -> std::io::Result<Tap> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        // `struct ifreq`: the name, then flags (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR).
        let mut request = [0u8; 40];
        request[..name.len().min(15)].copy_from_slice(&name.as_bytes()[..name.len().min(15)]);
        request[16..18].copy_from_slice(&0x5002u16.to_ne_bytes());
        // SAFETY: the request has the size of `struct ifreq` and outlives the call.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
        // SAFETY: this request takes a number.
        let offloads = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETOFFLOAD, OFFLOADS) };
        if made < 0 || offloads < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Tap {
            file,
            buffer: vec![0; 70_000],
            loss_percent,
            lottery: 1,
        })
    }

    /// Waits until a frame is there or the time is up.
    fn wait(&self, milliseconds: i32) -> bool {
        let mut poll = libc::pollfd {
            fd: self.file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid entry.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds) > 0 }
    }

    /// Xorshift: which frames are lost.
    fn is_lost(&mut self) -> bool {
        self.lottery ^= self.lottery << 13;
        self.lottery ^= self.lottery >> 7;
        self.lottery ^= self.lottery << 17;
        self.lottery % 100 < self.loss_percent
    }

    fn receive(&mut self) -> Option<(RxMeta, &[u8])> {
        if !self.wait(0) {
            return None;
        }
        let lost = self.is_lost();
        let len = self.file.read(&mut self.buffer).ok()?;
        let len = if lost { VNET_HEADER } else { len };
        let frame = self.buffer.get(..len)?;
        let (header, frame) = frame.split_at_checked(VNET_HEADER)?;
        let checksum = match header[0] {
            flags if flags & NEEDS_CHECKSUM != 0 => RxChecksum::PartialPseudo,
            flags if flags & DATA_VALID != 0 => RxChecksum::Verified,
            _ => RxChecksum::Unknown,
        };
        let size = u16::from_ne_bytes([header[4], header[5]]);
        Some((
            RxMeta {
                checksum,
                gso_size: (header[1] != 0).then_some(size),
            },
            frame,
        ))
    }
}

impl TxDevice for Tap {
    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn send(&mut self, len: usize, meta: TxMeta, fill: impl FnOnce(&mut [u8])) {
        let mut out = vec![0; VNET_HEADER + len];
        fill(&mut out[VNET_HEADER..]);
        if let TxChecksum::Partial { start, offset } = meta.checksum {
            out[0] = NEEDS_CHECKSUM;
            out[6..8].copy_from_slice(&start.to_ne_bytes());
            out[8..10].copy_from_slice(&offset.to_ne_bytes());
            if let Some(gso) = meta.gso {
                out[1] = if gso.kind == GsoKind::TcpV4 {
                    GSO_TCP4
                } else {
                    GSO_TCP6
                };
                let headers =
                    start + 4 * u16::from(out[VNET_HEADER + usize::from(start) + 12] >> 4);
                out[2..4].copy_from_slice(&headers.to_ne_bytes());
                out[4..6].copy_from_slice(&gso.size.to_ne_bytes());
            }
        }
        if !self.is_lost() {
            // A kernel that takes no frame now drops it, as a wire would.
            let _ = self.file.write(&out);
        }
    }
}

/// What a connection does.
enum Service {
    Echo(Vec<u8>),
    Discard,
    Source,
    Http(Vec<u8>),
    Tell,
    /// Bytes left to send.
    Client(usize),
}

struct Server {
    stack: Stack,
    start: Clock,
    listeners: HashMap<SocketId, u16>,
    connections: HashMap<SocketId, Service>,
    udp: Vec<SocketId>,
}

static PATTERN: [u8; 65_536] = [b'x'; 65_536];

impl Server {
    fn now(&self) -> Instant {
        Instant(self.start.elapsed().as_nanos() as u64 + 1_000_000_000)
    }

    fn listen(&mut self, port: u16) -> Result<(), Errno> {
        let id = self.stack.tcp_socket(Family::V6)?;
        self.stack
            .tcp_bind(id, SocketAddr::new([0u16; 8].into(), port))?;
        self.stack.tcp_listen(id, 1024)?;
        self.listeners.insert(id, port);
        Ok(())
    }

    fn changed(&mut self, id: SocketId) {
        if let Some(&port) = self.listeners.get(&id) {
            while let Ok((connection, peer)) = self.stack.tcp_accept(id) {
                let service = match port {
                    7 => Service::Echo(Vec::new()),
                    9 => Service::Discard,
                    19 => Service::Source,
                    80 => Service::Http(Vec::new()),
                    _ => {
                        let local = self.stack.local_addr(connection);
                        let text = format!(
                            "from {peer} to {}\n",
                            local.map_or_else(|e| format!("{e:?}"), |a| a.to_string())
                        );
                        let _ = self.stack.tcp_send(self.now(), connection, text.as_bytes());
                        Service::Tell
                    }
                };
                self.connections.insert(connection, service);
                self.serve(connection);
            }
        } else if self.udp.contains(&id) {
            let mut buffer = [0; 65_536];
            while let Ok(received) = self.stack.udp_recv(id, &mut buffer, false) {
                let _ = self.stack.udp_send(
                    self.now(),
                    id,
                    Some(received.from),
                    &buffer[..received.len],
                );
            }
        } else {
            self.serve(id);
        }
    }

    fn serve(&mut self, id: SocketId) {
        let now = self.now();
        let Some(mut service) = self.connections.remove(&id) else {
            return;
        };
        match self.serve_once(now, id, &mut service) {
            Ok(()) | Err(Errno::EAGAIN) => {
                self.connections.insert(id, service);
            }
            Err(_) => self.stack.close(now, id),
        }
    }

    /// Goes on until it must wait (EAGAIN) or is done (another error).
    fn serve_once(
        &mut self,
        now: Instant,
        id: SocketId,
        service: &mut Service,
    ) -> Result<(), Errno> {
        let mut buffer = [0; 65_536];
        let stack = &mut self.stack;
        loop {
            match service {
                Service::Echo(pending) => {
                    while !pending.is_empty() {
                        let n = stack.tcp_send(now, id, pending)?;
                        pending.drain(..n);
                    }
                    match stack.tcp_recv(now, id, &mut buffer)? {
                        0 => return Err(Errno::EPIPE),
                        n => pending.extend(&buffer[..n]),
                    }
                }
                Service::Discard => {
                    if stack.tcp_recv(now, id, &mut buffer)? == 0 {
                        return Err(Errno::EPIPE);
                    }
                }
                Service::Source => {
                    stack.tcp_send(now, id, &PATTERN)?;
                }
                Service::Http(head) => {
                    let n = stack.tcp_recv(now, id, &mut buffer)?;
                    if n == 0 {
                        return Err(Errno::EPIPE);
                    }
                    head.extend(&buffer[..n]);
                    while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                        head.drain(..end + 4);
                        stack.tcp_send(
                            now,
                            id,
                            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n",
                        )?;
                    }
                }
                Service::Tell => return Err(Errno::EPIPE),
                Service::Client(0) => return Err(Errno::EPIPE),
                Service::Client(left) => {
                    let n = stack.tcp_send(now, id, &PATTERN[..PATTERN.len().min(*left)])?;
                    *left -= n;
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, config, rest @ ..] = &arguments[..] else {
        return Err("usage: tap DEVICE CONFIGURATION [connect ADDRESS:PORT] [plain]".into());
    };
    let offload = !rest.iter().any(|word| word == "plain");
    let capabilities = Capabilities {
        checksum_v4: offload,
        checksum_v6: offload,
        gso_v4: offload,
        gso_v6: offload,
        ..Capabilities::default()
    };
    let interface = Interface {
        mac: Mac([2, 0, 0, 0, 9, 2]),
        capabilities,
        memory: Memory::default(),
    };
    let config: Config = config.parse().map_err(|error| format!("{error}"))?;
    let mut secret = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let loss = rest
        .iter()
        .position(|word| word == "loss")
        .and_then(|at| rest.get(at + 1)?.parse().ok());
    let mut tap = Tap::open(name, loss.unwrap_or(0))?;
    let stack = Stack::new(interface, config, secret, Instant(1_000_000_000));
    let mut server = Server {
        stack,
        start: Clock::now(),
        listeners: HashMap::new(),
        connections: HashMap::new(),
        udp: Vec::new(),
    };
    for port in [7, 9, 19, 80, 88] {
        server.listen(port).map_err(|error| format!("{error:?}"))?;
    }
    let udp = server
        .stack
        .udp_socket(Family::V6)
        .map_err(|error| format!("{error:?}"))?;
    let _ = server
        .stack
        .udp_bind(udp, SocketAddr::new([0u16; 8].into(), 7));
    server.udp.push(udp);
    if let Some(at) = rest.iter().position(|word| word == "connect") {
        let remote: SocketAddr = rest.get(at + 1).ok_or("connect to what?")?.parse()?;
        let family = if remote.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let id = server
            .stack
            .tcp_socket(family)
            .map_err(|error| format!("{error:?}"))?;
        let _ = server.stack.tcp_connect(server.now(), id, remote); // EINPROGRESS
        server.connections.insert(id, Service::Client(64 << 20));
    }
    run(server, &mut tap)
}

/// Runs until standard input ends.
fn run(mut server: Server, tap: &mut Tap) -> Result<(), Box<dyn std::error::Error>> {
    let mut report = Clock::now();
    loop {
        let now = server.now();
        for _ in 0..64 {
            let Some((meta, frame)) = tap.receive() else {
                break;
            };
            server.stack.receive(now, meta, frame);
        }
        let mut changed = Vec::new();
        server.stack.take_changed(&mut |id| changed.push(id));
        let idle = changed.is_empty();
        for id in changed {
            server.changed(id);
        }
        let now = server.now();
        server.stack.transmit(now, tap);
        if report.elapsed().as_secs() >= 10 {
            report = Clock::now();
            eprintln!("{:?}", server.stack.counters());
        }
        if !idle || server.stack.has_changed() {
            continue;
        }
        let wait = server.stack.next_deadline().map_or(1000, |at| {
            at.0.saturating_sub(server.now().0).div_ceil(1_000_000)
        });
        tap.wait(wait.min(1000) as i32);
    }
}
