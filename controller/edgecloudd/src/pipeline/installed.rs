//! What a switch holds, or should hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use openflow::{Flow, FlowKey, Group, Meter, MeterUnit, Selection};

/// Flows, groups and meters, each once and in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// By table, priority and match.
    pub flows: BTreeMap<FlowKey, Flow>,
    /// By number.
    pub groups: BTreeMap<u32, Group>,
    /// By number.
    pub meters: BTreeMap<u32, Meter>,
}

impl Installed {
    /// What a dump of a switch says.
    pub fn new(
        flows: impl IntoIterator<Item = Flow>,
        groups: impl IntoIterator<Item = Group>,
        meters: impl IntoIterator<Item = Meter>,
    ) -> Installed {
        Installed {
            flows: flows.into_iter().map(|f| (f.key.clone(), f)).collect(),
            groups: groups.into_iter().map(|g| (g.id, g)).collect(),
            meters: meters.into_iter().map(|m| (m.id, m)).collect(),
        }
    }

    /// The flows, one a line, as `ovs-ofctl -O OpenFlow15 add-flows` takes them.
    pub fn flows_text(&self) -> String {
        self.flows
            .values()
            .fold(String::new(), |text, flow| text + &format!("{flow}\n"))
    }

    /// The groups, one a line, as `ovs-ofctl -O OpenFlow15 add-groups` takes them.
    pub fn groups_text(&self) -> String {
        let mut text = String::new();
        for group in self.groups.values() {
            let kind = format!("{:?}", group.kind).to_lowercase();
            // Writing to a string does not fail.
            let _ = write!(text, "group_id={},type={kind}", group.id);
            if let Some(Selection::Hash { basis, fields }) = &group.selection {
                let names: Vec<&str> = fields.iter().map(|(field, _)| field.name()).collect();
                let (method, names) = ("selection_method=hash", names.join(","));
                let _ = write!(
                    text,
                    ",{method},selection_method_param={basis},fields({names})"
                );
            }
            for bucket in &group.buckets {
                let actions: Vec<String> = bucket.actions.iter().map(|a| a.to_string()).collect();
                let (id, weight) = (bucket.id, bucket.weight);
                let actions = actions.join(",");
                let _ = write!(
                    text,
                    ",bucket=bucket_id:{id},weight:{weight},actions={actions}"
                );
            }
            text.push('\n');
        }
        text
    }

    /// The meters, one a line, as `ovs-ofctl -O OpenFlow15 add-meter` takes each.
    pub fn meters_text(&self) -> String {
        let mut text = String::new();
        for meter in self.meters.values() {
            let unit = match meter.unit {
                MeterUnit::Kbps => "kbps",
                MeterUnit::PacketsPerSecond => "pktps",
            };
            let burst = if meter.burst { ",burst" } else { "" };
            let stats = if meter.stats { ",stats" } else { "" };
            let _ = write!(text, "meter={},{unit}{burst}{stats}", meter.id);
            for band in &meter.bands {
                let (rate, size) = (band.rate, band.burst);
                let _ = write!(text, ",bands=type=drop,rate={rate},burst_size={size}");
            }
            text.push('\n');
        }
        text
    }
}
