//! Randomness for ids and jitter: the operating system's entropy, or the node's own seeded stream.

use crate::disk::both;

/// The contract of a node's randomness.
pub trait RngOps {
    fn fill(&self, bytes: &mut [u8]);
}

/// Randomness of either world.
#[derive(Clone)]
pub enum Rng {
    #[doc(hidden)]
    Real(crate::real::rng::RealRng),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::rng::SimRng),
}

impl Rng {
    /// Fills `bytes`; unpredictable in the real world.
    pub fn fill(&self, bytes: &mut [u8]) {
        both!(self, Rng, rng => rng.fill(bytes));
    }

    /// A uniformly drawn number.
    #[must_use]
    pub fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Sixteen random bytes, as a UUID needs them.
    #[must_use]
    pub fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }
}
