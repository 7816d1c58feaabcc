//! Turns what a client asks into a command for the image, or into the refusal that Kafka's
//! controller would give, in its words. Nothing is changed here; a request that only validates
//! throws the command away.

pub mod brokers;
pub mod partitions;

use std::collections::{BTreeMap, BTreeSet};

use super::command::MetadataCommand;
use super::image::{MetadataImage, Topic};
use super::topic_config::change::{ConfigOp, changed_value};
use super::topic_config::{ConfigError, TopicConfig, key};
use super::topic_name::{check_topic_name, colliding_internal, is_internal};
use crate::ids::{ProducerId, TimestampMs, TopicId};
use crate::limits::PRODUCER_ID_BLOCK;
use partitions::{check_replication_factor, manual_partitions};

/// What is wrong with a request; each kind is one Kafka error code, named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanRefusalKind {
    /// INVALID_TOPIC_EXCEPTION (17).
    InvalidTopic,
    /// TOPIC_ALREADY_EXISTS (36).
    TopicAlreadyExists,
    /// INVALID_PARTITIONS (37).
    InvalidPartitions,
    /// INVALID_REPLICATION_FACTOR (38).
    InvalidReplicationFactor,
    /// INVALID_REPLICA_ASSIGNMENT (39).
    InvalidReplicaAssignment,
    /// INVALID_CONFIG (40).
    InvalidConfig,
    /// INVALID_REQUEST (42).
    InvalidRequest,
    /// NO_REASSIGNMENT_IN_PROGRESS (85).
    NoReassignmentInProgress,
    /// UNKNOWN_TOPIC_OR_PARTITION (3).
    UnknownTopic,
    /// UNKNOWN_TOPIC_ID (100).
    UnknownTopicId,
}

/// A refused request about one topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?}: {}", message.as_deref().unwrap_or("no text"))]
pub struct PlanRefusal {
    pub kind: PlanRefusalKind,
    /// For the client; Kafka sends none with some kinds.
    pub message: Option<String>,
}

/// A wish for a new topic, with the numbers as they came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct CreateTopicRequest<'a> {
    pub name: &'a str,
    /// -1 for the broker's default.
    pub partitions: i32,
    /// -1 for the broker's default.
    pub replication_factor: i16,
    /// Partition and its brokers, chosen by the client; empty to leave that to the broker.
    pub assignments: &'a [(i32, Vec<i32>)],
    /// Overrides; Kafka's wire allows a null value, which is refused.
    pub configs: &'a [(&'a str, Option<&'a str>)],
}

/// A wish for more partitions.
#[derive(Clone, Copy, Debug)]
pub struct CreatePartitionsRequest<'a> {
    pub name: &'a str,
    /// Partitions that the topic is to have afterwards.
    pub count: i32,
    /// The brokers of each added partition, or `None` to leave that to the broker.
    pub assignments: Option<&'a [Vec<i32>]>,
}

/// What a plan needs to know besides the image.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// Ids of the brokers that may hold partitions.
    pub brokers: &'a [i32],
    /// Partitions in all for which the broker has room.
    pub partitions_max: u64,
    pub default_partitions: u32,
    pub default_replication_factor: u16,
    /// A fresh id for the topic: random, never used before.
    pub new_topic_id: TopicId,
    pub now: TimestampMs,
}

/// How a request names a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRef<'a> {
    Name(&'a str),
    Id(TopicId),
}

impl PlanRefusal {
    fn new(kind: PlanRefusalKind, message: impl ToString) -> PlanRefusal {
        PlanRefusal { kind, message: Some(message.to_string()) }
    }

    fn silent(kind: PlanRefusalKind) -> PlanRefusal {
        PlanRefusal { kind, message: None }
    }

    /// The answer to each topic that one CreateTopics request names more than once.
    #[must_use]
    pub fn duplicate_name() -> PlanRefusal {
        PlanRefusal::new(PlanRefusalKind::InvalidRequest, "Duplicate topic name.")
    }
}

impl From<ConfigError> for PlanRefusal {
    fn from(error: ConfigError) -> PlanRefusal {
        PlanRefusal::new(PlanRefusalKind::InvalidConfig, error)
    }
}

/// The names that one request gives more than once.
pub fn duplicate_names<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.into_iter().filter(|name| !seen.insert(*name)).collect()
}

/// Plans a topic that a client wishes for.
///
/// # Errors
/// [`PlanRefusal`] with the kind and text of Kafka 4.3. The broker's own topics count as existing
/// before they are there, so that no client gives them a shape that the broker cannot use.
pub fn plan_create(
    image: &MetadataImage,
    request: &CreateTopicRequest<'_>,
    context: &PlanContext<'_>,
) -> Result<MetadataCommand, PlanRefusal> {
    if is_internal(request.name) {
        return Err(already_exists(request.name));
    }
    plan_new_topic(image, request, context)
}

/// Plans a topic of the broker itself, [`INTERNAL_TOPICS`](super::topic_name::INTERNAL_TOPICS).
///
/// # Errors
/// As [`plan_create`]; TOPIC_ALREADY_EXISTS means that there is nothing to do.
pub fn plan_create_internal(
    image: &MetadataImage,
    request: &CreateTopicRequest<'_>,
    context: &PlanContext<'_>,
) -> Result<MetadataCommand, PlanRefusal> {
    assert!(is_internal(request.name), "{} is no topic of the broker", request.name);
    plan_new_topic(image, request, context)
}

fn plan_new_topic(
    image: &MetadataImage,
    request: &CreateTopicRequest<'_>,
    context: &PlanContext<'_>,
) -> Result<MetadataCommand, PlanRefusal> {
    let name = request.name;
    check_topic_name(name)
        .map_err(|error| PlanRefusal::new(PlanRefusalKind::InvalidTopic, error))?;
    if image.topic(name).is_some() {
        return Err(already_exists(name));
    }
    let colliding = image.colliding(name).or_else(|| colliding_internal(name).map(Into::into));
    if let Some(existing) = colliding {
        let text = format!("Topic '{name}' collides with existing topic: {existing}");
        return Err(PlanRefusal::new(PlanRefusalKind::InvalidTopic, text));
    }
    let configs = plan_overrides(request.configs)?;
    let partitions = plan_partition_count(request, context)?;
    check_room(image, (0, partitions), context.partitions_max)?;
    let command = MetadataCommand::CreateTopic {
        name: name.to_owned(),
        id: context.new_topic_id,
        partitions,
        configs,
        created_ms: context.now,
    };
    Ok(command)
}

fn already_exists(name: &str) -> PlanRefusal {
    let text = format!("Topic '{name}' already exists.");
    PlanRefusal::new(PlanRefusalKind::TopicAlreadyExists, text)
}

/// Refuses a topic that is to go from `before` to `after` partitions if the cluster does not allow
/// it or the broker has no room.
fn check_room(
    image: &MetadataImage,
    (before, after): (u32, u32),
    partitions_max: u64,
) -> Result<(), PlanRefusal> {
    let text = if !image.has_room_for(before, after) {
        format!("{after} partitions are more than this cluster allows.")
    } else {
        let others = image.partitions() - u64::from(before);
        if others + u64::from(after) <= partitions_max {
            return Ok(());
        }
        format!(
            "{after} partitions beside {others} others are more than the {partitions_max} that \
             this broker has room for; ask for fewer, or delete topics."
        )
    };
    Err(PlanRefusal::new(PlanRefusalKind::InvalidPartitions, text))
}

fn plan_partition_count(
    request: &CreateTopicRequest<'_>,
    context: &PlanContext<'_>,
) -> Result<u32, PlanRefusal> {
    if !request.assignments.is_empty() {
        return manual_partitions(request, context.brokers);
    }
    let replicas = match request.replication_factor {
        -1 => context.default_replication_factor,
        0 | ..-1 => {
            let text = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(PlanRefusal::new(PlanRefusalKind::InvalidReplicationFactor, text));
        }
        given => given.cast_unsigned(),
    };
    let partitions = match request.partitions {
        -1 => context.default_partitions,
        0 | ..-1 => {
            let text = "Number of partitions was set to an invalid non-positive value.";
            return Err(PlanRefusal::new(PlanRefusalKind::InvalidPartitions, text));
        }
        given => given.cast_unsigned(),
    };
    check_replication_factor(replicas, context.brokers)?;
    Ok(partitions)
}

/// Plans more partitions for a topic.
///
/// # Errors
/// [`PlanRefusal`] with the kind and text of Kafka 4.3.
pub fn plan_partitions(
    image: &MetadataImage,
    request: &CreatePartitionsRequest<'_>,
    (brokers, partitions_max): (&[i32], u64),
) -> Result<MetadataCommand, PlanRefusal> {
    let Some(topic) = image.topic(request.name) else {
        return Err(PlanRefusal::silent(PlanRefusalKind::UnknownTopic));
    };
    if topic.is_internal() {
        // What belongs to which partition follows from their number.
        let text = format!("Topic '{}' is internal and cannot grow.", request.name);
        return Err(PlanRefusal::new(PlanRefusalKind::InvalidTopic, text));
    }
    let (now, count) = (topic.partitions, request.count);
    let invalid = |text: String| PlanRefusal::new(PlanRefusalKind::InvalidPartitions, text);
    if i64::from(count) == i64::from(now) {
        return Err(invalid(format!("Topic already has {now} partition(s).")));
    }
    let Some(new_count) = u32::try_from(count).ok().filter(|count| *count > now) else {
        return Err(invalid(format!(
            "The topic {} currently has {now} partition(s); {count} would not be an increase.",
            request.name
        )));
    };
    if let Some(assignments) = request.assignments {
        partitions::check_added(new_count - now, assignments, brokers)?;
    }
    check_room(image, (now, new_count), partitions_max)?;
    Ok(MetadataCommand::CreatePartitions { id: topic.id, new_count })
}

/// Plans the end of a topic.
///
/// # Errors
/// [`PlanRefusal`] for a topic that is unknown, or the broker's own.
pub fn plan_delete(
    image: &MetadataImage,
    topic: TopicRef<'_>,
) -> Result<MetadataCommand, PlanRefusal> {
    let (found, unknown) = match topic {
        TopicRef::Name(name) => (image.topic(name), PlanRefusalKind::UnknownTopic),
        TopicRef::Id(id) => (image.topic_by_id(id), PlanRefusalKind::UnknownTopicId),
    };
    let found = found.ok_or_else(|| PlanRefusal::silent(unknown))?;
    if found.is_internal() {
        let text = format!("Topic '{}' is internal and cannot be deleted.", found.name);
        return Err(PlanRefusal::new(PlanRefusalKind::InvalidTopic, text));
    }
    Ok(MetadataCommand::DeleteTopic { id: found.id })
}

/// Plans changes of single keys of a topic's configuration (IncrementalAlterConfigs).
///
/// # Errors
/// [`PlanRefusal`] with the kind and text of Kafka 4.3; no key changes then.
pub fn plan_config_changes(
    topic: &Topic,
    changes: &[(&str, ConfigOp<'_>)],
) -> Result<MetadataCommand, PlanRefusal> {
    if !duplicate_names(changes.iter().map(|(key, _)| *key)).is_empty() {
        let text = "Error due to duplicate config keys";
        return Err(PlanRefusal::new(PlanRefusalKind::InvalidRequest, text));
    }
    let mut wanted = topic.overrides.clone();
    for (key, op) in changes {
        let value = changed_value(&topic.overrides, (key, key::find(key)), *op)
            .map_err(|error| PlanRefusal::new(PlanRefusalKind::InvalidConfig, error))?;
        match value {
            Some(value) => wanted.insert((*key).to_owned(), value),
            None => wanted.remove(*key),
        };
    }
    plan_difference(topic, wanted)
}

/// Plans a topic's overrides to be exactly `configs` (AlterConfigs).
///
/// # Errors
/// [`PlanRefusal`] with the kind and text of Kafka 4.3; no key changes then.
pub fn plan_config_replacement(
    topic: &Topic,
    configs: &[(&str, Option<&str>)],
) -> Result<MetadataCommand, PlanRefusal> {
    plan_difference(topic, plan_overrides(configs)?)
}

fn plan_difference(
    topic: &Topic,
    wanted: BTreeMap<String, String>,
) -> Result<MetadataCommand, PlanRefusal> {
    TopicConfig::parse(&wanted)?;
    let is_gone = |key: &&String| !wanted.contains_key(*key);
    let delete = topic.overrides.keys().filter(is_gone).cloned().collect();
    let is_new = |(key, value): &(String, String)| topic.overrides.get(key) != Some(value);
    let set = wanted.clone().into_iter().filter(is_new).collect();
    Ok(MetadataCommand::SetTopicConfigs { id: topic.id, set, delete })
}

fn plan_overrides(
    configs: &[(&str, Option<&str>)],
) -> Result<BTreeMap<String, String>, PlanRefusal> {
    let mut nulls = Vec::new();
    let mut overrides = BTreeMap::new();
    for (key, value) in configs {
        match value {
            Some(value) => {
                overrides.insert((*key).to_owned(), (*value).to_owned());
            }
            None => nulls.push((*key).to_owned()),
        }
    }
    if !nulls.is_empty() {
        return Err(ConfigError::Null { keys: nulls }.into());
    }
    TopicConfig::parse(&overrides)?;
    Ok(overrides)
}

/// Plans the next block of producer ids: once the command is durable, the ids from
/// [`MetadataImage::producer_id_end`] of this image up to the command's `end` may be handed out.
/// `None` when 2^63 ids are used up.
#[must_use]
pub fn plan_producer_ids(image: &MetadataImage) -> Option<MetadataCommand> {
    let end = image.producer_id_end().0.checked_add(PRODUCER_ID_BLOCK)?;
    Some(MetadataCommand::AllocateProducerIds { end: ProducerId(end) })
}

#[cfg(test)]
mod tests;
