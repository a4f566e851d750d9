//! The runtime's stack.

use edgecloud_runtime::net::{
    Capabilities, Family, Instant, Interface, Mac, Memory, RxMeta, SocketId, Stack, TxDevice,
    TxMeta,
};

use super::host::{Host, mac};

pub(crate) struct Ours {
    stack: Stack,
    listener: Option<SocketId>,
}

struct Wire<'a>(&'a mut Vec<Vec<u8>>);

impl TxDevice for Wire<'_> {
    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn send(&mut self, len: usize, _: TxMeta, fill: impl FnOnce(&mut [u8])) {
        let mut frame = vec![0; len];
        fill(&mut frame);
        self.0.push(frame);
    }
}

impl Host for Ours {
    type Socket = SocketId;

    fn new(number: u8, buffer: usize, connections: usize) -> Ours {
        let interface = Interface {
            mac: Mac(mac(number)),
            capabilities: Capabilities::default(),
            memory: Memory {
                total: (buffer * 2).max(64 << 20),
                receive_max: buffer.max(4096),
                send_max: buffer.max(4096),
            },
        };
        let config = format!("ip=10.0.0.{}/24", number + 1)
            .parse()
            .expect("a configuration");
        let mut stack = Stack::new(interface, config, [number + 1; 32], Instant(0));
        let listener = (number == 1).then(|| {
            let id = stack.tcp_socket(Family::V4).expect("a socket");
            stack
                .tcp_bind(id, ([0, 0, 0, 0], 80).into())
                .expect("a free port");
            stack.tcp_listen(id, connections).expect("bound");
            id
        });
        Ours { stack, listener }
    }

    fn receive(&mut self, now: u64, frame: &[u8]) {
        self.stack.receive(Instant(now), RxMeta::default(), frame);
    }

    fn transmit(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        self.stack.transmit(Instant(now), &mut Wire(out));
        self.stack.take_changed(&mut |_| {});
    }

    fn deadline(&mut self, _: u64) -> Option<u64> {
        self.stack.next_deadline().map(|at| at.0)
    }

    fn connect(&mut self, now: u64) -> SocketId {
        let id = self.stack.tcp_socket(Family::V4).expect("a socket");
        let _ = self
            .stack
            .tcp_connect(Instant(now), id, ([10, 0, 0, 2], 80).into()); // in progress
        id
    }

    fn is_writable(&mut self, socket: SocketId) -> bool {
        self.stack.readiness(socket).writable
    }

    fn accept(&mut self) -> Option<SocketId> {
        Some(self.stack.tcp_accept(self.listener?).ok()?.0)
    }

    fn send(&mut self, now: u64, socket: SocketId, data: &[u8]) -> usize {
        self.stack.tcp_send(Instant(now), socket, data).unwrap_or(0)
    }

    fn recv(&mut self, now: u64, socket: SocketId, data: &mut [u8]) -> usize {
        self.stack.tcp_recv(Instant(now), socket, data).unwrap_or(0)
    }
}
