//! OFPMP_TABLE (3): what the tables counted. 1.5.1 section 7.3.5.5.

use crate::wire::{Parsed, Reader, Writer};

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableStats {
    /// Its number.
    pub table: u8,
    /// How many flows it has.
    pub active: u32,
    /// How many packets were looked up.
    pub lookups: u64,
    /// How many a flow matched.
    pub matched: u64,
}

impl TableStats {
    pub(super) fn parse(from: &mut Reader<'_>) -> Parsed<TableStats> {
        let table = from.u8("table")?;
        from.pad("table's padding", 3)?;
        Ok(TableStats {
            table,
            active: from.u32("table's flows")?,
            lookups: from.u64("table's lookups")?,
            matched: from.u64("table's matches")?,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer) {
        to.u8(self.table);
        to.zeros(3);
        to.u32(self.active);
        to.u64(self.lookups);
        to.u64(self.matched);
    }
}
