//! Actions and instructions as `ovs-ofctl` writes them.

use std::fmt::{self, Display, Formatter};

use super::{
    Action, Conntrack, Learn, LearnSource, LearnSpec, Nat, NatAddresses, ToController, Zone,
};
use crate::flow::Flow;
use crate::instruction::Instructions;
use crate::port_number::PortNumber;
use crate::text::{Hex, Value};

/// As `ovs-ofctl` writes it: `set_field:1.2.3.4->ip_dst`.
impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Action::Output { port, max_len } if *port == PortNumber::CONTROLLER => {
                write!(f, "CONTROLLER:{max_len}")
            }
            // Reserved ports go by their names alone.
            Action::Output { port, .. } if *port >= PortNumber::MAX => write!(f, "{port}"),
            Action::Output { port, .. } => write!(f, "output:{port}"),
            Action::Group(number) => write!(f, "group:{number}"),
            Action::SetField { field, value, mask } => {
                let value = Value {
                    field: *field,
                    value: *value,
                    mask: *mask,
                };
                write!(f, "set_field:{value}->{}", field.name())
            }
            Action::Move { source, target } => write!(f, "move:{source}->{target}"),
            Action::PushVlan(ethertype) => write!(f, "push_vlan:{ethertype:#x}"),
            Action::PopVlan => f.write_str("pop_vlan"),
            Action::PushMpls(ethertype) => write!(f, "push_mpls:0x{ethertype:04x}"),
            Action::PopMpls(ethertype) => write!(f, "pop_mpls:0x{ethertype:04x}"),
            Action::SetQueue(number) => write!(f, "set_queue:{number}"),
            Action::Meter(number) => write!(f, "meter:{number}"),
            Action::SetTtl(ttl) => write!(f, "mod_nw_ttl:{ttl}"),
            Action::DecTtl => f.write_str("dec_ttl"),
            Action::Resubmit {
                in_port,
                table,
                original_tuple,
            } => write_resubmit(f, *in_port, *table, *original_tuple),
            Action::Conjunction {
                id,
                clause,
                clauses,
            } => {
                write!(f, "conjunction({id},{}/{clauses})", u16::from(*clause) + 1)
            }
            Action::Conntrack(conntrack) => write!(f, "{conntrack}"),
            Action::ConntrackClear => f.write_str("ct_clear"),
            Action::Learn(learn) => write!(f, "{learn}"),
            Action::Controller(controller) => write!(f, "{controller}"),
            Action::Clone(actions) => write!(f, "clone({})", List(actions)),
            Action::Exit => f.write_str("exit"),
            Action::Other { kind, body } => {
                write!(f, "unknown({kind},")?;
                body.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(")")
            }
        }
    }
}

/// Actions with commas between; `drop` for none.
struct List<'a>(&'a [Action]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("drop");
        }
        write_joined(f, self.0)
    }
}

fn write_joined<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    let mut comma = "";
    for item in items {
        write!(f, "{comma}{item}")?;
        comma = ",";
    }
    Ok(())
}

fn write_resubmit(
    f: &mut Formatter<'_>,
    in_port: PortNumber,
    table: u8,
    original_tuple: bool,
) -> fmt::Result {
    let port = if in_port == PortNumber::IN_PORT {
        String::new()
    } else {
        in_port.to_string()
    };
    if !port.is_empty() && table == 255 {
        return write!(f, "resubmit:{port}");
    }
    let table = if table == 255 {
        String::new()
    } else {
        table.to_string()
    };
    write!(
        f,
        "resubmit({port},{table}{})",
        if original_tuple { ",ct" } else { "" }
    )
}

impl Display for Conntrack {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.commit.then(|| "commit".to_owned()));
        words.extend(self.force.then(|| "force".to_owned()));
        words.extend(self.table.map(|table| format!("table={table}")));
        match self.zone {
            Zone::Number(0) => {}
            Zone::Number(number) => words.push(format!("zone={number}")),
            Zone::Field(part) => words.push(format!("zone={part}")),
        }
        words.extend(self.nat.as_ref().map(Nat::to_string));
        if !self.exec.is_empty() {
            words.push(format!("exec({})", List(&self.exec)));
        }
        match self.alg {
            0 => {}
            21 => words.push("alg=ftp".to_owned()),
            69 => words.push("alg=tftp".to_owned()),
            port => words.push(format!("alg={port}")),
        }
        write!(f, "ct({})", words.join(","))
    }
}

impl Display for Nat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (side, target) = match self {
            Nat::Existing => return f.write_str("nat"),
            Nat::Source(target) => ("src", target),
            Nat::Destination(target) => ("dst", target),
        };
        write!(f, "nat({side}")?;
        let Some(addresses) = &target.addresses else {
            return f.write_str(")");
        };
        let (first, last) = match addresses {
            NatAddresses::V4(range) => (range.start().to_string(), range.end().to_string()),
            NatAddresses::V6(range) if target.ports.is_some() => {
                (format!("[{}]", range.start()), format!("[{}]", range.end()))
            }
            NatAddresses::V6(range) => (range.start().to_string(), range.end().to_string()),
        };
        write!(f, "={first}")?;
        if last != first {
            write!(f, "-{last}")?;
        }
        if let Some(ports) = &target.ports {
            write!(f, ":{}", ports.start())?;
            if ports.start() != ports.end() {
                write!(f, "-{}", ports.end())?;
            }
        }
        let words = [
            (target.persistent, ",persistent"),
            (target.hash, ",hash"),
            (target.random, ",random"),
        ];
        words
            .iter()
            .filter(|(is, _)| *is)
            .try_for_each(|(_, word)| f.write_str(word))?;
        f.write_str(")")
    }
}

impl Display for ToController {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let default = ToController {
            max_len: self.max_len,
            ..ToController::default()
        };
        if *self == default {
            return write!(f, "CONTROLLER:{}", self.max_len);
        }
        let mut words = Vec::new();
        if self.reason != default.reason {
            words.push(format!("reason={}", reason_name(self.reason)));
        }
        if self.max_len != super::NO_BUFFER {
            words.push(format!("max_len={}", self.max_len));
        }
        if self.controller_id != 0 {
            words.push(format!("id={}", self.controller_id));
        }
        if !self.userdata.is_empty() {
            let bytes: Vec<_> = self
                .userdata
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            words.push(format!("userdata={}", bytes.join(".")));
        }
        words.extend(self.pause.then(|| "pause".to_owned()));
        words.extend(self.meter.map(|meter| format!("meter_id={meter}")));
        write!(f, "controller({})", words.join(","))
    }
}

fn reason_name(reason: u8) -> String {
    use crate::packet_in::reason;
    let name = match reason {
        reason::TABLE_MISS => "no_match",
        reason::ACTION => "action",
        reason::INVALID_TTL => "invalid_ttl",
        reason::ACTION_SET => "action_set",
        reason::GROUP => "group",
        reason::PACKET_OUT => "packet_out",
        other => return other.to_string(),
    };
    name.to_owned()
}

impl Display for Learn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const DEFAULT_PRIORITY: u16 = 0x8000;
        let mut words = vec![format!("table={}", self.table)];
        let timeouts = [
            ("idle_timeout", self.idle_timeout),
            ("hard_timeout", self.hard_timeout),
            ("fin_idle_timeout", self.fin_idle_timeout),
            ("fin_hard_timeout", self.fin_hard_timeout),
        ];
        let given = timeouts.into_iter().filter(|(_, seconds)| *seconds != 0);
        words.extend(given.map(|(name, seconds)| format!("{name}={seconds}")));
        if self.priority != DEFAULT_PRIORITY {
            words.push(format!("priority={}", self.priority));
        }
        words.extend(self.send_flow_removed.then(|| "send_flow_rem".to_owned()));
        words.extend(self.delete_learned.then(|| "delete_learned".to_owned()));
        if self.cookie != 0 {
            words.push(format!("cookie={:#x}", self.cookie));
        }
        if self.limit != 0 {
            words.push(format!("limit={}", self.limit));
        }
        words.extend(self.result.map(|part| format!("result_dst={part}")));
        words.extend(self.specs.iter().map(LearnSpec::to_string));
        write!(f, "learn({})", words.join(","))
    }
}

impl Display for LearnSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LearnSpec::Match {
                target,
                source: LearnSource::Value(value),
            } => {
                let field = target.field();
                if target.mask() == field.full_mask() {
                    let value = Value {
                        field,
                        value: *value,
                        mask: field.full_mask(),
                    };
                    return write!(f, "{}={value}", field.name());
                }
                write!(f, "{target}={}", Hex(*value))
            }
            LearnSpec::Match {
                target,
                source: LearnSource::Field(source),
            } => {
                write!(f, "{target}")?;
                let same = (source.field(), source.offset()) == (target.field(), target.offset());
                if same { Ok(()) } else { write!(f, "={source}") }
            }
            LearnSpec::Load {
                target,
                source: LearnSource::Value(value),
            } => {
                write!(f, "load:{}->{target}", Hex(*value))
            }
            LearnSpec::Load {
                target,
                source: LearnSource::Field(source),
            } => {
                write!(f, "load:{source}->{target}")
            }
            LearnSpec::Output(source) => write!(f, "output:{source}"),
        }
    }
}

/// As `ovs-ofctl` writes it, from `actions=` on; `drop` for none.
impl Display for Instructions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.meter.map(|meter| format!("meter:{meter}")));
        words.extend(self.apply.iter().map(Action::to_string));
        words.extend(self.clear.then(|| "clear_actions".to_owned()));
        if !self.write.is_empty() {
            words.push(format!("write_actions({})", List(&self.write)));
        }
        words.extend(self.metadata.map(|metadata| {
            let value = Hex(metadata.value.into());
            let mask = if metadata.mask == u64::MAX {
                String::new()
            } else {
                format!("/{}", Hex(metadata.mask.into()))
            };
            format!("write_metadata:{value}{mask}")
        }));
        words.extend(self.goto_table.map(|table| format!("goto_table:{table}")));
        if words.is_empty() {
            return f.write_str("drop");
        }
        write_joined(f, &words)
    }
}

/// A line as `ovs-ofctl add-flow` takes it.
impl Display for Flow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        write!(
            f,
            "cookie={:#x},table={},priority={}",
            self.cookie, key.table, key.priority
        )?;
        for (name, number) in [
            ("idle_timeout", self.idle_timeout),
            ("hard_timeout", self.hard_timeout),
            ("importance", self.importance),
        ] {
            if number != 0 {
                write!(f, ",{name}={number}")?;
            }
        }
        let comma = if key.matching.is_empty() { "" } else { "," };
        write!(f, "{comma}{} actions={}", key.matching, self.instructions)
    }
}
