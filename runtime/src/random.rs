//! Random numbers fit for keys: ChaCha20 seeded by the processor, and by the clock's jitter.
//!
//! The generator is `rand_chacha`'s. Its seed mixes RDSEED (or RDRAND) with the time stamps of many short
//! pieces of work, so that neither source alone decides; a processor without either instruction leaves the
//! jitter, and a warning is printed. It is seeded anew after [`RESEED_BYTES`].

use crate::Global;
use crate::machine::{hardware_random, report, time, time_stamp};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Bytes given out between two seeds.
const RESEED_BYTES: usize = 1 << 20;
/// Time stamps in a seed. Even at one bit of jitter in eight stamps this gives 256 bits.
const STAMPS: usize = 2048;

struct Generator {
    rng: ChaCha20Rng,
    given: usize,
}

static GENERATOR: Global<Option<Generator>> = Global::new(None);

/// Fills `bytes`.
pub fn fill(bytes: &mut [u8]) {
    let mut guard = GENERATOR.borrow();
    let stale = guard
        .as_ref()
        .is_none_or(|generator| generator.given >= RESEED_BYTES);
    if stale {
        let before = guard.as_mut().map(|generator| &mut generator.rng);
        let rng = seeded(before);
        *guard = Some(Generator { rng, given: 0 });
    }
    if let Some(generator) = guard.as_mut() {
        generator.rng.fill_bytes(bytes);
        generator.given = generator.given.saturating_add(bytes.len());
    }
}

/// A generator with a fresh seed, which the one before also goes into.
fn seeded(before: Option<&mut ChaCha20Rng>) -> ChaCha20Rng {
    // Each source is a 256-bit key of its own; XOR keeps the best of them.
    let mut seed = jitter();
    let mut from_hardware = true;
    for chunk in seed.chunks_exact_mut(8) {
        let number = hardware_random();
        from_hardware &= number.is_some();
        mix(chunk, &number.unwrap_or(0).to_le_bytes());
    }
    if let Some(before) = before {
        let mut old = [0; 32];
        before.fill_bytes(&mut old);
        mix(&mut seed, &old);
    } else if !from_hardware {
        report::warning(format_args!(
            "this processor has neither RDSEED nor RDRAND: random numbers come from the clock's jitter alone"
        ));
    }
    ChaCha20Rng::from_seed(seed)
}

/// 256 bits condensed from many time stamps: each keys a ChaCha20 whose output is the next key.
fn jitter() -> [u8; 32] {
    let mut pool = [0; 32];
    mix(&mut pool[..16], &time::unix_now().to_le_bytes());
    for _ in 0..STAMPS / 4 {
        for chunk in pool.chunks_exact_mut(8) {
            mix(chunk, &time_stamp().to_le_bytes());
        }
        ChaCha20Rng::from_seed(pool).fill_bytes(&mut pool);
    }
    pool
}

fn mix(into: &mut [u8], from: &[u8]) {
    into.iter_mut()
        .zip(from)
        .for_each(|(into, from)| *into ^= from);
}
