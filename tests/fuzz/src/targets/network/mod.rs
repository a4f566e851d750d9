//! The whole network stack, against whoever can send frames: `Stack::receive` with any bytes, between
//! socket calls and the passing of time.
//!
//! The input is a list of steps (`steps.rs`): raw frames, frames that are right but for a few fields (so
//! that the fuzzer need not find checksums and sequence numbers first), calls, time, a device that is
//! full. `victim.rs` is the stack with its sockets, and says what must hold after every step; at the end
//! every socket is closed, and with time all state must go.

mod forge;
mod output;
mod seeds;
mod steps;
mod victim;

pub(super) use forge::{BROADCAST_MAC, PEER_MAC, ethernet, ipv4, router_message, udp};
pub(super) use victim::Victim;

use self::seeds::seeds;
use crate::Target;
use crate::input::Input;

pub(super) const TARGET: Target = Target {
    name: "network",
    run,
    seeds,
};

fn run(data: &[u8]) {
    let mut victim = Victim::with_sockets();
    let mut input = Input(data);
    while !input.is_empty() {
        steps::step(&mut victim, &mut input);
    }
    victim.end();
}
