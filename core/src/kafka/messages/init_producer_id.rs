//! InitProducerId (key 22): the id and epoch of an idempotent or transactional producer (KIP-98).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api InitProducerId: InitProducerIdRequest => InitProducerIdResponse, versions 0-5, flexible 2;

    pub struct InitProducerIdRequest {
        /// Null for a producer that is only idempotent.
        [0+] transactional_id: Option<WireStr>,
        [0+] transaction_timeout_ms: i32,
        /// The id and epoch to go on from (KIP-360), −1 for a new producer.
        [3+] producer_id: i64 = -1,
        [3+] producer_epoch: i16 = -1,
    }

    pub struct InitProducerIdResponse {
        [0+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [0+] producer_id: i64 = -1,
        [0+] producer_epoch: i16,
    }
}
