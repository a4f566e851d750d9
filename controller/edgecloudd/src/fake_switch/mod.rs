//! A switch in memory: it takes our messages, and says where a packet goes and why.
//!
//! It knows what the pipeline uses: tables, priorities, conjunctions, `ct` with zones, marks and
//! labels, select groups, meters (counted, not enforced: it has no clock), `resubmit`, pauses.
//! Bundles are atomic. It is no model of OpenFlow: an action that the pipeline does not use is a
//! panic. The real switch is asked the same questions by `ofproto/trace`.

mod conntrack;
mod packet;

use std::collections::{BTreeMap, BTreeSet};

use openflow::{
    Action, Field, Flow, FlowCommand, FlowKey, FlowMod, Group, GroupMod, Instructions, Match,
    Message, Meter, MeterMod, PortNumber, Selection, Subfield,
};

use crate::pipeline::{Changes, Cookie, Installed};
use conntrack::Connections;
pub use packet::{ACK, Packet, SYN, SYN_ACK, Tuple};

/// How often one packet may look into a table: the real switch has a limit, too.
const LOOKUPS_MAX: usize = 64;

/// A switch.
#[derive(Debug, Clone, Default)]
pub struct FakeSwitch {
    flows: BTreeMap<FlowKey, Flow>,
    /// By table, highest priority first.
    order: BTreeMap<u8, Vec<Flow>>,
    groups: BTreeMap<u32, Group>,
    meters: BTreeMap<u32, Meter>,
    metered: BTreeMap<u32, u64>,
    connections: Connections,
}

/// Why a message was refused; nothing of its bundle happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A group or meter is there already.
    #[error("{0} is there already")]
    There(String),
    /// A flow, group or meter is not there.
    #[error("{0} is not there")]
    NotThere(String),
    /// A match lacks what a field depends on, or a flow goes backwards.
    #[error("{0}")]
    BadFlow(String),
    /// A kind of message that the pipeline does not send.
    #[error("a message that the pipeline does not send")]
    Message,
}

/// Where a packet went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Each output with the packet as it left, in order.
    pub outputs: Vec<(PortNumber, Packet)>,
    /// The cookie of each flow that matched, in order.
    pub why: Vec<u64>,
    /// Bytes for the controller, if the packet waits for it.
    pub paused: Option<Vec<u8>>,
}

impl Answer {
    /// What the flows that matched say, in order.
    pub fn cookies(&self) -> Vec<Cookie> {
        let known = |number: &u64| Cookie::with_number(*number);
        self.why.iter().filter_map(known).collect()
    }
}

impl FakeSwitch {
    /// A switch that holds nothing and so drops everything.
    pub fn new() -> FakeSwitch {
        FakeSwitch::default()
    }

    /// What it holds, as a dump tells.
    pub fn dump(&self) -> Installed {
        Installed {
            flows: self.flows.clone(),
            groups: self.groups.clone(),
            meters: self.meters.clone(),
        }
    }

    /// Does all of a bundle, or nothing.
    ///
    /// # Errors
    /// The first message that cannot be done.
    pub fn bundle(&mut self, changes: &Changes) -> Result<(), Refusal> {
        let mut next = self.clone();
        for message in &changes.messages {
            next.apply(message)?;
        }
        next.sort();
        *self = next;
        Ok(())
    }

    /// Forgets the connections of a zone, as `NXT_CT_FLUSH_ZONE` does.
    pub fn flush_zone(&mut self, zone: u16) {
        self.connections.flush(zone);
    }

    /// How many packets went through a meter.
    pub fn metered(&self, meter: u32) -> u64 {
        self.metered.get(&meter).copied().unwrap_or_default()
    }

    fn apply(&mut self, message: &Message) -> Result<(), Refusal> {
        match message {
            Message::FlowMod(flow_mod) => self.flow_mod(flow_mod),
            Message::GroupMod(GroupMod::Add(group)) => {
                let there = self.groups.insert(group.id, group.clone());
                absent(there, || format!("group {}", group.id))
            }
            Message::GroupMod(GroupMod::Modify(group)) => {
                let there = self.groups.insert(group.id, group.clone());
                present(there, || format!("group {}", group.id))
            }
            Message::GroupMod(GroupMod::Delete(id)) => {
                self.forget(&Action::Group(*id));
                present(self.groups.remove(id), || format!("group {id}"))
            }
            Message::MeterMod(MeterMod::Add(meter)) => {
                let there = self.meters.insert(meter.id, meter.clone());
                absent(there, || format!("meter {}", meter.id))
            }
            Message::MeterMod(MeterMod::Modify(meter)) => {
                let there = self.meters.insert(meter.id, meter.clone());
                present(there, || format!("meter {}", meter.id))
            }
            Message::MeterMod(MeterMod::Delete(id)) => {
                self.forget(&Action::Meter(*id));
                present(self.meters.remove(id), || format!("meter {id}"))
            }
            _ => Err(Refusal::Message),
        }
    }

    /// Flows go with the group or meter that they use.
    fn forget(&mut self, used: &Action) {
        self.flows
            .retain(|_, flow| !flow.instructions.apply.contains(used));
    }

    fn flow_mod(&mut self, flow_mod: &FlowMod) -> Result<(), Refusal> {
        let flow = flow_mod.to_flow();
        match flow_mod.command {
            FlowCommand::Add => {
                self.check(&flow)?;
                self.flows.insert(flow.key.clone(), flow);
                Ok(())
            }
            FlowCommand::DeleteStrict => present(self.flows.remove(&flow.key), || {
                flow.key.matching.to_string()
            }),
            _ => Err(Refusal::Message),
        }
    }

    fn check(&self, flow: &Flow) -> Result<(), Refusal> {
        let matching = flow.key.matching.check();
        matching.map_err(|error| Refusal::BadFlow(format!("{flow}: {error}")))?;
        let backwards = flow
            .instructions
            .goto_table
            .is_some_and(|t| t <= flow.key.table);
        if backwards {
            return Err(Refusal::BadFlow(format!("{flow}: goes backwards")));
        }
        let is_ip = families()
            .iter()
            .any(|ip| ip.get(Field::EthType) == flow.key.matching.get(Field::EthType));
        for action in &flow.instructions.apply {
            if matches!(action, Action::Conntrack(_)) && !is_ip {
                return Err(Refusal::BadFlow(format!("{flow}: tracks more than IP")));
            }
            let there = match action {
                Action::Group(id) => self.groups.contains_key(id),
                Action::Meter(id) => self.meters.contains_key(id),
                _ => true,
            };
            if !there {
                return Err(Refusal::NotThere(action.to_string()));
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.order.clear();
        for flow in self.flows.values() {
            let table = self.order.entry(flow.key.table).or_default();
            table.push(flow.clone());
        }
        for table in self.order.values_mut() {
            table.sort_by_key(|flow| std::cmp::Reverse(flow.key.priority));
        }
    }

    /// Where a packet goes. Its connection is remembered.
    pub fn send(&mut self, packet: &Packet) -> Answer {
        let mut way = Way {
            packet: packet.clone(),
            answer: Answer::default(),
            lookups: 0,
        };
        self.look_up(0, &mut way);
        way.answer
    }

    fn look_up(&mut self, table: u8, way: &mut Way) {
        let mut table = table;
        loop {
            way.lookups += 1;
            assert!(way.lookups <= LOOKUPS_MAX, "a packet goes round for ever");
            let Some(flow) = self.find(table, &way.packet) else {
                return;
            };
            way.answer.why.push(flow.cookie);
            let Instructions {
                apply, goto_table, ..
            } = flow.instructions;
            if !self.act(&apply, table, way) {
                return;
            }
            match goto_table {
                Some(next) => table = next,
                None => return,
            }
        }
    }

    /// The flow that a packet meets, conjunctions included.
    ///
    /// As in Open vSwitch's classifier: once a conjunction is whole, its flow is looked for among
    /// the flows that are no clauses, and whatever is found then is the answer, so that a
    /// conjunction without a flow for the packet would hide the conjunctions below it.
    fn find(&self, table: u8, packet: &Packet) -> Option<Flow> {
        let flows = self.order.get(&table)?;
        let mut clauses: BTreeMap<u32, BTreeSet<u8>> = BTreeMap::new();
        let mut priority = None;
        for flow in flows {
            if priority != Some(flow.key.priority) {
                clauses.clear();
                priority = Some(flow.key.priority);
            }
            if !matches(&flow.key.matching, packet) {
                continue;
            }
            if !is_clause(flow) {
                return Some(flow.clone());
            }
            if let Some(whole) = complete(flow, &mut clauses) {
                let mut with_id = packet.clone();
                with_id.set(Field::ConjId, whole.into());
                let mut plain = flows.iter().filter(|flow| !is_clause(flow));
                return plain
                    .find(|flow| matches(&flow.key.matching, &with_id))
                    .cloned();
            }
        }
        None
    }

    /// Does a list of actions; false where the packet's way ends with it.
    fn act(&mut self, actions: &[Action], table: u8, way: &mut Way) -> bool {
        for action in actions {
            match action {
                Action::Output { port, .. } => way.output(*port),
                Action::Group(id) => self.choose(*id, way),
                Action::Meter(id) => *self.metered.entry(*id).or_default() += 1,
                Action::Resubmit { table: 255, .. } => self.look_up(table, way),
                Action::Resubmit { table, .. } => self.look_up(*table, way),
                Action::Conntrack(tracked) => {
                    self.connections.apply(&mut way.packet, tracked);
                    if let Some(next) = tracked.table {
                        // What follows `ct(table=…)` would go on with an untracked copy.
                        self.look_up(next, way);
                        return false;
                    }
                }
                Action::Controller(to) => {
                    way.answer.paused = Some(to.userdata.clone());
                    if to.pause {
                        return false;
                    }
                }
                other => change(&mut way.packet, other),
            }
        }
        true
    }

    /// A bucket by the hash of the group's fields, done with a copy of the packet.
    fn choose(&mut self, id: u32, way: &mut Way) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let Some(Selection::Hash { basis, fields }) = &group.selection else {
            unreachable!("the pipeline chooses by hash");
        };
        // FNV-1a, over fields in their order.
        let hash = fields
            .iter()
            .fold(*basis ^ 0xcbf2_9ce4_8422_2325, |hash, (field, mask)| {
                let value = way.packet.get(*field).unwrap_or_default() & mask;
                let bytes = value.to_be_bytes();
                bytes.iter().fold(hash, |hash, byte| {
                    (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
                })
            });
        let count = group.buckets.len() as u64;
        let place = (hash ^ hash >> 32).checked_rem(count).unwrap_or_default();
        let Some(bucket) = group.buckets.get(place as usize).cloned() else {
            return;
        };
        let before = way.packet.clone();
        self.act(&bucket.actions, 0, way);
        way.packet = before;
    }
}

fn families() -> [Match; 2] {
    [Match::new().ipv4(), Match::new().ipv6()]
}

fn absent<T>(there: Option<T>, name: impl Fn() -> String) -> Result<(), Refusal> {
    there.map_or(Ok(()), |_| Err(Refusal::There(name())))
}

fn present<T>(there: Option<T>, name: impl Fn() -> String) -> Result<(), Refusal> {
    there.map(drop).ok_or_else(|| Refusal::NotThere(name()))
}

/// A packet on its way.
struct Way {
    packet: Packet,
    answer: Answer,
    lookups: usize,
}

impl Way {
    /// Back to where it came from only if that is said.
    fn output(&mut self, port: PortNumber) {
        let came_from = self.packet.in_port();
        let goes_to = match port {
            PortNumber::IN_PORT => came_from,
            port if port == came_from => return,
            port => port,
        };
        self.answer.outputs.push((goes_to, self.packet.clone()));
    }
}

fn matches(matching: &Match, packet: &Packet) -> bool {
    let fields = matching.fields().iter();
    let mut fields = fields.map(|f| packet.get(f.field).is_some_and(|v| v & f.mask == f.value));
    fields.all(|holds| holds)
}

fn is_clause(flow: &Flow) -> bool {
    let first = flow.instructions.apply.first();
    matches!(first, Some(Action::Conjunction { .. }))
}

/// Notes a flow's clauses; the conjunction that has all of its clauses now, if any.
fn complete(flow: &Flow, clauses: &mut BTreeMap<u32, BTreeSet<u8>>) -> Option<u32> {
    let mut whole = None;
    for action in &flow.instructions.apply {
        let Action::Conjunction {
            id,
            clause,
            clauses: of,
        } = action
        else {
            continue;
        };
        let seen = clauses.entry(*id).or_default();
        seen.insert(*clause);
        if seen.len() == usize::from(*of) {
            whole = Some(*id);
        }
    }
    whole
}

/// Sets or moves bits.
fn change(packet: &mut Packet, action: &Action) {
    match action {
        Action::SetField { field, value, mask } => {
            let kept = packet.get(*field).unwrap_or_default() & !mask;
            packet.set(*field, kept | value);
        }
        Action::Move { source, target } => {
            let value = part(packet, *source) << target.offset();
            let field = target.field();
            let kept = packet.get(field).unwrap_or_default() & !target.mask();
            packet.set(field, kept | value);
        }
        other => unreachable!("the pipeline does not use {other}"),
    }
}

fn part(packet: &Packet, of: Subfield) -> u128 {
    (packet.get(of.field()).unwrap_or_default() & of.mask()) >> of.offset()
}
