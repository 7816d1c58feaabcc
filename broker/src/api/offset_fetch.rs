//! OffsetFetch: what groups have committed.
//!
//! A group that is unknown is no error in Kafka, whoever asks: it has no offsets. What is asked for
//! twice is answered once: a small request must not get a long answer many times.

use std::collections::BTreeSet;

use rivven_core::group::offsets::Offsets;
use rivven_core::group::records::CommittedOffset;
use rivven_core::ids::TopicId;
use rivven_core::metadata::image::MetadataImage;

use super::errors::group_error;
use crate::groups::Refusable;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroup, OffsetFetchGroupResponse, OffsetFetchPartitionResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetFetchTopic, OffsetFetchTopicResponse,
};

/// First version that asks for any number of groups (KIP-709).
const GROUPS_VERSION_MIN: i16 = 8;
/// First version with an error for the group as a whole.
const GROUP_ERROR_VERSION_MIN: i16 = 2;
/// First version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 10;
/// No committed offset.
const NO_OFFSET: i64 = -1;

/// Answers for one group, given what it has committed.
struct Answering<'a> {
    image: &'a MetadataImage,
    api_version: i16,
}

pub(crate) fn handle(
    node: &Node,
    api_version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let image = node.storage.image();
    let answering = Answering { image: &image, api_version };
    let look = |group: &OffsetFetchGroup| -> Refusable<Vec<OffsetFetchTopicResponse>> {
        node.groups.look(&group.group_id, |shard| {
            answering.rows(group.topics.as_deref(), shard.offsets(&group.group_id))
        })
    };
    answer(api_version, request, look)
}

fn answer(
    api_version: i16,
    request: OffsetFetchRequest,
    look: impl Fn(&OffsetFetchGroup) -> Refusable<Vec<OffsetFetchTopicResponse>>,
) -> OffsetFetchResponse {
    if api_version < GROUPS_VERSION_MIN {
        let group = OffsetFetchGroup {
            group_id: request.group_id,
            topics: request.topics,
            ..OffsetFetchGroup::default()
        };
        return match look(&group) {
            Ok(topics) => OffsetFetchResponse { topics, ..OffsetFetchResponse::default() },
            Err(refusal) => refused(api_version, group, group_error(&refusal)),
        };
    }
    let mut seen = BTreeSet::new();
    let groups = request.groups.into_iter().filter(|group| seen.insert(group.group_id.clone()));
    let groups = groups.map(|group| {
        let (topics, error_code) = match look(&group) {
            Ok(topics) => (topics, ErrorCode::NONE),
            Err(refusal) => (Vec::new(), group_error(&refusal)),
        };
        OffsetFetchGroupResponse { group_id: group.group_id, topics, error_code }
    });
    OffsetFetchResponse { groups: groups.collect(), ..OffsetFetchResponse::default() }
}

/// Version 1 has no place for an error but each partition's.
fn refused(api_version: i16, group: OffsetFetchGroup, code: ErrorCode) -> OffsetFetchResponse {
    if api_version >= GROUP_ERROR_VERSION_MIN {
        return OffsetFetchResponse { error_code: code, ..OffsetFetchResponse::default() };
    }
    let topics = group.topics.unwrap_or_default().into_iter().map(|topic| {
        let row = |index| row(index, Err(code));
        OffsetFetchTopicResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions: topic.partition_indexes.into_iter().map(row).collect(),
        }
    });
    OffsetFetchResponse { topics: topics.collect(), ..OffsetFetchResponse::default() }
}

impl Answering<'_> {
    fn rows(
        &self,
        asked: Option<&[OffsetFetchTopic]>,
        offsets: Option<&Offsets>,
    ) -> Vec<OffsetFetchTopicResponse> {
        let Some(topics) = asked else { return self.all(offsets) };
        let mut seen = BTreeSet::new();
        topics.iter().map(|topic| self.topic(topic, (offsets, &mut seen))).collect()
    }

    /// A name need not exist, and no partition is checked; only an id that leads to no topic is an
    /// error.
    fn topic(
        &self,
        topic: &OffsetFetchTopic,
        (offsets, seen): (Option<&Offsets>, &mut BTreeSet<(WireStr, TopicId, i32)>),
    ) -> OffsetFetchTopicResponse {
        let found = match self.api_version {
            TOPIC_ID_VERSION_MIN.. => {
                let found = self.image.topic_by_id(topic.topic_id);
                found.map(Some).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
            }
            _ => Ok(self.image.topic(&topic.name)),
        };
        let partitions = topic
            .partition_indexes
            .iter()
            .filter(|index| seen.insert((topic.name.clone(), topic.topic_id, **index)))
            .map(|index| row(*index, found.map(|topic| offsets?.get(topic?, *index))));
        OffsetFetchTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    }

    fn all(&self, offsets: Option<&Offsets>) -> Vec<OffsetFetchTopicResponse> {
        let mut rows = Vec::new();
        for (topic, partitions) in offsets.into_iter().flat_map(|all| all.visible(self.image)) {
            let rows_of =
                partitions.into_iter().map(|(index, offset)| row(index, Ok(Some(offset))));
            rows.push(OffsetFetchTopicResponse {
                name: (&*topic.name).into(),
                topic_id: topic.id,
                partitions: rows_of.collect(),
            });
        }
        rows
    }
}

fn row(
    partition_index: i32,
    found: Result<Option<&CommittedOffset>, ErrorCode>,
) -> OffsetFetchPartitionResponse {
    let mut row = OffsetFetchPartitionResponse {
        partition_index,
        committed_offset: NO_OFFSET,
        metadata: Some(WireStr::default()),
        ..Default::default()
    };
    match found {
        Ok(None) => {}
        Ok(Some(committed)) => {
            row.committed_offset = committed.offset.0;
            row.committed_leader_epoch = committed.leader_epoch;
            row.metadata = Some(committed.metadata.as_str().into());
        }
        Err(error_code) => row.error_code = error_code,
    }
    row
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rivven_core::ids::{TimestampMs, TopicId};
    use rivven_core::metadata::command::MetadataCommand;

    use super::*;
    use rivven_core::kafka::messages::offset_fetch::OffsetFetchGroup;

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

    fn answer(
        image: &MetadataImage,
        api_version: i16,
        request: OffsetFetchRequest,
    ) -> OffsetFetchResponse {
        let answering = Answering { image, api_version };
        super::answer(api_version, request, |group| {
            Ok(answering.rows(group.topics.as_deref(), None))
        })
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
                topics: Some(vec![named("t", &[0, 77, -1, 77]), named("unknown", &[0])]),
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
            assert_eq!(ids, ["g", "h"], "each once");
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
