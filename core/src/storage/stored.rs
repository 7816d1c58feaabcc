//! Batches that are in the log already, described as the log's machine wants them.

use crate::record::compression::Codec;
use crate::record::header::BatchHeader;
use crate::record::validate::ValidBatch;

/// What the header of a stored batch says; it was validated before it was stored.
pub(crate) fn stored_batch(header: &BatchHeader) -> ValidBatch {
    ValidBatch {
        count: header.last_offset_delta.saturating_add(1),
        last_offset_delta: header.last_offset_delta,
        base_timestamp: header.base_timestamp,
        max_timestamp: header.max_timestamp,
        needs_create_time: false,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        is_transactional: header.is_transactional(),
        codec: Codec::from_bits(header.codec_bits()).unwrap_or(Codec::None),
        size: header.size(),
    }
}
