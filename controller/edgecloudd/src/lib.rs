//! The daemon in dom0: it enforces in the switch what verified tokens permit, and nothing else.
//!
//! [`pipeline`] is a pure function from what is desired to flows, groups and meters;
//! [`fake_switch`] says where a packet goes through them, and [`mod@reference`] says where it should
//! go, in the words of the manifest.
//!
//! [`ovs`] brings it into Open vSwitch, and [`accounting`] adds up what was carried there.
//!
//! [`daemon`] owns the [`state`], writes it down ([`store`]) and keeps the [`mod@switch`] and the
//! [`domains`] as it says; [`api`] is what operators and domains say to it, [`names`] what the
//! [`resolver`] and it tell each other, [`refusal`] why it does not do something.

#![forbid(unsafe_code)]

pub mod accounting;
pub mod admissions;
pub mod api;
pub mod config;
pub mod daemon;
pub mod domains;
pub mod fake_switch;
pub mod health;
pub mod names;
pub mod ovs;
pub mod pipeline;
mod places;
pub mod reference;
pub mod refusal;
pub mod resolver;
pub mod state;
pub mod store;
pub mod switch;
