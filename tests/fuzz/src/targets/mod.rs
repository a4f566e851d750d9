//! The targets.

use crate::Target;

mod beginnings;
mod caching;
mod command_line;
mod configuration;
mod dhcp;
mod dns;
mod documents;
mod forms;
mod manifest;
mod names;
mod network;
mod openflow;
mod pictures;
mod portal;
mod radius;
mod start_info;
mod tokens;
mod uploads;
mod xenstore;

/// All of them.
pub const TARGETS: &[Target] = &[
    beginnings::TARGET,
    caching::TARGET,
    command_line::TARGET,
    configuration::TARGET,
    dhcp::TARGET,
    dns::TARGET,
    documents::TARGET,
    forms::TARGET,
    manifest::TARGET,
    names::TARGET,
    network::TARGET,
    openflow::TARGET,
    pictures::TARGET,
    portal::TARGET,
    radius::TARGET,
    start_info::TARGET,
    tokens::TARGET,
    uploads::TARGET,
    xenstore::TARGET,
];
