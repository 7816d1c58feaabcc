//! ApiVersions: what this broker serves. No features are listed, since none is there to be used.

use rivven_core::kafka::codec::api::{ApiKey, SERVED, Served};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};

/// First version that names the client's software (KIP-511).
const SOFTWARE_VERSION_MIN: i16 = 3;

pub(crate) fn handle(api_version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let is_named = is_software_text(&request.client_software_name)
        && is_software_text(&request.client_software_version);
    if api_version >= SOFTWARE_VERSION_MIN && !is_named {
        let error_code = ErrorCode::INVALID_REQUEST;
        return ApiVersionsResponse { error_code, ..Default::default() };
    }
    ApiVersionsResponse { api_keys: SERVED.iter().map(row).collect(), ..Default::default() }
}

/// The answer to a version that is not served; it goes out in version 0.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![row(ApiKey::ApiVersions.served())],
        ..Default::default()
    }
}

fn row(api: &Served) -> ApiVersion {
    ApiVersion {
        api_key: api.key as i16,
        min_version: api.version_min,
        max_version: api.version_max,
    }
}

/// Letters and digits, with dots and dashes between them.
fn is_software_text(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| is_inner(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_named_by_kafka_s_pattern() {
        let cases = [
            ("librdkafka", true),
            ("2.12.1-rc1", true),
            ("a", true),
            ("", false),
            ("my client", false),
            ("-a", false),
            ("a.", false),
            ("ä", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_software_text(text), expected, "{text}");
        }
    }
}
