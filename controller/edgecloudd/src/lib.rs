//! The daemon in dom0: it enforces in the switch what verified tokens permit, and nothing else.
//!
//! [`pipeline`] is a pure function from what is desired to flows, groups and meters, and
//! [`fake_switch`] says where a packet goes through them.

#![forbid(unsafe_code)]

pub mod fake_switch;
pub mod pipeline;
