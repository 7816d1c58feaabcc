//! Fetch (key 1): reads record batches, for consumers and followers.

use crate::ids::TopicId;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::records::Records;
use crate::kafka::codec::text::WireStr;

messages! {
    api Fetch: FetchRequest => FetchResponse, versions 4-18, flexible 12;

    /// What to read and how long to wait for it.
    pub struct FetchRequest {
        [12+, tag 0] cluster_id: Option<WireStr>,
        /// Node id of a follower, −1 for a consumer.
        [4-14] replica_id: i32 = -1,
        [15+, tag 1] replica_state: ReplicaState,
        [4+] max_wait_ms: i32,
        [4+] min_bytes: i32,
        [4+] max_bytes: i32 = i32::MAX,
        /// 0: read uncommitted, 1: read committed.
        [4+] isolation_level: i8,
        /// Fetch sessions are KIP-227; id 0 and epoch −1 mean none.
        [7+] session_id: i32,
        [7+] session_epoch: i32 = -1,
        [4+] topics: Vec<FetchTopic>,
        [7+] forgotten_topics_data: Vec<ForgottenTopic>,
        [11+] rack_id: WireStr,
    }

    /// The follower that asks, from version 15 in place of `replica_id` (KIP-903).
    pub struct ReplicaState {
        [15+] replica_id: i32 = -1,
        [15+] replica_epoch: i64 = -1,
    }

    pub struct FetchTopic {
        [4-12] topic: WireStr,
        [13+] topic_id: TopicId,
        [4+] partitions: Vec<FetchPartition>,
    }

    pub struct FetchPartition {
        [4+] partition: i32,
        [9+] current_leader_epoch: i32 = -1,
        [4+] fetch_offset: i64,
        [12+] last_fetched_epoch: i32 = -1,
        /// Sent by followers only.
        [5+] log_start_offset: i64 = -1,
        [4+] partition_max_bytes: i32,
        /// Sent by followers only (KIP-853).
        [17+, tag 0] replica_directory_id: [u8; 16],
        /// Sent by followers only (KIP-1166); the maximum means that it is not known.
        [18+, tag 1] high_watermark: i64 = i64::MAX,
    }

    /// Partitions to drop from a fetch session.
    pub struct ForgottenTopic {
        [7-12] topic: WireStr,
        [13+] topic_id: TopicId,
        [7+] partitions: Vec<i32>,
    }

    /// Record batches by partition.
    pub struct FetchResponse {
        [4+] throttle_time_ms: i32,
        [7+] error_code: ErrorCode,
        [7+] session_id: i32,
        [4+] responses: Vec<FetchableTopicResponse>,
        /// Addresses of the leaders named in `current_leader` (KIP-951).
        [16+, tag 0] node_endpoints: Vec<NodeEndpoint>,
    }

    pub struct FetchableTopicResponse {
        [4-12] topic: WireStr,
        [13+] topic_id: TopicId,
        [4+] partitions: Vec<PartitionData>,
    }

    pub struct PartitionData {
        [4+] partition_index: i32,
        [4+] error_code: ErrorCode,
        [4+] high_watermark: i64,
        [4+] last_stable_offset: i64 = -1,
        [5+] log_start_offset: i64 = -1,
        /// Where the asker's log leaves the leader's (KIP-595).
        [12+, tag 0] diverging_epoch: EpochEndOffset,
        [12+, tag 1] current_leader: LeaderIdAndEpoch,
        [12+, tag 2] snapshot_id: SnapshotId,
        /// For read committed only, null otherwise.
        [4+] aborted_transactions: Option<Vec<AbortedTransaction>>,
        /// Node id of a replica nearer to the asker's rack (KIP-392), −1 if there is none.
        [11+] preferred_read_replica: i32 = -1,
        [4+] records: Option<Records>,
    }

    pub struct EpochEndOffset {
        [12+] epoch: i32 = -1,
        [12+] end_offset: i64 = -1,
    }

    /// The leader to ask instead; −1 if unknown.
    pub struct LeaderIdAndEpoch {
        [12+] leader_id: i32 = -1,
        [12+] leader_epoch: i32 = -1,
    }

    pub struct SnapshotId {
        [12+] end_offset: i64 = -1,
        [12+] epoch: i32 = -1,
    }

    pub struct AbortedTransaction {
        [4+] producer_id: i64,
        [4+] first_offset: i64,
    }

    pub struct NodeEndpoint {
        [16+] node_id: i32,
        [16+] host: WireStr,
        [16+] port: i32,
        [16+] rack: Option<WireStr>,
    }
}
