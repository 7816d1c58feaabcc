//! Partitions of all topics in order, each to the next member that subscribes to its topic.

use super::{Assignment, Member, PartitionCounts, TopicPartition, give, in_order, nothing_for};

pub(super) fn assign(counts: &PartitionCounts, members: &[Member]) -> Assignment {
    let mut given = nothing_for(members);
    let ring = in_order(members);
    let mut next = 0;
    for (topic, count) in counts {
        if !ring.iter().any(|member| member.subscription.topics.contains(topic)) {
            continue;
        }
        for partition in 0..*count {
            while !ring[next].subscription.topics.contains(topic) {
                next = (next + 1) % ring.len();
            }
            give(&mut given, ring[next], TopicPartition::new(topic.clone(), partition));
            next = (next + 1) % ring.len();
        }
    }
    given
}
