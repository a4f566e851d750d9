//! smoltcp's interface and sockets.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use super::host::{Host, mac};

pub(crate) struct Smol {
    interface: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    buffer: usize,
    /// Sockets that listen, one per connection that may come: smoltcp has no backlog.
    listening: VecDeque<SocketHandle>,
    next_port: u16,
}

#[derive(Default)]
struct Wire {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);

struct ToSend<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, ToSend<'_>)> {
        Some((Received(self.received.pop_front()?), ToSend(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        Some(ToSend(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

fn time(now: u64) -> Instant {
    Instant::from_micros((now / 1000) as i64)
}

impl Smol {
    fn socket(&self) -> Socket<'static> {
        let buffer = || SocketBuffer::new(vec![0; self.buffer]);
        Socket::new(buffer(), buffer())
    }
}

impl Host for Smol {
    type Socket = SocketHandle;

    fn new(number: u8, buffer: usize, connections: usize) -> Smol {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac(number))));
        config.random_seed = number.into();
        let mut interface = Interface::new(config, &mut wire, time(0));
        interface.update_ip_addrs(|addresses| {
            let own = IpCidr::new(IpAddress::v4(10, 0, 0, number + 1), 24);
            addresses.push(own).expect("room for one");
        });
        let mut host = Smol {
            interface,
            sockets: SocketSet::new(Vec::new()),
            wire,
            buffer,
            listening: VecDeque::new(),
            next_port: 49152,
        };
        for _ in 0..if number == 1 { connections } else { 0 } {
            let mut socket = host.socket();
            socket.listen(80).expect("a port");
            let handle = host.sockets.add(socket);
            host.listening.push_back(handle);
        }
        host
    }

    fn receive(&mut self, _: u64, frame: &[u8]) {
        self.wire.received.push_back(frame.to_vec());
    }

    fn transmit(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        self.interface
            .poll(time(now), &mut self.wire, &mut self.sockets);
        out.append(&mut self.wire.sent);
    }

    fn deadline(&mut self, now: u64) -> Option<u64> {
        let at = self.interface.poll_at(time(now), &self.sockets)?;
        Some(at.total_micros() as u64 * 1000)
    }

    fn connect(&mut self, _: u64) -> SocketHandle {
        let mut socket = self.socket();
        let remote = (IpAddress::v4(10, 0, 0, 2), 80);
        let local = self.next_port;
        self.next_port += 1;
        let opened = socket.connect(self.interface.context(), remote, local);
        opened.expect("a free port");
        self.sockets.add(socket)
    }

    fn is_writable(&mut self, socket: SocketHandle) -> bool {
        self.sockets.get::<Socket>(socket).can_send()
    }

    fn accept(&mut self) -> Option<SocketHandle> {
        // The first in the set takes the first SYN.
        let &first = self.listening.front()?;
        self.sockets
            .get::<Socket>(first)
            .may_send()
            .then(|| self.listening.pop_front())?
    }

    fn send(&mut self, _: u64, socket: SocketHandle, data: &[u8]) -> usize {
        self.sockets
            .get_mut::<Socket>(socket)
            .send_slice(data)
            .unwrap_or(0)
    }

    fn recv(&mut self, _: u64, socket: SocketHandle, data: &mut [u8]) -> usize {
        self.sockets
            .get_mut::<Socket>(socket)
            .recv_slice(data)
            .unwrap_or(0)
    }
}
