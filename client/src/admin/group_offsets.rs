//! Offsets that groups have committed: read, set and forget them.

use std::collections::BTreeSet;

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rivven_core::kafka::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroup, OffsetFetchRequest, OffsetFetchResponse,
};

use super::{Admin, Each, answered, group_error, partition_error};
use crate::assignor::TopicPartition;
use crate::client::Lane;
use crate::consumer::commits::{CommittedOffset, Offsets};
use crate::error::{Error, accepted};
use crate::image::ClusterImage;

impl Admin {
    /// Everything that a group has committed; nothing for a group that is not there.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn group_offsets(&self, group: &str) -> Result<Offsets, Error> {
        self.client
            .retry("reading committed offsets", || async move {
                let target = self.coordinator(group).await?;
                let of_group =
                    OffsetFetchGroup { group_id: group.into(), ..OffsetFetchGroup::default() };
                let request = OffsetFetchRequest {
                    group_id: group.into(),
                    groups: vec![of_group],
                    ..OffsetFetchRequest::default()
                };
                let answer = self.client.call(target, Lane::Admin, &request).await?;
                let has_ids = topics_of(&answer).any(|topic| topic.topic_id != TopicId::NIL);
                // From version 10 on topics have ids only.
                let image = match has_ids {
                    true => self.client.look_up(None).await?.0,
                    false => self.client.image(),
                };
                committed(group, &answer, &image)
            })
            .await
    }

    /// Commits offsets for a group without members.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]. With members the broker answers UNKNOWN_MEMBER_ID.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &Offsets,
    ) -> Result<Each<TopicPartition, ()>, Error> {
        self.each("committing offsets", offsets.keys().cloned(), |open| async move {
            let mut names: Vec<String> = open.iter().map(|of| of.topic.to_string()).collect();
            names.dedup();
            let (image, _) = self.client.look_up(Some(&names)).await?;
            let target = self.coordinator(group).await?;
            let is_there = |key: &&TopicPartition| image.topics.contains_key(&*key.topic);
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            let gone = open.iter().filter(|key| !is_there(key));
            let mut results: Each<TopicPartition, ()> =
                gone.map(|key| (key.clone(), Err(partition_error(key, unknown)))).collect();
            let request = OffsetCommitRequest {
                group_id: group.into(),
                topics: commit_rows(open.iter().filter(is_there), offsets, &image),
                ..OffsetCommitRequest::default()
            };
            let answer = self.client.call(target, Lane::Admin, &request).await?;
            for topic in answer.topics {
                let Some(name) = name_of(&topic.name, topic.topic_id, &image) else { continue };
                for row in topic.partitions {
                    let key = TopicPartition::new(name.clone(), row.partition_index);
                    let error = |code| Error::refused(format!("group {group:?}"), code, None);
                    results.insert(key, answered((), row.error_code, error));
                }
            }
            Ok(results)
        })
        .await
    }

    /// Forgets what a group has committed for partitions to which no member subscribes.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]; GROUP_ID_NOT_FOUND and others for the group as a whole.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<Each<TopicPartition, ()>, Error> {
        self.each("deleting committed offsets", partitions.iter().cloned(), |open| async move {
            let target = self.coordinator(group).await?;
            let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
            for of in open {
                let row = OffsetDeleteRequestPartition { partition_index: of.partition };
                match topics.last_mut().filter(|topic| topic.name == *of.topic) {
                    Some(topic) => topic.partitions.push(row),
                    None => {
                        let name = (&*of.topic).into();
                        topics.push(OffsetDeleteRequestTopic { name, partitions: vec![row] });
                    }
                }
            }
            let request = OffsetDeleteRequest { group_id: group.into(), topics };
            let answer = self.client.call(target, Lane::Admin, &request).await?;
            accepted(answer.error_code, None, || format!("group {group:?}"))?;
            let mut results = Each::new();
            for topic in answer.topics {
                for row in topic.partitions {
                    let key = TopicPartition::new(&*topic.name, row.partition_index);
                    let result = answered((), row.error_code, |code| partition_error(&key, code));
                    results.insert(key, result);
                }
            }
            Ok(results)
        })
        .await
    }
}

type TopicRow = rivven_core::kafka::messages::offset_fetch::OffsetFetchTopicResponse;

fn topics_of(answer: &OffsetFetchResponse) -> impl Iterator<Item = &TopicRow> {
    answer.topics.iter().chain(answer.groups.iter().flat_map(|group| &group.topics))
}

fn committed(
    group: &str,
    answer: &OffsetFetchResponse,
    image: &ClusterImage,
) -> Result<Offsets, Error> {
    let code = answer.groups.first().map_or(answer.error_code, |group| group.error_code);
    answered((), code, |code| group_error(group, code, None))?;
    let mut offsets = Offsets::new();
    for topic in topics_of(answer) {
        let Some(name) = name_of(&topic.name, topic.topic_id, image) else { continue };
        for row in &topic.partitions {
            let key = TopicPartition::new(name.clone(), row.partition_index);
            answered((), row.error_code, |code| partition_error(&key, code))?;
            if row.committed_offset >= 0 {
                let offset = CommittedOffset {
                    offset: row.committed_offset,
                    leader_epoch: row.committed_leader_epoch,
                    metadata: row.metadata.as_deref().unwrap_or_default().to_owned(),
                };
                offsets.insert(key, offset);
            }
        }
    }
    Ok(offsets)
}

/// `None` for an id of a topic that was deleted meanwhile.
fn name_of(name: &str, id: TopicId, image: &ClusterImage) -> Option<String> {
    if !name.is_empty() {
        return Some(name.to_owned());
    }
    let found = image.topics.iter().find(|(_, topic)| topic.id == id && id != TopicId::NIL);
    found.map(|(name, _)| name.clone())
}

fn commit_rows<'a>(
    keys: impl Iterator<Item = &'a TopicPartition>,
    offsets: &Offsets,
    image: &ClusterImage,
) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for key in keys {
        let offset = &offsets[key];
        let row = OffsetCommitRequestPartition {
            partition_index: key.partition,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch,
            committed_metadata: Some(offset.metadata.as_str().into()),
        };
        match topics.last_mut().filter(|topic| topic.name == *key.topic) {
            Some(topic) => topic.partitions.push(row),
            None => topics.push(OffsetCommitRequestTopic {
                name: (&*key.topic).into(),
                topic_id: image.topics[&*key.topic].id,
                partitions: vec![row],
            }),
        }
    }
    topics
}
