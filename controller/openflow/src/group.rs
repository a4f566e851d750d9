//! Groups: several ways for a packet, of which all, one or the first live one is taken. 1.5.1
//! section 5.10. [`Group`] is a group as it is, for comparing what is desired with what is there.

use crate::action::Action;
use crate::field::Field;
use crate::port_number::PortNumber;

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
