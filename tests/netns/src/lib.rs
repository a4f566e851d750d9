//! The fast world: Open vSwitch with its userspace datapath, and hosts, in namespaces of their own.
//!
//! [`Switch::start`] makes one process-id, mount and network namespace, and in it a database and a
//! switch with private sockets; [`Host`] is a further network namespace with a cable to the switch.
//! Nothing of the computer's own network is touched.
//!
//! **How it ends.** The first process of the process-id namespace reads a pipe that this process
//! holds. When the [`Switch`] is dropped, or this process dies however it dies, the pipe closes,
//! that process ends, and the kernel ends everything else in the namespace.
//!
//! Needs root, `/dev/net/tun`, and Debian's `openvswitch-switch`, `iproute2`, `ethtool` and
//! `util-linux`; no kernel module.

#![forbid(unsafe_code)]

mod host;
mod programs;
mod switch;
mod world;

pub use host::Host;
pub use programs::programs_are_built;
pub use switch::{BRIDGE, Switch};
pub use world::{World, WorldError};
