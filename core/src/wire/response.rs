//! What a native client is answered. Numbers 0 to 41 are those of release 0.0.22; new ones come
//! last, and only in answer to new requests or after a handshake of version 3.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::codec::{Reader, Wire, WireError};
use super::language::wire_enum;
use super::message::{
    BrokerInfo, CommittedOffset, ConsumedRecord, DeletedRecords, MessageData, QuotaEntry,
    TopicConfigs, TopicMetadata,
};

wire_enum! {
    /// An answer.
    pub enum Response {
        0 Authenticated { session_id: String, expires_in: u64 },
        1 ScramServerFirst { message: Bytes },
        2 ScramServerFinal {
            message: Bytes,
            session_id: Option<String>,
            expires_in: Option<u64>,
        },
        3 Published { offset: u64, partition: u32 },
        4 Messages { messages: Vec<MessageData> },
        5 TopicCreated { name: String, partitions: u32 },
        6 Topics { topics: Vec<String> },
        7 TopicDeleted,
        8 OffsetCommitted,
        9 Offset { offset: Option<u64> },
        10 Metadata { name: String, partitions: u32 },
        11 ClusterMetadata {
            controller_id: Option<String>,
            brokers: Vec<BrokerInfo>,
            topics: Vec<TopicMetadata>,
        },
        12 Pong,
        13 OffsetBounds { earliest: u64, latest: u64 },
        14 Groups { groups: Vec<String> },
        15 GroupDescription {
            consumer_group: String,
            /// Topics, their partitions and the offset of each.
            offsets: BTreeMap<String, BTreeMap<u32, u64>>,
        },
        16 GroupDeleted,
        17 OffsetForTimestamp { offset: Option<u64> },
        /// The text begins with a word of capitals and a colon.
        18 Error { message: String },
        19 Ok,
        20 ProducerIdInitialized { producer_id: u64, producer_epoch: u16 },
        21 IdempotentPublished { offset: u64, partition: u32, duplicate: bool },
        22 TransactionStarted { txn_id: String },
        23 PartitionsAddedToTxn { txn_id: String, partition_count: u64 },
        24 TransactionalPublished { offset: u64, partition: u32, sequence: i32 },
        25 OffsetsAddedToTxn { txn_id: String },
        26 TransactionCommitted { txn_id: String },
        27 TransactionAborted { txn_id: String },
        28 QuotasDescribed { entries: Vec<QuotaEntry> },
        29 QuotasAltered { altered_count: u64 },
        30 Throttled { throttle_time_ms: u64, quota_type: String, entity: String },
        31 TopicConfigAltered { topic: String, changed_count: u64 },
        32 PartitionsCreated { topic: String, new_partition_count: u32 },
        33 RecordsDeleted { topic: String, results: Vec<DeletedRecords> },
        34 TopicConfigsDescribed { configs: Vec<TopicConfigs> },
        35 HandshakeResult { server_version: u32, compatible: bool, message: String },
        36 JoinGroupResult {
            generation_id: u32,
            protocol_type: String,
            member_id: String,
            leader_id: String,
            /// For the leader: members and the topics of each.
            members: Vec<(String, Vec<String>)>,
        },
        37 SyncGroupResult { assignments: Vec<(String, Vec<u32>)> },
        38 HeartbeatResult { error_code: i32 },
        39 LeaveGroupResult,
        40 PublishedBatch { base_offset: u64, partition: u32, record_count: u32 },
        41 IdempotentPublishedBatch {
            base_offset: u64,
            partition: u32,
            record_count: u32,
            duplicate: bool,
        },
        /// To PublishRecords.
        42 RecordsPublished {
            partition: u32,
            base_offset: u64,
            record_count: u32,
            /// When the broker stamps the records with its own time.
            append_time_ms: Option<i64>,
            log_start: u64,
            duplicate: bool,
        },
        /// To ConsumeRecords.
        43 Records {
            partition: u32,
            log_start: u64,
            last_stable_offset: u64,
            high_watermark: u64,
            /// Where to go on: behind the last record, and behind what is not for clients.
            next_offset: u64,
            records: Vec<ConsumedRecord>,
        },
        /// To CommitOffsets.
        44 OffsetsCommitted { results: Vec<CommittedOffset> },
        45 ErrorWithCode {
            /// Kafka's number of the error.
            code: i16,
            /// Whether the same request may succeed later.
            is_retriable: bool,
            message: String,
        },
    }
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not exactly one response.
    pub fn decode(payload: Bytes) -> Result<Response, WireError> {
        let mut reader = Reader::response(payload);
        let response = Response::read(&mut reader)?;
        reader.finish()?;
        assert!(response.index() < Response::NAMES.len(), "every response has a name");
        Ok(response)
    }
}
