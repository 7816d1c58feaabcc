//! What requests and responses hold lists of.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::codec::Name;
use super::language::wire_structs;

wire_structs! {
    /// A record of a batch as release 0.0.22 sends it.
    pub struct BatchRecord {
        key: Option<Bytes>,
        value: Bytes,
    }

    /// A record with all that a record has.
    pub struct NewRecord {
        key: Option<Bytes>,
        /// None: a tombstone.
        value: Option<Bytes>,
        headers: Vec<(String, Option<Bytes>)>,
        /// None: the time at which the broker read the request.
        timestamp_ms: Option<i64>,
    }

    /// Where a batch stands in the sequence of its producer.
    pub struct ProducerRun {
        producer_id: u64,
        producer_epoch: u16,
        base_sequence: i32,
    }

    pub struct OffsetToCommit {
        topic: Name,
        partition: u32,
        offset: u64,
        leader_epoch: Option<u32>,
        metadata: Option<String>,
    }

    pub struct CommittedOffset {
        topic: String,
        partition: u32,
        /// Kafka's number of the error, 0 for none.
        error_code: i16,
    }

    /// A record as release 0.0.22 reads it: a null value is an empty one.
    pub struct MessageData {
        offset: u64,
        partition: u32,
        key: Option<Bytes>,
        value: Bytes,
        timestamp_ms: i64,
        headers: Vec<(String, Bytes)>,
    }

    pub struct ConsumedRecord {
        offset: u64,
        key: Option<Bytes>,
        /// None: a tombstone.
        value: Option<Bytes>,
        timestamp_ms: i64,
        headers: Vec<(String, Option<Bytes>)>,
    }

    pub struct BrokerInfo {
        node_id: String,
        host: String,
        port: u16,
        rack: Option<String>,
    }

    pub struct TopicMetadata {
        name: String,
        is_internal: bool,
        partitions: Vec<PartitionMetadata>,
    }

    pub struct PartitionMetadata {
        partition: u32,
        leader: Option<String>,
        replicas: Vec<String>,
        isr: Vec<String>,
        offline: bool,
    }

    pub struct ConfigChange {
        key: Name,
        /// None: back to the default.
        value: Option<String>,
    }

    pub struct TopicConfigs {
        topic: String,
        configs: BTreeMap<String, ConfigValue>,
    }

    pub struct ConfigValue {
        value: String,
        is_default: bool,
        is_read_only: bool,
        is_sensitive: bool,
    }

    pub struct DeletedRecords {
        partition: u32,
        /// The log start afterwards.
        low_watermark: u64,
        error: Option<String>,
    }

    pub struct QuotaAlteration {
        entity_type: Name,
        entity_name: Option<Name>,
        quota_key: Name,
        /// None: no quota any more.
        quota_value: Option<u64>,
    }

    pub struct QuotaEntry {
        entity_type: String,
        entity_name: Option<String>,
        quotas: BTreeMap<String, u64>,
    }
}
