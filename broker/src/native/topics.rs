//! Topics, partitions and offsets over the native protocol.

use rivven_core::wire::codec::Name;
use rivven_core::wire::message::{
    BrokerInfo, ConfigChange, DeletedRecords, PartitionMetadata, TopicMetadata,
};
use rivven_core::wire::response::Response;

use super::errors::Failure;
use crate::api::{self, Caller, find_partition};
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use rivven_core::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rivven_core::kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rivven_core::kafka::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use rivven_core::kafka::messages::init_producer_id::InitProducerIdRequest;
use rivven_core::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rivven_core::kafka::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponsePartition, MetadataResponseTopic,
};

/// The newest versions of Kafka's requests that name topics by name.
const METADATA_VERSION: i16 = 11;
const DELETE_TOPICS_VERSION: i16 = 6;
const LIST_OFFSETS_VERSION: i16 = 9;

/// A name, a number of partitions and a replication factor.
type Wish = (Name, Option<u32>, Option<u16>);

pub(super) async fn create(
    node: &Node,
    (name, partitions, replication_factor): Wish,
    configs: &[ConfigChange],
) -> Result<Response, Failure> {
    let config = |change: &ConfigChange| CreatableTopicConfig {
        name: (&*change.key).into(),
        value: change.value.as_deref().map(Into::into),
    };
    let topic = CreatableTopic {
        name: (&*name).into(),
        num_partitions: partitions.map_or(-1, |count| i32::try_from(count).unwrap_or(i32::MAX)),
        replication_factor: replication_factor
            .map_or(-1, |factor| i16::try_from(factor).unwrap_or(i16::MAX)),
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let mut response = api::create_topics::handle(node, request).await;
    let result = response.topics.pop().expect("one for each topic");
    if result.error_code.is_error() {
        return Err(Failure::of(result.error_code, result.error_message, "it was not created"));
    }
    let partitions = u32::try_from(result.num_partitions).expect("a topic has partitions");
    Ok(Response::TopicCreated { name: name.to_string(), partitions })
}

/// The topics of users; those of the broker itself are in the metadata of the cluster.
pub(super) fn list(node: &Node) -> Response {
    let image = node.storage.image();
    let topics = image.topics().filter(|topic| !topic.is_internal());
    Response::Topics { topics: topics.map(|topic| topic.name.to_string()).collect() }
}

pub(super) async fn delete(node: &Node, name: &str) -> Result<Response, Failure> {
    let topic = DeleteTopicState { name: Some(name.into()), ..DeleteTopicState::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], ..DeleteTopicsRequest::default() };
    let mut response = api::delete_topics::handle(node, DELETE_TOPICS_VERSION, request).await;
    let result = response.responses.pop().expect("one for each topic");
    match (result.error_code, result.error_message) {
        (ErrorCode::NONE, _) => Ok(Response::TopicDeleted),
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None) => Err(Failure::unknown_topic(name)),
        (code, message) => Err(Failure::of(code, message, "it was not deleted")),
    }
}

pub(super) fn metadata(node: &Node, name: &str) -> Result<Response, Failure> {
    let image = node.storage.image();
    let topic = image.topic(name).ok_or_else(|| Failure::unknown_topic(name))?;
    Ok(Response::Metadata { name: topic.name.to_string(), partitions: topic.partitions })
}

/// The broker and the topics asked for, all without a name; those that are not there are left out.
pub(super) async fn cluster(node: &Node, caller: Caller, names: &[Name]) -> Response {
    let asked = |name: &Name| MetadataRequestTopic {
        name: Some((&**name).into()),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: (!names.is_empty()).then(|| names.iter().map(asked).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let response = api::metadata::handle(node, caller, METADATA_VERSION, request).await;
    let brokers = response.brokers.iter().map(|broker| BrokerInfo {
        node_id: broker.node_id.to_string(),
        host: broker.host.to_string(),
        port: u16::try_from(broker.port).expect("a port has 16 bits"),
        rack: broker.rack.as_ref().map(ToString::to_string),
    });
    let known = response.topics.iter().filter(|topic| !topic.error_code.is_error());
    Response::ClusterMetadata {
        controller_id: Some(response.controller_id.to_string()),
        brokers: brokers.collect(),
        topics: known.map(topic_metadata).collect(),
    }
}

fn topic_metadata(topic: &MetadataResponseTopic) -> TopicMetadata {
    let ids = |nodes: &[i32]| nodes.iter().map(ToString::to_string).collect();
    let partition = |row: &MetadataResponsePartition| PartitionMetadata {
        partition: u32::try_from(row.partition_index).expect("partitions count from 0"),
        leader: (row.leader_id >= 0).then(|| row.leader_id.to_string()),
        replicas: ids(&row.replica_nodes),
        isr: ids(&row.isr_nodes),
        offline: row.leader_id < 0,
    };
    TopicMetadata {
        name: topic.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        is_internal: topic.is_internal,
        partitions: topic.partitions.iter().map(partition).collect(),
    }
}

/// A partition's number as Kafka's requests carry it; one that they cannot name is not there.
pub(super) fn index(topic: &str, partition: u32) -> Result<i32, Failure> {
    i32::try_from(partition).map_err(|_| Failure::unknown_partition(topic, partition))
}

/// An offset in the answer: below zero there are none in a log.
pub(super) fn offset(offset: i64) -> u64 {
    u64::try_from(offset).expect("offsets in a log count from 0")
}

pub(super) fn offset_bounds(node: &Node, topic: &str, partition: u32) -> Result<Response, Failure> {
    let found = find_partition(node, topic, index(topic, partition)?)
        .ok_or_else(|| Failure::unknown_partition(topic, partition))?;
    let positions = found.positions();
    Ok(Response::OffsetBounds {
        earliest: offset(positions.log_start.0),
        latest: offset(positions.high_watermark.0),
    })
}

pub(super) async fn offset_for_timestamp(
    node: &Node,
    (topic, partition): (&str, u32),
    timestamp_ms: i64,
) -> Result<Response, Failure> {
    let question = ListOffsetsPartition {
        partition_index: index(topic, partition)?,
        // Kafka's questions of other kinds are below zero.
        timestamp: timestamp_ms.max(0),
        ..ListOffsetsPartition::default()
    };
    let asked = ListOffsetsTopic { name: topic.into(), partitions: vec![question] };
    let request = ListOffsetsRequest { topics: vec![asked], ..ListOffsetsRequest::default() };
    let response = api::list_offsets::handle(node, LIST_OFFSETS_VERSION, request).await;
    let row = &response.topics[0].partitions[0];
    match row.error_code {
        ErrorCode::NONE => {
            Ok(Response::OffsetForTimestamp { offset: u64::try_from(row.offset).ok() })
        }
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(Failure::unknown_partition(topic, partition)),
        code => Err(Failure::new(code, "the timestamp was not found")),
    }
}

/// An id that nobody had before: with it every sequence begins at 0, also for a producer that had
/// another. To released clients 0 means that they have none.
pub(super) async fn init_producer_id(node: &Node) -> Result<Response, Failure> {
    let request = InitProducerIdRequest::default();
    let mut response = api::init_producer_id::handle(node, &request).await;
    if response.producer_id == 0 && !response.error_code.is_error() {
        response = api::init_producer_id::handle(node, &request).await;
    }
    if response.error_code.is_error() {
        return Err(Failure::new(response.error_code, "no producer id was allocated"));
    }
    let producer_epoch = u16::try_from(response.producer_epoch).expect("epochs count from 0");
    Ok(Response::ProducerIdInitialized {
        producer_id: offset(response.producer_id),
        producer_epoch,
    })
}

pub(super) async fn create_partitions(
    node: &Node,
    (topic, count): (&str, u32),
    assignments: &[Vec<Name>],
) -> Result<Response, Failure> {
    let assignment = |brokers: &Vec<Name>| {
        let ids = brokers.iter().map(|broker| broker.parse()).collect::<Result<_, _>>();
        ids.map(|broker_ids| CreatePartitionsAssignment { broker_ids })
    };
    let assignments = assignments.iter().map(assignment).collect::<Result<Vec<_>, _>>();
    let assignments = assignments.map_err(|_: std::num::ParseIntError| {
        Failure::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, "ids of brokers are numbers")
    })?;
    let wish = CreatePartitionsTopic {
        name: topic.into(),
        count: i32::try_from(count).unwrap_or(i32::MAX),
        assignments: (!assignments.is_empty()).then_some(assignments),
    };
    let request = CreatePartitionsRequest { topics: vec![wish], ..Default::default() };
    let mut response = api::create_partitions::handle(node, request).await;
    let result = response.results.pop().expect("one for each topic");
    if result.error_code.is_error() {
        return Err(Failure::of(result.error_code, result.error_message, "nothing was created"));
    }
    Ok(Response::PartitionsCreated { topic: topic.to_owned(), new_partition_count: count })
}

pub(super) async fn delete_records(
    node: &Node,
    topic: &str,
    partition_offsets: &[(u32, u64)],
) -> Result<Response, Failure> {
    if node.storage.image().topic(topic).is_none() {
        return Err(Failure::unknown_topic(topic));
    }
    let wish = |&(partition, offset): &(u32, u64)| DeleteRecordsPartition {
        partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
        // -1 would mean the high watermark.
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
    };
    let partitions = partition_offsets.iter().map(wish).collect();
    let topics = vec![DeleteRecordsTopic { name: topic.into(), partitions }];
    let request = DeleteRecordsRequest { topics, ..DeleteRecordsRequest::default() };
    let mut response = api::delete_records::handle(node, request).await;
    let rows = response.topics.pop().expect("one for each topic").partitions;
    let result = |(&(partition, _), row): (&(u32, u64), &DeleteRecordsPartitionResult)| {
        let failure = row.error_code.is_error().then(|| row.error_code.name());
        DeletedRecords {
            partition,
            low_watermark: u64::try_from(row.low_watermark).unwrap_or(0),
            error: failure.map(|name| name.unwrap_or("UNKNOWN_SERVER_ERROR").to_owned()),
        }
    };
    let results = partition_offsets.iter().zip(&rows).map(result).collect();
    Ok(Response::RecordsDeleted { topic: topic.to_owned(), results })
}
