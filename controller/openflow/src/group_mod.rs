//! GROUP_MOD (15): add, change or delete groups. 1.5.1 section 7.3.4.4.

use crate::group::{Bucket, Group, GroupKind};

/// A change of the groups.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GroupMod {
    /// Adds a group whose number is free.
    Add(Group),
    /// Changes a group that exists.
    Modify(Group),
    /// Adds a group, or changes the one that exists. Open vSwitch's own.
    AddOrModify(Group),
    /// Deletes a group and the flows that use it; [`Group::ALL`] for all.
    Delete(u32),
    /// 1.5: puts buckets into a group.
    InsertBuckets {
        /// The group.
        id: u32,
        /// The group's kind.
        kind: GroupKind,
        /// After which bucket; [`Bucket::FIRST`] for before all, [`Bucket::LAST`] for after all.
        after: u32,
        /// The buckets.
        buckets: Vec<Bucket>,
    },
    /// 1.5: takes a bucket out of a group.
    RemoveBucket {
        /// The group.
        id: u32,
        /// The bucket, or [`Bucket::FIRST`], [`Bucket::LAST`], [`Bucket::ALL`].
        bucket: u32,
    },
}
