//! A metadata image as bytes, for checkpoints and Raft snapshots: one version byte (2), then
//! postcard of the producer id end, of what brokers are configured to, and of the topics,
//! ascending by name. Version 1 had no configurations of brokers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::broker_config::BrokerOverrides;
use super::command::{DecodeError, MetadataCommand, decode, encode, split_version};
use super::image::MetadataImage;
use crate::ids::{ProducerId, TimestampMs, TopicId};

const VERSION: u8 = 2;

/// The stored format; the order of fields is part of it.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    producer_id_end: ProducerId,
    broker_overrides: BrokerOverrides,
    topics: Vec<StoredTopic>,
}

/// Version 1.
#[derive(Deserialize)]
struct SnapshotWithoutBrokers {
    producer_id_end: ProducerId,
    topics: Vec<StoredTopic>,
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    name: String,
    id: TopicId,
    partitions: u32,
    overrides: BTreeMap<String, String>,
    created_ms: TimestampMs,
}

impl MetadataImage {
    /// The image as bytes; images that are equal have equal bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let topics = self.topics().map(|topic| StoredTopic {
            name: topic.name.to_string(),
            id: topic.id,
            partitions: topic.partitions,
            overrides: topic.overrides.clone(),
            created_ms: topic.created_ms,
        });
        let producer_id_end = self.producer_id_end();
        let broker_overrides = self.broker_overrides().clone();
        let topics = topics.collect();
        encode(VERSION, &Snapshot { producer_id_end, broker_overrides, topics })
    }

    /// Reads an image back; `bytes` hold exactly one snapshot.
    ///
    /// # Errors
    /// [`DecodeError`] when they hold anything else, or topics that no commands lead to.
    pub fn restore(bytes: &[u8]) -> Result<MetadataImage, DecodeError> {
        let snapshot = decode_snapshot(bytes)?;
        let malformed = |reason: String| DecodeError::Malformed { reason };
        if snapshot.producer_id_end < ProducerId(0) {
            return Err(malformed("the producer id end is negative".to_owned()));
        }
        if !snapshot.topics.is_sorted_by(|a, b| a.name < b.name) {
            return Err(malformed("the topics do not ascend by name".to_owned()));
        }
        let mut image = MetadataImage::default();
        let end = snapshot.producer_id_end;
        let ids = MetadataCommand::AllocateProducerIds { end };
        let brokers = snapshot.broker_overrides.into_iter().map(|(scope, set)| {
            MetadataCommand::SetBrokerConfigs { scope, set, delete: Vec::new() }
        });
        let topics = snapshot.topics.into_iter().map(|topic| MetadataCommand::CreateTopic {
            name: topic.name,
            id: topic.id,
            partitions: topic.partitions,
            configs: topic.overrides,
            created_ms: topic.created_ms,
        });
        for command in std::iter::once(ids).chain(brokers).chain(topics) {
            image.apply(&command).map_err(|error| malformed(error.to_string()))?;
        }
        image.check_all();
        Ok(image)
    }
}

fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
    match split_version(bytes)? {
        (1, rest) => {
            let SnapshotWithoutBrokers { producer_id_end, topics } = decode(rest)?;
            Ok(Snapshot { producer_id_end, broker_overrides: BTreeMap::new(), topics })
        }
        (VERSION, rest) => decode(rest),
        (version, _) => Err(DecodeError::Version { version }),
    }
}
