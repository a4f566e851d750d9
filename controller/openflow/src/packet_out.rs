//! PACKET_OUT (13): a packet that the controller sends. 1.5.1 section 7.3.6.

use crate::action::{Action, emit_actions, parse_actions};
use crate::error::EmitError;
use crate::field::Field;
use crate::flow_match::Match;
use crate::oxm;
use crate::port_number::PortNumber;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// A packet that the controller sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PacketOut {
    /// Where the switch holds it; [`NO_PACKET`](crate::NO_PACKET) where it is in `data`.
    pub buffer_id: u32,
    /// What the packet's metadata is to be; the port it came in at at least. 1.3 has the port only.
    pub metadata: Match,
    /// What is done to it.
    pub actions: Vec<Action>,
    /// The packet, from its Ethernet header on.
    pub data: Vec<u8>,
}

impl PacketOut {
    /// Sends a packet as if it came in at a port; `CONTROLLER` for none.
    pub fn new(in_port: PortNumber, actions: Vec<Action>, data: Vec<u8>) -> PacketOut {
        let metadata = Match::new().in_port(in_port);
        PacketOut {
            buffer_id: crate::NO_PACKET,
            metadata,
            actions,
            data,
        }
    }

    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<PacketOut> {
        let buffer_id = from.u32("buffer")?;
        let (mut metadata, length) = match version {
            Version::V13 => {
                let port = PortNumber(from.u32("packet-out's port")?);
                let length = from.u16("actions' length")?;
                from.pad("packet-out's padding", 6)?;
                (Match::new().in_port(port), length)
            }
            Version::V15 => {
                let length = from.u16("actions' length")?;
                from.pad("packet-out's padding", 2)?;
                (oxm::parse_match(from)?, length)
            }
        };
        if metadata.get(Field::InPort).is_none() {
            metadata = metadata.in_port(PortNumber::CONTROLLER);
        }
        let mut list = from.part("actions", length.into())?;
        let actions = parse_actions(&mut list, version)?;
        Ok(PacketOut {
            buffer_id,
            metadata,
            actions,
            data: from.rest().to_vec(),
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u32(self.buffer_id);
        let place = match version {
            Version::V13 => {
                let [port] = self.metadata.fields() else {
                    return Err(EmitError::NotInVersion(
                        "packet-out's metadata other than a port",
                    ));
                };
                if port.field != Field::InPort {
                    return Err(EmitError::Prerequisite("packet-out's port"));
                }
                // The field has 32 bits.
                to.u32(port.value as u32);
                to.zeros(8);
                to.len() - 8
            }
            Version::V15 => {
                if self.metadata.get(Field::InPort).is_none() {
                    return Err(EmitError::Prerequisite("packet-out's port"));
                }
                let place = to.len();
                to.zeros(4);
                oxm::emit_unchecked_match(to, version, &self.metadata)?;
                place
            }
        };
        let start = to.len();
        emit_actions(to, version, &self.actions)?;
        to.set_length("actions", place, start)?;
        to.bytes(&self.data);
        Ok(())
    }
}
