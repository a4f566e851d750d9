//! What flows counted, in the form that [`crate::accounting`] adds up.

use std::collections::{BTreeMap, BTreeSet};

use openflow::{Flow, FlowFlags, FlowKey, FlowRemoved, FlowStats};
use serde::{Deserialize, Serialize};

use crate::pipeline::{Cookie, Installed, side_by_side};

/// Flows that went and were not asked for since: those of some revocations of large applications.
const REMOVED_MAX: usize = 65_536;

/// What one flow counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Its table, priority and match, in Open vSwitch's words: the same for the same flow after any
    /// restart.
    pub flow: String,
    /// The application's number.
    pub application: u32,
    /// The rule's index in the manifest; [`Cookie::NO_RULE`] for all of the application's together.
    pub rule: u16,
    /// Packets.
    pub packets: u64,
    /// Bytes, as on the wire without the frame check sequence.
    pub bytes: u64,
}

/// What the flows that carry applications' traffic counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Which start of the switch counted it: its process. Counters of another begin at 0.
    pub incarnation: String,
    /// Flows that went since this was asked last, in order.
    pub removed: Vec<Counted>,
    /// The same of the start before, if the switch was started again since.
    pub removed_before: Vec<Counted>,
    /// How many more went than could be kept; their last packets are lost to accounting.
    pub lost: u64,
    /// The flows that are there.
    pub flows: Vec<Counted>,
}

impl Counters {
    pub(super) fn of(incarnation: String, removed: Removed, stats: &[FlowStats]) -> Counters {
        let one = |stats: &FlowStats| {
            let counts = (stats.counters.packets, stats.counters.bytes);
            counted(&stats.flow.key, stats.flow.cookie, counts)
        };
        Counters {
            incarnation,
            removed: removed.flows,
            removed_before: removed.before,
            lost: removed.lost,
            flows: stats.iter().filter_map(one).collect(),
        }
    }

    /// Packets and bytes by cookie: application and rule.
    pub fn by_cookie(&self) -> BTreeMap<(u32, u16), (u64, u64)> {
        let mut sums: BTreeMap<(u32, u16), (u64, u64)> = BTreeMap::new();
        for one in &self.flows {
            let sum = sums.entry((one.application, one.rule)).or_default();
            *sum = (sum.0 + one.packets, sum.1 + one.bytes);
        }
        sums
    }
}

/// Flows that went.
#[derive(Debug, Default)]
pub(super) struct Removed {
    flows: Vec<Counted>,
    before: Vec<Counted>,
    lost: u64,
    /// Of which the switch has still to say what they counted.
    expected: BTreeSet<FlowKey>,
}

impl Removed {
    pub(super) fn add(&mut self, removed: &FlowRemoved) {
        self.expected.remove(&removed.key);
        let counts = (removed.counters.packets, removed.counters.bytes);
        let Some(one) = counted(&removed.key, removed.cookie, counts) else {
            return;
        };
        if self.flows.len() + self.before.len() < REMOVED_MAX {
            self.flows.push(one);
        } else {
            self.lost += 1;
        }
    }

    /// That flows were deleted on the way from one state to another.
    pub(super) fn expect(&mut self, installed: &Installed, desired: &Installed) {
        let told = |flow: &Flow| flow.flags.contains(FlowFlags::SEND_FLOW_REMOVED);
        let gone = side_by_side(&installed.flows, &desired.flows)
            .filter(|(_, there, stays)| there.is_some_and(told) && stays.is_none());
        self.expected.extend(gone.map(|(key, ..)| key.clone()));
    }

    pub(super) fn expects_none(&self) -> bool {
        self.expected.is_empty()
    }

    /// Expects nothing any more; how many flows it was.
    pub(super) fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.expected).len()
    }

    /// That the switch was started again.
    pub(super) fn restarted(&mut self) {
        self.before.append(&mut self.flows);
    }
}

/// A flow's counters, if it is one that carries an application's traffic.
fn counted(key: &FlowKey, cookie: u64, counts: (Option<u64>, Option<u64>)) -> Option<Counted> {
    let cookie = Cookie::with_number(cookie)?;
    cookie.class.is_traffic().then(|| Counted {
        flow: format!("{} {} {}", key.table, key.priority, key.matching),
        application: cookie.application,
        rule: cookie.rule,
        packets: counts.0.unwrap_or_default(),
        bytes: counts.1.unwrap_or_default(),
    })
}

/// Which start of the switch answers, by its process: `/proc` says when that began, and the kernel
/// which boot it is. A process that cannot be seen is told apart by nothing.
pub(super) fn incarnation(process: Option<u32>) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id");
    let process = process.unwrap_or_default();
    let stat = read(&format!("/proc/{process}/stat"));
    // The name of a program may have spaces in it, and ends with the last parenthesis.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let start = after_name.split_whitespace().nth(19).unwrap_or_default();
    format!("{} {process} {start}", boot.trim())
}
