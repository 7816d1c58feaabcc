//! Where a reset moves offsets to: no request, only arithmetic.

use std::time::Duration;

use rivven_client::admin::offsets::OffsetSpec;

use crate::arguments::group::ResetTarget;

/// What a target needs to know of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// An offset that the broker looks up.
    Found(OffsetSpec),
    Exactly(i64),
    /// From the committed offset.
    By(i64),
}

impl ResetTarget {
    pub(super) fn goal(&self, now_ms: i64) -> Goal {
        let ago = |duration: Duration| {
            now_ms.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
        };
        let time = self.to_datetime.or(self.by_duration.map(ago));
        match (self.to_latest, self.to_offset, self.shift_by, time) {
            (true, ..) => Goal::Found(OffsetSpec::Latest),
            (_, Some(offset), ..) => Goal::Exactly(offset),
            (_, _, Some(shift), _) => Goal::By(shift),
            (_, _, _, Some(time)) => Goal::Found(OffsetSpec::Timestamp(time)),
            _ => Goal::Found(OffsetSpec::Earliest),
        }
    }
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) log_start: i64,
    pub(super) end: i64,
    pub(super) committed: Option<i64>,
    /// What the broker has found; None if no record is that late.
    pub(super) found: Option<i64>,
}

/// The new offset, inside the log; `None` if there is nothing to shift from.
pub(super) fn target(goal: Goal, known: Known) -> Option<i64> {
    let wanted = match goal {
        Goal::Found(_) => known.found.unwrap_or(known.end),
        Goal::Exactly(offset) => offset,
        Goal::By(shift) => known.committed?.saturating_add(shift),
    };
    Some(wanted.clamp(known.log_start, known.end.max(known.log_start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: ResetTarget = ResetTarget {
        to_earliest: false,
        to_latest: false,
        to_offset: None,
        to_datetime: None,
        shift_by: None,
        by_duration: None,
    };

    #[test]
    fn each_target_has_its_goal() {
        let by = Some(Duration::from_secs(2));
        for (target, goal) in [
            (ResetTarget { to_earliest: true, ..NONE }, Goal::Found(OffsetSpec::Earliest)),
            (ResetTarget { to_latest: true, ..NONE }, Goal::Found(OffsetSpec::Latest)),
            (ResetTarget { to_offset: Some(7), ..NONE }, Goal::Exactly(7)),
            (ResetTarget { shift_by: Some(-7), ..NONE }, Goal::By(-7)),
            (ResetTarget { to_datetime: Some(5), ..NONE }, Goal::Found(OffsetSpec::Timestamp(5))),
            (ResetTarget { by_duration: by, ..NONE }, Goal::Found(OffsetSpec::Timestamp(8_000))),
        ] {
            assert_eq!(target.goal(10_000), goal);
        }
    }

    #[test]
    fn targets_stay_inside_the_log() {
        let known = Known { log_start: 10, end: 100, committed: Some(50), found: Some(60) };
        let earliest = Goal::Found(OffsetSpec::Earliest);
        for (goal, known, wanted) in [
            (earliest, known, Some(60)),
            (earliest, Known { found: None, ..known }, Some(100)),
            (Goal::Exactly(5), known, Some(10)),
            (Goal::Exactly(70), known, Some(70)),
            (Goal::Exactly(i64::MAX), known, Some(100)),
            (Goal::By(-10), known, Some(40)),
            (Goal::By(i64::MIN), known, Some(10)),
            (Goal::By(i64::MAX), known, Some(100)),
            (Goal::By(1), Known { committed: None, ..known }, None),
            (Goal::By(1), Known { committed: Some(500), ..known }, Some(100)),
        ] {
            assert_eq!(target(goal, known), wanted, "{goal:?}");
        }
    }
}
