//! ListConfigResources (key 74): what has a configuration (KIP-1142).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api ListConfigResources: ListConfigResourcesRequest => ListConfigResourcesResponse,
        versions 0-1, flexible 0;

    pub struct ListConfigResourcesRequest {
        /// Empty: every type. Version 0 asks for client metrics alone.
        [1+] resource_types: Vec<i8>,
    }

    pub struct ListConfigResourcesResponse {
        [0+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [0+] config_resources: Vec<ConfigResource>,
    }

    pub struct ConfigResource {
        [0+] resource_name: WireStr,
        [1+] resource_type: i8 = 16,
    }
}
