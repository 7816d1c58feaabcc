//! Delta debugging (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002)
//! as a machine: it says what to try next, and is told what failed. It runs nothing.
//!
//! ```text
//! nothing at all ─► either half ─► all but one chunk ─► finer chunks ─► … ─► all but one element
//!                       ▲                 │ fails: go on behind that chunk
//!                       └─────────────────┘
//! ```

use std::ops::Range;

/// With at most so many chunks, a round that leaves one out brings much.
const COARSE_CHUNKS: usize = 8;

/// What is left of `0..count`, and how finely it is cut.
#[derive(Clone, Debug)]
pub(crate) struct Ddmin {
    /// The smallest set so far that fails, in rising order.
    kept: Vec<usize>,
    chunks: usize,
    /// The chunk that is left out first.
    first: usize,
}

impl Ddmin {
    pub(crate) fn new(count: usize) -> Ddmin {
        Ddmin { kept: (0..count).collect(), chunks: 1, first: 0 }
    }

    /// Whether the chunks of this round are large.
    pub(crate) fn is_coarse(&self) -> bool {
        self.chunks <= COARSE_CHUNKS
    }

    /// How many candidates this round has; 0: nothing is left to try.
    pub(crate) fn candidates(&self) -> usize {
        if self.kept.is_empty() { 0 } else { self.chunks }
    }

    /// The elements of a candidate: all but one chunk.
    pub(crate) fn candidate(&self, index: usize) -> Vec<usize> {
        let out = self.chunk((self.first + index) % self.chunks);
        [&self.kept[..out.start], &self.kept[out.end..]].concat()
    }

    /// A candidate of this round fails: the next round is about it.
    pub(crate) fn fails(&mut self, index: usize) {
        let chunk = (self.first + index) % self.chunks;
        self.kept = self.candidate(index);
        // What stood before the chunk was just tried, with more around it: it comes last.
        self.chunks = (self.chunks - 1).clamp(1, self.kept.len().max(1));
        self.first = chunk % self.chunks;
        if self.chunks == 1 {
            self.refine();
        }
    }

    /// No candidate of this round fails; whether there is a finer round.
    pub(crate) fn none_fails(&mut self) -> bool {
        let is_finer = self.chunks < self.kept.len();
        if is_finer {
            self.refine();
        }
        is_finer
    }

    fn refine(&mut self) {
        self.chunks = (self.chunks * 2).min(self.kept.len()).max(1);
        self.first = 0;
    }

    fn chunk(&self, chunk: usize) -> Range<usize> {
        let cut = |chunk: usize| chunk * self.kept.len() / self.chunks;
        cut(chunk)..cut(chunk + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What is left of `0..count`, and how many sets were tried.
    fn minimize(count: usize, fails: impl Fn(&[usize]) -> bool) -> (Vec<usize>, usize) {
        let mut ddmin = Ddmin::new(count);
        let mut tried = 0;
        loop {
            let failing = (0..ddmin.candidates()).find(|index| {
                tried += 1;
                fails(&ddmin.candidate(*index))
            });
            match failing {
                Some(index) => ddmin.fails(index),
                None if ddmin.none_fails() => {}
                None => return (ddmin.kept, tried),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_needed_is_found_and_nothing_else(
            count in 1_usize..300,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let needed: BTreeSet<usize> = picks.iter().map(|pick| pick.index(count)).collect();
            let (kept, _) = minimize(count, |set| needed.iter().all(|one| set.contains(one)));
            prop_assert_eq!(kept, needed.into_iter().collect::<Vec<_>>());
        }

        /// Any of several sets will do, so that leaving something out may make a failure vanish and
        /// leaving out more may bring it back.
        #[test]
        fn no_single_element_of_the_result_can_be_left_out(
            count in 1_usize..60,
            causes in prop::collection::vec(
                prop::collection::btree_set(0_usize..60, 1..6), 1..4),
            spoilers in prop::collection::btree_set(0_usize..60, 0..4),
        ) {
            let fails = |set: &[usize]| {
                set.len() == count
                    || (causes.iter().any(|cause| cause.iter().all(|one| set.contains(one)))
                        && spoilers.iter().filter(|one| set.contains(one)).count() % 2 == 0)
            };
            let (kept, _) = minimize(count, fails);
            prop_assert!(fails(&kept));
            for left_out in &kept {
                let part: Vec<usize> =
                    kept.iter().copied().filter(|one| one != left_out).collect();
                prop_assert!(!fails(&part), "{:?} without {} fails too", kept, left_out);
            }
        }
    }

    #[test]
    fn few_sets_are_tried_if_little_is_needed() {
        let needed = [17, 512, 513, 900];
        let (kept, tried) = minimize(1_000, |set| needed.iter().all(|one| set.contains(one)));
        assert_eq!(kept, needed);
        assert!(tried < 150, "{tried}");
    }
}
