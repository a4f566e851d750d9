//! The connection tracker, as far as the pipeline can tell: zones, commits, marks, labels.

use std::collections::HashMap;

use openflow::{Action, Conntrack, Field, Zone, conntrack_state as state};

use super::packet::{Packet, Tuple};

/// Connections by zone and by the tuple of their first packet.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(HashMap<(u16, Tuple), Connection>);

#[derive(Debug, Clone, Copy, Default)]
struct Connection {
    mark: u128,
    label: u128,
    /// Whether somebody answered: until then the tracker calls each packet new.
    is_answered: bool,
}

impl Connections {
    /// What `ct(…)` does before it goes on: the packet's state, or a commit.
    pub(super) fn apply(&mut self, packet: &mut Packet, action: &Conntrack) {
        let Zone::Number(zone) = action.zone else {
            unreachable!("the pipeline names its zones by number");
        };
        if action.commit {
            self.commit(packet, zone, &action.exec);
        } else {
            self.look_up(packet, zone);
        }
    }

    fn look_up(&mut self, packet: &mut Packet, zone: u16) {
        packet.set(Field::CtZone, zone.into());
        let Some(tuple) = packet.tuple().filter(|_| !packet.invalid) else {
            tell(
                packet,
                state::TRACKED | state::INVALID,
                Connection::default(),
            );
            return;
        };
        if let Some(there) = self.0.get_mut(&(zone, tuple.reversed())) {
            there.is_answered = true;
            let bits = state::TRACKED | state::ESTABLISHED | state::REPLY;
            tell(packet, bits, *there);
            return;
        }
        let there = self.0.get(&(zone, tuple)).copied().unwrap_or_default();
        let known = if there.is_answered {
            state::ESTABLISHED
        } else {
            state::NEW
        };
        tell(packet, state::TRACKED | known, there);
    }

    fn commit(&mut self, packet: &mut Packet, zone: u16, exec: &[Action]) {
        let Some(tuple) = packet.tuple().filter(|_| !packet.invalid) else {
            return;
        };
        for action in exec {
            super::change(packet, action);
        }
        let value = |field| packet.get(field).unwrap_or_default();
        let (mark, label) = (value(Field::CtMark), value(Field::CtLabel));
        let there = self.0.entry((zone, tuple)).or_default();
        (there.mark, there.label) = (mark, label);
    }

    /// Forgets a zone's connections.
    pub(super) fn flush(&mut self, zone: u16) {
        self.0.retain(|(of, _), _| *of != zone);
    }
}

fn tell(packet: &mut Packet, bits: u32, connection: Connection) {
    packet.set(Field::CtState, bits.into());
    packet.set(Field::CtMark, connection.mark);
    packet.set(Field::CtLabel, connection.label);
}
