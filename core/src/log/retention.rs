//! Which segments have outlived their topic's retention; a pure decision.

use crate::ids::{Offset, TimestampMs};
use crate::log::segment::Segment;

/// What a topic keeps (`retention.ms`, `retention.bytes`); `None` means without bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionRules {
    pub retention_ms: Option<u64>,
    pub retention_bytes: Option<u64>,
}

/// The log start that retention asks for: the base of the oldest segment that must stay.
/// `sealed` are the closed segments, oldest first; `active_base` and `active_bytes` describe the
/// open one, which always stays. Segments at or past `high_watermark` stay, and one whose newest
/// timestamp is in the future counts as of now.
#[must_use]
pub fn log_start_after_retention(
    sealed: &[Segment],
    active: &Segment,
    high_watermark: Offset,
    rules: (RetentionRules, TimestampMs),
) -> Option<Offset> {
    let (rules, now) = rules;
    let mut kept: u64 = sealed.iter().map(|segment| segment.bytes).sum::<u64>() + active.bytes;
    let mut new_start = None;
    for segment in sealed {
        if segment.end > high_watermark {
            break;
        }
        let age = u64::try_from(now.0.saturating_sub(segment.newest().0)).unwrap_or(0);
        let expired = rules.retention_ms.is_some_and(|keep| age > keep);
        let over = rules.retention_bytes.is_some_and(|bytes| kept - segment.bytes >= bytes);
        if !expired && !over {
            break;
        }
        kept -= segment.bytes;
        new_start = Some(segment.end);
    }
    if let Some(start) = new_start {
        assert!(start <= active.base, "retention may not reach the active segment");
        assert!(start <= high_watermark, "retention may not pass the high watermark");
    }
    new_start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: i64, end: i64, bytes: u64, newest: i64) -> Segment {
        Segment {
            base: Offset(base),
            end: Offset(end),
            bytes,
            max_timestamp: TimestampMs(newest),
            created: TimestampMs(0),
            generation: 0,
        }
    }

    #[test]
    fn retention_keeps_what_is_young_small_or_above_the_high_watermark() {
        let sealed = [segment(0, 10, 100, 50), segment(10, 20, 100, 200), segment(20, 30, 100, 60)];
        let active = segment(30, 35, 50, 300);
        // (retention_ms, retention_bytes, now, high watermark, expected log start)
        let rows = [
            (-1, -1, 10_000, 35, None),
            (100, -1, 100, 35, None),
            (100, -1, 151, 35, Some(10)),
            (100, -1, 301, 35, Some(30)),
            (100, -1, 301, 15, Some(10)),
            (100, -1, 100_000, 35, Some(30)),
            (-1, 1_000, 400, 35, None),
            (-1, 250, 400, 35, Some(10)),
            (-1, 251, 400, 35, None),
            (-1, 0, 400, 35, Some(30)),
            (-1, 0, 400, 9, None),
        ];
        for (retention_ms, retention_bytes, now, mark, expected) in rows {
            let rules = RetentionRules {
                retention_ms: u64::try_from(retention_ms).ok(),
                retention_bytes: u64::try_from(retention_bytes).ok(),
            };
            assert_eq!(
                log_start_after_retention(
                    &sealed,
                    &active,
                    Offset(mark),
                    (rules, TimestampMs(now))
                ),
                expected.map(Offset),
                "{rules:?} at {now}, high watermark {mark}"
            );
        }
    }
}
