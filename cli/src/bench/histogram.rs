//! A histogram of durations: any number of them in 20 KiB, each within 1.6 %.

use std::time::Duration;

/// Buckets of a power of two.
const PARTS: u64 = 64;
/// Up to this many microseconds each has a bucket of its own.
const EXACT: u64 = 2 * PARTS;
/// Powers of two above the exact ones: the last bucket begins at 12 days.
const POWERS: u64 = 33;

#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        let buckets = usize::try_from(EXACT + POWERS * PARTS).expect("a small number");
        Histogram { counts: vec![0; buckets], count: 0, sum_us: 0, max_us: 0 }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, duration: Duration) {
        self.add_times(duration, 1);
    }

    pub(super) fn add_times(&mut self, duration: Duration, count: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = bucket(us).min(self.counts.len() - 1);
        self.counts[index] += count;
        self.count += count;
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(count));
        self.max_us = self.max_us.max(us);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_micros(self.sum_us / self.count.max(1))
    }

    /// The least duration that so many of a thousand do not exceed; zero of nothing.
    pub(super) fn per_mille(&self, per_mille: u64) -> Duration {
        let rank = (self.count.saturating_mul(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(last_of(index).min(self.max_us));
            }
        }
        Duration::ZERO
    }
}

fn bucket(us: u64) -> usize {
    if us < EXACT {
        return usize::try_from(us).expect("below 128");
    }
    let shift = u64::from(us.ilog2() - PARTS.ilog2());
    let index = EXACT + (shift - 1) * PARTS + ((us >> shift) - PARTS);
    usize::try_from(index).expect("at most 64 buckets for each of 64 bits")
}

/// The greatest number of a bucket.
fn last_of(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let (shift, part) = ((index - EXACT) / PARTS + 1, (index - EXACT) % PARTS);
    ((PARTS + part + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap() {
        let mut next = 0;
        for index in 0..usize::try_from(EXACT + POWERS * PARTS).unwrap() {
            assert_eq!((bucket(next), bucket(last_of(index))), (index, index));
            next = last_of(index) + 1;
        }
        let nothing = Histogram::default();
        assert_eq!((nothing.per_mille(999), nothing.mean()), (Duration::ZERO, Duration::ZERO));
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_list(
            mut list in prop::collection::vec(0u64..20_000_000, 1..300),
            per_mille in 0u64..=1000,
        ) {
            let mut histogram = Histogram::default();
            list.iter().for_each(|us| histogram.add(Duration::from_micros(*us)));
            list.sort_unstable();
            let rank = (list.len() * usize::try_from(per_mille).unwrap()).div_ceil(1000).max(1);
            let exact = list[rank - 1];
            let found = u64::try_from(histogram.per_mille(per_mille).as_micros()).unwrap();
            prop_assert!(found >= exact && found <= exact + exact / 64 + 1, "{} {}", found, exact);
            prop_assert_eq!(histogram.max().as_micros(), u128::from(*list.last().unwrap()));
        }
    }
}
