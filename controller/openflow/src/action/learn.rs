//! `learn(…)`: a flow made of the packet, by the switch itself (NXAST_LEARN and NXAST_LEARN2).

use super::Subfield;

/// Make a flow of the packet, or refresh the one that is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Learn {
    /// Seconds without a packet until it goes, 0 for never.
    pub idle_timeout: u16,
    /// Seconds until it goes, 0 for never.
    pub hard_timeout: u16,
    /// The idle timeout after a FIN or RST, 0 for no change.
    pub fin_idle_timeout: u16,
    /// The hard timeout after a FIN or RST, 0 for no change.
    pub fin_hard_timeout: u16,
    /// The flow's priority.
    pub priority: u16,
    /// The flow's cookie.
    pub cookie: u64,
    /// The flow's table.
    pub table: u8,
    /// Tell the controller when the flow goes.
    pub send_flow_removed: bool,
    /// Delete what was learned when the learning flow goes.
    pub delete_learned: bool,
    /// No more flows than this in table and cookie, 0 for no limit.
    pub limit: u32,
    /// The bit to set to whether the limit left room.
    pub result: Option<Subfield>,
    /// The flow's match and actions.
    pub specs: Vec<LearnSpec>,
}

/// A part of a learned flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LearnSpec {
    /// The flow matches a field.
    Match {
        /// The bits that are matched.
        target: Subfield,
        /// What they must be.
        source: LearnSource,
    },
    /// The flow sets a field.
    Load {
        /// The bits that are set.
        target: Subfield,
        /// What to.
        source: LearnSource,
    },
    /// The flow outputs to the port whose number the bits hold now.
    Output(Subfield),
}

/// Where a learned flow's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LearnSource {
    /// A value, no wider than its target.
    Value(u128),
    /// The packet's field, of the target's width.
    Field(Subfield),
}
