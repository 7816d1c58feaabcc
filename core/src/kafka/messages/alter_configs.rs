//! AlterConfigs (key 33): replaces all settings of a topic or broker.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api AlterConfigs: AlterConfigsRequest => AlterConfigsResponse, versions 0-2, flexible 2;

    pub struct AlterConfigsRequest {
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
        [0+] value: Option<WireStr>,
    }

    pub struct AlterConfigsResponse {
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
