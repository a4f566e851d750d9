//! What is done to a packet: OpenFlow's actions (1.5.1 section 7.2.6) and Open vSwitch's.

mod conntrack;
mod controller;
mod encoding;
mod learn;
mod nat;
mod nicira;
mod text;

pub use conntrack::{Conntrack, Zone};
pub use controller::ToController;
pub(crate) use encoding::{emit_actions, parse_actions};
pub use learn::{Learn, LearnSource, LearnSpec};
pub use nat::{Nat, NatAddresses, NatTarget};
pub(crate) use nicira::{NICIRA, ONF};

use crate::field::Field;
use crate::port_number::PortNumber;

/// A step of an action list.
///
/// Each meaning has one form here, whatever form it has in a version: `load` and masked `set_field`
/// are both [`Action::SetField`], `reg_move` and `copy_field` both [`Action::Move`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send the packet out of a port.
    Output {
        /// The port.
        port: PortNumber,
        /// How many bytes go to the controller; of meaning for [`PortNumber::CONTROLLER`] only.
        max_len: u16,
    },
    /// Hand the packet to a group.
    Group(u32),
    /// Change a field at the bits of a mask.
    SetField {
        /// The field.
        field: Field,
        /// Its new value; zero where the mask is.
        value: u128,
        /// The bits that change.
        mask: u128,
    },
    /// Copy bits from one field to another, both of the same width.
    Move {
        /// Where the bits come from.
        source: Subfield,
        /// Where they go.
        target: Subfield,
    },
    /// Put a VLAN tag of this Ethernet type (0x8100 or 0x88a8) in front.
    PushVlan(u16),
    /// Take the outermost VLAN tag away.
    PopVlan,
    /// Put an MPLS label of this Ethernet type in front.
    PushMpls(u16),
    /// Take the outermost MPLS label away; what follows has this Ethernet type.
    PopMpls(u16),
    /// Choose the queue of later outputs.
    SetQueue(u32),
    /// Go through a meter. 1.5 only: in 1.3 it is [`crate::Instructions::meter`].
    Meter(u32),
    /// Set IP's time to live.
    SetTtl(u8),
    /// Lower IP's time to live by one.
    DecTtl,
    /// Look the packet up in another table, then go on here.
    Resubmit {
        /// As if it came from this port; `IN_PORT` for where it came from.
        in_port: PortNumber,
        /// The table, 255 for this one.
        table: u8,
        /// Match the connection's original addresses in place of the packet's.
        original_tuple: bool,
    },
    /// Be one part of a conjunctive match.
    Conjunction {
        /// The conjunction, matched by [`Field::ConjId`].
        id: u32,
        /// Which clause this flow is part of, counted from 0.
        clause: u8,
        /// How many clauses the conjunction has, 2 to 64.
        clauses: u8,
    },
    /// Go through the connection tracker.
    Conntrack(Conntrack),
    /// Forget what the connection tracker said.
    ConntrackClear,
    /// Make a flow of the packet.
    Learn(Box<Learn>),
    /// Send the packet to the controller, perhaps waiting for it.
    Controller(ToController),
    /// Run actions on a copy.
    Clone(Vec<Action>),
    /// End the pipeline here.
    Exit,
    /// An action that this crate does not know, kept as it came: type, and everything after the
    /// length.
    Other {
        /// The action's type, 0xffff for experimenters.
        kind: u16,
        /// What follows type and length: a multiple of 8 bytes, less 4.
        body: Vec<u8>,
    },
}

impl Action {
    /// Send the packet out of a port; to the controller in full.
    pub const fn output(port: PortNumber) -> Action {
        let max_len = if port.0 == PortNumber::CONTROLLER.0 {
            NO_BUFFER
        } else {
            0
        };
        Action::Output { port, max_len }
    }

    /// Set all of a field.
    ///
    /// # Panics
    /// Where the value is wider than the field.
    pub fn set(field: Field, value: impl Into<u128>) -> Action {
        let value = value.into();
        assert!(
            value <= field.full_mask(),
            "{}: the value is too wide",
            field.name()
        );
        Action::SetField {
            field,
            value,
            mask: field.full_mask(),
        }
    }

    /// Set a part of a field: what `ovs-ofctl` calls load.
    ///
    /// # Panics
    /// Where the value is wider than the part.
    pub fn load(target: Subfield, value: impl Into<u128>) -> Action {
        let value = value.into();
        let narrow = u128::MAX >> (128 - u32::from(target.bits));
        assert!(
            value <= narrow,
            "{}: the value is too wide",
            target.field.name()
        );
        Action::SetField {
            field: target.field,
            value: value << target.offset,
            mask: target.mask(),
        }
    }

    /// Look the packet up in another table, then go on here.
    pub const fn resubmit(table: u8) -> Action {
        Action::Resubmit {
            in_port: PortNumber::IN_PORT,
            table,
            original_tuple: false,
        }
    }
}

/// `max_len` for a whole packet, never buffered (`OFPCML_NO_BUFFER`).
pub const NO_BUFFER: u16 = 0xffff;

/// Neighbouring bits of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subfield {
    field: Field,
    offset: u8,
    bits: u8,
}

impl Subfield {
    /// `bits` bits of a field from `offset` on, counted from the least significant. None where the
    /// field has no such bits.
    pub const fn new(field: Field, offset: u8, bits: u8) -> Option<Subfield> {
        if bits == 0 || offset as u32 + bits as u32 > field.bits() {
            return None;
        }
        Some(Subfield {
            field,
            offset,
            bits,
        })
    }

    /// All of a field.
    pub const fn whole(field: Field) -> Subfield {
        Subfield {
            field,
            offset: 0,
            bits: field.bits() as u8,
        }
    }

    /// The field.
    pub const fn field(self) -> Field {
        self.field
    }

    /// The first bit.
    pub const fn offset(self) -> u8 {
        self.offset
    }

    /// How many bits, at least 1.
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// The bits, as a mask of the field.
    pub const fn mask(self) -> u128 {
        (u128::MAX >> (128 - self.bits as u32)) << self.offset
    }
}
