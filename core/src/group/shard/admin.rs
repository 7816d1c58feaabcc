//! What operators ask and do, and what ends by itself: lists, deletions, and the retention of
//! offsets.

use std::collections::BTreeSet;

use super::commit::key_of;
use super::{Appending, Entry, LogRecord, Shard, ShardEffect};
use crate::group::machine::Phase;
use crate::group::messages::{GroupError, StoredGroup, Ticket};
use crate::group::offsets::CommittedFor;
use crate::group::records::{CommittedOffset, RecordKey};
use crate::ids::{Offset, TimestampMs, TopicId};
use crate::metadata::image::MetadataImage;

/// One line of a list of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedGroup<'a> {
    pub name: &'a str,
    /// `None`: a group that only commits offsets.
    pub protocol_type: Option<&'a str>,
    pub phase: Phase,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    pub phase: Phase,
    pub state: StoredGroup,
}

/// Where a look at all committed offsets goes on, so that none of its steps takes long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetsCursor {
    group: String,
    /// Seen last in the group; `None`: none of it was seen.
    seen: Option<CommittedFor>,
}

/// How far a group has read a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedRow {
    pub group: String,
    pub of: CommittedFor,
    /// Which topic of that name it is for.
    pub topic: TopicId,
    pub offset: Offset,
}

impl Shard {
    /// Committed offsets from `cursor` on, in order; looks at no more than `steps_max` groups and
    /// offsets. Where to go on; `None` at the end.
    #[must_use]
    pub fn committed_from(
        &self,
        cursor: &OffsetsCursor,
        steps_max: usize,
    ) -> (Vec<CommittedRow>, Option<OffsetsCursor>) {
        assert!(steps_max > 1, "a step for the group and one for its offset");
        let mut rows = Vec::new();
        let mut steps = 0;
        let mut seen = cursor.seen.as_ref();
        for (group, entry) in self.groups.range(cursor.group.clone()..) {
            let seen = seen.take().filter(|_| *group == cursor.group);
            steps += 1;
            let mut last = seen.cloned();
            for (topic, partition, offset) in entry.offsets.after(seen) {
                if steps >= steps_max {
                    return (rows, Some(OffsetsCursor { group: group.clone(), seen: last }));
                }
                steps += 1;
                let of = CommittedFor { topic: topic.to_owned(), partition };
                last = Some(of.clone());
                let (offset, topic) = (offset.offset, offset.topic);
                rows.push(CommittedRow { group: group.clone(), of, topic, offset });
            }
            if steps >= steps_max {
                return (rows, Some(OffsetsCursor { group: group.clone(), seen: last }));
            }
        }
        (rows, None)
    }

    /// Every group, by name.
    pub fn list(&self) -> impl Iterator<Item = ListedGroup<'_>> {
        self.groups.iter().map(|(name, entry)| ListedGroup {
            name,
            protocol_type: entry.group.protocol_type(),
            phase: entry.group.phase(),
        })
    }

    /// One group.
    #[must_use]
    pub fn describe(&self, group: &str) -> Option<DescribedGroup> {
        let group = &self.groups.get(group)?.group;
        Some(DescribedGroup { phase: group.phase(), state: group.stored_state() })
    }

    /// Forgets a group in which nobody is. The answer comes as [`ShardEffect::Done`] unless it is
    /// an error at once.
    ///
    /// # Errors
    /// [`GroupError`], as Kafka's DeleteGroups.
    pub fn delete(
        &mut self,
        (group, ticket): (&str, Ticket),
        out: &mut Vec<ShardEffect>,
    ) -> Result<(), GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let entry = self.groups.get(group).ok_or(GroupError::UnknownGroup)?;
        if entry.group.phase() != Phase::Empty {
            return Err(GroupError::NonEmptyGroup);
        }
        let offsets: Vec<CommittedFor> = entry.offsets.known().collect();
        out.push(self.forget(group, (Some(ticket), offsets, true)));
        Ok(())
    }

    /// Forgets offsets of a group; those that it never committed are no error, and those of topics
    /// that its members use stay. The topics that are used; the answer comes as
    /// [`ShardEffect::Done`].
    ///
    /// # Errors
    /// [`GroupError`], as Kafka's OffsetDelete.
    pub fn delete_offsets(
        &mut self,
        group: &str,
        (ticket, offsets): (Ticket, Vec<CommittedFor>),
        out: &mut Vec<ShardEffect>,
    ) -> Result<BTreeSet<String>, GroupError> {
        let entry = self.groups.get(group).ok_or(GroupError::UnknownGroup)?;
        if entry.group.phase() != Phase::Empty && !entry.group.is_consumers() {
            return Err(GroupError::NonEmptyGroup);
        }
        let used = entry.group.subscriptions();
        let asked: BTreeSet<CommittedFor> = offsets.into_iter().collect();
        let (kept, asked): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|of| used.contains(&of.topic));
        let known: Vec<_> = asked.into_iter().filter(|of| entry.offsets.has(of)).collect();
        out.push(match known.is_empty() {
            true => ShardEffect::Done(ticket, Ok(())),
            false => self.forget(group, (Some(ticket), known, false)),
        });
        Ok(kept.into_iter().map(|of| of.topic).collect())
    }

    /// Forgets offsets that have outlived their retention or their topic, and groups of which
    /// nothing is left. `image` is newer than every commit that was taken.
    pub fn expire(&mut self, now: TimestampMs, image: &MetadataImage, out: &mut Vec<ShardEffect>) {
        let mut over = Vec::new();
        for (name, entry) in &self.groups {
            let expired = self.expired(entry, now, image);
            let nothing_is_left =
                expired.len() == entry.offsets.len() && !entry.offsets.has_pending();
            let is_over = entry.is_idle() && nothing_is_left;
            if !expired.is_empty() || is_over {
                over.push((name.clone(), expired, is_over));
            }
        }
        out.extend(
            over.into_iter()
                .map(|(name, expired, is_over)| self.forget(&name, (None, expired, is_over))),
        );
    }

    /// Forgets what was committed for topics that are gone. Nobody sees it before either. `image`
    /// is newer than every commit that was taken.
    pub fn forget_gone(&mut self, image: &MetadataImage, out: &mut Vec<ShardEffect>) {
        let mut all = Vec::new();
        for (name, entry) in &self.groups {
            let gone = entry.old_offsets(image, |_, _| false);
            if !gone.is_empty() {
                all.push((name.clone(), gone));
            }
        }
        out.extend(all.into_iter().map(|(name, gone)| self.forget(&name, (None, gone, false))));
    }

    /// As Kafka's `ClassicGroup.offsetExpirationCondition`: a group without members keeps its
    /// offsets from when it became empty, one that only commits from each commit, and one that is
    /// stable forgets only what nobody subscribes to.
    fn expired(&self, entry: &Entry, now: TimestampMs, image: &MetadataImage) -> Vec<CommittedFor> {
        let retention = i64::try_from(self.rules.retention.as_millis()).unwrap_or(i64::MAX);
        let group = &entry.group;
        let since_empty = match (group.protocol_type(), group.phase()) {
            (None, _) => None,
            // Others than us may not have said when.
            (_, Phase::Empty) => Some(entry.since).filter(|since| since.0 >= 0),
            (_, Phase::Stable) if group.is_consumers() => None,
            _ => return entry.old_offsets(image, |_, _| false),
        };
        let mut used = None;
        entry.old_offsets(image, |topic, offset| {
            let begin = since_empty.unwrap_or(offset.committed);
            let end = offset.expires.unwrap_or(TimestampMs(begin.0.saturating_add(retention)));
            now >= end && !used.get_or_insert_with(|| group.subscriptions()).contains(topic)
        })
    }

    /// Appends what takes offsets back, and with `whole` the group.
    fn forget(
        &mut self,
        group: &str,
        (ticket, offsets, whole): (Option<Ticket>, Vec<CommittedFor>, bool),
    ) -> ShardEffect {
        assert!(whole || !offsets.is_empty(), "there is something to forget");
        let keys = offsets.iter().map(|of| key_of(group, of));
        let of_group = whole.then(|| RecordKey::Group { group: group.to_owned() });
        let records = keys.chain(of_group).map(taken_back).collect();
        let (group, whole) = (group.to_owned(), whole.then_some(self.next_append));
        self.append(Appending::Forget { group, ticket, offsets, whole }, records)
    }

    /// What was to be forgotten is durably so. Whatever came into the log behind it stays.
    pub(super) fn forgotten(&mut self, group: &str, offsets: &[CommittedFor], whole: Option<u64>) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        for of in offsets {
            entry.offsets.remove(of);
        }
        // A group that somebody joined meanwhile goes on; it is stored anew with its generation.
        let Some(append) = whole else { return };
        entry.is_logged &= entry.stored_by > append;
        if entry.is_idle() && entry.offsets.is_empty() {
            self.remove(group);
        }
    }
}

impl Entry {
    /// Offsets of topics that are gone, and those that `is_old`. Where a commit is on its way, that
    /// one takes its place: what takes the key back would take it too.
    fn old_offsets(
        &self,
        image: &MetadataImage,
        mut is_old: impl FnMut(&str, &CommittedOffset) -> bool,
    ) -> Vec<CommittedFor> {
        let mut old = Vec::new();
        for (topic, partitions) in self.offsets.all() {
            let id = image.topic(topic).map_or(TopicId::NIL, |topic| topic.id);
            let is_gone = |offset: &CommittedOffset| offset.topic != id || id == TopicId::NIL;
            let mut is_old = |offset: &CommittedOffset| is_gone(offset) || is_old(topic, offset);
            for (&partition, _) in partitions.iter().filter(|(_, offset)| is_old(offset)) {
                if !self.offsets.is_pending(topic, partition) {
                    old.push(CommittedFor { topic: topic.to_owned(), partition });
                }
            }
        }
        old
    }
}

fn taken_back(key: RecordKey) -> LogRecord {
    LogRecord { key, value: None, topic: None }
}
