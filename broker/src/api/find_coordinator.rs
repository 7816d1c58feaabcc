//! FindCoordinator: this node, which is the only one, leads every group and transactional id.

use super::Caller;
use super::errors::group_error;
use crate::groups::topic;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

/// First version with any number of keys (KIP-699).
const BATCH_VERSION_MIN: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// The texts with which Kafka names these codes.
const NONE_TEXT: WireStr = WireStr::from_static("NONE");
const INVALID_REQUEST_TEXT: WireStr = WireStr::from_static(
    "This most likely occurs because of a request being malformed by the client library or the \
     message was sent to an incompatible broker. See the broker logs for more details.",
);
const UNAVAILABLE_TEXT: WireStr = WireStr::from_static("The coordinator is not available.");

/// A node and where the caller reaches it.
struct Place {
    node_id: i32,
    host: WireStr,
    port: i32,
}

/// The first client that looks for a group's coordinator has the groups' topic made.
pub(crate) async fn handle(
    node: &Node,
    caller: Caller,
    api_version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let (host, port) = caller.advertised(node);
    let mut error_code = key_type_error(request.key_type);
    if request.key_type == GROUP
        && let Err(refusal) = topic::ensure(node).await
    {
        error_code = group_error(&refusal);
    }
    let here = Place { node_id: node.config.node_id, host, port };
    answer((here, error_code), api_version, request)
}

fn answer(
    (here, error_code): (Place, ErrorCode),
    api_version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let place = if error_code.is_error() { nowhere() } else { here };
    if api_version < BATCH_VERSION_MIN {
        let text = match error_code {
            ErrorCode::NONE => NONE_TEXT,
            ErrorCode::INVALID_REQUEST => INVALID_REQUEST_TEXT,
            _ => UNAVAILABLE_TEXT,
        };
        return FindCoordinatorResponse {
            error_code,
            error_message: Some(text),
            node_id: place.node_id,
            host: place.host,
            port: place.port,
            ..Default::default()
        };
    }
    // Kafka gives a text from version 4 only if it does not know the type at all.
    let is_known = (GROUP..=SHARE).contains(&request.key_type);
    let text = if is_known { WireStr::default() } else { INVALID_REQUEST_TEXT };
    let coordinators = request.coordinator_keys.into_iter().map(|key| Coordinator {
        key,
        node_id: place.node_id,
        host: place.host.clone(),
        port: place.port,
        error_code,
        error_message: Some(text.clone()),
    });
    FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() }
}

/// Share groups have no coordinator here, so their keys are refused in every version; a code that
/// clients retry would keep them asking for ever.
fn key_type_error(key_type: i8) -> ErrorCode {
    match key_type {
        GROUP | TRANSACTION => ErrorCode::NONE,
        _ => ErrorCode::INVALID_REQUEST,
    }
}

/// What stands in the place of a node if there is an error.
fn nowhere() -> Place {
    Place { node_id: -1, host: WireStr::default(), port: -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(api_version: i16, key_type: i8, keys: &[&str]) -> FindCoordinatorResponse {
        let mut request = FindCoordinatorRequest { key_type, ..Default::default() };
        match api_version {
            BATCH_VERSION_MIN.. => {
                request.coordinator_keys = keys.iter().map(|key| WireStr::from(*key)).collect();
            }
            _ => request.key = keys[0].into(),
        }
        let here = Place { node_id: 7, host: "broker".into(), port: 9092 };
        answer((here, key_type_error(key_type)), api_version, request)
    }

    #[test]
    fn one_key_is_led_by_this_node_or_its_type_is_refused() {
        let invalid = ErrorCode::INVALID_REQUEST;
        for (key_type, key, error_code, place) in [
            (GROUP, "g", ErrorCode::NONE, (7, "broker", 9092)),
            (GROUP, "", ErrorCode::NONE, (7, "broker", 9092)),
            (TRANSACTION, "", ErrorCode::NONE, (7, "broker", 9092)),
            (SHARE, "g:AAAAAAAAAAAAAAAAAAAAAA:0", invalid, (-1, "", -1)),
            (9, "k", invalid, (-1, "", -1)),
            (-1, "k", invalid, (-1, "", -1)),
        ] {
            for api_version in 0..BATCH_VERSION_MIN {
                let response = ask(api_version, key_type, &[key]);
                let found = (response.node_id, response.host.as_str(), response.port);
                assert_eq!((response.error_code, found), (error_code, place), "type {key_type}");
                assert_eq!(response.coordinators, []);
                let text = response.error_message.unwrap_or_default();
                assert_eq!(text == NONE_TEXT, !error_code.is_error());
            }
        }
    }

    #[test]
    fn each_key_of_a_batch_is_answered_in_order() {
        let invalid = ErrorCode::INVALID_REQUEST;
        for (key_type, error_code, text, place) in [
            (GROUP, ErrorCode::NONE, WireStr::default(), (7, "broker", 9092)),
            (TRANSACTION, ErrorCode::NONE, WireStr::default(), (7, "broker", 9092)),
            (SHARE, invalid, WireStr::default(), (-1, "", -1)),
            (9, invalid, INVALID_REQUEST_TEXT, (-1, "", -1)),
        ] {
            for api_version in BATCH_VERSION_MIN..=6 {
                let response = ask(api_version, key_type, &["abc", "", "abc"]);
                let keys: Vec<_> = response.coordinators.iter().map(|row| &*row.key).collect();
                assert_eq!(keys, ["abc", "", "abc"]);
                for row in &response.coordinators {
                    assert_eq!(
                        (row.error_code, row.error_message.as_ref()),
                        (error_code, Some(&text))
                    );
                    assert_eq!((row.node_id, row.host.as_str(), row.port), place);
                }
                assert_eq!((response.error_code, response.error_message), (ErrorCode::NONE, None));
            }
            assert_eq!(ask(4, key_type, &[]).coordinators, []);
        }
    }
}
