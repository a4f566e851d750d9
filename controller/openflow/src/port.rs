//! A switch's port: PORT_STATUS (12) and the answers to PORT_DESC. 1.5.1 sections 7.2.1 and 7.4.3.

use crate::error::ParseCause;
use crate::port_number::PortNumber;
use crate::property;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// The room for a port's name.
const NAME_LEN: usize = 16;
/// The length of a port without properties in 1.5.
const LENGTH_V15: usize = 40;
/// `OFPPDPT_ETHERNET`.
const ETHERNET: u16 = 0;

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Port {
    /// Its number.
    pub number: PortNumber,
    /// Its MAC address.
    pub address: [u8; 6],
    /// Its name, of up to 15 bytes.
    pub name: String,
    /// What it is set to (`OFPPC_*`), such as [`Port::DOWN`].
    pub config: u32,
    /// How it is (`OFPPS_*`), such as [`Port::LINK_DOWN`].
    pub state: u32,
    /// What Ethernet says of it, where it is Ethernet.
    pub ethernet: Option<Ethernet>,
}

/// What Ethernet says of a port (bits are `OFPPF_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ethernet {
    /// What is spoken.
    pub current: u32,
    /// What is offered.
    pub advertised: u32,
    /// What could be.
    pub supported: u32,
    /// What the other end offers.
    pub peer: u32,
    /// Its speed in kbit/s.
    pub speed_kbps: u32,
    /// Its highest speed in kbit/s.
    pub speed_kbps_max: u32,
}

impl Port {
    /// In `config`: somebody turned it off.
    pub const DOWN: u32 = 1;
    /// In `state`: no link.
    pub const LINK_DOWN: u32 = 1;

    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<Port> {
        match version {
            Version::V13 => {
                let number = PortNumber(from.u32("port")?);
                from.pad("port's padding", 4)?;
                let mut port = Port::parse_common(from, number)?;
                port.ethernet = Some(Ethernet::parse(from)?);
                Ok(port)
            }
            Version::V15 => {
                let mut body = from.sized("port", 4, LENGTH_V15)?;
                from.pad_to_8(body.len());
                let number = PortNumber(body.u32("port")?);
                body.pad("port's length", 4)?;
                let mut port = Port::parse_common(&mut body, number)?;
                while !body.is_empty() {
                    let (kind, mut value) = property::next(&mut body)?;
                    if kind == ETHERNET {
                        value.pad("property's padding", 4)?;
                        port.ethernet = Some(Ethernet::parse(&mut value)?);
                    }
                }
                Ok(port)
            }
        }
    }

    fn parse_common(from: &mut Reader<'_>, number: PortNumber) -> Parsed<Port> {
        let address = from.array("port's address")?;
        from.pad("port's padding", 2)?;
        Ok(Port {
            number,
            address,
            name: from.text("port's name", NAME_LEN)?,
            config: from.u32("port's configuration")?,
            state: from.u32("port's state")?,
            ethernet: None,
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        let start = to.len();
        to.u32(self.number.0);
        to.zeros(4);
        to.bytes(&self.address);
        to.zeros(2);
        to.text("port's name", &self.name, NAME_LEN)?;
        to.u32(self.config);
        to.u32(self.state);
        match (version, self.ethernet) {
            (Version::V13, ethernet) => ethernet.unwrap_or_default().emit(to),
            (Version::V15, Some(ethernet)) => {
                let mut value = Writer::new();
                value.zeros(4);
                ethernet.emit(&mut value);
                property::emit(to, ETHERNET, &value.into_bytes())?;
            }
            (Version::V15, None) => {}
        }
        if version >= Version::V15 {
            to.set_length("port", start + 4, start)?;
        }
        Ok(())
    }
}

impl Ethernet {
    fn parse(from: &mut Reader<'_>) -> Parsed<Ethernet> {
        Ok(Ethernet {
            current: from.u32("port's features")?,
            advertised: from.u32("port's features")?,
            supported: from.u32("port's features")?,
            peer: from.u32("port's features")?,
            speed_kbps: from.u32("port's speed")?,
            speed_kbps_max: from.u32("port's speed")?,
        })
    }

    fn emit(&self, to: &mut Writer) {
        let bits = [self.current, self.advertised, self.supported, self.peer];
        bits.into_iter().for_each(|features| to.u32(features));
        to.u32(self.speed_kbps);
        to.u32(self.speed_kbps_max);
    }
}

/// What happened to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortChange {
    /// It came.
    Added,
    /// It went.
    Deleted,
    /// Something of it changed.
    Modified,
}

/// PORT_STATUS: a port and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortStatus {
    /// What happened.
    pub change: PortChange,
    /// The port as it is now, or was at last.
    pub port: Port,
}

impl PortStatus {
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<PortStatus> {
        let place = from.clone();
        let change = match from.u8("port's change")? {
            0 => PortChange::Added,
            1 => PortChange::Deleted,
            2 => PortChange::Modified,
            other => return Err(place.error("port's change", ParseCause::Value(other.into()))),
        };
        from.pad("port status' padding", 7)?;
        Ok(PortStatus {
            change,
            port: Port::parse(from, version)?,
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u8(self.change as u8);
        to.zeros(7);
        self.port.emit(to, version)
    }
}
