//! Random numbers: evenly spread, different on every read and on every start.

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use rand::{Rng as _, RngExt as _};

use guests::{fingerprint, note};

const MEGABYTE: usize = 1 << 20;

fn main() {
    guests::tell(
        "random",
        &[
            ("a megabyte from the system", from_the_system),
            ("rand over the system", rand_over_the_system),
            ("rand's own generator", rand_generator),
            ("hash maps are seeded", hash_seeds),
        ],
    );
}

fn from_the_system() {
    let mut bytes = vec![0_u8; MEGABYTE];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    check_spread(&bytes);
    let mut again = vec![0_u8; 32];
    getrandom::fill(&mut again).expect("the system has random numbers");
    assert_ne!(bytes[..32], again[..]);
    note("fingerprint", format!("{:016x}", fingerprint(bytes)));
}

fn rand_over_the_system() {
    let mut bytes = vec![0_u8; MEGABYTE];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    check_spread(&bytes);
}

fn rand_generator() {
    let mut generator = rand::rng();
    let throws: Vec<u32> = (0..60_000).map(|_| generator.random_range(0..6)).collect();
    for face in 0..6 {
        // Five standard deviations (91) about the mean: wrong once in a million runs.
        let count = throws.iter().filter(|&&throw| throw == face).count();
        assert!(
            (9_540..10_460).contains(&count),
            "face {face} came up {count} times"
        );
    }
}

/// The χ² of the byte values has 255 degrees of freedom: mean 255, standard deviation 22.6. The
/// bounds are six deviations away, so that a sound generator fails about once in 10^8 runs.
fn check_spread(bytes: &[u8]) {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let expected = bytes.len() as f64 / 256.0;
    let chi_squared: f64 = counts
        .iter()
        .map(|&count| (f64::from(count) - expected).powi(2) / expected)
        .sum();
    note("chi squared", format!("{chi_squared:.1}"));
    assert!(
        (120.0..400.0).contains(&chi_squared),
        "the bytes are not spread evenly"
    );
    let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    assert!(
        ones.abs_diff(bytes.len() as u32 * 4) < 10_000,
        "{ones} of {} bits are set",
        bytes.len() * 8
    );
}

fn hash_seeds() {
    use std::hash::{BuildHasher, RandomState};
    assert_ne!(
        RandomState::new().hash_one(1),
        RandomState::new().hash_one(1)
    );
}
