//! Requests in protobuf.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::{Empty, Header, RecordHeader, bounds};
use crate::wire::codec::{Name, WireError};
use crate::wire::message::{ConfigChange, NewRecord, OffsetToCommit, ProducerRun};
use crate::wire::request::Request;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    #[prost(
        oneof = "Body",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 20, 30, 31, 32, 33, 34, 35, 36, 40, 41, 50, 51, \
                52, 53, 54, 55, 60, 61, 62, 63, 70, 71, 80, 81, 90"
    )]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "10")]
    Publish(Publish),
    #[prost(message, tag = "11")]
    Consume(Consume),
    #[prost(message, tag = "12")]
    CreateTopic(CreateTopic),
    #[prost(message, tag = "13")]
    DeleteTopic(One),
    #[prost(message, tag = "14")]
    ListTopics(One),
    #[prost(message, tag = "15")]
    GetMetadata(Many),
    #[prost(message, tag = "16")]
    CommitOffset(CommitOffset),
    #[prost(message, tag = "17")]
    GetOffset(GetOffset),
    #[prost(message, tag = "20")]
    Authenticate(Empty),
    #[prost(message, tag = "30")]
    Ping(Empty),
    #[prost(message, tag = "31")]
    GetClusterMetadata(Many),
    #[prost(message, tag = "32")]
    GetOffsetBounds(GetOffsetBounds),
    #[prost(message, tag = "33")]
    ListGroups(Empty),
    #[prost(message, tag = "34")]
    DescribeGroup(One),
    #[prost(message, tag = "35")]
    DeleteGroup(One),
    #[prost(message, tag = "36")]
    GetOffsetForTimestamp(GetOffsetForTimestamp),
    #[prost(message, tag = "40")]
    InitProducerId(InitProducerId),
    #[prost(message, tag = "41")]
    IdempotentPublish(IdempotentPublish),
    #[prost(message, tag = "50")]
    BeginTransaction(Empty),
    #[prost(message, tag = "51")]
    CommitTransaction(Empty),
    #[prost(message, tag = "52")]
    AbortTransaction(Empty),
    #[prost(message, tag = "53")]
    TransactionalPublish(Empty),
    #[prost(message, tag = "54")]
    AddPartitionsToTxn(Empty),
    #[prost(message, tag = "55")]
    AddOffsetsToTxn(Empty),
    #[prost(message, tag = "60")]
    AlterTopicConfig(AlterTopicConfig),
    #[prost(message, tag = "61")]
    DescribeTopicConfigs(Many),
    #[prost(message, tag = "62")]
    CreatePartitions(CreatePartitions),
    #[prost(message, tag = "63")]
    DeleteRecords(DeleteRecords),
    #[prost(message, tag = "70")]
    ScramClientFirst(Empty),
    #[prost(message, tag = "71")]
    ScramClientFinal(Empty),
    #[prost(message, tag = "80")]
    DescribeQuotas(Empty),
    #[prost(message, tag = "81")]
    AlterQuotas(Empty),
    #[prost(message, tag = "90")]
    Handshake(Handshake),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(super) headers: Vec<RecordHeader>,
    #[prost(int64, tag = "4")]
    pub(super) timestamp: i64,
    #[prost(bool, tag = "5")]
    pub(super) has_key: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Publish {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, optional, tag = "2")]
    pub(super) partition: Option<u32>,
    #[prost(message, optional, tag = "3")]
    pub(super) record: Option<Record>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) leader_epoch: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IdempotentPublish {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, optional, tag = "2")]
    pub(super) partition: Option<u32>,
    #[prost(message, optional, tag = "3")]
    pub(super) record: Option<Record>,
    #[prost(uint64, tag = "4")]
    pub(super) producer_id: u64,
    #[prost(uint32, tag = "5")]
    pub(super) producer_epoch: u32,
    #[prost(int32, tag = "6")]
    pub(super) sequence: i32,
    #[prost(uint64, optional, tag = "7")]
    pub(super) leader_epoch: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Consume {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, tag = "2")]
    pub(super) partition: u32,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    #[prost(uint32, tag = "4")]
    pub(super) max_messages: u32,
    #[prost(uint64, tag = "5")]
    pub(super) max_bytes: u64,
    #[prost(uint32, tag = "6")]
    pub(super) isolation_level: u32,
    #[prost(uint64, optional, tag = "7")]
    pub(super) max_wait_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateTopic {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) partitions: u32,
    #[prost(uint32, tag = "3")]
    pub(super) replication_factor: u32,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) config: BTreeMap<String, String>,
}

/// A request with one name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct One {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// A request with a list of names.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Many {
    #[prost(string, repeated, tag = "1")]
    pub(super) names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CommitOffset {
    #[prost(string, tag = "1")]
    pub(super) consumer_group: String,
    #[prost(string, tag = "2")]
    pub(super) topic: String,
    #[prost(uint32, tag = "3")]
    pub(super) partition: u32,
    #[prost(uint64, tag = "4")]
    pub(super) offset: u64,
    #[prost(string, tag = "5")]
    pub(super) metadata: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetOffset {
    #[prost(string, tag = "1")]
    pub(super) consumer_group: String,
    #[prost(string, tag = "2")]
    pub(super) topic: String,
    #[prost(uint32, tag = "3")]
    pub(super) partition: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetOffsetBounds {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, tag = "2")]
    pub(super) partition: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetOffsetForTimestamp {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, tag = "2")]
    pub(super) partition: u32,
    #[prost(int64, tag = "3")]
    pub(super) timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InitProducerId {
    #[prost(uint64, optional, tag = "1")]
    pub(super) producer_id: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AlterTopicConfig {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) configs: Vec<ConfigEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigEntry {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreatePartitions {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, tag = "2")]
    pub(super) new_partition_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteRecords {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) partition_offsets: Vec<PartitionOffset>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionOffset {
    #[prost(uint32, tag = "1")]
    pub(super) partition: u32,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Handshake {
    #[prost(uint32, tag = "1")]
    pub(super) protocol_version: u32,
    #[prost(string, tag = "2")]
    pub(super) client_id: String,
}

/// Reads a request, the number of the field that it came in, and how many fields it has.
///
/// # Errors
/// [`WireError`] when the bytes are no request, or one that has no protobuf form here.
pub(in crate::wire) fn decode(payload: Bytes) -> Result<(Request, u32, usize), WireError> {
    let fields = bounds::check(&payload)?;
    let envelope =
        Envelope::decode(payload).map_err(|error| WireError::Protobuf(error.to_string()))?;
    let body = envelope.body.ok_or_else(|| WireError::Protobuf("no request in it".to_owned()))?;
    let (request, asked) = decode_body(body)?;
    Ok((request, asked, fields))
}

fn decode_body(body: Body) -> Result<(Request, u32), WireError> {
    match body {
        Body::Publish(body) => Ok((publish(body)?, 10)),
        Body::Consume(body) => Ok((consume(body)?, 11)),
        Body::CreateTopic(body) => Ok((create_topic(body)?, 12)),
        Body::DeleteTopic(One { name }) => Ok((Request::DeleteTopic { name: named(name)? }, 13)),
        Body::ListTopics(One { name: prefix }) if prefix.is_empty() => {
            Ok((Request::ListTopics, 14))
        }
        Body::ListTopics(_) => Err(WireError::Unsupported("ListTopics with a prefix")),
        Body::GetMetadata(Many { names }) => {
            Ok((Request::GetClusterMetadata { topics: all_named(names)? }, 15))
        }
        Body::Ping(_) => Ok((Request::Ping, 30)),
        Body::GetClusterMetadata(Many { names }) => {
            Ok((Request::GetClusterMetadata { topics: all_named(names)? }, 31))
        }
        Body::GetOffsetBounds(GetOffsetBounds { topic, partition }) => {
            Ok((Request::GetOffsetBounds { topic: named(topic)?, partition }, 32))
        }
        Body::GetOffsetForTimestamp(body) => {
            let GetOffsetForTimestamp { topic, partition, timestamp_ms } = body;
            let topic = named(topic)?;
            Ok((Request::GetOffsetForTimestamp { topic, partition, timestamp_ms }, 36))
        }
        Body::InitProducerId(InitProducerId { producer_id }) => {
            Ok((Request::InitProducerId { producer_id }, 40))
        }
        Body::IdempotentPublish(body) => Ok((idempotent_publish(body)?, 41)),
        Body::Handshake(Handshake { protocol_version, client_id }) => {
            Ok((Request::Handshake { protocol_version, client_id: named(client_id)? }, 90))
        }
        other => decode_administration(other),
    }
}

fn decode_administration(body: Body) -> Result<(Request, u32), WireError> {
    match body {
        Body::CommitOffset(body) => Ok((commit_offset(body)?, 16)),
        Body::GetOffset(GetOffset { consumer_group, topic, partition }) => {
            let (consumer_group, topic) = (named(consumer_group)?, named(topic)?);
            Ok((Request::GetOffset { consumer_group, topic, partition }, 17))
        }
        Body::ListGroups(_) => Ok((Request::ListGroups, 33)),
        Body::DescribeGroup(One { name }) => {
            Ok((Request::DescribeGroup { consumer_group: named(name)? }, 34))
        }
        Body::DeleteGroup(One { name }) => {
            Ok((Request::DeleteGroup { consumer_group: named(name)? }, 35))
        }
        Body::AlterTopicConfig(AlterTopicConfig { topic, configs }) => {
            let change = |entry: ConfigEntry| {
                Ok(ConfigChange { key: named(entry.key)?, value: entry.value })
            };
            let configs = configs.into_iter().map(change).collect::<Result<_, WireError>>()?;
            Ok((Request::AlterTopicConfig { topic: named(topic)?, configs }, 60))
        }
        Body::DescribeTopicConfigs(Many { names }) => {
            Ok((Request::DescribeTopicConfigs { topics: all_named(names)? }, 61))
        }
        Body::CreatePartitions(CreatePartitions { topic, new_partition_count }) => {
            let (topic, assignments) = (named(topic)?, Vec::new());
            Ok((Request::CreatePartitions { topic, new_partition_count, assignments }, 62))
        }
        Body::DeleteRecords(DeleteRecords { topic, partition_offsets }) => {
            let pairs = partition_offsets.iter().map(|pair| (pair.partition, pair.offset));
            let partition_offsets = pairs.collect();
            Ok((Request::DeleteRecords { topic: named(topic)?, partition_offsets }, 63))
        }
        Body::Authenticate(_) | Body::ScramClientFirst(_) | Body::ScramClientFinal(_) => {
            Err(WireError::Unsupported("authentication"))
        }
        Body::DescribeQuotas(_) | Body::AlterQuotas(_) => Err(WireError::Unsupported("quotas")),
        _ => Err(WireError::Unsupported("transactions")),
    }
}

fn named(name: String) -> Result<Name, WireError> {
    Name::checked(name)
}

fn all_named(names: Vec<String>) -> Result<Vec<Name>, WireError> {
    names.into_iter().map(named).collect()
}

fn new_record(record: Option<Record>) -> Result<NewRecord, WireError> {
    let record = record.ok_or_else(|| WireError::Protobuf("missing record".to_owned()))?;
    let has_key = record.has_key || !record.key.is_empty();
    let header = |header: RecordHeader| (header.key, Some(header.value));
    Ok(NewRecord {
        key: has_key.then_some(record.key),
        value: Some(record.value),
        headers: record.headers.into_iter().map(header).collect(),
        timestamp_ms: Some(record.timestamp).filter(|timestamp| *timestamp != 0),
    })
}

fn publish(body: Publish) -> Result<Request, WireError> {
    Ok(Request::PublishRecords {
        topic: named(body.topic)?,
        partition: body.partition,
        records: vec![new_record(body.record)?],
        acks: -1,
        producer: None,
        leader_epoch: body.leader_epoch,
    })
}

fn idempotent_publish(body: IdempotentPublish) -> Result<Request, WireError> {
    let producer_epoch = u16::try_from(body.producer_epoch)
        .map_err(|_| WireError::Protobuf("the producer epoch is over 65535".to_owned()))?;
    Ok(Request::PublishRecords {
        topic: named(body.topic)?,
        partition: body.partition,
        records: vec![new_record(body.record)?],
        acks: -1,
        producer: Some(ProducerRun {
            producer_id: body.producer_id,
            producer_epoch,
            base_sequence: body.sequence,
        }),
        leader_epoch: body.leader_epoch,
    })
}

fn consume(body: Consume) -> Result<Request, WireError> {
    let max_bytes = if body.max_bytes == 0 { u64::MAX } else { body.max_bytes };
    Ok(Request::ConsumeRecords {
        topic: named(body.topic)?,
        partition: body.partition,
        offset: body.offset,
        max_records: body.max_messages,
        max_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX),
        isolation_level: u8::try_from(body.isolation_level).unwrap_or(u8::MAX),
        max_wait_ms: u32::try_from(body.max_wait_ms.unwrap_or(0)).unwrap_or(u32::MAX),
    })
}

fn create_topic(body: CreateTopic) -> Result<Request, WireError> {
    let change = |(key, value)| Ok(ConfigChange { key: named(key)?, value: Some(value) });
    let factor = u16::try_from(body.replication_factor).unwrap_or(u16::MAX);
    Ok(Request::CreateTopicWithConfigs {
        name: named(body.name)?,
        partitions: Some(body.partitions).filter(|count| *count > 0),
        replication_factor: Some(factor).filter(|factor| *factor > 0),
        configs: body.config.into_iter().map(change).collect::<Result<_, WireError>>()?,
    })
}

fn commit_offset(body: CommitOffset) -> Result<Request, WireError> {
    Ok(Request::CommitOffsets {
        group_id: named(body.consumer_group)?,
        generation_id: -1,
        member_id: Name::default(),
        group_instance_id: None,
        offsets: vec![OffsetToCommit {
            topic: named(body.topic)?,
            partition: body.partition,
            offset: body.offset,
            leader_epoch: None,
            metadata: Some(body.metadata).filter(|metadata| !metadata.is_empty()),
        }],
    })
}
