//! What one group has committed, and what of it is on its way into the log.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::group::records::CommittedOffset;
use crate::group::weight;
use crate::metadata::image::{MetadataImage, Topic};

/// A partition that offsets are committed for, by name: the topic need not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommittedFor {
    pub topic: String,
    pub partition: i32,
}

/// Something for each partition, by the name of its topic.
type ByPartition<T> = BTreeMap<String, BTreeMap<i32, T>>;

/// Committed offsets of one group. What is visible is durable, and was committed for the topic that
/// has the name now; commits take effect in the order of the log.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    committed: ByPartition<CommittedOffset>,
    /// How many commits of a partition the log has not answered yet.
    pending: ByPartition<u32>,
    /// What `committed` takes; what is pending is in the memory of the request that waits for it.
    bytes: usize,
}

impl Offsets {
    /// How far the group has read a partition.
    #[must_use]
    pub fn get(&self, topic: &Topic, partition: i32) -> Option<&CommittedOffset> {
        let found = self.stored(&topic.name, partition)?;
        (found.topic == topic.id || rivven_io::planted!("B76")).then_some(found)
    }

    /// Each topic of which the group has read something, with its partitions, in order.
    pub fn visible<'a>(
        &'a self,
        image: &'a MetadataImage,
    ) -> impl Iterator<Item = (&'a Topic, Vec<(i32, &'a CommittedOffset)>)> {
        self.committed.iter().filter_map(|(name, partitions)| {
            let topic = image.topic(name)?;
            let is_of_topic = |(_, offset): &(i32, &CommittedOffset)| offset.topic == topic.id;
            let all = partitions.iter().map(|(partition, offset)| (*partition, offset));
            let visible: Vec<_> = all.filter(is_of_topic).collect();
            (!visible.is_empty()).then_some((&**topic, visible))
        })
    }

    /// Each partition with its offset, in order, behind one of them.
    pub(super) fn after<'a>(
        &'a self,
        after: Option<&'a CommittedFor>,
    ) -> impl Iterator<Item = (&'a str, i32, &'a CommittedOffset)> {
        let from = after.map_or("", |after| after.topic.as_str());
        let topics = self.committed.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        topics.flat_map(move |(topic, partitions)| {
            let passed = after.filter(|after| after.topic == *topic);
            let begin = passed.map_or(Bound::Unbounded, |of| Bound::Excluded(of.partition));
            let behind = partitions.range((begin, Bound::Unbounded));
            behind.map(|(partition, offset)| (topic.as_str(), *partition, offset))
        })
    }

    /// Number of partitions with a stored offset.
    #[must_use]
    pub fn len(&self) -> usize {
        self.committed.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no stored offset, and none is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// What they take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything that is stored, also for topics that are gone.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, CommittedOffset>)> {
        self.committed.iter().map(|(topic, partitions)| (topic.as_str(), partitions))
    }

    pub(super) fn stored(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(topic)?.get(&partition)
    }

    /// Whether a commit is on its way.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a commit of a partition is on its way.
    pub(super) fn is_pending(&self, topic: &str, partition: i32) -> bool {
        self.pending.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Whether a partition has an offset, also if it is only on its way.
    pub(super) fn has(&self, of: &CommittedFor) -> bool {
        self.stored(&of.topic, of.partition).is_some() || self.is_pending(&of.topic, of.partition)
    }

    /// A commit is handed to the log.
    pub(super) fn begin(&mut self, of: &CommittedFor) {
        let partitions = self.pending.entry(of.topic.clone()).or_default();
        *partitions.entry(of.partition).or_insert(0) += 1;
    }

    /// The log has answered a commit; it counts if it is durable.
    pub(super) fn settle(&mut self, of: CommittedFor, durable: Option<CommittedOffset>) {
        let waiting = self.pending.get_mut(&of.topic).and_then(|all| all.get_mut(&of.partition));
        let waiting = waiting.expect("a commit is begun before it is settled");
        *waiting -= 1;
        if *waiting == 0 {
            remove(&mut self.pending, &of);
        }
        if let Some(offset) = durable {
            self.set(of, offset);
        }
    }

    pub(super) fn set(&mut self, of: CommittedFor, offset: CommittedOffset) {
        if !self.committed.contains_key(&of.topic) {
            self.bytes += weight::of_topic(&of.topic);
        }
        self.bytes += weight::of_offset(&offset);
        let before = self.committed.entry(of.topic).or_default().insert(of.partition, offset);
        self.bytes -= before.as_ref().map_or(0, weight::of_offset);
    }

    /// Forgets a partition's offset. One that is on its way comes after.
    pub(super) fn remove(&mut self, of: &CommittedFor) {
        let Some(offset) = remove(&mut self.committed, of) else { return };
        self.bytes -= weight::of_offset(&offset);
        if !self.committed.contains_key(&of.topic) {
            self.bytes -= weight::of_topic(&of.topic);
        }
    }

    /// Every partition with an offset, also if it is only on its way.
    pub(super) fn known(&self) -> impl Iterator<Item = CommittedFor> + '_ {
        let is_new = |of: &CommittedFor| self.stored(&of.topic, of.partition).is_none();
        named(&self.committed).chain(named(&self.pending).filter(is_new))
    }

    /// What must hold after every step.
    pub(super) fn check_all(&self) {
        assert!(self.committed.values().all(|partitions| !partitions.is_empty()), "no empty topic");
        let mut pending = self.pending.values();
        let waits = |all: &BTreeMap<i32, u32>| !all.is_empty() && all.values().all(|n| *n > 0);
        assert!(pending.all(waits), "what is pending is waited for");
        let topics = self.committed.keys().map(|topic| weight::of_topic(topic));
        let offsets = self.committed.values().flat_map(BTreeMap::values).map(weight::of_offset);
        assert_eq!(self.bytes, topics.chain(offsets).sum::<usize>(), "every byte is counted once");
    }
}

fn remove<T>(from: &mut ByPartition<T>, of: &CommittedFor) -> Option<T> {
    let partitions = from.get_mut(&of.topic)?;
    let removed = partitions.remove(&of.partition);
    if partitions.is_empty() {
        from.remove(&of.topic);
    }
    removed
}

fn named<T>(all: &ByPartition<T>) -> impl Iterator<Item = CommittedFor> + '_ {
    all.iter().flat_map(|(topic, partitions)| {
        let of = |partition: &i32| CommittedFor { topic: topic.clone(), partition: *partition };
        partitions.keys().map(of)
    })
}
