//! Conversations as they should be, between the victim and another stack of ours: recorded as steps, so
//! that the fuzzer starts with open connections. The secret is fixed, so sequence numbers are the same
//! each time.

use std::net::SocketAddr;

use edgecloud_runtime::net::{
    Capabilities, Family, Interface, Mac, Memory, RxMeta, Shutdown, SocketId, Stack, TxDevice,
    TxMeta,
};

use super::forge::PEER_MAC;
use super::steps::{CALL, PASS, RAW, step};
use super::victim::Victim;
use crate::input::Input;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let talk = |to: &str| Recorder::new().talk(to);
    let mut seeds = vec![
        talk("10.0.0.2:80"),
        talk("[fd00::2]:80"),
        datagrams(),
        outward(),
    ];
    seeds.extend(forged());
    seeds
}

/// Frames of the peer.
#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl TxDevice for Wire {
    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn send(&mut self, len: usize, _: TxMeta, fill: impl FnOnce(&mut [u8])) {
        let mut frame = vec![0; len];
        fill(&mut frame);
        self.0.push(frame);
    }
}

/// The victim, its peer, and the steps that the victim has taken.
struct Recorder {
    victim: Victim,
    peer: Stack,
    steps: Vec<u8>,
}

impl Recorder {
    fn new() -> Recorder {
        let victim = Victim::with_sockets();
        let interface = Interface {
            mac: Mac(PEER_MAC),
            capabilities: Capabilities::default(),
            memory: Memory::default(),
        };
        let config = "ip=10.0.0.1/24,ip=fd00::1/64"
            .parse()
            .expect("a configuration");
        let peer = Stack::new(interface, config, [1; 32], victim.now);
        Recorder {
            victim,
            peer,
            steps: Vec::new(),
        }
    }

    /// Takes a step and writes it down.
    fn step(&mut self, bytes: &[u8]) {
        self.steps.extend(bytes);
        step(&mut self.victim, &mut Input(bytes));
    }

    /// What each has sent reaches the other, until both are silent; then some milliseconds pass.
    fn exchange(&mut self) {
        loop {
            let mut wire = Wire::default();
            self.peer.transmit(self.victim.now, &mut wire);
            let heard: Vec<_> = self.victim.device.frames.drain(..).collect();
            if wire.0.is_empty() && heard.is_empty() {
                break;
            }
            for frame in wire.0 {
                let length = (frame.len() as u16).to_be_bytes();
                self.step(&[&[RAW, 0], &length[..], &frame].concat());
            }
            for frame in heard {
                let meta = RxMeta {
                    checksum: edgecloud_runtime::net::RxChecksum::PartialPseudo,
                    gso_size: None,
                };
                self.peer.receive(self.victim.now, meta, &frame);
            }
        }
        self.step(&[PASS, 0, 50]);
    }

    /// A connection from the peer: bytes both ways, then both close.
    fn talk(mut self, to: &str) -> Vec<u8> {
        let to: SocketAddr = to.parse().expect("an address");
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let id = self.peer.tcp_socket(family).expect("a socket");
        let _ = self.peer.tcp_connect(self.victim.now, id, to); // in progress
        self.exchange();
        self.step(&[CALL, 0, 0]); // the listener accepts: socket 3
        self.send(id, &[b'q'; 700]);
        self.step(&[CALL, 2, 3]);
        self.step(&[CALL, 1, 3, 0x10, 0]);
        self.exchange();
        let mut buffer = [0; 8192];
        let _ = self.peer.tcp_recv(self.victim.now, id, &mut buffer);
        let _ = self.peer.tcp_shutdown(self.victim.now, id, Shutdown::Write);
        self.exchange();
        self.step(&[CALL, 5, 3]);
        self.exchange();
        self.steps
    }

    fn send(&mut self, id: SocketId, data: &[u8]) {
        let _ = self.peer.tcp_send(self.victim.now, id, data);
        self.exchange();
    }
}

/// Datagrams to an open and to a closed port.
fn datagrams() -> Vec<u8> {
    let mut recorder = Recorder::new();
    let id = recorder.peer.udp_socket(Family::V4).expect("a socket");
    for port in [9, 10] {
        let to = SocketAddr::from(([10, 0, 0, 2], port));
        let _ = recorder
            .peer
            .udp_send(recorder.victim.now, id, Some(to), b"hello");
        recorder.exchange();
    }
    recorder.step(&[CALL, 8, 1]);
    recorder.steps
}

/// A connection that the victim opens.
fn outward() -> Vec<u8> {
    let mut recorder = Recorder::new();
    let listener = recorder.peer.tcp_socket(Family::V4).expect("a socket");
    let any = SocketAddr::from(([0, 0, 0, 0], 7));
    recorder.peer.tcp_bind(listener, any).expect("a free port");
    recorder.peer.tcp_listen(listener, 4).expect("bound");
    recorder.step(&[CALL, 6, 0, 0]);
    recorder.exchange();
    recorder.step(&[CALL, 1, 3, 0, 100]);
    recorder.exchange();
    recorder.step(&[CALL, 5, 3]);
    recorder.exchange();
    recorder.steps
}

/// Some of each forged step.
fn forged() -> Vec<Vec<u8>> {
    const SYN: [u8; 10] = [3, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0];
    let opened = |more: &[u8]| [&SYN[..], &[0, 4, 0, 0, CALL, 0, 0], more].concat();
    vec![
        opened(&[4, 0, 32, 4, 0, 4, 0, 33, 8, 0, 2, 0, CALL, 2, 3]),
        opened(&[CALL, 1, 3, 0x80, 0, 4, 0, 3, 0, 0, 0xf0, 0, PASS, 4, 0]),
        opened(&[5, 0, 1, 0, 47, 0x04, 2, 8, 0x11, 3, 4, 0, 0, 5, 0x78, 60]),
        opened(&[10, 0, CALL, 1, 3, 0x40, 0, 10, 15, 4, 0, 4, 0x14]),
        vec![
            7, 2, 0, 0x20, 0, 5, 120, 7, 2, 0, 0, 0xbc, 0, 64, CALL, 8, 1,
        ],
        vec![CALL, 6, 0, 3, 9, 1, PASS, 0, 100, 6, 1, 0, 9, 6, 3, 0, 9],
        vec![CALL, 6, 0, 2, CALL, 0, 0, CALL, 1, 3, 1, 0, CALL, 2, 4],
    ]
}
