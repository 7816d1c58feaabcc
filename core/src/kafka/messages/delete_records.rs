//! DeleteRecords (key 21): moves the log start of partitions.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse, versions 0-2, flexible 2;

    pub struct DeleteRecordsRequest {
        [0+] topics: Vec<DeleteRecordsTopic>,
        [0+] timeout_ms: i32,
    }

    pub struct DeleteRecordsTopic {
        [0+] name: WireStr,
        [0+] partitions: Vec<DeleteRecordsPartition>,
    }

    pub struct DeleteRecordsPartition {
        [0+] partition_index: i32,
        /// The new log start; −1 means the high watermark.
        [0+] offset: i64,
    }

    pub struct DeleteRecordsResponse {
        [0+] throttle_time_ms: i32,
        [0+] topics: Vec<DeleteRecordsTopicResult>,
    }

    pub struct DeleteRecordsTopicResult {
        [0+] name: WireStr,
        [0+] partitions: Vec<DeleteRecordsPartitionResult>,
    }

    pub struct DeleteRecordsPartitionResult {
        [0+] partition_index: i32,
        /// The log start afterwards, −1 with an error.
        [0+] low_watermark: i64,
        [0+] error_code: ErrorCode,
    }
}
