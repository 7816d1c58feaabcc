//! A number in a scenario: fixed, one of a list, or from a range; a seed draws it.

use rivven_io::sim::rng::Stream;
use serde::Deserialize;

/// How a number of a plan comes about: `7`, `[1, 7, 70]` or `{ min = 1, max = 70 }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Draw {
    Fixed(u64),
    /// Each with equal chance.
    OneOf(Vec<u64>),
    Between(Range),
}

/// Both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

impl Default for Draw {
    fn default() -> Draw {
        Draw::Fixed(0)
    }
}

impl Draw {
    pub(crate) fn one_of(numbers: &[u64]) -> Draw {
        Draw::OneOf(numbers.to_vec())
    }

    pub(crate) fn between(min: u64, max: u64) -> Draw {
        Draw::Between(Range { min, max })
    }

    /// The smallest number that it can give.
    pub(crate) fn least(&self) -> u64 {
        match self {
            Draw::Fixed(number) => *number,
            Draw::OneOf(numbers) => numbers.iter().copied().min().unwrap_or(0),
            Draw::Between(range) => range.min,
        }
    }

    /// The largest number that it can give.
    pub(crate) fn most(&self) -> u64 {
        match self {
            Draw::Fixed(number) => *number,
            Draw::OneOf(numbers) => numbers.iter().copied().max().unwrap_or(0),
            Draw::Between(range) => range.max,
        }
    }

    /// Draws exactly one number from `stream`, whatever the kind. A range over more than two
    /// orders of magnitude is drawn by its logarithm, so that small numbers come up as well.
    pub(crate) fn draw(&self, stream: &mut Stream) -> u64 {
        let drawn = stream.u64();
        let below = |end: u64| {
            let wide = u128::from(drawn) * u128::from(end);
            u64::try_from(wide >> 64).expect("the upper half of a 128-bit product fits 64 bits")
        };
        match self {
            Draw::Fixed(number) => *number,
            Draw::OneOf(numbers) => {
                let index = usize::try_from(below(numbers.len() as u64)).unwrap_or(0);
                numbers.get(index).copied().unwrap_or(0)
            }
            Draw::Between(Range { min, max }) if *max / 100 >= (*min).max(1) => {
                let share = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
                let low = (*min).max(1) as f64;
                let number = low * (*max as f64 / low).powf(share);
                (number as u64).clamp(*min, *max)
            }
            Draw::Between(Range { min, max }) => min + below(max.saturating_sub(*min) + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use rivven_io::sim::rng::stream;

    use super::*;

    #[test]
    fn each_kind_stays_in_its_bounds_and_draws_one_number() {
        for (draw, allowed) in [
            (Draw::Fixed(7), 7..=7),
            (Draw::one_of(&[3, 4]), 3..=4),
            (Draw::one_of(&[]), 0..=0),
            (Draw::between(5, 9), 5..=9),
            (Draw::between(1, 1_000_000), 1..=1_000_000),
            (Draw::between(0, 1_000_000), 0..=1_000_000),
        ] {
            let mut numbers = stream(1, "draw", 0, 0);
            let mut beside = numbers.clone();
            for _ in 0..1_000 {
                let number = draw.draw(&mut numbers);
                assert!(allowed.contains(&number), "{draw:?} gave {number}");
                beside.u64();
            }
            assert_eq!(numbers.u64(), beside.u64());
        }
    }

    #[test]
    fn a_wide_range_gives_small_numbers_as_well() {
        let mut numbers = stream(1, "draw", 0, 0);
        let wide = Draw::between(1, 1_000_000);
        let small = (0..1_000).filter(|_| wide.draw(&mut numbers) < 1_000).count();
        assert!((400..600).contains(&small), "{small}");
    }
}
