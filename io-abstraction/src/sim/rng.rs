//! Seeded random streams, one per concern, and the randomness handle of a node.
//!
//! A stream's draws depend on its four keys only, never on what other streams drew: a fault that is
//! taken out of a plan leaves the draws of all other concerns as they were.

use std::sync::Arc;

use crate::rng::RngOps;
use crate::sim::exclusive::Exclusive;

/// A xoshiro256++ generator (Blackman and Vigna, 2018), seeded by splitmix64.
#[derive(Clone, Debug)]
pub struct Stream {
    state: [u64; 4],
}

/// The stream of `concern` on `node`; `k` tells apart the streams of one concern (an incarnation,
/// a connection, a crash).
#[must_use]
pub fn stream(seed: u64, concern: &str, node: u64, k: u64) -> Stream {
    let mut key = 0xcbf2_9ce4_8422_2325_u64;
    for byte in concern.bytes() {
        key = (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut mixed = seed;
    for word in [key, node, k] {
        mixed = splitmix(&mut mixed) ^ word;
    }
    Stream { state: std::array::from_fn(|_| splitmix(&mut mixed)) }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Stream {
    /// A uniformly drawn number.
    pub fn u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let drawn = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        drawn
    }

    /// A number in `0..end`, 0 if `end` is 0. The bias is below 2⁻⁶⁴ times `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.u64()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the upper half of a 128-bit product fits 64 bits")
    }

    /// A number in `low..=high`; `low` if the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// True with the given probability (0.0 never, 1.0 always). Draws one number in each case.
    pub fn chance(&mut self, probability: f64) -> bool {
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        let drawn = self.u64() >> 11;
        (drawn as f64) * UNIT < probability
    }

    /// Fills `bytes` with uniformly drawn ones.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.u64().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// A node's randomness: the stream of one incarnation, so that a dead one's draws change nothing.
#[derive(Clone)]
pub struct SimRng {
    stream: Arc<Exclusive<Stream>>,
}

impl SimRng {
    pub(crate) fn new(stream: Stream) -> SimRng {
        SimRng { stream: Arc::new(Exclusive::new(stream)) }
    }
}

impl RngOps for SimRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.stream.lock().fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_each_key_and_repeat_for_equal_keys() {
        let first = |mut stream: Stream| stream.u64();
        let base = first(stream(1, "disk", 1, 0));
        assert_eq!(base, first(stream(1, "disk", 1, 0)));
        for other in [
            stream(2, "disk", 1, 0),
            stream(1, "net", 1, 0),
            stream(1, "disk", 2, 0),
            stream(1, "disk", 1, 1),
        ] {
            assert_ne!(base, first(other));
        }
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut stream = stream(7, "range", 0, 0);
        for _ in 0..10_000 {
            assert!(stream.below(3) < 3);
            assert!((5..=6).contains(&stream.between(5, 6)));
            assert!(!stream.chance(0.0));
            assert!(stream.chance(1.0));
        }
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.between(9, 4), 9);
    }

    #[test]
    fn a_chance_comes_as_often_as_it_says() {
        let mut stream = stream(7, "chance", 0, 0);
        let hits = (0..10_000).filter(|_| stream.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
    }
}
