//! The targets.

use crate::Target;

mod command_line;
mod configuration;
mod dhcp;
mod dns;
mod network;
mod start_info;
mod xenstore;

/// All of them.
pub const TARGETS: &[Target] = &[
    command_line::TARGET,
    configuration::TARGET,
    dhcp::TARGET,
    dns::TARGET,
    network::TARGET,
    start_info::TARGET,
    xenstore::TARGET,
];
