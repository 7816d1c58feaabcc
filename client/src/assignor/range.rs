//! Each topic is cut into as many stretches as it has readers; the first ones are longer by one.

use super::{Assignment, Member, PartitionCounts, TopicPartition, give, in_order, nothing_for};

pub(super) fn assign(counts: &PartitionCounts, members: &[Member]) -> Assignment {
    let mut given = nothing_for(members);
    for (topic, count) in counts {
        let readers = members.iter().filter(|member| member.subscription.topics.contains(topic));
        let readers = in_order(readers);
        let Ok(reader_count) = i32::try_from(readers.len()) else { continue };
        if reader_count == 0 {
            continue;
        }
        let (each, longer) = (count / reader_count, count % reader_count);
        let mut next = 0;
        for (index, reader) in (0i32..).zip(readers) {
            let end = next + each + i32::from(index < longer);
            for partition in next..end {
                give(&mut given, reader, TopicPartition::new(topic.clone(), partition));
            }
            next = end;
        }
        assert_eq!(next, *count, "the stretches cover the topic");
    }
    given
}
