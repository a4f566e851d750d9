//! A whole operator's site, in both worlds from one source: the switch, clients on the access side,
//! the poor backhaul with servers behind it, the operator's authority and the host's daemon.
//!
//! ```text
//!  phone 10.0.0.5 ─┐                                    ┌─ names  203.0.113.53 (dnsmasq)
//!                  ├─ access ── bridge ── router ── poor ┤
//!  (more clients)  ┘            │ │  10.0.0.254          └─ origin 203.0.113.7
//!                        domains  dom0 10.0.1.1
//! ```
//!
//! All have addresses of IPv6, too; domains have one where [`Settings`] say so.
//!
//! [`Place`] is where commands run: dom0 of the testbed, or the namespaces of the fast world. All
//! above it are commands that are the same in both; [`Network`] is the links and hosts, [`Operator`]
//! the authority and the daemon, [`Publisher`] who submits manifests and launches appliances, each
//! by the programs and the command line that people use.
//!
//! Everything ends with its [`Place`]; what was started on the testbed's dom0 is ended by process
//! id, the hosts and the bridge are removed.

#![forbid(unsafe_code)]

mod network;
mod operator;
mod place;
mod publisher;

pub use network::{
    BRIDGE, Backhaul, CLIENT, CLIENT_V6, DOM0, DOM0_V6, NAMES, Network, ORIGIN, ORIGIN_V6,
    ROUTER_MAC,
};
pub use operator::{Operator, Patience, Settings};
pub use place::{Place, Service};
pub use publisher::{Launch, Publisher, Submission};
