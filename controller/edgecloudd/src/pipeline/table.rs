//! The tables by name, in the order in which a packet meets them.

/// A table of the pipeline. Its number is its place here and stands nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Who sends it: port, MAC and IP addresses. What lies goes no further.
    Admission,
    /// ARP, ND, DHCP, mDNS are delivered; DNS, NTP, echo, the metadata address are recognised.
    Control,
    /// The application that a packet concerns; the connection tracker in its zone.
    Track,
    /// Connections that have a verdict keep it.
    Established,
    /// The rules of tokens, for what begins.
    Rules,
    /// A live replica is chosen, and the choice committed.
    Replica,
    /// Who of the clients was let through, where an appliance keeps the gate.
    Gate,
    /// MAC addresses and the port.
    Rewrite,
    /// Waits for an appliance that sleeps.
    Summon,
}

impl Table {
    /// All of them, in order.
    pub const ALL: [Table; 9] = [
        Table::Admission,
        Table::Control,
        Table::Track,
        Table::Established,
        Table::Rules,
        Table::Replica,
        Table::Gate,
        Table::Rewrite,
        Table::Summon,
    ];

    /// OpenFlow's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The table with a number, if it is one of ours.
    pub fn with_number(number: u8) -> Option<Table> {
        Table::ALL.get(usize::from(number)).copied()
    }

    /// Its name in DESIGN.md, logs and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Admission => "admission",
            Table::Control => "control",
            Table::Track => "track",
            Table::Established => "established",
            Table::Rules => "rules",
            Table::Replica => "replica",
            Table::Gate => "gate",
            Table::Rewrite => "rewrite",
            Table::Summon => "summon",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (place, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(table.number()), place);
            assert_eq!(Table::with_number(table.number()), Some(table));
        }
        assert_eq!(Table::with_number(9), None);
    }
}
