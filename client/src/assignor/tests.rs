//! Properties of all assignors, and bytes as other clients write them.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

const ALL: [Assignor; 4] =
    [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

fn topic(index: usize) -> Arc<str> {
    Arc::from(format!("t{index}"))
}

fn counts() -> impl Strategy<Value = PartitionCounts> {
    vec(0i32..13, 1..5).prop_map(|counts| {
        counts.into_iter().enumerate().map(|(index, count)| (topic(index), count)).collect()
    })
}

/// Members that own nothing; topics 4 and 5 are never there.
fn members() -> impl Strategy<Value = Vec<Member>> {
    let member = (btree_set(0usize..6, 1..5), proptest::option::of(0u8..100));
    vec(member, 1..7).prop_map(|rows| {
        let row = |(index, (topics, instance)): (usize, (BTreeSet<usize>, Option<u8>))| {
            let topics = topics.into_iter().map(topic).collect();
            let subscription = Subscription { topics, generation: -1, ..Subscription::default() };
            // Ids come in no order.
            let id = format!("m{}", (index * 7 + 3) % 10);
            let instance = instance.map(|instance| format!("{instance}-{index}"));
            Member { id, instance, subscription }
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

/// The same members, who all read the same topics.
fn equals() -> impl Strategy<Value = Vec<Member>> {
    members().prop_map(|mut members| {
        let topics = members[0].subscription.topics.clone();
        members.iter_mut().for_each(|member| member.subscription.topics = topics.clone());
        members
    })
}

fn readable(counts: &PartitionCounts, members: &[Member]) -> BTreeSet<TopicPartition> {
    let is_read = |topic: &str| members.iter().any(|m| m.subscription.topics.contains(topic));
    let topics = counts.iter().filter(|(topic, _)| is_read(topic));
    topics
        .flat_map(|(topic, count)| (0..*count).map(|p| TopicPartition::new(&**topic, p)))
        .collect()
}

fn check_owned_once(given: &Assignment, counts: &PartitionCounts, members: &[Member]) {
    let mut seen = BTreeSet::new();
    for member in members {
        for partition in &given[&member.id] {
            assert!(member.subscription.topics.contains(&partition.topic));
            assert!(seen.insert(partition.clone()), "{partition} has two owners");
        }
    }
    assert_eq!(seen, readable(counts, members));
}

/// Takes over what was assigned, as members of one generation.
fn settle(members: &mut [Member], given: &Assignment, generation: i32) {
    for member in members {
        member.subscription.owned = given[&member.id].clone();
        member.subscription.generation = generation;
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_owner_who_subscribes(counts in counts(), members in members()) {
        for assignor in ALL {
            let given = assignor.assign(&counts, &members);
            check_owned_once(&given, &counts, &members);
        }
    }

    #[test]
    fn range_gives_each_reader_of_a_topic_a_stretch(counts in counts(), members in members()) {
        let given = Assignor::Range.assign(&counts, &members);
        for (topic, count) in &counts {
            let readers: Vec<_> =
                members.iter().filter(|m| m.subscription.topics.contains(topic)).collect();
            for reader in &readers {
                let own = given[&reader.id].iter().filter(|p| p.topic == *topic);
                let own: Vec<i32> = own.map(|p| p.partition).collect();
                let (each, rest) = (count / readers.len() as i32, count % readers.len() as i32);
                let more = own.len() as i32 - each;
                prop_assert!((0..=i32::from(rest > 0)).contains(&more));
                prop_assert!(own.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            }
        }
    }

    #[test]
    fn members_that_read_the_same_are_even(counts in counts(), members in equals()) {
        for assignor in [Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
            let given = assignor.assign(&counts, &members);
            let loads = given.values().map(BTreeSet::len);
            prop_assert!(loads.clone().max().unwrap() <= loads.min().unwrap() + 1);
        }
    }

    #[test]
    fn no_single_move_makes_sticky_members_more_even(
        counts in counts(),
        before in members(),
        after in members(),
    ) {
        let mut after = after;
        let given = Assignor::Sticky.assign(&counts, &before);
        for member in &mut after {
            member.subscription.owned = given.get(&member.id).cloned().unwrap_or_default();
            member.subscription.generation = 1;
        }
        let given = Assignor::Sticky.assign(&counts, &after);
        check_owned_once(&given, &counts, &after);
        for owner in &after {
            for partition in &given[&owner.id] {
                let least = after
                    .iter()
                    .filter(|m| m.subscription.topics.contains(&partition.topic))
                    .map(|m| given[&m.id].len());
                prop_assert!(given[&owner.id].len() <= least.min().unwrap() + 1);
            }
        }
    }

    #[test]
    fn sticky_members_keep_what_the_balance_allows(
        counts in counts(),
        members in equals(),
        gone in any::<proptest::sample::Index>(),
        joins in any::<bool>(),
    ) {
        let mut members = members;
        let first = Assignor::Sticky.assign(&counts, &members);
        settle(&mut members, &first, 1);
        let mut other = members[0].clone();
        (other.id, other.instance) = ("new".to_owned(), None);
        (other.subscription.owned, other.subscription.generation) = (BTreeSet::new(), -1);
        match joins {
            true => members.push(other),
            false if members.len() > 1 => drop(members.remove(gone.index(members.len()))),
            false => {}
        }
        let second = Assignor::Sticky.assign(&counts, &members);
        let all = readable(&counts, &members).len();
        let (low, mut longer) = (all / members.len(), all % members.len());
        let mut keepable = 0;
        for member in &members {
            let owned = member.subscription.owned.len();
            let one_more = owned > low && longer > 0;
            longer -= usize::from(one_more);
            keepable += owned.min(low + usize::from(one_more));
        }
        let kept = |m: &Member| second[&m.id].intersection(&m.subscription.owned).count();
        prop_assert_eq!(members.iter().map(kept).sum::<usize>(), keepable);
        settle(&mut members, &second, 2);
        prop_assert_eq!(Assignor::Sticky.assign(&counts, &members), second, "nothing moves again");
    }

    #[test]
    fn a_cooperative_member_gets_nothing_that_another_still_reads(
        counts in counts(),
        groups in vec(members(), 1..5),
    ) {
        let mut owned: BTreeMap<String, (BTreeSet<TopicPartition>, i32)> = BTreeMap::new();
        for (step, mut members) in groups.into_iter().enumerate() {
            owned.retain(|id, _| members.iter().any(|member| member.id == *id));
            let mut rounds = 0;
            loop {
                for member in &mut members {
                    let none = || (BTreeSet::new(), -1);
                    let (mine, generation) = owned.get(&member.id).cloned().unwrap_or_else(none);
                    // A member gives up first what it no longer subscribes to.
                    let topics = &member.subscription.topics;
                    member.subscription.owned =
                        mine.into_iter().filter(|p| topics.contains(&p.topic)).collect();
                    member.subscription.generation = generation;
                }
                let given = Assignor::CooperativeSticky.assign(&counts, &members);
                for (index, member) in members.iter().enumerate() {
                    for other in members.iter().enumerate().filter(|(at, _)| *at != index) {
                        let still = &other.1.subscription.owned;
                        prop_assert!(given[&member.id].is_disjoint(still));
                    }
                }
                let keeps_all = |m: &Member| given[&m.id].is_superset(&m.subscription.owned);
                let is_done = members.iter().all(keeps_all);
                let generation = i32::try_from(step * 10 + rounds).unwrap();
                owned = given.iter().map(|(id, p)| (id.clone(), (p.clone(), generation))).collect();
                rounds += 1;
                if is_done {
                    check_owned_once(&given, &counts, &members);
                    break;
                }
                prop_assert!(rounds < 3, "the second round ends it");
            }
        }
    }

    #[test]
    fn metadata_and_assignments_round_trip(
        counts in counts(),
        members in members(),
        generation in -1i32..100,
        rack in proptest::option::of("[a-z]{0,5}"),
    ) {
        let given = Assignor::RoundRobin.assign(&counts, &members);
        for member in members {
            let owned = given[&member.id].clone();
            let assignment = protocol::encode_assignment(&owned);
            prop_assert_eq!(protocol::decode_assignment(assignment.clone()), Some(owned.clone()));
            for end in 1..assignment.len() - 4 {
                prop_assert_eq!(protocol::decode_assignment(assignment.slice(..end)), None);
            }
            let rack = rack.clone();
            let subscription = Subscription { generation, rack, ..member.subscription };
            for assignor in ALL {
                let mut subscription = subscription.clone();
                if assignor == Assignor::CooperativeSticky {
                    subscription.owned = owned.clone();
                }
                let metadata = assignor.metadata(&subscription, &owned);
                for end in 0..metadata.len() {
                    prop_assert_eq!(assignor.read_metadata(metadata.slice(..end)), None);
                }
                if assignor == Assignor::Sticky {
                    subscription.owned = owned.clone();
                }
                prop_assert_eq!(assignor.read_metadata(metadata), Some(subscription));
            }
        }
    }

    #[test]
    fn random_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..60)) {
        for assignor in ALL {
            let _ = assignor.read_metadata(Bytes::copy_from_slice(&bytes));
        }
        let _ = protocol::decode_assignment(Bytes::from(bytes));
    }
}

#[test]
fn a_disputed_partition_is_the_later_generations_or_nobodys() {
    let counts = PartitionCounts::from([(topic(0), 2)]);
    let own = |id: &str, partitions: &[i32], generation| {
        let owned = partitions.iter().map(|p| TopicPartition::new(topic(0), *p)).collect();
        let topics = BTreeSet::from([topic(0)]);
        let subscription = Subscription { topics, owned, generation, rack: None };
        Member { id: id.to_owned(), instance: None, subscription }
    };
    let rows = |given: &Assignment, id: &str| -> Vec<i32> {
        given[id].iter().map(|partition| partition.partition).collect()
    };
    let stale = [own("a", &[0, 1], 3), own("b", &[0], 4)];
    let given = Assignor::CooperativeSticky.assign(&counts, &stale);
    assert_eq!((rows(&given, "a"), rows(&given, "b")), (vec![1], vec![0]));
    let both = [own("a", &[0], 4), own("b", &[0], 4), own("c", &[1], 4)];
    let given = Assignor::CooperativeSticky.assign(&counts, &both);
    assert_eq!(rows(&given, "c"), [1]);
    let owners = rows(&given, "a").len() + rows(&given, "b").len();
    assert_eq!(owners, 1);
}

/// What Kafka 4.3.1's `ConsumerProtocol` writes, and versions of older clients.
#[test]
fn bytes_of_other_clients_are_read() {
    let subscription = Subscription {
        topics: [topic(0)].into(),
        owned: [TopicPartition::new(topic(1), 2)].into(),
        generation: 5,
        rack: Some("r".to_owned()),
    };
    let golden = b"\0\x03\0\0\0\x01\0\x02t0\0\0\0\x04\0\0\0\x05\0\0\0\x01\0\x02t1\0\0\0\x01\
        \0\0\0\x02\0\0\0\x05\0\x01r";
    let written = Assignor::CooperativeSticky.metadata(&subscription, &BTreeSet::new());
    assert_eq!(written, &golden[..]);
    let first = b"\0\0\0\0\0\x01\0\x02t0\xff\xff\xff\xff";
    let read = Assignor::Range.read_metadata(Bytes::from_static(first)).unwrap();
    assert_eq!((read.topics, read.generation), ([topic(0)].into(), -1));
    let second = b"\0\x01\0\0\0\x01\0\x02t0\0\0\0\x04\0\0\0\x05\0\0\0\x01\0\x02t1\0\0\0\x01\
        \0\0\0\x02";
    let read = Assignor::CooperativeSticky.read_metadata(Bytes::from_static(second)).unwrap();
    assert_eq!((read.owned, read.generation), (subscription.owned.clone(), 5));
    let later = [b"\0\x09", &golden[2..], b"more"].concat();
    let read = Assignor::CooperativeSticky.read_metadata(Bytes::from(later)).unwrap();
    assert_eq!(read, subscription);
    let assigned = b"\0\x03\0\0\0\x01\0\x02t1\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff";
    let read = protocol::decode_assignment(Bytes::from_static(assigned));
    assert_eq!(read, Some(subscription.owned));
}

#[test]
fn a_leader_that_comes_back_sees_what_the_assignment_was_made_from() {
    let counts = |rows: &[(&str, i32)]| -> PartitionCounts {
        rows.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
    };
    let before = counts(&[("ab", 3), ("c", 1)]);
    let data = protocol::encode_made_from(&before);
    let partitions = BTreeSet::from([TopicPartition::new(Arc::from("ab"), 2)]);
    let assignment = protocol::encode_assignment_of(&partitions, Some(&data));
    let (given, data) = protocol::decode_assignment_of(assignment.clone()).unwrap();
    assert_eq!(given, partitions);
    assert_eq!(protocol::decode_assignment(assignment), Some(partitions));
    let differs = |now: &[(&str, i32)]| protocol::was_made_from_others(data.as_ref(), &counts(now));
    assert!(!differs(&[("ab", 3), ("c", 1)]));
    for now in [&[("ab", 3)][..], &[("ab", 4), ("c", 1)], &[("a", 3), ("bc", 1)], &[]] {
        assert!(differs(now), "{now:?}");
    }
    // Assignments of others say nothing.
    let others = Bytes::from_static(b"sticky state of another library");
    assert!(!protocol::was_made_from_others(Some(&others), &before));
    assert!(!protocol::was_made_from_others(None, &before));
}
