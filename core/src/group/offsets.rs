//! What one group has committed, and what of it is on its way into the log.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::group::records::CommittedOffset;
use crate::ids::Offset;

/// A partition that offsets are committed for, by name: the topic need not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommittedFor {
    pub topic: String,
    pub partition: i32,
}

/// Committed offsets of one group. What is visible is durable; commits take effect in the order
/// of the log.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    committed: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
    /// How many commits of a partition the log has not answered yet.
    pending: BTreeMap<CommittedFor, u32>,
}

impl Offsets {
    /// How far the group has read a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(topic)?.get(&partition)
    }

    /// Each topic with its partitions, in order.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, CommittedOffset>)> {
        self.committed.iter().map(|(topic, partitions)| (topic.as_str(), partitions))
    }

    /// Each partition with its offset, in order, behind one of them.
    pub(super) fn after<'a>(
        &'a self,
        after: Option<&'a CommittedFor>,
    ) -> impl Iterator<Item = (&'a str, i32, Offset)> {
        let from = after.map_or("", |after| after.topic.as_str());
        let topics = self.committed.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        topics.flat_map(move |(topic, partitions)| {
            let passed = after.filter(|after| after.topic == *topic);
            let begin = passed.map_or(Bound::Unbounded, |of| Bound::Excluded(of.partition));
            let behind = partitions.range((begin, Bound::Unbounded));
            behind.map(|(partition, offset)| (topic.as_str(), *partition, offset.offset))
        })
    }

    /// Number of partitions with a committed offset.
    #[must_use]
    pub fn len(&self) -> usize {
        self.committed.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no committed offset, and none is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Whether a commit is on its way.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn has(&self, of: &CommittedFor) -> bool {
        self.get(&of.topic, of.partition).is_some()
    }

    /// A commit is handed to the log.
    pub(super) fn begin(&mut self, of: &CommittedFor) {
        *self.pending.entry(of.clone()).or_insert(0) += 1;
    }

    /// The log has answered a commit; it counts if it is durable.
    pub(super) fn settle(&mut self, of: CommittedFor, durable: Option<CommittedOffset>) {
        let waiting = self.pending.get_mut(&of).expect("a commit is begun before it is settled");
        *waiting -= 1;
        if *waiting == 0 {
            self.pending.remove(&of);
        }
        if let Some(offset) = durable {
            self.set(of, offset);
        }
    }

    pub(super) fn set(&mut self, of: CommittedFor, offset: CommittedOffset) {
        self.committed.entry(of.topic).or_default().insert(of.partition, offset);
    }

    /// Forgets a partition's offset. One that is on its way comes after.
    pub(super) fn remove(&mut self, of: &CommittedFor) {
        let Some(partitions) = self.committed.get_mut(&of.topic) else { return };
        partitions.remove(&of.partition);
        if partitions.is_empty() {
            self.committed.remove(&of.topic);
        }
    }

    /// Every partition with an offset, also if it is only on its way.
    pub(super) fn known(&self) -> impl Iterator<Item = CommittedFor> + '_ {
        let committed = self.committed.iter().flat_map(|(topic, partitions)| {
            partitions
                .keys()
                .map(|partition| CommittedFor { topic: topic.clone(), partition: *partition })
        });
        let on_its_way = |of: &&CommittedFor| !self.has(of);
        committed.chain(self.pending.keys().filter(on_its_way).cloned())
    }

    /// What must hold after every step.
    pub(super) fn check_all(&self) {
        assert!(self.committed.values().all(|partitions| !partitions.is_empty()), "no empty topic");
        assert!(self.pending.values().all(|waiting| *waiting > 0), "what is pending is waited for");
    }
}
