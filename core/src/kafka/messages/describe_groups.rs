//! DescribeGroups (key 15): state and members of classic groups.

use bytes::Bytes;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse, versions 0-6, flexible 5;

    pub struct DescribeGroupsRequest {
        [0+] groups: Vec<WireStr>,
        [3+] include_authorized_operations: bool,
    }

    pub struct DescribeGroupsResponse {
        [1+] throttle_time_ms: i32,
        [0+] groups: Vec<DescribedGroup>,
    }

    pub struct DescribedGroup {
        [0+] error_code: ErrorCode,
        [6+] error_message: Option<WireStr>,
        [0+] group_id: WireStr,
        [0+] group_state: WireStr,
        [0+] protocol_type: WireStr,
        /// Name of the protocol.
        [0+] protocol_data: WireStr,
        [0+] members: Vec<DescribedGroupMember>,
        /// Bits of AclOperation; the least number if they were not asked for.
        [3+] authorized_operations: i32 = i32::MIN,
    }

    pub struct DescribedGroupMember {
        [0+] member_id: WireStr,
        [4+] group_instance_id: Option<WireStr>,
        [0+] client_id: WireStr,
        [0+] client_host: WireStr,
        [0+] member_metadata: Bytes,
        [0+] member_assignment: Bytes,
    }
}
