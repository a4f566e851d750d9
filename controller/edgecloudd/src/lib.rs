//! The daemon in dom0: it enforces in the switch what verified tokens permit, and nothing else.
//!
//! [`pipeline`] is a pure function from what is desired to flows, groups and meters;
//! [`fake_switch`] says where a packet goes through them, and [`mod@reference`] says where it should
//! go, in the words of the manifest.
//!
//! [`ovs`] brings it into Open vSwitch.

#![forbid(unsafe_code)]

pub mod fake_switch;
pub mod ovs;
pub mod pipeline;
pub mod reference;
