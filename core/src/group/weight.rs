//! What groups weigh in memory: the bytes that clients bring, and a bound of what the maps and
//! structures around them take.

use bytes::Bytes;

use crate::group::machine::{Group, Waiting};
use crate::group::member::Member;
use crate::group::messages::{GroupError, Join};
use crate::group::records::CommittedOffset;

/// A string with its place in a map, beside its bytes.
const NAME_BYTES: usize = 64;
/// A group without members and offsets, beside its name, which stands in two maps.
const GROUP_BYTES: usize = 640;
/// A member, beside what it brought.
const MEMBER_BYTES: usize = 320;
/// An offset, beside its metadata.
pub(super) const OFFSET_BYTES: usize = 120;

/// Memory for the groups of all shards. What has a place in a group may go on, and grow a little,
/// when there is none left for anything new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that all groups take.
    pub used: usize,
    /// From so many bytes on there is none for new groups, members and partitions.
    pub new_max: usize,
    /// From so many bytes on what is there must not grow either.
    pub max: usize,
}

impl Room {
    /// Without bounds.
    pub const ENDLESS: Room = Room { used: 0, new_max: usize::MAX, max: usize::MAX };

    /// For something that takes `bytes` where `before` are its own already, 0: it is new.
    ///
    /// # Errors
    /// [`GroupError::NoRoom`]
    pub(super) fn check(self, bytes: usize, before: usize) -> Result<(), GroupError> {
        let max = if before == 0 { self.new_max } else { self.max };
        match bytes <= before || self.used < max {
            true => Ok(()),
            false => Err(GroupError::NoRoom { used: self.used, max }),
        }
    }
}

/// A group, its members, and its name.
pub(super) fn of_group(name: &str, group: &Group) -> usize {
    let members = group.members.iter().map(|(id, member)| NAME_BYTES + id.len() + member.bytes());
    let statics =
        group.statics.iter().map(|(instance, id)| 2 * NAME_BYTES + instance.len() + id.len());
    let pending = group.pending.keys().map(|id| NAME_BYTES + id.len());
    let storing = group.storing.values().map(|waiting| match waiting {
        Waiting::Assignment { assignments, .. } => {
            assignments.iter().map(|(id, given)| NAME_BYTES + id.len() + given.len()).sum()
        }
        Waiting::Join(..) | Waiting::Nothing => 0,
    });
    let parts: usize = members.chain(statics).chain(pending).chain(storing).sum();
    GROUP_BYTES + 2 * name.len() + parts
}

/// What a committed offset takes, beside the name of its topic.
pub(super) fn of_offset(offset: &CommittedOffset) -> usize {
    OFFSET_BYTES + offset.metadata.len()
}

/// The name of a topic that offsets are committed for; it is kept once.
pub(super) fn of_topic(name: &str) -> usize {
    NAME_BYTES + name.len()
}

/// What a member brings, its assignment aside.
pub(super) fn of_join(join: &Join) -> usize {
    let names = join.client_id.len() + join.client_host.len();
    names + of_protocols(&join.protocols)
}

fn of_protocols(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| NAME_BYTES + name.len() + metadata.len()).sum()
}

impl Member {
    /// As [`of_join`].
    pub(super) fn brought_bytes(&self) -> usize {
        self.client_id.len() + self.client_host.len() + of_protocols(&self.protocols)
    }

    fn bytes(&self) -> usize {
        let instance = self.instance_id.as_ref().map_or(0, String::len);
        MEMBER_BYTES + instance + self.brought_bytes() + self.assignment.len()
    }
}
