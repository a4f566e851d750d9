//! The versions spoken.

use crate::error::{ParseCause, ParseError};

/// A version of the protocol, as a value: layouts of several messages depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// OpenFlow 1.3, wire 0x04: the floor, which hardware speaks.
    V13,
    /// OpenFlow 1.5, wire 0x06: what Open vSwitch is spoken to with.
    V15,
}

impl Version {
    /// The number on the wire.
    pub const fn wire(self) -> u8 {
        match self {
            Version::V13 => 4,
            Version::V15 => 6,
        }
    }

    /// The version with a number on the wire.
    pub const fn from_wire(number: u8) -> Option<Version> {
        match number {
            4 => Some(Version::V13),
            6 => Some(Version::V15),
            _ => None,
        }
    }

    pub(crate) fn parse(number: u8) -> Result<Version, ParseError> {
        let error = ParseError {
            what: "version",
            offset: 0,
            cause: ParseCause::Version(number),
        };
        Version::from_wire(number).ok_or(error)
    }
}
