//! ROLE_REQUEST (24) and ROLE_REPLY (25): which controller may change the switch. 1.5.1 section
//! 7.3.9.

use crate::error::ParseCause;
use crate::wire::{Parsed, Reader, Writer};

/// A controller's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// No change: asks which it is.
    NoChange,
    /// One of several that may change the switch: the role at first.
    Equal,
    /// The only one that may.
    Master,
    /// One that may only look.
    Slave,
}

/// A role and the election that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoleMessage {
    /// The role.
    pub role: Role,
    /// Which election it was, so that an old master is refused; all ones for none yet.
    pub generation: u64,
}

impl RoleMessage {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<RoleMessage> {
        let place = from.clone();
        let role = match from.u32("role")? {
            0 => Role::NoChange,
            1 => Role::Equal,
            2 => Role::Master,
            3 => Role::Slave,
            other => return Err(place.error("role", ParseCause::Value(other.into()))),
        };
        from.pad("role's padding", 4)?;
        Ok(RoleMessage {
            role,
            generation: from.u64("generation")?,
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer) {
        to.u32(self.role as u32);
        to.zeros(4);
        to.u64(self.generation);
    }
}
