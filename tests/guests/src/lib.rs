//! What the guests share: the form of their transcripts.
//!
//! A guest is an ordinary program. It tells on standard output what it does, one line per topic,
//! and ends with `guest NAME: ok` if every assertion held. An assertion that fails is a panic, so
//! the console shows the topic it was in, the message, and the way there. Lines that start with
//! `note ` are measurements: they may differ from run to run and from world to world, while all
//! the others are the same wherever the program runs, which the scenarios check.

use std::fmt::Display;

/// One topic of a guest: its name and what it does.
pub type Topic = (&'static str, fn());

/// Goes through the topics of a guest in order, and says so.
pub fn tell(guest: &str, topics: &[Topic]) {
    for (name, topic) in topics {
        println!("{guest}: {name}");
        topic();
    }
    ok(guest);
}

/// The last line of a guest whose assertions all held.
pub fn ok(guest: &str) {
    println!("guest {guest}: ok");
}

/// Prints a measurement, as `note NAME: VALUE`.
pub fn note(name: &str, value: impl Display) {
    println!("note {name}: {value}");
}

/// FNV-1a, so that a guest can print what a megabyte contains in sixteen digits.
pub fn fingerprint(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// A sequence that looks random and is the same everywhere: xorshift64* with a fixed seed.
pub struct Sequence(u64);

impl Sequence {
    /// The sequence of a seed; zero, the one seed on which xorshift stands still, becomes another.
    pub fn new(seed: u64) -> Sequence {
        Sequence(seed.max(1))
    }
}

impl Iterator for Sequence {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Some(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_fnv_1a() {
        // The test vectors of the FNV draft (draft-eastlake-fnv, appendix C).
        assert_eq!(fingerprint(*b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(*b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_sequence_is_the_same_every_time() {
        let first: Vec<u64> = Sequence::new(1).take(4).collect();
        assert_eq!(first, Sequence::new(1).take(4).collect::<Vec<_>>());
        assert_ne!(first, Sequence::new(2).take(4).collect::<Vec<_>>());
    }
}
