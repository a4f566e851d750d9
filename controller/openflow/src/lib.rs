//! OpenFlow 1.3 and 1.5 with Open vSwitch's extensions, as values and bytes.
//!
//! A codec and nothing else: no sockets, no clock, no threads. Values are canonical: two matches,
//! instruction sets or flows that mean the same compare equal, so that what a switch dumps can be
//! compared with what is desired.
//!
//! Specifications: *OpenFlow Switch Specification* 1.3.5 and 1.5.1, Open vSwitch's `nicira-ext.h`,
//! `meta-flow.h` and `ovs-actions(7)`.
//!
//! Threat: bytes come from anybody who reaches the port. Parsers return errors and never panic.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the bytes come in the next commits")]

mod action;
mod error;
mod field;
mod flow;
mod flow_match;
mod flow_mod;
mod group;
mod group_mod;
mod instruction;
mod meter;
mod meter_mod;
pub mod packet_in;
mod port_number;
mod version;

pub use action::{
    Action, Conntrack, Learn, LearnSource, LearnSpec, NO_BUFFER, Nat, NatAddresses, NatTarget,
    Subfield, ToController, Zone,
};
pub use error::{EmitError, ParseCause, ParseError};
pub use field::{Field, conntrack_state};
pub use flow::{Flow, FlowFlags, FlowKey};
pub use flow_match::{ETH_ARP, ETH_IPV4, ETH_IPV6, FieldMatch, Match, VLAN_PRESENT, mac};
pub use flow_mod::{FlowCommand, FlowMod, NO_PACKET};
pub use group::{Bucket, Group, GroupKind, Selection};
pub use group_mod::GroupMod;
pub use instruction::{Instructions, Metadata};
pub use meter::{Band, BandAction, Meter, MeterUnit};
pub use meter_mod::MeterMod;
pub use port_number::PortNumber;
pub use version::Version;
