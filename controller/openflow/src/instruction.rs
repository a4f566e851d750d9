//! What a flow does with a packet: a set with at most one instruction of each kind (1.5.1 section
//! 5.8). As a struct, two sets that mean the same are equal.

use crate::action::Action;

/// A flow's instructions, in the order in which the switch executes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Instructions {
    /// Go through a meter first. 1.3 only: in 1.5 it is [`Action::Meter`].
    pub meter: Option<u32>,
    /// Do this at once; empty for nothing.
    pub apply: Vec<Action>,
    /// Empty the action set.
    pub clear: bool,
    /// Put this into the action set; empty for nothing.
    pub write: Vec<Action>,
    /// Set bits of the metadata field.
    pub metadata: Option<Metadata>,
    /// Go on in this table, which must come after the flow's.
    pub goto_table: Option<u8>,
}

/// A change of the metadata field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The new value; zero where the mask is.
    pub value: u64,
    /// The bits that change.
    pub mask: u64,
}

impl Instructions {
    /// Drops the packet.
    pub const fn drop() -> Instructions {
        Instructions {
            meter: None,
            apply: Vec::new(),
            clear: false,
            write: Vec::new(),
            metadata: None,
            goto_table: None,
        }
    }

    /// Does this at once.
    pub fn apply(actions: Vec<Action>) -> Instructions {
        Instructions {
            apply: actions,
            ..Instructions::drop()
        }
    }

    /// Goes on in a table.
    pub fn goto(table: u8) -> Instructions {
        Instructions {
            goto_table: Some(table),
            ..Instructions::drop()
        }
    }

    /// The same, then going on in a table.
    #[must_use]
    pub fn then_goto(mut self, table: u8) -> Instructions {
        self.goto_table = Some(table);
        self
    }
}
