//! What happens to a consumer's partitions.

use crate::assignor::TopicPartition;

/// A change of the assignment. The poll that notices it gives no records, so that the application
/// can act before anything else happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerEvent {
    /// These are read from now on, beginning at the committed offsets: seek now, if elsewhere.
    Assigned(Vec<TopicPartition>),
    /// These are given up at the next poll, until which their offsets can be committed.
    Revoked(Vec<TopicPartition>),
    /// These belong to others already: the group went on without this member.
    Lost { partitions: Vec<TopicPartition>, reason: String },
}
