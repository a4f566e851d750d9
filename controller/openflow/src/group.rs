//! Groups: several ways for a packet, of which all, one or the first live one is taken. 1.5.1
//! section 5.10. [`Group`] is a group as it is, for comparing what is desired with what is there.

use crate::action::Action;
use crate::action::{emit_actions, parse_actions};
use crate::error::{EmitError, ParseCause};
use crate::field::Field;
use crate::oxm;
use crate::port_number::PortNumber;
use crate::property;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    /// Its number, at most [`Group::MAX`].
    pub id: u32,
    /// How buckets are chosen.
    pub kind: GroupKind,
    /// The ways.
    pub buckets: Vec<Bucket>,
    /// 1.5, [`GroupKind::Select`]: how Open vSwitch chooses. Without it a hash over a default set of
    /// fields, MAC addresses among them.
    pub selection: Option<Selection>,
}

impl Group {
    /// The last number that a group can have (`OFPG_MAX`).
    pub const MAX: u32 = 0xffff_ff00;
    /// All groups (`OFPG_ALL`).
    pub const ALL: u32 = 0xffff_fffc;
    /// No matter which group (`OFPG_ANY`).
    pub const ANY: u32 = 0xffff_ffff;
}

/// How a group's buckets are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// All of them, a copy of the packet each.
    All,
    /// One, by weight.
    Select,
    /// The only one.
    Indirect,
    /// The first whose port or group lives.
    FastFailover,
}

/// One way through a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// 1.5: its number in the group, at most [`Bucket::MAX`]. In 1.3, which has none, its place.
    pub id: u32,
    /// Its share of a select group's packets; 0 for none, and in the other kinds.
    pub weight: u16,
    /// The port that must live for it to be taken; `ANY` for none.
    pub watch_port: PortNumber,
    /// The group that must live for it to be taken; [`Group::ANY`] for none.
    pub watch_group: u32,
    /// What is done to the packet, as an action set.
    pub actions: Vec<Action>,
}

impl Bucket {
    /// The last number that a bucket can have (`OFPG_BUCKET_MAX`).
    pub const MAX: u32 = 0xffff_ff00;
    /// Before the first bucket, or the first.
    pub const FIRST: u32 = 0xffff_fffd;
    /// After the last bucket, or the last.
    pub const LAST: u32 = 0xffff_fffe;
    /// All buckets.
    pub const ALL: u32 = 0xffff_ffff;

    /// A bucket that watches nothing.
    pub const fn new(id: u32, weight: u16, actions: Vec<Action>) -> Bucket {
        Bucket {
            id,
            weight,
            watch_port: PortNumber::ANY,
            watch_group: Group::ANY,
            actions,
        }
    }
}

/// How Open vSwitch chooses a bucket (Netronome's group property, which it took over).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selection {
    /// By a hash over these fields of the packet, each at the bits of its mask, and a basis.
    Hash {
        /// What the hash starts from.
        basis: u64,
        /// The fields and the bits that count, in [`Field`]'s order.
        fields: Vec<(Field, u128)>,
    },
    /// By the datapath's own hash (the parameter: basis and algorithm).
    DatapathHash(u64),
}

/// `OFPGBPT_*`, the properties of a bucket in 1.5.
mod bucket_property {
    pub(super) const WEIGHT: u16 = 0;
    pub(super) const WATCH_PORT: u16 = 1;
    pub(super) const WATCH_GROUP: u16 = 2;
}

/// A property of somebody's own.
const EXPERIMENTER: u16 = 0xffff;
/// Netronome's number as a vendor, whose group property Open vSwitch took over.
const NETRONOME: u32 = 0x0000_154d;
/// `NTRT_SELECTION_METHOD`.
const SELECTION_METHOD: u32 = 1;
/// The room for a selection method's name.
const METHOD_LEN: usize = 16;

impl GroupKind {
    const ALL: [GroupKind; 4] = [
        GroupKind::All,
        GroupKind::Select,
        GroupKind::Indirect,
        GroupKind::FastFailover,
    ];

    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<GroupKind> {
        let place = from.clone();
        let number = from.u8("group's type")?;
        let kind = GroupKind::ALL.get(usize::from(number)).copied();
        kind.ok_or(place.error("group's type", ParseCause::Value(number.into())))
    }
}

/// Reads buckets until the end.
pub(crate) fn parse_buckets(from: &mut Reader<'_>, version: Version) -> Parsed<Vec<Bucket>> {
    let mut buckets = Vec::new();
    while !from.is_empty() {
        let mut body = from.sized("bucket", 0, 8)?;
        body.pad("bucket's length", 2)?;
        let bucket = match version {
            // At most 65535 / 16 of them.
            Version::V13 => parse_bucket_v13(&mut body, buckets.len() as u32)?,
            Version::V15 => parse_bucket_v15(&mut body)?,
        };
        buckets.push(bucket);
    }
    Ok(buckets)
}

fn parse_bucket_v13(body: &mut Reader<'_>, id: u32) -> Parsed<Bucket> {
    let weight = body.u16("bucket's weight")?;
    let watch_port = PortNumber(body.u32("bucket's port")?);
    let watch_group = body.u32("bucket's group")?;
    body.pad("bucket's padding", 4)?;
    let actions = parse_actions(body, Version::V13)?;
    Ok(Bucket {
        id,
        weight,
        watch_port,
        watch_group,
        actions,
    })
}

fn parse_bucket_v15(body: &mut Reader<'_>) -> Parsed<Bucket> {
    let actions_length = usize::from(body.u16("bucket's actions")?);
    let id = body.u32("bucket's id")?;
    let mut list = body.part("bucket's actions", actions_length)?;
    let mut bucket = Bucket::new(id, 0, parse_actions(&mut list, Version::V15)?);
    while !body.is_empty() {
        let (kind, mut value) = property::next(body)?;
        match kind {
            bucket_property::WEIGHT => bucket.weight = value.u16("bucket's weight")?,
            bucket_property::WATCH_PORT => {
                bucket.watch_port = PortNumber(value.u32("bucket's port")?);
            }
            bucket_property::WATCH_GROUP => bucket.watch_group = value.u32("bucket's group")?,
            _ => return Err(value.error("bucket's property", ParseCause::Value(kind.into()))),
        }
    }
    Ok(bucket)
}

/// Writes buckets.
pub(crate) fn emit_buckets(to: &mut Writer, version: Version, buckets: &[Bucket]) -> Emitted {
    for (place, bucket) in buckets.iter().enumerate() {
        let start = to.len();
        to.u16(0);
        match version {
            Version::V13 if bucket.id as usize != place => {
                return Err(EmitError::NotInVersion("bucket's id other than its place"));
            }
            Version::V13 => emit_bucket_v13(to, bucket)?,
            Version::V15 => emit_bucket_v15(to, bucket)?,
        }
        to.set_length("bucket", start, start)?;
    }
    Ok(())
}

fn emit_bucket_v13(to: &mut Writer, bucket: &Bucket) -> Emitted {
    to.u16(bucket.weight);
    to.u32(bucket.watch_port.0);
    to.u32(bucket.watch_group);
    to.zeros(4);
    emit_actions(to, Version::V13, &bucket.actions)
}

fn emit_bucket_v15(to: &mut Writer, bucket: &Bucket) -> Emitted {
    if bucket.id > Bucket::MAX {
        return Err(EmitError::NotAllowed("bucket's id above its maximum"));
    }
    let length = to.len();
    to.u16(0);
    to.u32(bucket.id);
    let start = to.len();
    emit_actions(to, Version::V15, &bucket.actions)?;
    to.set_length("bucket's actions", length, start)?;
    if bucket.weight != 0 {
        property::emit_u16(to, bucket_property::WEIGHT, bucket.weight)?;
    }
    if bucket.watch_port != PortNumber::ANY {
        let port = bucket.watch_port.0.to_be_bytes();
        property::emit(to, bucket_property::WATCH_PORT, &port)?;
    }
    if bucket.watch_group != Group::ANY {
        let group = bucket.watch_group.to_be_bytes();
        property::emit(to, bucket_property::WATCH_GROUP, &group)?;
    }
    Ok(())
}

/// Reads a group's properties until the end: 1.5 only.
pub(crate) fn parse_selection(from: &mut Reader<'_>) -> Parsed<Option<Selection>> {
    let mut selection = None;
    while !from.is_empty() {
        let (kind, mut value) = property::next(from)?;
        let place = value.clone();
        if kind != EXPERIMENTER {
            return Err(place.error("group's property", ParseCause::Value(kind.into())));
        }
        let vendor = value.u32("group property's vendor")?;
        let vendor_kind = value.u32("group property's type")?;
        if (vendor, vendor_kind) != (NETRONOME, SELECTION_METHOD) {
            return Err(place.error("group property's vendor", ParseCause::Value(vendor.into())));
        }
        if selection.is_some() {
            return Err(place.error("selection method", ParseCause::Repeated));
        }
        selection = Some(Selection::parse(&mut value)?);
    }
    Ok(selection)
}

impl Selection {
    /// By a hash over all bits of these fields.
    pub fn hash(basis: u64, fields: &[Field]) -> Selection {
        let mut fields: Vec<_> = fields
            .iter()
            .map(|field| (*field, field.full_mask()))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        Selection::Hash { basis, fields }
    }

    fn parse(value: &mut Reader<'_>) -> Parsed<Selection> {
        value.pad("selection method's padding", 4)?;
        let place = value.clone();
        let method = value.text("selection method", METHOD_LEN)?;
        let parameter = value.u64("selection method's parameter")?;
        match method.as_str() {
            "hash" => {
                let mut fields = Vec::new();
                while !value.is_empty() {
                    // A field's value is here the mask of what counts.
                    let (field, mask, _) = oxm::parse_field(value)?;
                    fields.push((field, mask));
                }
                fields.sort_unstable();
                Ok(Selection::Hash {
                    basis: parameter,
                    fields,
                })
            }
            "dp_hash" => Ok(Selection::DatapathHash(parameter)),
            _ => Err(place.error("selection method", ParseCause::Value(0))),
        }
    }

    /// Writes the property.
    pub(crate) fn emit(&self, to: &mut Writer) -> Emitted {
        let mut value = Writer::new();
        value.u32(NETRONOME);
        value.u32(SELECTION_METHOD);
        value.zeros(4);
        match self {
            Selection::Hash { basis, fields } => {
                value.text("selection method", "hash", METHOD_LEN)?;
                value.u64(*basis);
                for (field, mask) in fields {
                    if mask & !field.full_mask() != 0 {
                        return Err(EmitError::Bits(field.name()));
                    }
                    oxm::emit_header(&mut value, Version::V15, *field, false);
                    value.number(*mask, field.bytes());
                }
            }
            Selection::DatapathHash(parameter) => {
                value.text("selection method", "dp_hash", METHOD_LEN)?;
                value.u64(*parameter);
            }
        }
        property::emit(to, EXPERIMENTER, &value.into_bytes())
    }
}
