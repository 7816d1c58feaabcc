//! Everybody keeps what he has, as far as the balance allows (KIP-54, KIP-429).

use std::collections::{BTreeMap, BTreeSet};

use super::balance::Balance;
use super::{Assignment, Member, PartitionCounts, TopicPartition, in_order};

pub(super) fn assign(counts: &PartitionCounts, members: &[Member]) -> Assignment {
    let ring = in_order(members);
    let had = owners(counts, &ring);
    let mut balance = Balance::new(&ring);
    let mut free = Vec::new();
    for (topic, count) in counts {
        if !balance.has_readers(topic) {
            continue;
        }
        for partition in 0..*count {
            let partition = TopicPartition::new(topic.clone(), partition);
            match had.get(&partition) {
                Some(owner) => balance.keep(partition, *owner),
                None => free.push(partition),
            }
        }
    }
    free.into_iter().for_each(|partition| balance.give_to_least(partition));
    balance.level();
    balance.finish()
}

/// [`assign`] without what must be given up first: a partition that one member claims to own is
/// given to nobody else.
pub(super) fn assign_in_two_steps(counts: &PartitionCounts, members: &[Member]) -> Assignment {
    let mut claims: BTreeMap<&TopicPartition, Vec<&str>> = BTreeMap::new();
    for member in members {
        for partition in &member.subscription.owned {
            claims.entry(partition).or_default().push(&member.id);
        }
    }
    let mut given = assign(counts, members);
    for (member, partitions) in &mut given {
        partitions.retain(|partition| {
            claims.get(partition).is_none_or(|claimants| claimants.contains(&member.as_str()))
        });
    }
    given
}

/// Who owns what, as an index into `ring`. Of two claims the one of the later generation counts;
/// of two in the same generation none does, because one of them must be wrong.
fn owners(counts: &PartitionCounts, ring: &[&Member]) -> BTreeMap<TopicPartition, usize> {
    let mut owners = BTreeMap::new();
    let mut disputed = BTreeSet::new();
    let generations = ring.iter().map(|member| member.subscription.generation);
    let newest = generations.max().unwrap_or(-1);
    for (index, member) in ring.iter().enumerate() {
        let subscription = &member.subscription;
        // What a member had in an older generation was given to others since.
        if subscription.generation < newest {
            continue;
        }
        for partition in &subscription.owned {
            let is_there = counts
                .get(&partition.topic)
                .is_some_and(|count| (0..*count).contains(&partition.partition));
            if is_there
                && subscription.topics.contains(&partition.topic)
                && owners.insert(partition.clone(), index).is_some()
            {
                disputed.insert(partition.clone());
            }
        }
    }
    owners.retain(|partition, _| !disputed.contains(partition));
    owners
}
