//! A flow as it is in a table, and as two are compared: what is desired with what a switch dumps.

use std::ops::BitOr;

use crate::flow_match::Match;
use crate::instruction::Instructions;

/// What names a flow: two flows of a table with the same priority and match are one flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The table.
    pub table: u8,
    /// The priority; the highest that matches wins.
    pub priority: u16,
    /// The match.
    pub matching: Match,
}

/// A flow. Everything is in its one form, so `==` says whether a switch would do the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Table, priority, match.
    pub key: FlowKey,
    /// The controller's mark; of no meaning to the switch.
    pub cookie: u64,
    /// Seconds without a packet until it goes, 0 for never.
    pub idle_timeout: u16,
    /// Seconds until it goes, 0 for never.
    pub hard_timeout: u16,
    /// 1.5: what goes last when a table is full. 0 in 1.3.
    pub importance: u16,
    /// The flags that stay with a flow, [`FlowFlags::KEPT`].
    pub flags: FlowFlags,
    /// What it does.
    pub instructions: Instructions,
}

impl Flow {
    /// A flow that stays, with cookie 0.
    pub const fn new(
        table: u8,
        priority: u16,
        matching: Match,
        instructions: Instructions,
    ) -> Flow {
        Flow {
            key: FlowKey {
                table,
                priority,
                matching,
            },
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::NONE,
            instructions,
        }
    }

    /// The same with a cookie.
    #[must_use]
    pub fn with_cookie(mut self, cookie: u64) -> Flow {
        self.cookie = cookie;
        self
    }
}

/// Flags of flow-mods (`OFPFF_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FlowFlags(pub u16);

impl FlowFlags {
    /// None.
    pub const NONE: FlowFlags = FlowFlags(0);
    /// Tell the controller when the flow goes.
    pub const SEND_FLOW_REMOVED: FlowFlags = FlowFlags(1);
    /// Refuse to add where a flow of the same priority overlaps.
    pub const CHECK_OVERLAP: FlowFlags = FlowFlags(2);
    /// Start counting at 0 again.
    pub const RESET_COUNTS: FlowFlags = FlowFlags(4);
    /// Packets need not be counted.
    pub const NO_PACKET_COUNTS: FlowFlags = FlowFlags(8);
    /// Bytes need not be counted.
    pub const NO_BYTE_COUNTS: FlowFlags = FlowFlags(16);
    /// The flags that stay with a flow and are dumped; the others are of the message.
    pub const KEPT: FlowFlags = FlowFlags(1 | 8 | 16);

    /// Whether all of some flags are set.
    pub const fn contains(self, flags: FlowFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Those flags that stay with a flow.
    pub const fn kept(self) -> FlowFlags {
        FlowFlags(self.0 & FlowFlags::KEPT.0)
    }
}

impl BitOr for FlowFlags {
    type Output = FlowFlags;

    fn bitor(self, other: FlowFlags) -> FlowFlags {
        FlowFlags(self.0 | other.0)
    }
}
