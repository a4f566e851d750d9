//! Two-level event channels (`xen.h`, `struct shared_info`): which ports are pending.
//!
//! All ports stay masked: SCHEDOP_poll wakes on a masked port as well, and without upcalls there is no
//! selector word to keep. A port is taken by clearing its bit *before* its ring is looked at; whatever
//! arrives afterwards sets the bit again.

use super::Port;
use core::sync::atomic::{AtomicU64, Ordering};

/// Ports that the two-level layout has on x86-64.
pub const PORTS: usize = 64 * 64;

/// The pending bits, shared with the hypervisor.
pub struct Pending<'s>(&'s [AtomicU64; 64]);

impl<'s> Pending<'s> {
    /// The bits of `shared_info.evtchn_pending`.
    pub fn new(words: &'s [AtomicU64; 64]) -> Self {
        Self(words)
    }

    /// Takes a port: whether it was pending, which it is no longer.
    pub fn take(&self, port: Port) -> bool {
        let Some(word) = self.0.get(port.0 as usize / 64) else {
            return false;
        };
        let bit = 1 << (port.0 % 64);
        // A plain look first: the locked instruction costs much more, and most looks find nothing.
        word.load(Ordering::Relaxed) & bit != 0 && word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_once() {
        let words = [const { AtomicU64::new(0) }; 64];
        words[1].store(0b101, Ordering::Relaxed);
        let pending = Pending::new(&words);
        assert!(pending.take(Port(64)));
        assert!(!pending.take(Port(64)));
        assert!(!pending.take(Port(65)));
        assert!(pending.take(Port(66)));
        assert!(!pending.take(Port(PORTS as u32)));
    }
}
