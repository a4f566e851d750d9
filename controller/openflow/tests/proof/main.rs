//! The proof of the codec: against itself, against Open vSwitch's decoder, against os-ken's bytes,
//! against spoilt bytes, and against a running switch.

mod debian;
mod live_switch;
mod mutation;
mod ofp_parse;
mod os_ken;
mod random;
mod round_trip;
mod switch;

/// The seed of a randomised test: from `OPENFLOW_SEED`, which a failure names, or the clock.
fn seed() -> u64 {
    let given = std::env::var("OPENFLOW_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("replay with OPENFLOW_SEED={seed}");
    seed
}
