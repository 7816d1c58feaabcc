//! From a response to its protobuf form, which depends on what was asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::response::{self as proto, Body, Envelope};
use super::{Empty, Header, RecordHeader, asked};
use crate::wire::message::{
    BrokerInfo, ConfigValue, ConsumedRecord, DeletedRecords, PartitionMetadata, TopicConfigs,
    TopicMetadata,
};
use crate::wire::response::Response;

/// Version of the protobuf header.
const HEADER_VERSION: u32 = 1;

/// Appends the protobuf form of the answer to request number `asked`.
pub(in crate::wire) fn encode(
    (correlation_id, asked): (u32, u32),
    response: &Response,
    out: &mut Vec<u8>,
) {
    let header = Header {
        version: HEADER_VERSION,
        correlation_id: u64::from(correlation_id),
        client_id: String::new(),
    };
    let envelope = Envelope { header: Some(header), body: Some(body(asked, response.clone())) };
    let length = out.len() + envelope.encoded_len();
    envelope.encode(out).expect("a vector takes any number of bytes");
    assert_eq!(out.len(), length, "the announced length was written");
}

fn body(asked: u32, response: Response) -> Body {
    match response {
        Response::Published { offset, partition } => {
            Body::Publish(proto::Published { offset, partition, timestamp: 0 })
        }
        Response::RecordsPublished {
            partition, base_offset, append_time_ms, duplicate, ..
        } => {
            if asked == asked::IDEMPOTENT_PUBLISH {
                let offset = base_offset;
                Body::IdempotentPublish(proto::IdempotentPublished { offset, partition, duplicate })
            } else {
                let timestamp = append_time_ms.unwrap_or(0);
                Body::Publish(proto::Published { offset: base_offset, partition, timestamp })
            }
        }
        Response::Records { partition, high_watermark, records, .. } => {
            let records = records.into_iter().map(|record| consumed(partition, record)).collect();
            Body::Consume(proto::Consumed { records, high_watermark })
        }
        Response::TopicCreated { name, partitions } => {
            Body::CreateTopic(proto::TopicCreated { name, partitions })
        }
        Response::TopicDeleted => Body::DeleteTopic(Empty {}),
        Response::Topics { topics } => Body::ListTopics(proto::Names { names: topics }),
        Response::ClusterMetadata { controller_id, brokers, topics } => {
            let brokers = brokers.into_iter().map(broker).collect();
            let topics = topics.into_iter().map(topic).collect();
            if asked == asked::GET_METADATA {
                Body::GetMetadata(proto::Metadata { topics, brokers })
            } else {
                let metadata = proto::ClusterMetadata { controller_id, brokers, topics };
                Body::GetClusterMetadata(metadata)
            }
        }
        Response::Pong => Body::Ping(Empty {}),
        Response::OffsetBounds { earliest, latest } => {
            Body::GetOffsetBounds(proto::OffsetBounds { earliest, latest })
        }
        Response::OffsetForTimestamp { offset } => {
            Body::GetOffsetForTimestamp(proto::OffsetForTimestamp { offset })
        }
        Response::ProducerIdInitialized { producer_id, producer_epoch } => {
            let producer_epoch = u32::from(producer_epoch);
            Body::InitProducerId(proto::ProducerIdInitialized { producer_id, producer_epoch })
        }
        Response::HandshakeResult { server_version, compatible, message } => {
            Body::Handshake(proto::HandshakeResult { server_version, compatible, message })
        }
        other => administration(other),
    }
}

fn administration(response: Response) -> Body {
    match response {
        Response::Offset { offset } => {
            let offset = offset.and_then(|offset| i64::try_from(offset).ok()).unwrap_or(-1);
            Body::GetOffset(proto::CommittedOffset { offset, metadata: String::new() })
        }
        Response::OffsetCommitted => Body::CommitOffset(Empty {}),
        Response::OffsetsCommitted { results } => {
            match results.iter().find(|row| row.error_code != 0) {
                None => Body::CommitOffset(Empty {}),
                Some(row) => error(row.error_code, "the offset was not committed".to_owned()),
            }
        }
        Response::Groups { groups } => Body::ListGroups(proto::Names { names: groups }),
        Response::GroupDeleted => Body::DeleteGroup(Empty {}),
        Response::GroupDescription { consumer_group, offsets } => {
            let row = |(partition, offset)| proto::GroupPartition { partition, offset };
            let topic = |(topic, partitions): (String, BTreeMap<u32, u64>)| proto::GroupTopic {
                topic,
                partitions: partitions.into_iter().map(row).collect(),
            };
            let topics = offsets.into_iter().map(topic).collect();
            Body::DescribeGroup(proto::GroupDescription { consumer_group, topics })
        }
        Response::TopicConfigAltered { topic, changed_count } => {
            let changed_count = u32::try_from(changed_count).unwrap_or(u32::MAX);
            Body::AlterTopicConfig(proto::TopicConfigAltered { topic, changed_count })
        }
        Response::TopicConfigsDescribed { configs } => {
            let configs = configs.into_iter().map(topic_configs).collect();
            Body::DescribeTopicConfigs(proto::TopicConfigsDescribed { configs })
        }
        Response::PartitionsCreated { topic, new_partition_count } => {
            Body::CreatePartitions(proto::PartitionsCreated { topic, new_partition_count })
        }
        Response::RecordsDeleted { topic, results } => {
            let results = results.into_iter().map(deleted).collect();
            Body::DeleteRecords(proto::RecordsDeleted { topic, results })
        }
        Response::Ok => Body::Ok(Empty {}),
        Response::ErrorWithCode { code, message, .. } => error(code, message),
        Response::Error { message } => error(UNKNOWN_SERVER_ERROR, message),
        other => {
            let name = Response::NAMES[other.index()];
            error(UNKNOWN_SERVER_ERROR, format!("{name} has no protobuf form"))
        }
    }
}

const UNKNOWN_SERVER_ERROR: i16 = -1;
/// The last of protobuf's codes.
const CODE_MAX: i32 = 14;

fn error(code: i16, message: String) -> Body {
    let code = error_code(code);
    assert!((0..=CODE_MAX).contains(&code), "protobuf has codes up to {CODE_MAX}");
    Body::Error(proto::ErrorResponse { code, message, ..Default::default() })
}

/// The nearest of protobuf's codes to one of Kafka's.
fn error_code(kafka: i16) -> i32 {
    match kafka {
        0 => 0,
        42 | 87 | 35 => 2,
        3 | 100 => 3,
        1 => 5,
        5 | 6 | 74 => 6,
        8 => 7,
        9 => 8,
        10 | 18 => 9,
        17 => 10,
        37 => 11,
        29..=31 | 53 | 58 => 12,
        7 => 13,
        89 => 14,
        _ => 1,
    }
}

fn consumed(partition: u32, record: ConsumedRecord) -> proto::Record {
    let header = |(key, value): (String, Option<Bytes>)| RecordHeader {
        key,
        value: value.unwrap_or_default(),
    };
    proto::Record {
        offset: record.offset,
        partition,
        timestamp: record.timestamp_ms,
        has_key: record.key.is_some(),
        key: record.key.unwrap_or_default(),
        value: record.value.unwrap_or_default(),
        headers: record.headers.into_iter().map(header).collect(),
    }
}

/// Ids of nodes are numbers that postcard carries as text.
fn node_id(text: &str) -> u32 {
    text.parse().unwrap_or(u32::MAX)
}

fn broker(broker: BrokerInfo) -> proto::Broker {
    proto::Broker {
        id: node_id(&broker.node_id),
        host: broker.host,
        port: u32::from(broker.port),
        rack: broker.rack.unwrap_or_default(),
    }
}

fn topic(topic: TopicMetadata) -> proto::Topic {
    let ids = |nodes: &[String]| nodes.iter().map(|node| node_id(node)).collect();
    let partition = |partition: PartitionMetadata| proto::Partition {
        id: partition.partition,
        leader: partition.leader.as_deref().map(node_id),
        replicas: ids(&partition.replicas),
        isr: ids(&partition.isr),
    };
    proto::Topic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        internal: topic.is_internal,
    }
}

fn topic_configs(described: TopicConfigs) -> proto::TopicConfigs {
    let entry = |(key, value): (String, ConfigValue)| proto::TopicConfig {
        key,
        value: value.value,
        is_default: value.is_default,
        is_read_only: value.is_read_only,
        is_sensitive: value.is_sensitive,
    };
    let entries = described.configs.into_iter().map(entry).collect();
    proto::TopicConfigs { topic: described.topic, entries }
}

fn deleted(row: DeletedRecords) -> proto::Deleted {
    proto::Deleted {
        partition: row.partition,
        low_watermark: row.low_watermark,
        error: row.error.unwrap_or_default(),
    }
}
