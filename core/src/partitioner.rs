//! Which partition a record goes to when nobody names one: by its key, else the same one for a
//! while.

use crate::ids::TopicId;

/// Bytes that go to one partition before keyless records turn to the next.
const STICKY_BYTES_MAX: usize = 16 << 10;
/// How long they stay with one partition, in milliseconds.
const STICKY_MS_MAX: u64 = 100;

/// The partition of a key, as Kafka's Java client chooses it: records of one key meet in one
/// partition, whichever client wrote them.
///
/// # Panics
/// When there are no partitions.
#[must_use]
pub fn by_key(key: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has partitions");
    let partition = (murmur2(key) & 0x7fff_ffff) % partitions;
    assert!(partition < partitions, "a partition of the topic");
    partition
}

/// MurmurHash2 with the seed of Kafka's clients.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Kafka's lengths are 32 bits, too.
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

/// Where one client's records without a key go: to one partition until it got enough bytes or
/// enough time has passed, then to the next.
#[derive(Clone, Debug)]
pub struct Sticky {
    topic: TopicId,
    partition: u32,
    bytes: usize,
    since_ms: u64,
}

impl Sticky {
    /// Begins anywhere: many clients that write once each spread over all partitions.
    #[must_use]
    pub fn new(random: u64) -> Sticky {
        let partition = (random >> 33) as u32;
        Sticky { topic: TopicId::NIL, partition, bytes: STICKY_BYTES_MAX, since_ms: 0 }
    }

    /// The partition for `bytes` of records.
    ///
    /// # Panics
    /// When the topic has no partitions.
    pub fn choose(
        &mut self,
        (topic, partitions): (TopicId, u32),
        bytes: usize,
        now_ms: u64,
    ) -> u32 {
        assert!(partitions > 0, "a topic has partitions");
        let is_old = now_ms.saturating_sub(self.since_ms) >= STICKY_MS_MAX;
        if self.topic != topic || is_old || self.bytes >= STICKY_BYTES_MAX {
            self.topic = topic;
            self.partition = self.partition.wrapping_add(1) % partitions;
            self.bytes = 0;
            self.since_ms = now_ms;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        assert!(self.partition < u32::MAX, "a partition is counted from 0");
        self.partition % partitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_kafka_s_client() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
            assert!(by_key(key.as_bytes(), 7) < 7);
        }
    }

    #[test]
    fn keyless_records_stay_for_a_while_and_reach_every_partition() {
        let topic = (TopicId([1; 16]), 3);
        let mut sticky = Sticky::new(0);
        let first = sticky.choose(topic, 100, 1000);
        assert_eq!(sticky.choose(topic, STICKY_BYTES_MAX, 1001), first);
        let second = sticky.choose(topic, 1, 1002);
        let third = sticky.choose(topic, 1, 1102);
        let mut all = [first, second, third];
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert!(sticky.choose((TopicId([2; 16]), 1), 1, 1103) == 0);
    }
}
