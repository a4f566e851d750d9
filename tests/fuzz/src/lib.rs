//! What reads bytes of others' making, under libFuzzer: `cargo xtask fuzz NAME`.
//!
//! A [`Target`] takes any bytes and panics when something is wrong that no bytes may cause. Each is a file
//! under `targets/`, whose head says what the bytes mean. Its seeds are made by code, from conversations
//! as they should be, so that the fuzzer starts behind the first checks; nothing binary is committed. An
//! input that once found something becomes a unit test beside what it found.

#![cfg(feature = "targets")]

mod input;
mod targets;

pub use targets::TARGETS;

/// One thing that is fuzzed.
pub struct Target {
    /// The name of its file.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}
