//! ApiVersions (key 18): what a client may send; the first request on most connections.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api ApiVersions: ApiVersionsRequest => ApiVersionsResponse, versions 0-4, flexible 3;

    pub struct ApiVersionsRequest {
        [3+] client_software_name: WireStr,
        [3+] client_software_version: WireStr,
    }

    /// A request in an unknown version is answered with this in version 0 (KIP-511).
    pub struct ApiVersionsResponse {
        [0+] error_code: ErrorCode,
        [0+] api_keys: Vec<ApiVersion>,
        [1+] throttle_time_ms: i32,
        /// Features with a minimum of 0 may be sent from version 4 only: older Java clients refuse
        /// them.
        [3+, tag 0] supported_features: Vec<SupportedFeatureKey>,
        /// −1 if it is not known.
        [3+, tag 1] finalized_features_epoch: i64 = -1,
        [3+, tag 2] finalized_features: Vec<FinalizedFeatureKey>,
        [3+, tag 3] zk_migration_ready: bool,
    }

    pub struct ApiVersion {
        [0+] api_key: i16,
        [0+] min_version: i16,
        [0+] max_version: i16,
    }

    pub struct SupportedFeatureKey {
        [3+] name: WireStr,
        [3+] min_version: i16,
        [3+] max_version: i16,
    }

    pub struct FinalizedFeatureKey {
        [3+] name: WireStr,
        [3+] max_version_level: i16,
        [3+] min_version_level: i16,
    }
}
