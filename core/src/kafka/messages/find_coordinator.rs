//! FindCoordinator (key 10): the node that leads a group or a transactional id.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

// Version 5 lets the answer be TRANSACTION_ABORTABLE (KIP-890), version 6 adds the key type 2
// (KIP-932); both have the layout of version 4.
messages! {
    api FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse,
        versions 0-6, flexible 3;

    pub struct FindCoordinatorRequest {
        [0-3] key: WireStr,
        /// 0: group id, 1: transactional id, 2: `group:topic id:partition` of a share group.
        [1+] key_type: i8,
        /// Any number of keys of the one type (KIP-699).
        [4+] coordinator_keys: Vec<WireStr>,
    }

    /// From version 4 there is an answer for each key and nothing above them.
    pub struct FindCoordinatorResponse {
        [1+] throttle_time_ms: i32,
        [0-3] error_code: ErrorCode,
        [1-3] error_message: Option<WireStr>,
        /// −1 if there is an error.
        [0-3] node_id: i32,
        [0-3] host: WireStr,
        [0-3] port: i32,
        [4+] coordinators: Vec<Coordinator>,
    }

    pub struct Coordinator {
        [4+] key: WireStr,
        /// −1 if there is an error.
        [4+] node_id: i32,
        [4+] host: WireStr,
        [4+] port: i32,
        [4+] error_code: ErrorCode,
        [4+] error_message: Option<WireStr>,
    }
}
