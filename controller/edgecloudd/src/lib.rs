//! The daemon in dom0: it enforces in the switch what verified tokens permit, and nothing else.
//!
//! [`pipeline`] is a pure function from what is desired to flows, groups and meters;
//! [`fake_switch`] says where a packet goes through them, and [`mod@reference`] says where it should
//! go, in the words of the manifest.
//!
//! [`ovs`] brings it into Open vSwitch. [`api`] is what operators and domains say to the daemon,
//! [`names`] what the resolver and the daemon tell each other.

#![forbid(unsafe_code)]

pub mod api;
pub mod fake_switch;
pub mod names;
pub mod ovs;
pub mod pipeline;
pub mod reference;
