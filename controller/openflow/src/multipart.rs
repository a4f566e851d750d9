//! MULTIPART (18, 19): questions whose answers may need several messages. 1.5.1 section 7.3.5.
//!
//! An answer ends with the message whose `more` is false.

mod desc;
mod flow_monitor;
mod flow_stats;
mod group_stats;
mod meter_stats;
mod port_stats;
mod table_stats;

pub use desc::SwitchDescription;
pub use flow_monitor::{FlowMonitorCommand, FlowMonitorRequest, FlowUpdate, monitor_flags};
pub use flow_stats::{FlowStats, FlowStatsRequest};
pub use group_stats::{BucketCounters, GroupStats};
pub use meter_stats::{BandCounters, MeterStats};
pub use port_stats::PortStats;
pub use table_stats::TableStats;

use crate::error::{EmitError, ParseCause};
use crate::group::{Group, GroupKind, emit_buckets, parse_buckets, parse_selection};
use crate::meter::Meter;
use crate::port::Port;
use crate::port_number::PortNumber;
use crate::stats::FlowCounters;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// `OFPMP_*`.
mod kind {
    pub(super) const DESC: u16 = 0;
    pub(super) const FLOW: u16 = 1;
    pub(super) const AGGREGATE: u16 = 2;
    pub(super) const TABLE: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const GROUP: u16 = 6;
    pub(super) const GROUP_DESC: u16 = 7;
    pub(super) const METER: u16 = 9;
    pub(super) const METER_CONFIG: u16 = 10;
    pub(super) const PORT_DESC: u16 = 13;
    pub(super) const FLOW_MONITOR: u16 = 16;
}

/// `OFPMPF_REQ_MORE` and `OFPMPF_REPLY_MORE`.
const MORE: u16 = 1;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MultipartRequest {
    /// Who made the switch.
    Desc,
    /// Which flows there are: in 1.5 with OFPMP_FLOW_DESC, the same number.
    Flow(FlowStatsRequest),
    /// What flows together counted.
    Aggregate(FlowStatsRequest),
    /// What the tables counted.
    Table,
    /// What a port counted; `ANY` for all.
    Port(PortNumber),
    /// What a group counted; [`Group::ALL`] for all.
    Group(u32),
    /// Which groups there are: 1.5 may ask for one, 1.3 for [`Group::ALL`] only.
    GroupDesc(u32),
    /// What a meter counted; [`Meter::ALL`] for all.
    Meter(u32),
    /// Which meters there are: one, or [`Meter::ALL`].
    MeterConfig(u32),
    /// Which ports there are: 1.5 may ask for one, 1.3 for `ANY` only.
    PortDesc(PortNumber),
    /// 1.5: to be told of changes of flows.
    FlowMonitor(Vec<FlowMonitorRequest>),
    /// A question that this crate does not know.
    Other {
        /// Its type.
        kind: u16,
        /// Whether more of it comes in another message.
        more: bool,
        /// What it says.
        body: Vec<u8>,
    },
}

/// An answer, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MultipartReply {
    /// Whether more of the answer comes in another message.
    pub more: bool,
    /// The answer.
    pub body: MultipartBody,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MultipartBody {
    /// Who made the switch.
    Desc(Box<SwitchDescription>),
    /// Flows.
    Flow(Vec<FlowStats>),
    /// What flows together counted.
    Aggregate(FlowCounters),
    /// Tables.
    Table(Vec<TableStats>),
    /// Ports' counters.
    Port(Vec<PortStats>),
    /// Groups' counters.
    Group(Vec<GroupStats>),
    /// Groups.
    GroupDesc(Vec<Group>),
    /// Meters' counters.
    Meter(Vec<MeterStats>),
    /// Meters.
    MeterConfig(Vec<Meter>),
    /// Ports.
    PortDesc(Vec<Port>),
    /// 1.5: changes of flows.
    FlowMonitor(Vec<FlowUpdate>),
    /// An answer that this crate does not know.
    Other {
        /// Its type.
        kind: u16,
        /// What it says.
        body: Vec<u8>,
    },
}

fn parse_list<T>(
    from: &mut Reader<'_>,
    mut one: impl FnMut(&mut Reader<'_>) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    let mut list = Vec::new();
    // Every element takes bytes, so the message's length bounds the list.
    while !from.is_empty() {
        list.push(one(from)?);
    }
    Ok(list)
}

fn parse_header(from: &mut Reader<'_>) -> Parsed<(u16, bool)> {
    let kind = from.u16("multipart's type")?;
    let flags = from.u16("multipart's flags")?;
    from.pad("multipart's padding", 4)?;
    Ok((kind, flags & MORE != 0))
}

impl MultipartRequest {
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<MultipartRequest> {
        let place = from.clone();
        let (kind, more) = parse_header(from)?;
        let request = match kind {
            kind::DESC => MultipartRequest::Desc,
            kind::FLOW => MultipartRequest::Flow(FlowStatsRequest::parse(from)?),
            kind::AGGREGATE => MultipartRequest::Aggregate(FlowStatsRequest::parse(from)?),
            kind::TABLE => MultipartRequest::Table,
            kind::PORT => MultipartRequest::Port(PortNumber(parse_number(from)?)),
            kind::GROUP => MultipartRequest::Group(parse_number(from)?),
            kind::GROUP_DESC if version < Version::V15 => MultipartRequest::GroupDesc(Group::ALL),
            kind::GROUP_DESC => MultipartRequest::GroupDesc(parse_number(from)?),
            kind::METER => MultipartRequest::Meter(parse_number(from)?),
            kind::METER_CONFIG => MultipartRequest::MeterConfig(parse_number(from)?),
            kind::PORT_DESC if version < Version::V15 => {
                MultipartRequest::PortDesc(PortNumber::ANY)
            }
            kind::PORT_DESC => MultipartRequest::PortDesc(PortNumber(parse_number(from)?)),
            kind::FLOW_MONITOR if version >= Version::V15 => {
                MultipartRequest::FlowMonitor(parse_list(from, FlowMonitorRequest::parse)?)
            }
            kind => {
                return Ok(MultipartRequest::Other {
                    kind,
                    more,
                    body: from.rest().to_vec(),
                });
            }
        };
        if more {
            // None of these questions is longer than a message.
            return Err(place.error("multipart's flags", ParseCause::Value(MORE.into())));
        }
        Ok(request)
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u16(self.kind());
        to.u16(
            if matches!(self, MultipartRequest::Other { more: true, .. }) {
                MORE
            } else {
                0
            },
        );
        to.zeros(4);
        match self {
            MultipartRequest::Desc | MultipartRequest::Table => {}
            MultipartRequest::Flow(request) | MultipartRequest::Aggregate(request) => {
                request.emit(to, version)?;
            }
            MultipartRequest::Port(port) => emit_number(to, port.0),
            MultipartRequest::Group(number)
            | MultipartRequest::Meter(number)
            | MultipartRequest::MeterConfig(number) => emit_number(to, *number),
            MultipartRequest::GroupDesc(number) => {
                emit_choice(to, version, *number, Group::ALL, "one group's description")?;
            }
            MultipartRequest::PortDesc(port) => {
                let any = PortNumber::ANY.0;
                emit_choice(to, version, port.0, any, "one port's description")?;
            }
            MultipartRequest::FlowMonitor(_) if version < Version::V15 => {
                return Err(EmitError::NotInVersion("flow monitor"));
            }
            MultipartRequest::FlowMonitor(requests) => {
                requests.iter().try_for_each(|request| request.emit(to))?;
            }
            MultipartRequest::Other { body, .. } => to.bytes(body),
        }
        Ok(())
    }

    fn kind(&self) -> u16 {
        match self {
            MultipartRequest::Desc => kind::DESC,
            MultipartRequest::Flow(_) => kind::FLOW,
            MultipartRequest::Aggregate(_) => kind::AGGREGATE,
            MultipartRequest::Table => kind::TABLE,
            MultipartRequest::Port(_) => kind::PORT,
            MultipartRequest::Group(_) => kind::GROUP,
            MultipartRequest::GroupDesc(_) => kind::GROUP_DESC,
            MultipartRequest::Meter(_) => kind::METER,
            MultipartRequest::MeterConfig(_) => kind::METER_CONFIG,
            MultipartRequest::PortDesc(_) => kind::PORT_DESC,
            MultipartRequest::FlowMonitor(_) => kind::FLOW_MONITOR,
            MultipartRequest::Other { kind, .. } => *kind,
        }
    }
}

fn parse_number(from: &mut Reader<'_>) -> Parsed<u32> {
    let number = from.u32("multipart's number")?;
    from.pad("multipart's padding", 4)?;
    Ok(number)
}

fn emit_number(to: &mut Writer, number: u32) {
    to.u32(number);
    to.zeros(4);
}

/// 1.5 may ask for one; 1.3 asks for all without saying so.
fn emit_choice(
    to: &mut Writer,
    version: Version,
    number: u32,
    all: u32,
    what: &'static str,
) -> Emitted {
    match version {
        Version::V15 => emit_number(to, number),
        Version::V13 if number == all => {}
        Version::V13 => return Err(EmitError::NotInVersion(what)),
    }
    Ok(())
}

impl MultipartReply {
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<MultipartReply> {
        let (kind, more) = parse_header(from)?;
        let body = match kind {
            kind::DESC => MultipartBody::Desc(Box::new(SwitchDescription::parse(from)?)),
            kind::FLOW => {
                MultipartBody::Flow(parse_list(from, |from| FlowStats::parse(from, version))?)
            }
            kind::AGGREGATE => {
                MultipartBody::Aggregate(flow_stats::parse_aggregate(from, version)?)
            }
            kind::TABLE => MultipartBody::Table(parse_list(from, TableStats::parse)?),
            kind::PORT => {
                MultipartBody::Port(parse_list(from, |from| PortStats::parse(from, version))?)
            }
            kind::GROUP => MultipartBody::Group(parse_list(from, GroupStats::parse)?),
            kind::GROUP_DESC => {
                MultipartBody::GroupDesc(parse_list(from, |from| parse_group(from, version))?)
            }
            kind::METER => MultipartBody::Meter(parse_list(from, MeterStats::parse)?),
            kind::METER_CONFIG => MultipartBody::MeterConfig(parse_list(from, parse_meter)?),
            kind::PORT_DESC => {
                MultipartBody::PortDesc(parse_list(from, |from| Port::parse(from, version))?)
            }
            kind::FLOW_MONITOR if version >= Version::V15 => {
                MultipartBody::FlowMonitor(parse_list(from, FlowUpdate::parse)?)
            }
            kind => MultipartBody::Other {
                kind,
                body: from.rest().to_vec(),
            },
        };
        Ok(MultipartReply { more, body })
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u16(self.body.kind());
        to.u16(if self.more { MORE } else { 0 });
        to.zeros(4);
        match &self.body {
            MultipartBody::Desc(desc) => desc.emit(to),
            MultipartBody::Flow(flows) => flows.iter().try_for_each(|flow| flow.emit(to, version)),
            MultipartBody::Aggregate(counters) => flow_stats::emit_aggregate(to, version, counters),
            MultipartBody::Table(tables) => {
                tables.iter().for_each(|table| table.emit(to));
                Ok(())
            }
            MultipartBody::Port(ports) => ports.iter().try_for_each(|port| port.emit(to, version)),
            MultipartBody::Group(groups) => groups.iter().try_for_each(|group| group.emit(to)),
            MultipartBody::GroupDesc(groups) => groups
                .iter()
                .try_for_each(|group| emit_group(to, version, group)),
            MultipartBody::Meter(meters) => meters.iter().try_for_each(|meter| meter.emit(to)),
            MultipartBody::MeterConfig(meters) => {
                meters.iter().try_for_each(|meter| emit_meter(to, meter))
            }
            MultipartBody::PortDesc(ports) => {
                ports.iter().try_for_each(|port| port.emit(to, version))
            }
            MultipartBody::FlowMonitor(_) if version < Version::V15 => {
                Err(EmitError::NotInVersion("flow monitor"))
            }
            MultipartBody::FlowMonitor(updates) => {
                updates.iter().try_for_each(|update| update.emit(to))
            }
            MultipartBody::Other { body, .. } => {
                to.bytes(body);
                Ok(())
            }
        }
    }
}

impl MultipartBody {
    fn kind(&self) -> u16 {
        match self {
            MultipartBody::Desc(_) => kind::DESC,
            MultipartBody::Flow(_) => kind::FLOW,
            MultipartBody::Aggregate(_) => kind::AGGREGATE,
            MultipartBody::Table(_) => kind::TABLE,
            MultipartBody::Port(_) => kind::PORT,
            MultipartBody::Group(_) => kind::GROUP,
            MultipartBody::GroupDesc(_) => kind::GROUP_DESC,
            MultipartBody::Meter(_) => kind::METER,
            MultipartBody::MeterConfig(_) => kind::METER_CONFIG,
            MultipartBody::PortDesc(_) => kind::PORT_DESC,
            MultipartBody::FlowMonitor(_) => kind::FLOW_MONITOR,
            MultipartBody::Other { kind, .. } => *kind,
        }
    }
}

fn parse_group(from: &mut Reader<'_>, version: Version) -> Parsed<Group> {
    let mut body = from.sized("group", 0, 8)?;
    body.pad("group's length", 2)?;
    let kind = GroupKind::parse(&mut body)?;
    body.pad("group's padding", 1)?;
    let id = body.u32("group")?;
    let length = match version {
        Version::V13 => body.len(),
        Version::V15 => {
            let length = usize::from(body.u16("buckets' length")?);
            body.pad("group's padding", 6)?;
            length
        }
    };
    let buckets = parse_buckets(&mut body.part("buckets", length)?, version)?;
    Ok(Group {
        id,
        kind,
        buckets,
        selection: parse_selection(&mut body)?,
    })
}

fn emit_group(to: &mut Writer, version: Version, group: &Group) -> Emitted {
    let start = to.len();
    to.zeros(2);
    to.u8(group.kind as u8);
    to.zeros(1);
    to.u32(group.id);
    if version >= Version::V15 {
        let place = to.len();
        to.zeros(8);
        let buckets = to.len();
        emit_buckets(to, version, &group.buckets)?;
        to.set_length("buckets", place, buckets)?;
    } else if group.selection.is_some() {
        return Err(EmitError::NotInVersion("how a bucket is chosen"));
    } else {
        emit_buckets(to, version, &group.buckets)?;
    }
    group
        .selection
        .iter()
        .try_for_each(|selection| selection.emit(to))?;
    to.set_length("group", start, start)
}

fn parse_meter(from: &mut Reader<'_>) -> Parsed<Meter> {
    let mut body = from.sized("meter", 0, 8)?;
    body.pad("meter's length", 2)?;
    Meter::parse(&mut body)
}

fn emit_meter(to: &mut Writer, meter: &Meter) -> Emitted {
    let start = to.len();
    to.zeros(2);
    meter.emit(to)?;
    to.set_length("meter", start, start)
}
