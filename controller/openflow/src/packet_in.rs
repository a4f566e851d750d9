//! PACKET_IN (10): a packet that a flow sent to the controller. 1.5.1 section 7.4.1.

/// Why a packet was sent (`OFPR_*`).
pub mod reason {
    /// No flow matched (1.3), or the table-miss flow did (1.5).
    pub const TABLE_MISS: u8 = 0;
    /// An action said so: in 1.5 one of an apply-actions instruction.
    pub const ACTION: u8 = 1;
    /// Its time to live was up.
    pub const INVALID_TTL: u8 = 2;
    /// 1.5: the action set said so.
    pub const ACTION_SET: u8 = 3;
    /// 1.5: a group's bucket said so.
    pub const GROUP: u8 = 4;
    /// 1.5: the controller's own packet-out said so.
    pub const PACKET_OUT: u8 = 5;
}
