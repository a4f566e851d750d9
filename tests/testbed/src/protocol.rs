//! What the host and the agent in dom0 say to each other over a virtio serial port.
//!
//! A port carries one session at a time; a session carries many commands at once, each on its own
//! channel. Nothing here does I/O: [`cobs`] finds frames in a byte stream, [`Message`] is what a
//! frame means, [`Window`] says how much may be under way.
//!
//! A host process can die in the middle of a frame, and the next one meets what is left of it. So
//! frames are delimited by a byte that never occurs inside them, whoever connects sends that byte
//! first, a message states its own length, and the host ignores everything that comes before the
//! agent's [`Message::Welcome`] with the nonce of its own [`Message::Hello`].

pub mod cobs;
mod message;
mod window;

pub use message::{Malformed, Message, Status, Stream};
pub use window::Window;

/// A fingerprint of what the two sides must agree on, the agent's subcommands included: a machine
/// that was left running by an older build must be refused, not misunderstood.
pub const VERSION: u32 = fingerprint(&[
    include_bytes!("protocol.rs"),
    include_bytes!("protocol/cobs.rs"),
    include_bytes!("protocol/message.rs"),
    include_bytes!("protocol/window.rs"),
    include_bytes!("xl.rs"),
    include_bytes!("bin/agent/main.rs"),
    include_bytes!("bin/agent/port.rs"),
    include_bytes!("bin/agent/process.rs"),
    include_bytes!("bin/agent/session.rs"),
    include_bytes!("bin/agent/wait.rs"),
    include_bytes!("../dom0/init"),
]);

/// FNV-1a, which is short enough to be computed while compiling.
const fn fingerprint(files: &[&[u8]]) -> u32 {
    let mut hash = 0x811c_9dc5;
    let mut file = 0;
    while file < files.len() {
        let mut byte = 0;
        while byte < files[file].len() {
            hash = (hash ^ files[file][byte] as u32).wrapping_mul(0x0100_0193);
            byte += 1;
        }
        file += 1;
    }
    hash
}

/// The most bytes of a stream in one message: a quarter of what a pipe holds, so that several
/// commands share a port fairly.
pub const CHUNK: usize = 16 * 1024;

/// The longest message: a chunk, or a command line with its environment (Linux itself allows a
/// single argument of 128 KiB).
pub const MESSAGE_MAX: usize = 128 * 1024;

/// The bytes of one stream that may be sent before the receiver says that it has used some. It
/// bounds both sides' memory, and keeps a command that does not read from holding up the others.
pub const WINDOW: u64 = 1024 * 1024;

const _: () = assert!(CHUNK < MESSAGE_MAX && CHUNK as u64 <= WINDOW / 4);

/// The virtio serial ports of a machine: the number of host processes that can talk to it at once
/// (QEMU's limit is 31).
pub const PORTS: usize = 8;

/// The name of a port, on QEMU's command line and in dom0's sysfs.
pub fn port_name(index: usize) -> String {
    format!("testbed.{index}")
}
