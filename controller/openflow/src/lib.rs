//! OpenFlow 1.3 and 1.5 with Open vSwitch's extensions, as values and bytes.
//!
//! A codec and nothing else: no sockets, no clock, no threads. Values are canonical: two matches,
//! instruction sets or flows that mean the same compare equal, so that what a switch dumps can be
//! compared with what is desired.
//!
//! ```
//! use openflow::{Action, Deframer, Flow, FlowMod, Header, Instructions, Match, Message, Version};
//! use openflow::{Field, PortNumber};
//!
//! // HTTP from port 1 goes on in table 2, marked.
//! let web = Match::new().in_port(PortNumber(1)).ipv4().ip_proto(6).with(Field::TcpDst, 80u16);
//! let mark = Instructions::apply(vec![Action::set(Field::Reg0, 7u8)]).then_goto(2);
//! let flow = Flow::new(1, 100, web, mark).with_cookie(0x5);
//! assert_eq!(
//!     flow.to_string(),
//!     "cookie=0x5,table=1,priority=100,tcp,in_port=1,tp_dst=80 \
//!      actions=set_field:0x7->reg0,goto_table:2"
//! );
//!
//! let header = Header { version: Version::V15, xid: 1 };
//! let bytes = Message::FlowMod(FlowMod::add(flow.clone())).emit(header)?;
//!
//! // Bytes come as they come; messages come out whole.
//! let mut deframer = Deframer::default();
//! deframer.push(&bytes);
//! let whole = deframer.next_message()?.expect("all of it was pushed");
//! let (header, message) = Message::parse(whole)?;
//! let Message::FlowMod(flow_mod) = message else { panic!("it was a flow-mod") };
//! assert_eq!((header.xid, flow_mod.to_flow()), (1, flow));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Specifications: *OpenFlow Switch Specification* 1.3.5 and 1.5.1, Open vSwitch's `nicira-ext.h`,
//! `meta-flow.h` and `ovs-actions(7)`.
//!
//! Threat: bytes come from anybody who reaches the port. Parsers return errors and never panic.

#![forbid(unsafe_code)]

mod action;
mod async_config;
mod bundle;
mod conntrack_flush;
mod deframer;
mod error;
mod error_message;
mod features;
mod field;
mod flow;
mod flow_match;
mod flow_mod;
mod flow_removed;
mod fuzz;
mod group;
mod group_mod;
mod hello;
mod instruction;
mod message;
mod meter;
mod meter_mod;
pub mod multipart;
mod oxm;
pub mod packet_in;
mod packet_in2;
mod packet_out;
mod port;
mod port_number;
mod property;
mod role;
mod stats;
mod switch_config;
mod text;
mod version;
mod wire;

pub use action::{
    Action, Conntrack, Learn, LearnSource, LearnSpec, NO_BUFFER, Nat, NatAddresses, NatTarget,
    Subfield, ToController, Zone,
};
pub use async_config::{AsyncConfig, Reasons};
pub use bundle::{BundleAdd, BundleControl, BundleFlags, BundleStep};
pub use conntrack_flush::{ConntrackFlush, ConntrackTuple};
pub use deframer::Deframer;
pub use error::{EmitError, ParseCause, ParseError};
pub use error_message::ErrorMessage;
pub use features::Features;
pub use field::{Field, conntrack_state};
pub use flow::{Flow, FlowFlags, FlowKey};
pub use flow_match::{
    ETH_ARP, ETH_IPV4, ETH_IPV6, FieldMatch, Match, UnknownField, VLAN_PRESENT, mac,
};
pub use flow_mod::{FlowCommand, FlowMod, NO_PACKET};
pub use flow_removed::FlowRemoved;
pub use fuzz::fuzz;
pub use group::{Bucket, Group, GroupKind, Selection};
pub use group_mod::GroupMod;
pub use hello::Hello;
pub use instruction::{Instructions, Metadata};
pub use message::{Header, Message};
pub use meter::{Band, BandAction, Meter, MeterUnit};
pub use meter_mod::MeterMod;
pub use multipart::{FlowStats, FlowStatsRequest, MultipartBody, MultipartReply, MultipartRequest};
pub use packet_in::PacketIn;
pub use packet_in2::PacketIn2;
pub use packet_out::PacketOut;
pub use port::{Ethernet, Port, PortChange, PortStatus};
pub use port_number::PortNumber;
pub use role::{Role, RoleMessage};
pub use stats::FlowCounters;
pub use switch_config::SwitchConfig;
pub use version::Version;
