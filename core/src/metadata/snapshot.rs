//! A metadata image as bytes, for checkpoints and Raft snapshots: one version byte (1), then
//! postcard of the producer id end and of the topics, ascending by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::{DecodeError, MetadataCommand, decode, encode};
use super::image::MetadataImage;
use crate::ids::{ProducerId, TimestampMs, TopicId};

/// The stored format; the order of fields is part of it.
#[derive(Serialize, Deserialize)]
struct Snapshot {
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
        encode(&Snapshot { producer_id_end, topics: topics.collect() })
    }

    /// Reads an image back; `bytes` hold exactly one snapshot.
    ///
    /// # Errors
    /// [`DecodeError`] when they hold anything else, or topics that no commands lead to.
    pub fn restore(bytes: &[u8]) -> Result<MetadataImage, DecodeError> {
        let snapshot: Snapshot = decode(bytes)?;
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
        let topics = snapshot.topics.into_iter().map(|topic| MetadataCommand::CreateTopic {
            name: topic.name,
            id: topic.id,
            partitions: topic.partitions,
            configs: topic.overrides,
            created_ms: topic.created_ms,
        });
        for command in std::iter::once(ids).chain(topics) {
            image.apply(&command).map_err(|error| malformed(error.to_string()))?;
        }
        image.check_all();
        Ok(image)
    }
}
