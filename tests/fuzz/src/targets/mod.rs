//! The targets.

use crate::Target;

mod caching;
mod command_line;
mod configuration;
mod dhcp;
mod dns;
mod documents;
mod manifest;
mod network;
mod openflow;
mod start_info;
mod xenstore;

/// All of them.
pub const TARGETS: &[Target] = &[
    caching::TARGET,
    command_line::TARGET,
    configuration::TARGET,
    dhcp::TARGET,
    dns::TARGET,
    documents::TARGET,
    manifest::TARGET,
    network::TARGET,
    openflow::TARGET,
    start_info::TARGET,
    xenstore::TARGET,
];
