//! No bytes from the network make the stack panic, and none of them leak memory.

use super::super::testing::{Link, OFFLOADING, Random, World, addr, mac};
use super::super::*;

/// Frames of an honest conversation: every protocol that the stack speaks.
fn honest_frames() -> Vec<(usize, Vec<u8>)> {
    let link = Link {
        loss_percent: 10,
        ..Link::PERFECT
    };
    let mut world = World::new("honest", link, Capabilities::default());
    world.keep_sent = true;
    for address in ["10.0.0.2:80", "[fd00::2]:80"] {
        let (client, server) = world.pair(address);
        let data = world.random.bytes(20_000);
        world.transfer(0, client, server, &data);
        world.transfer(1, server, client, &data);
        let socket = world.hosts[0].udp_socket(Family::V6).unwrap();
        let to = addr(if addr(address).is_ipv4() {
            "[::ffff:10.0.0.2]:9"
        } else {
            "[fd00::2]:9"
        });
        world.hosts[0]
            .udp_send(world.now, socket, Some(to), b"closed port")
            .unwrap();
        world.pass(1000);
    }
    world.sent
}

/// A host with a socket of every kind, in every state that frames can meet.
fn victim(random: &mut Random) -> World {
    let mut world = World::new("victim", Link::PERFECT, OFFLOADING);
    let listener = world.listen(1, "[::]:80", 8);
    for _ in 0..3 {
        world.connect(0, "10.0.0.2:80");
        world.connect(0, "[fd00::2]:80");
    }
    world.pass(100);
    let mut servers = Vec::new();
    while let Ok((server, _)) = world.hosts[1].tcp_accept(listener) {
        world.send(1, server, &random.bytes(3000));
        servers.push(server);
    }
    world.hosts[1]
        .tcp_shutdown(world.now, servers[0], Shutdown::Write)
        .unwrap();
    world.hosts[1].close(world.now, servers[1]);
    world.connect(1, "10.0.0.1:9");
    let socket = world.hosts[1].udp_socket(Family::V6).unwrap();
    world.hosts[1].udp_bind(socket, addr("[::]:9")).unwrap();
    world
}

#[test]
fn mutated_frames() {
    let frames = honest_frames();
    let mut random = Random::seeded("mutated");
    let mut world = victim(&mut random);
    for round in 0..150_000u32 {
        let (_, frame) = &frames[random.below(frames.len())];
        let mut frame = frame.clone();
        for _ in 0..random.below(4) {
            let at = random.below(frame.len().min(80));
            frame[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => frame[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        if random.chance(20) {
            frame.truncate(random.below(frame.len() + 1));
        }
        if random.chance(90) && frame.len() >= 6 {
            frame[..6].copy_from_slice(&mac(1).0);
        }
        let checksum = if random.chance(90) {
            RxChecksum::Verified
        } else {
            RxChecksum::Unknown
        };
        let gso_size = random.chance(5).then(|| random.next() as u16);
        world.hosts[1].receive(world.now, RxMeta { checksum, gso_size }, &frame);
        if round % 64 == 0 {
            world.pass(random.next() % 300);
            world.hosts[1].take_changed(&mut |_| {});
        }
    }
    let counters = world.hosts[1].counters().clone();
    for &reason in DropReason::ALL {
        println!("{}: {}", reason.name(), counters.dropped(reason));
    }
    println!("{counters:?}");
    assert!(counters.buffer_bytes <= Memory::default().total);
}

/// Plausible TCP segments for existing connections, with any flags, numbers near the window, and options.
#[test]
fn plausible_segments() {
    let mut random = Random::seeded("plausible");
    for _ in 0..60 {
        let mut world = victim(&mut random);
        world.keep_sent = true;
        world.pass(50);
        for _ in 0..400 {
            // Answer whatever it sent last, nearly rightly.
            let last: Vec<_> = world
                .sent
                .iter()
                .rev()
                .take(8)
                .map(|(from, frame)| (*from, frame.clone()))
                .collect();
            let Some((from, frame)) = last.get(random.below(last.len().max(1))) else {
                break;
            };
            let v4 = frame[12..14] == [8, 0];
            let at = if v4 { 34 } else { 54 };
            if frame.len() < at + 20 || frame[if v4 { 23 } else { 20 }] != 6 {
                world.pass(20);
                continue;
            }
            let mut forged = frame.clone();
            if *from == 1 {
                forged[..6].copy_from_slice(&mac(1).0);
                let addresses = if v4 { (26, 4) } else { (22, 16) };
                let (start, len) = addresses;
                for i in 0..len {
                    forged.swap(start + i, start + len + i);
                }
                forged.swap(at, at + 2);
                forged.swap(at + 1, at + 3);
                for i in 0..4 {
                    forged.swap(at + 4 + i, at + 8 + i);
                }
            }
            for field in [at + 4, at + 8] {
                let number = u32::from_be_bytes(forged[field..field + 4].try_into().unwrap());
                let shift = [0, 1, u32::MAX, 1000, 70_000, 1 << 31][random.below(6)];
                forged[field..field + 4].copy_from_slice(&number.wrapping_add(shift).to_be_bytes());
            }
            if random.chance(60) {
                forged[at + 13] = random.next() as u8 & 0x3f;
            }
            if random.chance(30) {
                let window = [0, 1, random.next() as u16][random.below(3)];
                forged[at + 14..at + 16].copy_from_slice(&window.to_be_bytes());
            }
            let meta = RxMeta {
                checksum: RxChecksum::Verified,
                gso_size: None,
            };
            world.hosts[1].receive(world.now, meta, &forged);
            if random.chance(30) {
                world.pass(random.next() % 2000);
            }
        }
        world.pass(2_000_000);
        assert!(world.hosts[1].counters().buffer_bytes <= 1 << 20);
    }
}

#[test]
fn noise() {
    let mut random = Random::seeded("noise");
    let mut world = World::new("noise", Link::PERFECT, OFFLOADING);
    for _ in 0..100_000 {
        let len = random.below(120);
        let mut frame = random.bytes(len);
        if len >= 14 {
            frame[..6].copy_from_slice(&mac(1).0);
            let kind = [[8, 0], [8, 6], [0x86, 0xdd]][random.below(3)];
            frame[12..14].copy_from_slice(&kind);
        }
        world.hosts[1].receive(world.now, RxMeta::default(), &frame);
    }
    world.pass(100);
}
