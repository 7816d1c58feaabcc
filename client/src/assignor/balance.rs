//! The work of the sticky assignors: loads of members, and moves that level them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Assignment, Member, TopicPartition};

/// Partitions by member, with the members by load. Members are indices in their order.
pub(super) struct Balance<'a> {
    ring: &'a [&'a Member],
    readers: BTreeMap<Arc<str>, Vec<usize>>,
    /// What each had before, and has kept.
    kept: Vec<BTreeSet<TopicPartition>>,
    /// What is new to it.
    added: Vec<BTreeSet<TopicPartition>>,
    by_load: BTreeSet<(usize, usize)>,
    all_read_the_same: bool,
}

impl<'a> Balance<'a> {
    pub(super) fn new(ring: &'a [&'a Member]) -> Balance<'a> {
        let mut readers: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (index, member) in ring.iter().enumerate() {
            for topic in &member.subscription.topics {
                readers.entry(topic.clone()).or_default().push(index);
            }
        }
        let all_read_the_same = readers.values().all(|readers| readers.len() == ring.len());
        Balance {
            ring,
            readers,
            kept: vec![BTreeSet::new(); ring.len()],
            added: vec![BTreeSet::new(); ring.len()],
            by_load: (0..ring.len()).map(|member| (0, member)).collect(),
            all_read_the_same,
        }
    }

    pub(super) fn has_readers(&self, topic: &str) -> bool {
        self.readers.contains_key(topic)
    }

    fn load(&self, member: usize) -> usize {
        self.kept[member].len() + self.added[member].len()
    }

    fn change(&mut self, member: usize, change: impl FnOnce(&mut Self) -> bool) {
        let before = self.load(member);
        let changed = change(self);
        let after = self.load(member);
        assert!(changed && before.abs_diff(after) == 1, "one partition at a time");
        assert!(self.by_load.remove(&(before, member)), "every member has its load");
        self.by_load.insert((after, member));
    }

    pub(super) fn keep(&mut self, partition: TopicPartition, owner: usize) {
        self.change(owner, |all| all.kept[owner].insert(partition));
    }

    fn add(&mut self, partition: TopicPartition, owner: usize) {
        self.change(owner, |all| all.added[owner].insert(partition));
    }

    /// The reader of a topic with the fewest partitions.
    fn least(&self, topic: &str) -> usize {
        if self.all_read_the_same {
            return self.by_load.first().expect("a topic with readers has members").1;
        }
        let readers = self.readers[topic].iter().copied();
        readers.min_by_key(|reader| (self.load(*reader), *reader)).expect("a topic has readers")
    }

    pub(super) fn give_to_least(&mut self, partition: TopicPartition) {
        let reader = self.least(&partition.topic);
        self.add(partition, reader);
    }

    /// Moves partitions, from the fullest member first, as long as a move makes two members more
    /// equal. Every move lowers the sum of the squared loads, so that this ends.
    pub(super) fn level(&mut self) {
        while let Some((partition, from, to)) = self.next_move() {
            assert!(self.load(from) >= self.load(to) + 2, "a move levels");
            self.change(from, |all| {
                all.added[from].remove(&partition) || all.kept[from].remove(&partition)
            });
            self.add(partition, to);
        }
    }

    fn next_move(&self) -> Option<(TopicPartition, usize, usize)> {
        let lowest = self.by_load.first()?.0;
        for (load, from) in self.by_load.iter().rev() {
            if *load < lowest + 2 {
                return None;
            }
            // What is new to a member costs nothing to move on.
            let candidates = self.added[*from].iter().chain(&self.kept[*from]);
            let mut best: Option<(usize, &TopicPartition, usize)> = None;
            let mut topic: Option<&str> = None;
            for partition in candidates {
                if topic == Some(&*partition.topic) {
                    continue;
                }
                topic = Some(&partition.topic);
                let to = self.least(&partition.topic);
                let room = self.load(to);
                if room + 2 <= *load && best.is_none_or(|(least, ..)| room < least) {
                    best = Some((room, partition, to));
                }
            }
            if let Some((_, partition, to)) = best {
                return Some((partition.clone(), *from, to));
            }
        }
        None
    }

    pub(super) fn finish(self) -> Assignment {
        let parts = self.kept.into_iter().zip(self.added);
        let rows = self.ring.iter().zip(parts).map(|(member, (mut partitions, added))| {
            partitions.extend(added);
            (member.id.clone(), partitions)
        });
        rows.collect()
    }
}
