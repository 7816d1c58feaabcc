//! Record batches as producers send them.

use rivven_core::ids::TimestampMs;
use rivven_core::metadata::topic_config::{ProducedTo, TopicConfig};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::header::HEADER_BYTES;
use rivven_core::record::validate::{ProduceRules, ValidBatch, validate_produced};

/// The time of every record, which the rules of a default topic accept.
pub const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// A batch of `count` records of `value_bytes` that no compression would shrink.
#[must_use]
pub fn batch(count: usize, value_bytes: usize) -> Vec<u8> {
    let value = noise(value_bytes);
    let push = |builder: BatchBuilder, _| builder.push(NewRecord::value(&value));
    (0..count).fold(BatchBuilder::new(NOW), push).build()
}

/// A batch of one record that takes about `bytes` in all.
///
/// # Panics
/// When `bytes` leaves no room for a record.
#[must_use]
pub fn batch_of_bytes(bytes: usize) -> Vec<u8> {
    let overhead = HEADER_BYTES + 12;
    assert!(bytes > overhead, "a batch needs more than {bytes} bytes");
    batch(1, bytes - overhead)
}

/// What a default topic says about a batch, as the broker asks before it appends.
///
/// # Panics
/// When the batch is not valid: the benches append what clients would.
#[must_use]
pub fn validate(batch: &[u8], config: &TopicConfig) -> ValidBatch {
    validate_produced(batch, &rules(config)).expect("batches of the benches are valid")
}

/// The rules of a topic for the benches' batches.
#[must_use]
pub fn rules(config: &TopicConfig) -> ProduceRules<'_> {
    config.produce_rules(ProducedTo { topic: "bench", partition: 0, produce_version: 9, now: NOW })
}

/// The same bytes in every run (xorshift64).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..count.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(count).collect()
}
