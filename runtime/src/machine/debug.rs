//! The early console: bytes written to port 0xE9 appear in `xl dmesg` as `(dN) …`.
//!
//! Slow (a trap a byte) and without state, so it works before anything else does and after everything
//! else has failed.

use super::cpu::out8;
use core::fmt::{self, Write};

/// Writes to the hypervisor's log.
pub struct DebugPort;

impl Write for DebugPort {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: port 0xE9 is Xen's debug console for HVM guests and has no other effect.
            unsafe { out8(0xe9, byte) };
        }
        Ok(())
    }
}
