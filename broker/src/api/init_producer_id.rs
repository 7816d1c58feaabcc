//! InitProducerId: ids for idempotent producers.
//!
//! There are no transactions yet. A transactional id is refused with an error that every client
//! takes for final; COORDINATOR_NOT_AVAILABLE would let them try until they time out.

use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};

/// Kafka's `transaction.max.timeout.ms`.
const TRANSACTION_TIMEOUT_MS_MAX: i32 = 900_000;

pub(crate) async fn handle(node: &Node, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error_code| InitProducerIdResponse {
        error_code,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if let Some(id) = &request.transactional_id {
        let is_possible =
            (1..=TRANSACTION_TIMEOUT_MS_MAX).contains(&request.transaction_timeout_ms);
        return refused(match id.as_str() {
            "" => ErrorCode::INVALID_REQUEST,
            _ if !is_possible => ErrorCode::INVALID_TRANSACTION_TIMEOUT,
            _ => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        });
    }
    match node.storage.allocate_producer_id().await {
        Ok(id) => InitProducerIdResponse { producer_id: id.0, ..InitProducerIdResponse::default() },
        Err(_) => refused(ErrorCode::KAFKA_STORAGE_ERROR),
    }
}
