//! Which messages lead from what is installed to what is desired.

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
    let changed = desired
        .flows
        .iter()
        .filter(|(key, flow)| installed.flows.get(key) != Some(flow));
    messages.extend(changed.map(|(_, flow)| Message::FlowMod(FlowMod::add(flow.clone()))));
    let gone = installed
        .flows
        .keys()
        .filter(|key| !desired.flows.contains_key(key));
    messages.extend(gone.map(|key| Message::FlowMod(FlowMod::delete_strict(key.clone()))));
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
