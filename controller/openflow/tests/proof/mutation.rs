//! Spoilt messages: whatever comes, the parser answers.

use openflow::{Header, Version, fuzz};

use crate::random::Random;
use crate::seed;

const CASES: u64 = 20_000;

#[test]
fn spoilt_messages_are_answered() {
    let seed = seed();
    for case in 0..CASES {
        let version = if case % 2 == 0 {
            Version::V13
        } else {
            Version::V15
        };
        let mut random = Random::new(seed ^ case, version);
        let message = random.message();
        let mut bytes = message
            .emit(Header { version, xid: 1 })
            .expect("it has a form");
        for _ in 0..random.rng.usize(1..5) {
            spoil(&mut random, &mut bytes);
        }
        let what = format!("seed {seed} case {case}");
        let answered = std::panic::catch_unwind(|| fuzz(&bytes));
        assert!(answered.is_ok(), "{what}: {bytes:02x?}");
    }
}

fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let place = random.rng.usize(0..bytes.len());
    match random.rng.u8(0..6) {
        0 => bytes.truncate(place),
        1 => bytes[place] = random.rng.u8(..),
        2 => bytes[place] ^= 1 << random.rng.u8(0..8),
        3 => bytes[place] = [0, 0xff, 0x7f, 0x80][random.rng.usize(0..4)],
        4 => {
            let end = random.rng.usize(place..bytes.len().min(place + 64));
            let copy = bytes[place..end].to_vec();
            let target = random.rng.usize(0..bytes.len());
            bytes.splice(target..target, copy);
        }
        _ => {
            let end = random.rng.usize(place..bytes.len().min(place + 64));
            bytes.drain(place..end);
        }
    }
    // Lengths that are wrong are refused at once; what lies behind them is to be reached too.
    if !random.chance(4) && bytes.len() >= 4 {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        bytes[2..4].copy_from_slice(&length);
    }
}
