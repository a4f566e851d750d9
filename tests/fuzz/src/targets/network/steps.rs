//! What the bytes of an input mean.

use std::net::SocketAddr;

use edgecloud_runtime::net::{
    Family, KeepAlive, RxChecksum, RxMeta, Shutdown, SocketId, TcpOptions,
};

use super::forge::{self, Path, TcpFields};
use super::victim::{VICTIM_MAC, Victim};
use crate::input::Input;

/// The numbers of the steps that seeds are written with.
pub(super) const RAW: u8 = 0;
pub(super) const PASS: u8 = 1;
pub(super) const CALL: u8 = 2;
const STEPS: u8 = 11;
/// The longest payload of a forged segment: 64 kB is what a device puts together.
const PAYLOAD_MAX: usize = 60_000;
static PATTERN: [u8; PAYLOAD_MAX] = [b'x'; PAYLOAD_MAX];

pub(super) const VERIFIED: RxMeta = RxMeta {
    checksum: RxChecksum::Verified,
    gso_size: None,
};

/// Does the next step of an input.
pub(super) fn step(victim: &mut Victim, input: &mut Input) {
    match input.byte() % STEPS {
        RAW => {
            let meta = meta(input);
            victim.receive(meta, input.piece());
        }
        PASS => victim.pass(input.short().into()),
        CALL => call(victim, input),
        3 => open(victim, input),
        4 => answer(victim, input),
        5 => reflect(victim, input),
        6 => datagram(victim, input),
        7 => fragment(victim, input),
        8 => report(victim, input),
        9 => neighbor(victim, input),
        _ => {
            // Zero to fourteen frames fit, or any number.
            victim.device.room = match input.byte() & 15 {
                15 => usize::MAX,
                few => few.into(),
            };
            victim.settle();
        }
    }
}

fn meta(input: &mut Input) -> RxMeta {
    let what = input.byte();
    let checksum = match what & 3 {
        0 => RxChecksum::Unknown,
        1 => RxChecksum::PartialPseudo,
        _ => RxChecksum::Verified,
    };
    RxMeta {
        checksum,
        gso_size: (what & 0x80 != 0).then(|| input.short()),
    }
}

/// A segment that opens a connection, or means to.
fn open(victim: &mut Victim, input: &mut Input) {
    let what = input.byte();
    let mut path = Path::usual(what & 1 != 0);
    if what & 2 != 0 {
        // To somebody else: intercepted.
        path.to = match path.to {
            std::net::IpAddr::V4(_) => [203, 0, 113, 7].into(),
            std::net::IpAddr::V6(_) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into(),
        };
    }
    let fields = TcpFields {
        ports: [
            input.byte().into(),
            if what & 4 != 0 { input.short() } else { 80 },
        ],
        seq: input.word(),
        ack: 0,
        flags: if what & 8 != 0 { input.byte() } else { 2 },
        window: input.short(),
        options: options(input),
        payload: &PATTERN[..usize::from(input.byte())],
    };
    victim.receive(VERIFIED, &path.frame(6, &forge::tcp(&fields)));
}

fn options<'a>(input: &mut Input<'a>) -> &'a [u8] {
    let length = usize::from(input.byte() % 41);
    input.take(length)
}

/// What the victim said in a frame of TCP: from where to where, and its sequence numbers.
struct Said {
    path: Path,
    ports: [u16; 2],
    next: u32,
    ack: u32,
}

fn said(frame: &[u8]) -> Option<Said> {
    let (path, segment) = match frame.get(12..14)? {
        [8, 0] if *frame.get(23)? == 6 => {
            let octets = |at: usize| -> Option<[u8; 4]> { frame.get(at..at + 4)?.try_into().ok() };
            let path = Path {
                from: octets(30)?.into(),
                to: octets(26)?.into(),
            };
            (path, frame.get(34..)?)
        }
        [0x86, 0xdd] if *frame.get(20)? == 6 => {
            let octets =
                |at: usize| -> Option<[u8; 16]> { frame.get(at..at + 16)?.try_into().ok() };
            let path = Path {
                from: octets(38)?.into(),
                to: octets(22)?.into(),
            };
            (path, frame.get(54..)?)
        }
        _ => return None,
    };
    let short = |at: usize| {
        Some(u16::from_be_bytes(
            segment.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let word = |at: usize| {
        Some(u32::from_be_bytes(
            segment.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let header = usize::from(segment.get(12)? >> 4) * 4;
    let flags = *segment.get(13)?;
    let length = segment.len().saturating_sub(header) as u32 + u32::from(flags & 3 != 0);
    Some(Said {
        path,
        ports: [short(2)?, short(0)?],
        next: word(4)?.wrapping_add(length),
        ack: word(8)?,
    })
}

/// A segment that answers one of the victim's last, rightly but for what the input says.
fn answer(victim: &mut Victim, input: &mut Input) {
    let back = usize::from(input.byte() & 7);
    let frames = &victim.device.frames;
    let Some(said) = frames
        .iter()
        .rev()
        .filter_map(|frame| said(frame))
        .nth(back)
    else {
        return;
    };
    let shift = |input: &mut Input| i32::from(input.short() as i16) as u32;
    let what = input.byte();
    let fields = TcpFields {
        ports: said.ports,
        seq: said
            .ack
            .wrapping_add(if what & 1 != 0 { shift(input) } else { 0 }),
        ack: said
            .next
            .wrapping_add(if what & 2 != 0 { shift(input) } else { 0 }),
        flags: if what & 4 != 0 { input.byte() } else { 0x10 },
        window: if what & 8 != 0 { input.short() } else { 0xffff },
        options: if what & 16 != 0 { options(input) } else { &[] },
        payload: if what & 32 != 0 {
            &PATTERN[..usize::from(input.short()).min(PAYLOAD_MAX)]
        } else {
            &[]
        },
    };
    let gso_size = (what & 64 != 0).then(|| input.short());
    let meta = RxMeta {
        gso_size,
        ..VERIFIED
    };
    victim.receive(meta, &said.path.frame(6, &forge::tcp(&fields)));
}

/// One of the victim's own frames comes back, with bytes changed.
fn reflect(victim: &mut Victim, input: &mut Input) {
    let back = usize::from(input.byte() & 7);
    let Some(mut frame) = victim.device.frames.iter().rev().nth(back).cloned() else {
        return;
    };
    frame[..6].copy_from_slice(&VICTIM_MAC);
    frame[6..12].copy_from_slice(&forge::PEER_MAC);
    for _ in 0..input.byte() & 7 {
        let (at, value) = (usize::from(input.short()) % frame.len(), input.byte());
        frame[at] = value;
    }
    let meta = meta(input);
    victim.receive(meta, &frame);
}

fn datagram(victim: &mut Victim, input: &mut Input) {
    let what = input.byte();
    let path = Path::usual(what & 1 != 0);
    let ports = match what >> 1 & 3 {
        0 => [1000, 9],
        1 => [53, input.short()],
        2 => [input.short(), 9],
        _ => [input.short(), input.short()],
    };
    let payload = &PATTERN[..usize::from(input.short()).min(PAYLOAD_MAX)];
    victim.receive(VERIFIED, &path.frame(17, &forge::udp(ports, payload)));
}

/// A piece of an IPv4 packet.
fn fragment(victim: &mut Victim, input: &mut Input) {
    let what = input.byte();
    let protocol = [1, 6, 17, input.byte()][usize::from(what & 3)];
    let id = u16::from(what >> 2 & 31);
    let flags = input.short() & 0x3fff;
    let length = usize::from(input.short()) % 1481;
    let payload = if flags & 0x1fff == 0 {
        forge::udp([1000, 9], &PATTERN[..length])
    } else {
        PATTERN[..length].to_vec()
    };
    let packet = forge::ipv4(
        [10, 0, 0, 1].into(),
        [10, 0, 0, 2].into(),
        protocol,
        flags.to_be_bytes(),
        id,
        &payload,
    );
    victim.receive(
        VERIFIED,
        &forge::ethernet(VICTIM_MAC, forge::PEER_MAC, 0x0800, &packet),
    );
}

/// An ICMP message, by default an error about one of the victim's last packets.
fn report(victim: &mut Victim, input: &mut Input) {
    let (what, kind, code) = (input.byte(), input.byte(), input.byte());
    let path = Path::usual(what & 1 != 0);
    let mut body = input.word().to_be_bytes().to_vec();
    let quoted = victim
        .device
        .frames
        .iter()
        .rev()
        .nth(usize::from(what >> 1 & 7));
    match quoted {
        Some(frame) if what & 0x10 != 0 => {
            let most = usize::from(input.byte()) + 20;
            body.extend(frame.iter().skip(14).take(most));
        }
        _ => body.extend(input.piece()),
    }
    let protocol = if what & 1 != 0 { 58 } else { 1 };
    victim.receive(
        VERIFIED,
        &path.frame(protocol, &forge::icmp(path, kind, code, &body)),
    );
}

/// The neighbours tell their Ethernet addresses.
fn neighbor(victim: &mut Victim, input: &mut Input) {
    let last = input.byte();
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 2];
    arp.extend(forge::PEER_MAC);
    arp.extend([10, 0, 0, last]);
    arp.extend(VICTIM_MAC);
    arp.extend([10, 0, 0, 2]);
    victim.receive(
        VERIFIED,
        &forge::ethernet(VICTIM_MAC, forge::PEER_MAC, 0x0806, &arp),
    );
    let path = Path::usual(true);
    let mut body = vec![
        0x60, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last, 2, 1,
    ];
    body.extend(forge::PEER_MAC);
    victim.receive(VERIFIED, &path.frame(58, &forge::icmp(path, 136, 0, &body)));
}

/// What a program does with its sockets. Every error is an answer.
fn call(victim: &mut Victim, input: &mut Input) {
    let (what, which, now) = (input.byte(), usize::from(input.byte()), victim.now);
    let Some(&id) = victim.sockets.get(which % victim.sockets.len().max(1)) else {
        return;
    };
    let stack = &mut victim.stack;
    let mut buffer = [0; 4096];
    match what % 13 {
        0 => {
            if let Ok((id, _)) = stack.tcp_accept(id) {
                victim.hold(id);
            }
        }
        1 => {
            let _ = stack.tcp_send(
                now,
                id,
                &PATTERN[..usize::from(input.short()).min(PAYLOAD_MAX)],
            );
        }
        2 => {
            let _ = stack.tcp_recv(now, id, &mut buffer);
        }
        3 => {
            let _ = stack.tcp_shutdown(now, id, Shutdown::Write);
        }
        4 => {
            let _ = stack.tcp_shutdown(now, id, Shutdown::Read);
        }
        5 => {
            stack.close(now, id);
            victim.sockets.retain(|&held| held != id);
        }
        6 => connect(victim, input),
        7 => {
            let options = tcp_options(input);
            let _ = stack.set_tcp_options(now, id, options);
        }
        8 => {
            let _ = stack.udp_recv(id, &mut buffer, false);
        }
        9 => {
            let to = SocketAddr::from(([10, 0, 0, input.byte()], input.short()));
            let _ = stack.udp_send(
                now,
                id,
                Some(to),
                &PATTERN[..usize::from(input.short()).min(PAYLOAD_MAX)],
            );
        }
        10 => {
            let _ = stack.udp_send(now, id, None, b"question");
        }
        11 => {
            let _ = stack.take_error(id);
        }
        _ => look(victim, id),
    }
    victim.settle();
}

/// Readiness and addresses, which must be there whatever happened.
fn look(victim: &mut Victim, id: SocketId) {
    let stack = &mut victim.stack;
    let ready = stack.readiness(id);
    let mut byte = [0];
    let peeked = stack.tcp_peek(id, 0, &mut byte);
    assert!(
        !matches!(peeked, Ok(1)) || ready.readable,
        "data, but not readable"
    );
    let _ = (stack.local_addr(id), stack.peer_addr(id));
    let _ = (stack.tcp_readable_bytes(id), stack.tcp_unsent_bytes(id));
}

fn connect(victim: &mut Victim, input: &mut Input) {
    let what = input.byte();
    let (family, to) = match what & 3 {
        0 => (Family::V4, SocketAddr::from(([10, 0, 0, 1], 7))),
        1 => (
            Family::V6,
            SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 7)),
        ),
        2 => (Family::V4, SocketAddr::from(([10, 0, 0, 2], 80))), // ourselves
        _ => (Family::V4, SocketAddr::from(([192, 0, 2, what], 7))), // over the router
    };
    if let Ok(id) = victim.stack.tcp_socket(family) {
        let _ = victim.stack.tcp_connect(victim.now, id, to);
        victim.hold(id);
    }
}

fn tcp_options(input: &mut Input) -> TcpOptions {
    let what = input.byte();
    let sized = what & 128 != 0;
    TcpOptions {
        nodelay: what & 1 != 0,
        keep_alive_enabled: what & 2 != 0,
        keep_alive: KeepAlive::default(),
        reset_on_close: what & 4 != 0,
        user_timeout_ms: if what & 8 != 0 {
            input.short().into()
        } else {
            0
        },
        reuse_port: what & 16 != 0,
        v6_only: what & 32 != 0,
        hop_limit: if what & 64 != 0 { input.byte() } else { 0 },
        receive_max: if sized { input.short().into() } else { 0 },
        send_max: if sized { input.short().into() } else { 0 },
    }
}
