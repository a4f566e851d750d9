//! `controller(…)`: a packet to the controller with what it needs to know (NXAST_CONTROLLER2).

use super::NO_BUFFER;

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
