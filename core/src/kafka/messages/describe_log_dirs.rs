//! DescribeLogDirs (key 35): sizes of partitions, and the room of the disk (KIP-113, KIP-827).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api DescribeLogDirs: DescribeLogDirsRequest => DescribeLogDirsResponse,
        versions 1-5, flexible 2;

    pub struct DescribeLogDirsRequest {
        /// `None`: all.
        [0+] topics: Option<Vec<DescribableLogDirTopic>>,
    }

    pub struct DescribableLogDirTopic {
        [0+] topic: WireStr,
        [0+] partitions: Vec<i32>,
    }

    pub struct DescribeLogDirsResponse {
        [0+] throttle_time_ms: i32,
        [3+] error_code: ErrorCode,
        [0+] results: Vec<DescribeLogDirsResult>,
    }

    pub struct DescribeLogDirsResult {
        [0+] error_code: ErrorCode,
        [0+] log_dir: WireStr,
        [0+] topics: Vec<DescribeLogDirsTopic>,
        [4+] total_bytes: i64 = -1,
        [4+] usable_bytes: i64 = -1,
        /// Takes no new partitions (KIP-1066).
        [5+] is_cordoned: bool,
    }

    pub struct DescribeLogDirsTopic {
        [0+] name: WireStr,
        [0+] partitions: Vec<DescribeLogDirsPartition>,
    }

    pub struct DescribeLogDirsPartition {
        [0+] partition_index: i32,
        [0+] partition_size: i64,
        [0+] offset_lag: i64,
        [0+] is_future_key: bool,
    }
}
