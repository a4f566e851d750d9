//! Which messages lead from what is installed to what is desired.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use openflow::{FlowMod, GroupMod, Message, MeterMod};

use super::Installed;

/// Messages for one atomic and ordered bundle. Whatever a flow needs comes before it and goes after
/// it, and no flow is missed in between.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// In the order in which they must happen.
    pub messages: Vec<Message>,
}

impl Changes {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// What must happen so that `installed` becomes `desired`. Nothing is deleted before what takes its
/// place is there: a changed flow is added over the old one.
pub fn difference(installed: &Installed, desired: &Installed) -> Changes {
    let mut messages = Vec::new();
    for (id, meter) in &desired.meters {
        match installed.meters.get(id) {
            Some(there) if there == meter => {}
            Some(_) => messages.push(Message::MeterMod(MeterMod::Modify(meter.clone()))),
            None => messages.push(Message::MeterMod(MeterMod::Add(meter.clone()))),
        }
    }
    for (id, group) in &desired.groups {
        match installed.groups.get(id) {
            Some(there) if there == group => {}
            Some(_) => messages.push(Message::GroupMod(GroupMod::Modify(group.clone()))),
            None => messages.push(Message::GroupMod(GroupMod::Add(group.clone()))),
        }
    }
    let mut gone = Vec::new();
    for pair in side_by_side(&installed.flows, &desired.flows) {
        match pair {
            (_, Some(there), Some(flow)) if there == flow => {}
            (_, _, Some(flow)) => messages.push(Message::FlowMod(FlowMod::add(flow.clone()))),
            (key, _, None) => gone.push(Message::FlowMod(FlowMod::delete_strict(key.clone()))),
        }
    }
    messages.append(&mut gone);
    let gone = installed
        .groups
        .keys()
        .filter(|id| !desired.groups.contains_key(id));
    messages.extend(gone.map(|id| Message::GroupMod(GroupMod::Delete(*id))));
    let gone = installed
        .meters
        .keys()
        .filter(|id| !desired.meters.contains_key(id));
    messages.extend(gone.map(|id| Message::MeterMod(MeterMod::Delete(*id))));
    Changes { messages }
}

/// All keys of two maps in order, each with its values: one walk, for of some ten thousand flows mostly
/// none has changed.
pub fn side_by_side<'m, K: Ord, V>(
    one: &'m BTreeMap<K, V>,
    other: &'m BTreeMap<K, V>,
) -> impl Iterator<Item = (&'m K, Option<&'m V>, Option<&'m V>)> {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (ones.peek(), others.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let a = if order.is_le() { ones.next() } else { None };
        let b = if order.is_ge() { others.next() } else { None };
        let (key, _) = a.or(b)?;
        Some((key, a.map(|(_, value)| value), b.map(|(_, value)| value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_walked_side_by_side() {
        let map = |keys: &[u8]| keys.iter().map(|key| (*key, *key)).collect();
        let (one, other): (BTreeMap<u8, u8>, BTreeMap<u8, u8>) =
            (map(&[1, 2, 5, 9]), map(&[2, 3, 9]));
        let pairs: Vec<_> = side_by_side(&one, &other)
            .map(|(key, a, b)| (*key, a.is_some(), b.is_some()))
            .collect();
        assert_eq!(
            pairs,
            [
                (1, true, false),
                (2, true, true),
                (3, false, true),
                (5, true, false),
                (9, true, true)
            ]
        );
        assert_eq!(side_by_side(&one, &map(&[])).count(), 4);
        assert_eq!(side_by_side::<u8, u8>(&map(&[]), &map(&[])).count(), 0);
    }
}
