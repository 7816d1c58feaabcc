//! The messages of responses in protobuf.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::{Empty, Header, RecordHeader};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    #[prost(
        oneof = "Body",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 30, 31, 32, 33, 34, 35, 36, 40, 41, 60, 61, 62, \
                63, 90, 98, 99"
    )]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "10")]
    Publish(Published),
    #[prost(message, tag = "11")]
    Consume(Consumed),
    #[prost(message, tag = "12")]
    CreateTopic(TopicCreated),
    #[prost(message, tag = "13")]
    DeleteTopic(Empty),
    #[prost(message, tag = "14")]
    ListTopics(Names),
    #[prost(message, tag = "15")]
    GetMetadata(Metadata),
    #[prost(message, tag = "16")]
    CommitOffset(Empty),
    #[prost(message, tag = "17")]
    GetOffset(CommittedOffset),
    #[prost(message, tag = "30")]
    Ping(Empty),
    #[prost(message, tag = "31")]
    GetClusterMetadata(ClusterMetadata),
    #[prost(message, tag = "32")]
    GetOffsetBounds(OffsetBounds),
    #[prost(message, tag = "33")]
    ListGroups(Names),
    #[prost(message, tag = "34")]
    DescribeGroup(GroupDescription),
    #[prost(message, tag = "35")]
    DeleteGroup(Empty),
    #[prost(message, tag = "36")]
    GetOffsetForTimestamp(OffsetForTimestamp),
    #[prost(message, tag = "40")]
    InitProducerId(ProducerIdInitialized),
    #[prost(message, tag = "41")]
    IdempotentPublish(IdempotentPublished),
    #[prost(message, tag = "60")]
    AlterTopicConfig(TopicConfigAltered),
    #[prost(message, tag = "61")]
    DescribeTopicConfigs(TopicConfigsDescribed),
    #[prost(message, tag = "62")]
    CreatePartitions(PartitionsCreated),
    #[prost(message, tag = "63")]
    DeleteRecords(RecordsDeleted),
    #[prost(message, tag = "90")]
    Handshake(HandshakeResult),
    #[prost(message, tag = "98")]
    Ok(Empty),
    #[prost(message, tag = "99")]
    Error(ErrorResponse),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Published {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(uint32, tag = "2")]
    pub(super) partition: u32,
    #[prost(int64, tag = "3")]
    pub(super) timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Consumed {
    #[prost(message, repeated, tag = "1")]
    pub(super) records: Vec<Record>,
    #[prost(uint64, tag = "2")]
    pub(super) high_watermark: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(uint32, tag = "2")]
    pub(super) partition: u32,
    #[prost(int64, tag = "3")]
    pub(super) timestamp: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) value: Bytes,
    #[prost(message, repeated, tag = "6")]
    pub(super) headers: Vec<RecordHeader>,
    #[prost(bool, tag = "7")]
    pub(super) has_key: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicCreated {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) partitions: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Names {
    #[prost(string, repeated, tag = "1")]
    pub(super) names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, repeated, tag = "1")]
    pub(super) topics: Vec<Topic>,
    #[prost(message, repeated, tag = "2")]
    pub(super) brokers: Vec<Broker>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterMetadata {
    #[prost(string, optional, tag = "1")]
    pub(super) controller_id: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) brokers: Vec<Broker>,
    #[prost(message, repeated, tag = "3")]
    pub(super) topics: Vec<Topic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Topic {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) partitions: Vec<Partition>,
    #[prost(bool, tag = "3")]
    pub(super) internal: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Partition {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint32, optional, tag = "2")]
    pub(super) leader: Option<u32>,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) replicas: Vec<u32>,
    #[prost(uint32, repeated, tag = "4")]
    pub(super) isr: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Broker {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(string, tag = "2")]
    pub(super) host: String,
    #[prost(uint32, tag = "3")]
    pub(super) port: u32,
    #[prost(string, tag = "4")]
    pub(super) rack: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CommittedOffset {
    /// -1: none.
    #[prost(int64, tag = "1")]
    pub(super) offset: i64,
    #[prost(string, tag = "2")]
    pub(super) metadata: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OffsetBounds {
    #[prost(uint64, tag = "1")]
    pub(super) earliest: u64,
    #[prost(uint64, tag = "2")]
    pub(super) latest: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupDescription {
    #[prost(string, tag = "1")]
    pub(super) consumer_group: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) topics: Vec<GroupTopic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupTopic {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) partitions: Vec<GroupPartition>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupPartition {
    #[prost(uint32, tag = "1")]
    pub(super) partition: u32,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OffsetForTimestamp {
    #[prost(uint64, optional, tag = "1")]
    pub(super) offset: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProducerIdInitialized {
    #[prost(uint64, tag = "1")]
    pub(super) producer_id: u64,
    #[prost(uint32, tag = "2")]
    pub(super) producer_epoch: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IdempotentPublished {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(uint32, tag = "2")]
    pub(super) partition: u32,
    #[prost(bool, tag = "3")]
    pub(super) duplicate: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicConfigAltered {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, tag = "2")]
    pub(super) changed_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicConfigsDescribed {
    #[prost(message, repeated, tag = "1")]
    pub(super) configs: Vec<TopicConfigs>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicConfigs {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) entries: Vec<TopicConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicConfig {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
    #[prost(bool, tag = "3")]
    pub(super) is_default: bool,
    #[prost(bool, tag = "4")]
    pub(super) is_read_only: bool,
    #[prost(bool, tag = "5")]
    pub(super) is_sensitive: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionsCreated {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint32, tag = "2")]
    pub(super) new_partition_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RecordsDeleted {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) results: Vec<Deleted>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Deleted {
    #[prost(uint32, tag = "1")]
    pub(super) partition: u32,
    #[prost(uint64, tag = "2")]
    pub(super) low_watermark: u64,
    #[prost(string, tag = "3")]
    pub(super) error: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HandshakeResult {
    #[prost(uint32, tag = "1")]
    pub(super) server_version: u32,
    #[prost(bool, tag = "2")]
    pub(super) compatible: bool,
    #[prost(string, tag = "3")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ErrorResponse {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) details: BTreeMap<String, String>,
}
