//! OffsetCommit: answered when the commit is as durable as a record.

use std::collections::BTreeSet;
use std::sync::Arc;

use rivven_core::group::offsets::CommittedFor;
use rivven_core::group::records::CommittedOffset;
use rivven_core::group::shard::Commit;
use rivven_core::ids::{Offset, TimestampMs};
use rivven_core::metadata::image::{MetadataImage, Topic};

use super::errors::group_error;
use super::join_group::member;
use crate::groups::GroupRefusal;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

/// First version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 10;
/// First version that tells a group that is not there from an old generation.
const UNKNOWN_GROUP_VERSION_MIN: i16 = 9;

pub(crate) async fn handle(
    node: &Node,
    api_version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let answer = Committing { node, api_version, request: &request };
    let image = node.storage.image();
    let mut rows = answer.rows(&image);
    let is_asked = |row: &OffsetCommitResponsePartition| !row.error_code.is_error();
    let any = rows.iter().flat_map(|topic| &topic.partitions).any(is_asked);
    if any {
        let commit = || {
            let newest = node.storage.image();
            if !Arc::ptr_eq(&newest, &image) {
                rows = answer.rows(&newest);
            }
            answer.commit(&newest, &rows)
        };
        let outcome = node.groups.commit(node, &request.group_id, commit).await;
        if let Err(refusal) = outcome {
            let code = answer.refusal(&refusal);
            let all = rows.iter_mut().flat_map(|topic| &mut topic.partitions);
            all.filter(|row| {
                let is_of_topic = row.error_code.is_error()
                    && row.error_code != ErrorCode::OFFSET_METADATA_TOO_LARGE;
                !is_of_topic
            })
            .for_each(|row| row.error_code = code);
        }
    }
    OffsetCommitResponse { topics: rows, ..OffsetCommitResponse::default() }
}

struct Committing<'a> {
    node: &'a Node,
    api_version: i16,
    request: &'a OffsetCommitRequest,
}

impl Committing<'_> {
    fn refusal(&self, refusal: &GroupRefusal) -> ErrorCode {
        match group_error(refusal) {
            ErrorCode::GROUP_ID_NOT_FOUND if self.api_version < UNKNOWN_GROUP_VERSION_MIN => {
                ErrorCode::ILLEGAL_GENERATION
            }
            code => code,
        }
    }

    /// The answer if the group takes the commit.
    fn rows(&self, image: &MetadataImage) -> Vec<OffsetCommitResponseTopic> {
        let topics = self.request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let error_code = self.check(image, topic, partition);
                let partition_index = partition.partition_index;
                OffsetCommitResponsePartition { partition_index, error_code }
            });
            OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: partitions.collect(),
            }
        });
        topics.collect()
    }

    fn check(
        &self,
        image: &MetadataImage,
        topic: &OffsetCommitRequestTopic,
        partition: &OffsetCommitRequestPartition,
    ) -> ErrorCode {
        let Some(found) = self.find(image, topic) else {
            return match self.api_version {
                TOPIC_ID_VERSION_MIN.. => ErrorCode::UNKNOWN_TOPIC_ID,
                _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            };
        };
        if u32::try_from(partition.partition_index).is_ok_and(|index| index < found.partitions) {
            let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
            // Kafka counts what Java calls characters.
            let units = metadata.encode_utf16().count();
            return match units > self.node.config.offset_metadata_max_bytes {
                true => ErrorCode::OFFSET_METADATA_TOO_LARGE,
                false => ErrorCode::NONE,
            };
        }
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    }

    fn find<'a>(
        &self,
        image: &'a MetadataImage,
        topic: &OffsetCommitRequestTopic,
    ) -> Option<&'a Topic> {
        let found = match self.api_version {
            TOPIC_ID_VERSION_MIN.. => image.topic_by_id(topic.topic_id),
            _ => image.topic(&topic.name),
        };
        found.map(|found| &**found)
    }

    /// What is stored: every row that was found good. Of a partition that is named twice the last
    /// one counts.
    fn commit(&self, image: &MetadataImage, rows: &[OffsetCommitResponseTopic]) -> Commit {
        let now = TimestampMs(self.node.env.clock.wall_ms());
        let keep = self.request.retention_time_ms;
        let expires = (keep >= 0).then(|| TimestampMs(now.0.saturating_add(keep)));
        let mut offsets = Vec::new();
        for (topic, row) in self.request.topics.iter().zip(rows) {
            let Some(found) = self.find(image, topic) else { continue };
            let good = topic.partitions.iter().zip(&row.partitions);
            for (partition, _) in good.filter(|(_, row)| !row.error_code.is_error()) {
                let of = CommittedFor {
                    topic: found.name.to_string(),
                    partition: partition.partition_index,
                };
                let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
                let offset = CommittedOffset {
                    offset: Offset(partition.committed_offset),
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: metadata.to_owned(),
                    committed: now,
                    expires,
                    topic: found.id,
                };
                offsets.push((of, offset));
            }
        }
        let mut seen = BTreeSet::new();
        offsets.reverse();
        offsets.retain(|(of, _)| seen.insert(of.clone()));
        offsets.reverse();
        Commit {
            caller: member(&self.request.member_id, self.request.group_instance_id.as_deref()),
            generation: self.request.generation_id_or_member_epoch,
            offsets,
        }
    }
}
