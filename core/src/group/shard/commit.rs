//! OffsetCommit: how far a group has read, durable before it is answered or shown.

use super::{Appending, Entry, LogRecord, Now, Shard, ShardEffect};
use crate::group::messages::{Caller, GroupError, Ticket};
use crate::group::offsets::{CommittedFor, Offsets};
use crate::group::records::{CommittedOffset, RecordKey};
use crate::group::weight;
use crate::ids::TopicId;

/// An OffsetCommit request.
#[derive(Clone, Debug)]
pub struct Commit {
    pub caller: Caller,
    /// Negative: nobody's, which a group without members takes.
    pub generation: i32,
    pub offsets: Vec<(CommittedFor, CommittedOffset)>,
}

impl Shard {
    /// A group commits. The answer comes as [`ShardEffect::Done`] unless it is an error at once.
    ///
    /// # Errors
    /// [`GroupError`], as Kafka's OffsetCommit; nothing was stored then.
    pub fn commit(
        &mut self,
        now: Now,
        group: &str,
        (ticket, commit): (Ticket, Commit),
        out: &mut Vec<ShardEffect>,
    ) -> Result<(), GroupError> {
        let Commit { caller, generation, offsets } = commit;
        let rules = self.rules.group;
        match self.groups.get_mut(group) {
            Some(entry) => entry.group.check_commit(now.monotonic, &caller, generation)?,
            None if generation >= 0 => return Err(GroupError::UnknownGroup),
            None => self.check_new(group)?,
        }
        if offsets.is_empty() {
            out.push(ShardEffect::Done(ticket, Ok(())));
            return Ok(());
        }
        self.check_room(group, &offsets)?;
        let entry = self.groups.entry(group.to_owned()).or_insert_with(|| Entry::new(rules));
        let mut records = Vec::with_capacity(offsets.len());
        for (of, offset) in &offsets {
            assert!(of.partition >= 0, "who commits names a partition that is there");
            assert!(offset.topic != TopicId::NIL, "and its topic");
            entry.offsets.begin(of);
            records.push(LogRecord {
                key: key_of(group, of),
                value: Some(offset.encode()),
                topic: Some(offset.topic),
            });
        }
        if rivven_io::planted!("B60") {
            out.push(ShardEffect::Done(ticket, Ok(())));
        }
        self.weigh_offsets(group);
        let group = group.to_owned();
        out.push(self.append(Appending::Commit { group, ticket, offsets }, records));
        Ok(())
    }

    /// Whether there is room for what is new of a commit.
    fn check_room(
        &self,
        group: &str,
        offsets: &[(CommittedFor, CommittedOffset)],
    ) -> Result<(), GroupError> {
        let entry = self.groups.get(group);
        let known = |of: &CommittedFor| entry?.offsets.stored(&of.topic, of.partition);
        let mut rows = offsets.iter();
        let checked = rows.try_for_each(|(of, offset)| {
            let before = known(of).map_or(0, weight::of_offset);
            self.room.check(weight::of_offset(offset), before)
        });
        checked.map_err(|error| match error {
            GroupError::NoRoom { used, max } => GroupError::NoRoomForOffsets { used, max },
            other => other,
        })
    }

    pub(super) fn committed(
        &mut self,
        (group, offsets): (&str, Vec<(CommittedFor, CommittedOffset)>),
        is_durable: bool,
    ) {
        let entry = self.groups.get_mut(group).expect("a group with a commit on its way stays");
        for (of, offset) in offsets {
            entry.offsets.settle(of, is_durable.then_some(offset));
        }
    }

    /// What a group has committed; it is shown with the topics that are there.
    #[must_use]
    pub fn offsets(&self, group: &str) -> Option<&Offsets> {
        self.groups.get(group).map(|entry| &entry.offsets)
    }

    /// Bytes that a client may store beside an offset.
    #[must_use]
    pub fn metadata_bytes_max(&self) -> usize {
        self.rules.metadata_bytes_max
    }
}

pub(super) fn key_of(group: &str, of: &CommittedFor) -> RecordKey {
    RecordKey::Offset { group: group.to_owned(), topic: of.topic.clone(), partition: of.partition }
}
