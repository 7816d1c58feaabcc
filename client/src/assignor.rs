//! Who of a group reads which partition: pure functions of the members and their topics.
//!
//! Results are those of Kafka's Java clients: range and round-robin partition by partition, the
//! sticky ones in balance and in what they keep. Racks do not count.

mod balance;
pub mod protocol;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A partition by the name of its topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How partitions are given to the members of a group (`partition.assignment.strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Topic by topic, neighbouring partitions together.
    Range,
    /// One after the other over all topics.
    RoundRobin,
    /// In balance, and moving as little as that allows; everybody stops at each rebalance.
    Sticky,
    /// The same, and only what moves stops (KIP-429).
    CooperativeSticky,
}

/// What a member says about itself when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub topics: BTreeSet<Arc<str>>,
    /// What it owns and goes on reading; with the sticky assignor, what it owned.
    pub owned: BTreeSet<TopicPartition>,
    /// In which `owned` was assigned; -1 if it was in none.
    pub generation: i32,
    pub rack: Option<String>,
}

/// A member of a group, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// Of a static member (KIP-345).
    pub instance: Option<String>,
    pub subscription: Subscription,
}

/// Partitions of each topic that is there.
pub type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// Partitions of each member, by member id; who gets none stands there too.
pub type Assignment = BTreeMap<String, BTreeSet<TopicPartition>>;

impl Assignor {
    /// Its name in the group protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Assignor> {
        let all =
            [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];
        all.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Whether members may keep reading while the group rebalances.
    #[must_use]
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// Shares the partitions out. Topics that nobody subscribes to stay unread; what
    /// [`Assignor::CooperativeSticky`] must take from a member is nobody's in the result, until
    /// that member has given it up and the group rebalances again.
    #[must_use]
    pub fn assign(self, counts: &PartitionCounts, members: &[Member]) -> Assignment {
        let given = match self {
            Assignor::Range => range::assign(counts, members),
            Assignor::RoundRobin => round_robin::assign(counts, members),
            Assignor::Sticky => sticky::assign(counts, members),
            Assignor::CooperativeSticky => sticky::assign_in_two_steps(counts, members),
        };
        assert_eq!(given.len(), members.len(), "every member stands in the result");
        given
    }

    /// What a member that uses this assignor sends when it joins. `owned` is what it goes on
    /// reading, `before` what it had before it stopped, with its generation.
    #[must_use]
    pub fn metadata(self, subscription: &Subscription, before: &BTreeSet<TopicPartition>) -> Bytes {
        let user_data = match self {
            Assignor::Range | Assignor::RoundRobin => None,
            Assignor::Sticky => {
                Some(protocol::encode_sticky_user_data(before, subscription.generation))
            }
            Assignor::CooperativeSticky => {
                Some(Bytes::copy_from_slice(&subscription.generation.to_be_bytes()))
            }
        };
        protocol::encode_subscription(subscription, user_data.as_ref())
    }

    /// Reads what [`Assignor::metadata`], or another client, has written. `None` for other bytes.
    #[must_use]
    pub fn read_metadata(self, metadata: Bytes) -> Option<Subscription> {
        let (mut subscription, user_data) = protocol::decode_subscription(metadata)?;
        let user_data = user_data.unwrap_or_default();
        match self {
            Assignor::Range | Assignor::RoundRobin => {}
            Assignor::Sticky => {
                // An eager member owns nothing while it joins; it says what it had.
                let had = protocol::decode_sticky_user_data(user_data);
                (subscription.owned, subscription.generation) =
                    had.unwrap_or((BTreeSet::new(), -1));
            }
            Assignor::CooperativeSticky if subscription.generation < 0 => {
                // Versions 0 and 1 of the subscription have no generation of their own.
                if let Ok(generation) = <[u8; 4]>::try_from(&user_data[..]) {
                    subscription.generation = i32::from_be_bytes(generation);
                }
            }
            Assignor::CooperativeSticky => {}
        }
        Some(subscription)
    }
}

/// Members in the order in which partitions are handed out: static ones first.
fn in_order<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<&'a Member> {
    let mut members: Vec<&Member> = members.into_iter().collect();
    members.sort_by(|a, b| match (&a.instance, &b.instance) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.id.cmp(&b.id),
    });
    members
}

fn nothing_for(members: &[Member]) -> Assignment {
    members.iter().map(|member| (member.id.clone(), BTreeSet::new())).collect()
}

fn give(given: &mut Assignment, member: &Member, partition: TopicPartition) {
    let partitions = given.get_mut(&member.id).expect("every member has its row");
    assert!(partitions.insert(partition), "a partition is given once");
}
