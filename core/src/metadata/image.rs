//! What all commands so far add up to: the topics, what brokers are configured to, and the
//! producer ids that are taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::broker_config::{self, BrokerOverrides, BrokerScope};
use super::command::MetadataCommand;
use super::topic_config::TopicConfig;
use super::topic_config::key::TopicConfigKey;
use super::topic_name::{InvalidTopicName, check_topic_name, collision_key, is_internal};
use crate::ids::{ProducerId, TimestampMs, TopicId};
use crate::limits::{CLUSTER_PARTITIONS_MAX, TOPIC_PARTITIONS_MAX};

/// One topic as the metadata knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: TopicId,
    /// Partitions 0 to this number, exclusive; at least one.
    pub partitions: u32,
    /// What was set, as it was written.
    pub overrides: BTreeMap<String, String>,
    /// Overrides and this node's defaults, read.
    pub config: TopicConfig,
    pub created_ms: TimestampMs,
}

impl Topic {
    /// Whether the topic is the broker's own.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// The metadata after some commands. A clone shares the topics, so it is cheap to hand out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataImage {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    /// Of the names with `.` or `_`: what they read with `_` alone, so that no two meet.
    collisions: BTreeMap<String, Arc<str>>,
    partitions: u64,
    producer_id_end: ProducerId,
    broker_overrides: BrokerOverrides,
    /// Whose image it is; part of no snapshot and no hash. `None` where that does not matter:
    /// then only what is said of every broker counts.
    node_id: Option<i32>,
    /// The configuration of a topic that overrides nothing, on this node.
    defaults: TopicConfig,
}

/// Why a command was not applied; the image is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Name(#[from] InvalidTopicName),
    #[error("topic {name} exists already as {existing}")]
    NameTaken { name: String, existing: TopicId },
    #[error("topic {name} collides with {existing}")]
    NameCollides { name: String, existing: Arc<str> },
    #[error("topic id {id} of {name} is nil or names another topic")]
    IdTaken { id: TopicId, name: String },
    #[error("{partitions} partitions of topic {id} are none, or more than allowed")]
    Partitions { id: TopicId, partitions: u32 },
    #[error("topic id {id} is unknown")]
    UnknownTopic { id: TopicId },
}

impl MetadataImage {
    /// The same metadata as a node sees it: what is said of one broker counts on that one.
    #[must_use]
    pub fn of_node(mut self, node_id: i32) -> MetadataImage {
        self.node_id = Some(node_id);
        self.follow_defaults();
        self
    }

    /// Applies a command. Every node that applies the same commands in the same order has the
    /// same image, including the refusals.
    ///
    /// Applying a run of commands that were accepted before once more, from any point of it to
    /// its end, changes nothing in the end: a replay passes over what is refused and goes on. So
    /// a single node logs only commands that a plan against its current image gave.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing has changed then.
    pub fn apply(&mut self, command: &MetadataCommand) -> Result<(), ApplyError> {
        match command {
            MetadataCommand::CreateTopic { name, id, partitions, configs, created_ms } => {
                self.check_new(name, *id, *partitions)?;
                if !self.by_id.contains_key(id) {
                    self.insert(Topic {
                        name: name.as_str().into(),
                        id: *id,
                        partitions: *partitions,
                        overrides: configs.clone(),
                        config: TopicConfig::from_stored(&self.defaults, configs),
                        created_ms: *created_ms,
                    });
                }
            }
            MetadataCommand::DeleteTopic { id } => self.delete(*id),
            MetadataCommand::CreatePartitions { id, new_count } => {
                self.grow(*id, *new_count)?;
            }
            MetadataCommand::SetTopicConfigs { id, set, delete } => {
                let mut topic = self.topic_mut(*id)?;
                topic.overrides.retain(|key, _| !delete.contains(key));
                topic.overrides.extend(set.clone());
                topic.config = TopicConfig::from_stored(&self.defaults, &topic.overrides);
                self.insert(topic);
            }
            MetadataCommand::AllocateProducerIds { end } => {
                self.producer_id_end = self.producer_id_end.max(*end);
            }
            MetadataCommand::SetBrokerConfigs { scope, set, delete } => {
                let overrides = self.broker_overrides.entry(*scope).or_default();
                overrides.retain(|key, _| !delete.contains(key));
                overrides.extend(set.clone());
                if overrides.is_empty() {
                    self.broker_overrides.remove(scope);
                }
                self.follow_defaults();
            }
        }
        self.check();
        Ok(())
    }

    /// A topic that exists with this name and id is no error: the command is replayed.
    fn check_new(&self, name: &str, id: TopicId, partitions: u32) -> Result<(), ApplyError> {
        check_topic_name(name)?;
        if let Some(existing) = self.by_id.get(&id) {
            if &*existing.name == name {
                return Ok(());
            }
            return Err(ApplyError::IdTaken { id, name: name.to_owned() });
        }
        if id == TopicId::NIL {
            return Err(ApplyError::IdTaken { id, name: name.to_owned() });
        }
        if let Some(existing) = self.by_name.get(name) {
            return Err(ApplyError::NameTaken { name: name.to_owned(), existing: existing.id });
        }
        if let Some(existing) = self.colliding(name) {
            return Err(ApplyError::NameCollides { name: name.to_owned(), existing });
        }
        if partitions == 0 || !self.has_room_for(0, partitions) {
            return Err(ApplyError::Partitions { id, partitions });
        }
        Ok(())
    }

    fn grow(&mut self, id: TopicId, new_count: u32) -> Result<(), ApplyError> {
        let mut topic = self.topic_mut(id)?;
        if new_count <= topic.partitions {
            return Ok(());
        }
        if !self.has_room_for(topic.partitions, new_count) {
            return Err(ApplyError::Partitions { id, partitions: new_count });
        }
        topic.partitions = new_count;
        self.insert(topic);
        Ok(())
    }

    /// Reads every topic's configuration again, because a default may have changed.
    fn follow_defaults(&mut self) {
        self.defaults = broker_config::topic_defaults(&self.broker_overrides, self.node_id);
        let topics: Vec<Arc<Topic>> = self.topics().cloned().collect();
        for topic in topics {
            let config = TopicConfig::from_stored(&self.defaults, &topic.overrides);
            if config != topic.config {
                self.insert(Topic { config, ..Topic::clone(&topic) });
            }
        }
    }

    /// A copy to change and insert again.
    fn topic_mut(&self, id: TopicId) -> Result<Topic, ApplyError> {
        let topic = self.by_id.get(&id).ok_or(ApplyError::UnknownTopic { id })?;
        Ok(Topic::clone(topic))
    }

    fn insert(&mut self, topic: Topic) {
        self.delete(topic.id);
        self.partitions += u64::from(topic.partitions);
        if let Some(key) = collision_key(&topic.name) {
            self.collisions.insert(key, topic.name.clone());
        }
        let topic = Arc::new(topic);
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }

    fn delete(&mut self, id: TopicId) {
        let Some(topic) = self.by_id.remove(&id) else {
            return;
        };
        self.by_name.remove(&topic.name);
        if let Some(key) = collision_key(&topic.name) {
            self.collisions.remove(&key);
        }
        self.partitions -= u64::from(topic.partitions);
    }

    /// Whether a topic may go from `before` to `after` partitions.
    pub(super) fn has_room_for(&self, before: u32, after: u32) -> bool {
        let added = u64::from(after).saturating_sub(u64::from(before));
        after <= TOPIC_PARTITIONS_MAX && self.partitions + added <= CLUSTER_PARTITIONS_MAX
    }

    /// An existing topic, not `name` itself, that differs from `name` only in `.` and `_`.
    pub(super) fn colliding(&self, name: &str) -> Option<Arc<str>> {
        let existing = self.collisions.get(&collision_key(name)?)?;
        (&**existing != name).then(|| existing.clone())
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// Every topic, ascending by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// Partitions of all topics together.
    #[must_use]
    pub fn partitions(&self) -> u64 {
        self.partitions
    }

    /// The first producer id that no block holds yet.
    #[must_use]
    pub fn producer_id_end(&self) -> ProducerId {
        self.producer_id_end
    }

    /// What brokers are configured to in each scope, as it was written.
    #[must_use]
    pub fn broker_overrides(&self) -> &BTreeMap<BrokerScope, BTreeMap<String, String>> {
        &self.broker_overrides
    }

    /// What brokers' configurations say of a key's default on this node, the strongest first.
    pub fn broker_values(
        &self,
        key: &'static TopicConfigKey,
    ) -> impl Iterator<Item = (BrokerScope, &str)> {
        broker_config::scopes(self.node_id).filter_map(|scope| {
            let value = self.broker_overrides.get(&scope)?.get(key.broker_synonym)?;
            Some((scope, value.as_str()))
        })
    }

    /// A number that differs between images that differ, as far as 64 bits can (FNV-1a over the
    /// snapshot); O(n). Nodes compare it to see that they agree.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.snapshot().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Asserts what can be seen at once.
    pub fn check(&self) {
        assert_eq!(self.by_name.len(), self.by_id.len());
        assert!(self.collisions.len() <= self.by_name.len());
        assert!(self.partitions >= self.by_name.len() as u64);
        assert!(self.partitions <= CLUSTER_PARTITIONS_MAX);
        assert!(self.producer_id_end >= ProducerId(0));
        assert!(self.broker_overrides.values().all(|overrides| !overrides.is_empty()));
    }

    /// Asserts what holds of every topic, in O(n).
    pub fn check_all(&self) {
        self.check();
        let defaults = broker_config::topic_defaults(&self.broker_overrides, self.node_id);
        assert_eq!(self.defaults, defaults);
        let mut partitions = 0;
        let mut collision_keys = 0;
        for (name, topic) in &self.by_name {
            assert_eq!(*name, topic.name);
            assert!(check_topic_name(name).is_ok() && topic.id != TopicId::NIL);
            assert!((1..=TOPIC_PARTITIONS_MAX).contains(&topic.partitions));
            let same = self.by_id.get(&topic.id).expect("a topic is found by its id");
            assert!(Arc::ptr_eq(same, topic));
            assert_eq!(topic.config, TopicConfig::from_stored(&defaults, &topic.overrides));
            if let Some(key) = collision_key(name) {
                assert_eq!(self.collisions.get(&key), Some(name));
                collision_keys += 1;
            }
            partitions += u64::from(topic.partitions);
        }
        assert_eq!((collision_keys, partitions), (self.collisions.len(), self.partitions));
    }
}

#[cfg(test)]
mod tests;
