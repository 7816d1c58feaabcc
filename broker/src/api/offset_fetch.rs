//! OffsetFetch: what groups have committed, which is nothing: no group exists here yet.
//!
//! A group that is unknown is no error in Kafka, whoever asks: it has no offsets.

use rivven_core::metadata::image::MetadataImage;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::text::WireStr;
use crate::kafka::messages::offset_fetch::{
    OffsetFetchGroupResponse, OffsetFetchPartitionResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetFetchTopic, OffsetFetchTopicResponse,
};
use crate::node::Node;

/// First version that asks for any number of groups (KIP-709).
const GROUPS_VERSION_MIN: i16 = 8;
/// First version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 10;
/// No committed offset.
const NO_OFFSET: i64 = -1;

pub(crate) fn handle(
    node: &Node,
    api_version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    answer(&node.storage.image(), api_version, request)
}

fn answer(
    image: &MetadataImage,
    api_version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let rows = |topics: Option<Vec<OffsetFetchTopic>>| -> Vec<OffsetFetchTopicResponse> {
        let topics = topics.unwrap_or_default().into_iter();
        topics.map(|topic| topic_row(image, api_version, topic)).collect()
    };
    if api_version < GROUPS_VERSION_MIN {
        return OffsetFetchResponse { topics: rows(request.topics), ..Default::default() };
    }
    let groups = request.groups.into_iter().map(|group| OffsetFetchGroupResponse {
        group_id: group.group_id,
        topics: rows(group.topics),
        error_code: ErrorCode::NONE,
    });
    OffsetFetchResponse { groups: groups.collect(), ..Default::default() }
}

/// A name need not exist, and no partition is checked; only an id that leads to no name is an
/// error, since offsets are committed under names.
fn topic_row(
    image: &MetadataImage,
    api_version: i16,
    topic: OffsetFetchTopic,
) -> OffsetFetchTopicResponse {
    let is_unknown =
        api_version >= TOPIC_ID_VERSION_MIN && image.topic_by_id(topic.topic_id).is_none();
    let error_code = if is_unknown { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::NONE };
    let partitions =
        topic.partition_indexes.into_iter().map(|partition_index| OffsetFetchPartitionResponse {
            partition_index,
            committed_offset: NO_OFFSET,
            metadata: Some(WireStr::default()),
            error_code,
            ..Default::default()
        });
    OffsetFetchTopicResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rivven_core::ids::{TimestampMs, TopicId};
    use rivven_core::metadata::command::MetadataCommand;

    use super::*;
    use crate::kafka::messages::offset_fetch::OffsetFetchGroup;

    const KNOWN: TopicId = TopicId([1; 16]);

    fn image() -> MetadataImage {
        let mut image = MetadataImage::default();
        let create = MetadataCommand::CreateTopic {
            name: "t".into(),
            id: KNOWN,
            partitions: 1,
            configs: BTreeMap::new(),
            created_ms: TimestampMs(0),
        };
        image.apply(&create).unwrap();
        image
    }

    fn named(name: &str, partition_indexes: &[i32]) -> OffsetFetchTopic {
        OffsetFetchTopic {
            name: name.into(),
            partition_indexes: partition_indexes.to_vec(),
            ..Default::default()
        }
    }

    fn uncommitted(partition_index: i32, error_code: ErrorCode) -> OffsetFetchPartitionResponse {
        OffsetFetchPartitionResponse {
            partition_index,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some("".into()),
            error_code,
        }
    }

    #[test]
    fn every_partition_of_one_group_is_uncommitted_and_no_error() {
        for api_version in 1..GROUPS_VERSION_MIN {
            let request = OffsetFetchRequest {
                group_id: "g".into(),
                topics: Some(vec![named("t", &[0, 77, -1]), named("unknown", &[0])]),
                require_stable: api_version >= 7,
                ..Default::default()
            };
            let response = answer(&image(), api_version, request);
            let none = |index| uncommitted(index, ErrorCode::NONE);
            assert_eq!(response.topics.len(), 2);
            assert_eq!(response.topics[0].name, "t");
            assert_eq!(response.topics[0].partitions, [none(0), none(77), none(-1)]);
            assert_eq!(response.topics[1].name, "unknown");
            assert_eq!(response.topics[1].partitions, [none(0)]);
            assert_eq!((response.error_code, response.groups), (ErrorCode::NONE, Vec::new()));
        }
    }

    #[test]
    fn all_topics_of_a_group_are_none() {
        for api_version in 2..=10 {
            for group_id in ["g", ""] {
                let group = OffsetFetchGroup { group_id: group_id.into(), ..Default::default() };
                let request = OffsetFetchRequest {
                    group_id: group_id.into(),
                    topics: None,
                    groups: vec![group],
                    ..Default::default()
                };
                let response = answer(&image(), api_version, request);
                assert_eq!((response.topics, response.error_code), (Vec::new(), ErrorCode::NONE));
                let groups: &[_] = match api_version {
                    GROUPS_VERSION_MIN.. => &[OffsetFetchGroupResponse {
                        group_id: group_id.into(),
                        ..Default::default()
                    }],
                    _ => &[],
                };
                assert_eq!(response.groups, groups, "version {api_version}");
            }
        }
    }

    #[test]
    fn each_group_is_answered_whoever_asks() {
        let group = |group_id: &str, member: Option<(&str, i32)>| OffsetFetchGroup {
            group_id: group_id.into(),
            member_id: member.map(|(id, _)| id.into()),
            member_epoch: member.map_or(-1, |(_, epoch)| epoch),
            topics: Some(vec![named("t", &[0])]),
        };
        let groups = vec![group("g", None), group("h", Some(("m", 3))), group("g", None)];
        for api_version in [8, 9] {
            let request = OffsetFetchRequest { groups: groups.clone(), ..Default::default() };
            let response = answer(&image(), api_version, request);
            let ids: Vec<_> = response.groups.iter().map(|group| &*group.group_id).collect();
            assert_eq!(ids, ["g", "h", "g"]);
            for group in &response.groups {
                assert_eq!(group.error_code, ErrorCode::NONE);
                assert_eq!(group.topics.len(), 1);
                assert_eq!(group.topics[0].partitions, [uncommitted(0, ErrorCode::NONE)]);
            }
            assert_eq!((response.topics, response.error_code), (Vec::new(), ErrorCode::NONE));
        }
    }

    #[test]
    fn only_an_unknown_topic_id_is_an_error() {
        for (topic_id, error_code) in [
            (KNOWN, ErrorCode::NONE),
            (TopicId([2; 16]), ErrorCode::UNKNOWN_TOPIC_ID),
            (TopicId::NIL, ErrorCode::UNKNOWN_TOPIC_ID),
        ] {
            let topic =
                OffsetFetchTopic { topic_id, partition_indexes: vec![0, 5], ..Default::default() };
            let group = OffsetFetchGroup {
                group_id: "g".into(),
                topics: Some(vec![topic]),
                ..Default::default()
            };
            let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
            let response = answer(&image(), TOPIC_ID_VERSION_MIN, request);
            let group = &response.groups[0];
            assert_eq!((group.error_code, group.topics[0].topic_id), (ErrorCode::NONE, topic_id));
            let rows = [uncommitted(0, error_code), uncommitted(5, error_code)];
            assert_eq!(group.topics[0].partitions, rows);
        }
    }
}
