//! `controller(…)`: a packet to the controller with what it needs to know (NXAST_CONTROLLER2).

use super::NO_BUFFER;
use crate::property;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// Send the packet to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToController {
    /// How many bytes of it.
    pub max_len: u16,
    /// To which controller: its id, 0 by default.
    pub controller_id: u16,
    /// The reason to tell (`OFPR_*`): 1 is "action".
    pub reason: u8,
    /// Bytes that come back in the packet-in.
    pub userdata: Vec<u8>,
    /// Hold the packet's way through the tables until the controller sends NXT_RESUME.
    pub pause: bool,
    /// A meter for these packets.
    pub meter: Option<u32>,
}

impl Default for ToController {
    fn default() -> ToController {
        let reason = crate::packet_in::reason::ACTION;
        ToController {
            max_len: NO_BUFFER,
            controller_id: 0,
            reason,
            userdata: Vec::new(),
            pause: false,
            meter: None,
        }
    }
}

/// `NXAC2PT_*`.
mod kind {
    pub(super) const MAX_LEN: u16 = 0;
    pub(super) const CONTROLLER_ID: u16 = 1;
    pub(super) const REASON: u16 = 2;
    pub(super) const USERDATA: u16 = 3;
    pub(super) const PAUSE: u16 = 4;
    pub(super) const METER: u16 = 5;
}

/// Reads NXAST_CONTROLLER after its subtype.
pub(super) fn parse_short(body: &mut Reader<'_>) -> Parsed<ToController> {
    Ok(ToController {
        max_len: body.u16("controller's max_len")?,
        controller_id: body.u16("controller's id")?,
        reason: body.u8("controller's reason")?,
        ..ToController::default()
    })
}

/// Reads NXAST_CONTROLLER2 after its subtype; None for one with a property that is not known.
pub(super) fn parse(body: &mut Reader<'_>) -> Parsed<Option<ToController>> {
    body.pad("controller's padding", 6)?;
    let mut controller = ToController::default();
    while !body.is_empty() {
        let (number, mut value) = property::next(body)?;
        match number {
            kind::MAX_LEN => controller.max_len = value.u16("controller's max_len")?,
            kind::CONTROLLER_ID => controller.controller_id = value.u16("controller's id")?,
            kind::REASON => controller.reason = value.u8("controller's reason")?,
            kind::USERDATA => controller.userdata = value.rest().to_vec(),
            kind::PAUSE => controller.pause = true,
            kind::METER => controller.meter = Some(value.u32("controller's meter")?),
            _ => return Ok(None),
        }
    }
    Ok(Some(controller))
}

/// Writes NXAST_CONTROLLER2 after its header.
pub(super) fn emit(to: &mut Writer, controller: &ToController) -> Emitted {
    let default = ToController::default();
    if controller.max_len != default.max_len {
        property::emit_u16(to, kind::MAX_LEN, controller.max_len)?;
    }
    if controller.controller_id != default.controller_id {
        property::emit_u16(to, kind::CONTROLLER_ID, controller.controller_id)?;
    }
    if controller.reason != default.reason {
        property::emit(to, kind::REASON, &[controller.reason])?;
    }
    if !controller.userdata.is_empty() {
        property::emit(to, kind::USERDATA, &controller.userdata)?;
    }
    if controller.pause {
        property::emit(to, kind::PAUSE, &[])?;
    }
    if let Some(meter) = controller.meter {
        property::emit(to, kind::METER, &meter.to_be_bytes())?;
    }
    Ok(())
}
