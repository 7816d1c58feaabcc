//! What a native client asks. Numbers 0 to 39 are those of release 0.0.22; new ones come last.

use bytes::Bytes;

use super::codec::{Name, Reader, Secret, Wire, WireError};
use super::language::wire_enum;
use super::message::{
    BatchRecord, ConfigChange, NewRecord, OffsetToCommit, ProducerRun, QuotaAlteration,
};

wire_enum! {
    /// A request.
    pub enum Request {
        0 Authenticate { username: Name, password: Secret, require_tls: bool },
        1 SaslAuthenticate { mechanism: Secret, auth_bytes: Secret },
        2 ScramClientFirst { message: Secret },
        3 ScramClientFinal { message: Secret },
        4 Publish {
            topic: Name,
            partition: Option<u32>,
            key: Option<Bytes>,
            value: Bytes,
            leader_epoch: Option<u64>,
        },
        5 Consume {
            topic: Name,
            partition: u32,
            offset: u64,
            max_messages: u64,
            isolation_level: Option<u8>,
            max_wait_ms: Option<u64>,
        },
        6 CreateTopic { name: Name, partitions: Option<u32> },
        7 ListTopics,
        8 DeleteTopic { name: Name },
        9 CommitOffset { consumer_group: Name, topic: Name, partition: u32, offset: u64 },
        10 GetOffset { consumer_group: Name, topic: Name, partition: u32 },
        11 GetMetadata { topic: Name },
        /// No topics: all of them.
        12 GetClusterMetadata { topics: Vec<Name> },
        13 Ping,
        14 GetOffsetBounds { topic: Name, partition: u32 },
        15 ListGroups,
        16 DescribeGroup { consumer_group: Name },
        17 DeleteGroup { consumer_group: Name },
        18 GetOffsetForTimestamp { topic: Name, partition: u32, timestamp_ms: i64 },
        19 InitProducerId { producer_id: Option<u64> },
        20 IdempotentPublish {
            topic: Name,
            partition: Option<u32>,
            key: Option<Bytes>,
            value: Bytes,
            producer_id: u64,
            producer_epoch: u16,
            sequence: i32,
            leader_epoch: Option<u64>,
        },
        21 BeginTransaction {
            txn_id: Name,
            producer_id: u64,
            producer_epoch: u16,
            timeout_ms: Option<u64>,
        },
        22 AddPartitionsToTxn {
            txn_id: Name,
            producer_id: u64,
            producer_epoch: u16,
            partitions: Vec<(Name, u32)>,
        },
        23 TransactionalPublish {
            txn_id: Name,
            topic: Name,
            partition: Option<u32>,
            key: Option<Bytes>,
            value: Bytes,
            producer_id: u64,
            producer_epoch: u16,
            sequence: i32,
            leader_epoch: Option<u64>,
        },
        24 AddOffsetsToTxn {
            txn_id: Name,
            producer_id: u64,
            producer_epoch: u16,
            group_id: Name,
            offsets: Vec<(Name, u32, i64)>,
        },
        25 CommitTransaction { txn_id: Name, producer_id: u64, producer_epoch: u16 },
        26 AbortTransaction { txn_id: Name, producer_id: u64, producer_epoch: u16 },
        27 DescribeQuotas { entities: Vec<(Name, Option<Name>)> },
        28 AlterQuotas { alterations: Vec<QuotaAlteration> },
        29 AlterTopicConfig { topic: Name, configs: Vec<ConfigChange> },
        30 CreatePartitions {
            topic: Name,
            new_partition_count: u32,
            /// The brokers of each new partition; none: the broker chooses.
            assignments: Vec<Vec<Name>>,
        },
        31 DeleteRecords { topic: Name, partition_offsets: Vec<(u32, u64)> },
        /// No topics: all of them.
        32 DescribeTopicConfigs { topics: Vec<Name> },
        33 Handshake { protocol_version: u32, client_id: Name },
        34 JoinGroup {
            group_id: Name,
            member_id: Name,
            session_timeout_ms: u32,
            rebalance_timeout_ms: u32,
            protocol_type: Name,
            subscriptions: Vec<Name>,
        },
        35 SyncGroup {
            group_id: Name,
            generation_id: u32,
            member_id: Name,
            /// Members, and the partitions of each topic that each gets.
            assignments: Vec<(Name, Vec<(Name, Vec<u32>)>)>,
        },
        36 Heartbeat { group_id: Name, generation_id: u32, member_id: Name },
        37 LeaveGroup { group_id: Name, member_id: Name },
        38 PublishBatch {
            topic: Name,
            partition: Option<u32>,
            records: Vec<BatchRecord>,
            leader_epoch: Option<u64>,
        },
        39 IdempotentPublishBatch {
            topic: Name,
            partition: Option<u32>,
            records: Vec<BatchRecord>,
            producer_id: u64,
            producer_epoch: u16,
            base_sequence: i32,
            leader_epoch: Option<u64>,
        },
        /// Records with headers, timestamps and null values for one partition: one batch.
        40 PublishRecords {
            topic: Name,
            partition: Option<u32>,
            records: Vec<NewRecord>,
            /// 0: no answer at all, 1: the leader, -1: all in-sync replicas.
            acks: i16,
            producer: Option<ProducerRun>,
            leader_epoch: Option<u64>,
        },
        41 ConsumeRecords {
            topic: Name,
            partition: u32,
            offset: u64,
            max_records: u32,
            /// Bytes of keys, values and headers; the first record comes whatever its size.
            max_bytes: u32,
            isolation_level: u8,
            max_wait_ms: u32,
        },
        42 CommitOffsets {
            group_id: Name,
            /// -1 with an empty member id: a client that is no member of the group.
            generation_id: i32,
            member_id: Name,
            group_instance_id: Option<Name>,
            offsets: Vec<OffsetToCommit>,
        },
        /// Answered as CreateTopic.
        43 CreateTopicWithConfigs {
            name: Name,
            partitions: Option<u32>,
            replication_factor: Option<u16>,
            configs: Vec<ConfigChange>,
        },
    }
}

/// First number that release 0.0.22 does not have. Errors of such requests carry a code.
pub const FIRST_NEW: usize = 40;

impl Request {
    /// Reads a request, and how much memory it takes beside its frame.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not exactly one request within its limits.
    pub fn decode(payload: Bytes) -> Result<(Request, usize), WireError> {
        let mut reader = Reader::request(payload);
        let request = Request::read(&mut reader)?;
        reader.finish()?;
        assert!(request.index() < Request::NAMES.len(), "every request has a name");
        Ok((request, reader.memory()))
    }
}
