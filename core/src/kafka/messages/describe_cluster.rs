//! DescribeCluster (key 60): cluster id, controller and brokers (KIP-700).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;
use crate::kafka::messages::metadata::OPERATIONS_NOT_ASKED;

messages! {
    api DescribeCluster: DescribeClusterRequest => DescribeClusterResponse,
        versions 0-2, flexible 0;

    pub struct DescribeClusterRequest {
        [0+] include_cluster_authorized_operations: bool,
        /// 1: brokers, 2: controllers (KIP-919).
        [1+] endpoint_type: i8 = 1,
        [2+] include_fenced_brokers: bool,
    }

    pub struct DescribeClusterResponse {
        [0+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [0+] error_message: Option<WireStr>,
        [1+] endpoint_type: i8 = 1,
        [0+] cluster_id: WireStr,
        [0+] controller_id: i32 = -1,
        [0+] brokers: Vec<DescribeClusterBroker>,
        [0+] cluster_authorized_operations: i32 = OPERATIONS_NOT_ASKED,
    }

    pub struct DescribeClusterBroker {
        [0+] broker_id: i32,
        [0+] host: WireStr,
        [0+] port: i32,
        [0+] rack: Option<WireStr>,
        [2+] is_fenced: bool,
    }
}
