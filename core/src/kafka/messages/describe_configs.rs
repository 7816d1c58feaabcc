//! DescribeConfigs (key 32): settings of topics and brokers, with where each comes from.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse,
        versions 1-4, flexible 4;

    pub struct DescribeConfigsRequest {
        [1+] resources: Vec<DescribeConfigsResource>,
        [1+] include_synonyms: bool,
        [3+] include_documentation: bool,
    }

    pub struct DescribeConfigsResource {
        /// 2: topic, 4: broker.
        [1+] resource_type: i8,
        [1+] resource_name: WireStr,
        /// None: all of them.
        [1+] configuration_keys: Option<Vec<WireStr>>,
    }

    pub struct DescribeConfigsResponse {
        [1+] throttle_time_ms: i32,
        [1+] results: Vec<DescribeConfigsResult>,
    }

    pub struct DescribeConfigsResult {
        [1+] error_code: ErrorCode,
        [1+] error_message: Option<WireStr>,
        [1+] resource_type: i8,
        [1+] resource_name: WireStr,
        [1+] configs: Vec<DescribeConfigsResourceResult>,
    }

    pub struct DescribeConfigsResourceResult {
        [1+] name: WireStr,
        [1+] value: Option<WireStr>,
        [1+] read_only: bool,
        /// 1: topic, 2: dynamic broker, 3: dynamic default broker, 4: static broker, 5: default.
        [1+] config_source: i8 = -1,
        [1+] is_sensitive: bool,
        [1+] synonyms: Vec<DescribeConfigsSynonym>,
        /// 1: boolean, 2: string, 3: int, 4: short, 5: long, 6: double, 7: list, 8: class,
        /// 9: password.
        [3+] config_type: i8,
        [3+] documentation: Option<WireStr>,
    }

    pub struct DescribeConfigsSynonym {
        [1+] name: WireStr,
        [1+] value: Option<WireStr>,
        [1+] source: i8,
    }
}
