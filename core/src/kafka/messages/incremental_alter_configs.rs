//! IncrementalAlterConfigs (key 44): changes single settings of a topic or broker (KIP-339).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api IncrementalAlterConfigs: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse,
        versions 0-1, flexible 1;

    pub struct IncrementalAlterConfigsRequest {
        [0+] resources: Vec<AlterConfigsResource>,
        [0+] validate_only: bool,
    }

    pub struct AlterConfigsResource {
        /// 2: topic, 4: broker.
        [0+] resource_type: i8,
        [0+] resource_name: WireStr,
        [0+] configs: Vec<AlterableConfig>,
    }

    pub struct AlterableConfig {
        [0+] name: WireStr,
        /// 0: set, 1: delete, 2: append to a list, 3: subtract from a list.
        [0+] config_operation: i8,
        [0+] value: Option<WireStr>,
    }

    pub struct IncrementalAlterConfigsResponse {
        [0+] throttle_time_ms: i32,
        [0+] responses: Vec<AlterConfigsResourceResponse>,
    }

    pub struct AlterConfigsResourceResponse {
        [0+] error_code: ErrorCode,
        [0+] error_message: Option<WireStr>,
        [0+] resource_type: i8,
        [0+] resource_name: WireStr,
    }
}
