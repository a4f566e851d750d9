//! The number of a switch's port, and the numbers that mean something else.

use std::fmt;

/// A port's number. Numbers from [`PortNumber::MAX`] on are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNumber(pub u32);

impl PortNumber {
    /// The last number that a port can have (`OFPP_MAX`).
    pub const MAX: PortNumber = PortNumber(0xffff_ff00);
    /// 1.5: where a packet-out enters without a port (`OFPP_UNSET`), and the action set's output.
    pub const UNSET: PortNumber = PortNumber(0xffff_fff7);
    /// Back where the packet came from: output to that port's own number does nothing.
    pub const IN_PORT: PortNumber = PortNumber(0xffff_fff8);
    /// Through the flow tables; for packet-out only.
    pub const TABLE: PortNumber = PortNumber(0xffff_fff9);
    /// The switch's own, non-OpenFlow forwarding.
    pub const NORMAL: PortNumber = PortNumber(0xffff_fffa);
    /// All ports of the VLAN but the input port.
    pub const FLOOD: PortNumber = PortNumber(0xffff_fffb);
    /// All ports but the input port.
    pub const ALL: PortNumber = PortNumber(0xffff_fffc);
    /// The controller, as a packet-in.
    pub const CONTROLLER: PortNumber = PortNumber(0xffff_fffd);
    /// The switch's own host: the bridge's internal port in Open vSwitch.
    pub const LOCAL: PortNumber = PortNumber(0xffff_fffe);
    /// None, or any, as the message says.
    pub const ANY: PortNumber = PortNumber(0xffff_ffff);
}

/// As `ovs-ofctl` writes it.
impl fmt::Display for PortNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            PortNumber::UNSET => "UNSET",
            PortNumber::IN_PORT => "IN_PORT",
            PortNumber::TABLE => "TABLE",
            PortNumber::NORMAL => "NORMAL",
            PortNumber::FLOOD => "FLOOD",
            PortNumber::ALL => "ALL",
            PortNumber::CONTROLLER => "CONTROLLER",
            PortNumber::LOCAL => "LOCAL",
            PortNumber::ANY => "ANY",
            PortNumber(number) => return write!(f, "{number}"),
        };
        f.write_str(name)
    }
}
