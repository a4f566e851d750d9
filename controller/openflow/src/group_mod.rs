//! GROUP_MOD (15): add, change or delete groups. 1.5.1 section 7.3.4.4.

use crate::error::{EmitError, ParseCause};
use crate::group::{Bucket, Group, GroupKind};
use crate::group::{emit_buckets, parse_buckets, parse_selection};
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

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

/// `OFPGC_*`.
mod command {
    pub(super) const ADD: u16 = 0;
    pub(super) const MODIFY: u16 = 1;
    pub(super) const DELETE: u16 = 2;
    pub(super) const INSERT_BUCKET: u16 = 3;
    pub(super) const REMOVE_BUCKET: u16 = 5;
    pub(super) const ADD_OR_MODIFY: u16 = 0x8000;
}

impl GroupMod {
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<GroupMod> {
        let place = from.clone();
        let command = from.u16("group-mod's command")?;
        let kind = GroupKind::parse(from)?;
        from.pad("group-mod's padding", 1)?;
        let id = from.u32("group")?;
        let (mut list, bucket) = match version {
            Version::V13 => (from.part("buckets", from.len())?, Bucket::ALL),
            Version::V15 => {
                let length = usize::from(from.u16("buckets' length")?);
                from.pad("group-mod's padding", 2)?;
                let bucket = from.u32("group-mod's bucket")?;
                (from.part("buckets", length)?, bucket)
            }
        };
        let buckets = parse_buckets(&mut list, version)?;
        let selection = parse_selection(from)?;
        let group = Group {
            id,
            kind,
            buckets,
            selection,
        };
        match command {
            command::ADD => Ok(GroupMod::Add(group)),
            command::MODIFY => Ok(GroupMod::Modify(group)),
            command::ADD_OR_MODIFY => Ok(GroupMod::AddOrModify(group)),
            command::DELETE => Ok(GroupMod::Delete(id)),
            command::INSERT_BUCKET if version >= Version::V15 => {
                let buckets = group.buckets;
                Ok(GroupMod::InsertBuckets {
                    id,
                    kind,
                    after: bucket,
                    buckets,
                })
            }
            command::REMOVE_BUCKET if version >= Version::V15 => {
                Ok(GroupMod::RemoveBucket { id, bucket })
            }
            _ => Err(place.error("group-mod's command", ParseCause::Value(command.into()))),
        }
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        // Deleting says nothing of the kind; 0 is what others send.
        let none = GroupKind::All;
        match self {
            GroupMod::Add(group) => emit_whole(to, version, command::ADD, group),
            GroupMod::Modify(group) => emit_whole(to, version, command::MODIFY, group),
            GroupMod::AddOrModify(group) => emit_whole(to, version, command::ADD_OR_MODIFY, group),
            GroupMod::Delete(id) => {
                emit(to, version, (command::DELETE, none, *id), Bucket::ALL, &[])
            }
            GroupMod::InsertBuckets { .. } | GroupMod::RemoveBucket { .. }
                if version < Version::V15 =>
            {
                Err(EmitError::NotInVersion("change of single buckets"))
            }
            GroupMod::InsertBuckets {
                id,
                kind,
                after,
                buckets,
            } => emit(
                to,
                version,
                (command::INSERT_BUCKET, *kind, *id),
                *after,
                buckets,
            ),
            GroupMod::RemoveBucket { id, bucket } => emit(
                to,
                version,
                (command::REMOVE_BUCKET, none, *id),
                *bucket,
                &[],
            ),
        }
    }
}

fn emit_whole(to: &mut Writer, version: Version, command: u16, group: &Group) -> Emitted {
    if version < Version::V15 && group.selection.is_some() {
        return Err(EmitError::NotInVersion("how a bucket is chosen"));
    }
    emit(
        to,
        version,
        (command, group.kind, group.id),
        Bucket::ALL,
        &group.buckets,
    )?;
    group
        .selection
        .iter()
        .try_for_each(|selection| selection.emit(to))
}

fn emit(
    to: &mut Writer,
    version: Version,
    (command, kind, id): (u16, GroupKind, u32),
    bucket: u32,
    buckets: &[Bucket],
) -> Emitted {
    to.u16(command);
    to.u8(kind as u8);
    to.zeros(1);
    to.u32(id);
    if version < Version::V15 {
        return emit_buckets(to, version, buckets);
    }
    let length = to.len();
    to.zeros(4);
    to.u32(bucket);
    let start = to.len();
    emit_buckets(to, version, buckets)?;
    to.set_length("buckets", length, start)
}
