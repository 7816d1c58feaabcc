//! Which segments are taken, row by row.

use super::*;
use crate::log::segment::SegmentName;
use crate::producer::ProducerTable;

fn segment(base: i64, end: i64, bytes: u64, time: i64) -> Segment {
    Segment {
        base: Offset(base),
        end: Offset(end),
        bytes,
        max_timestamp: TimestampMs(time),
        created: TimestampMs(time),
        generation: 0,
    }
}

/// Closed segments of 100 bytes and 10 offsets each, made at 0, 100, 200…, and an active one.
fn log(closed: i64, cleaned: i64) -> PartitionLog {
    let mut segments: Vec<Segment> =
        (0..closed).map(|k| segment(k * 10, k * 10 + 10, 100, k * 100)).collect();
    segments.push(segment(closed * 10, closed * 10 + 5, 50, closed * 100));
    let starts = (Offset::ZERO, Offset(cleaned));
    PartitionLog::restored(starts, segments, ProducerTable::default()).unwrap()
}

const RULES: CompactionRules =
    CompactionRules { dirty_ratio_min: RATIO_ONE / 2, lag_min_ms: 0, lag_max_ms: u64::MAX };

#[test]
fn segments_are_taken_when_enough_is_dirty_and_old_and_counted() {
    // (cleaned, counted, smallest ratio, smallest lag, largest lag, segments taken of 4)
    let rows = [
        (0, 40, 0.5, 0, -1, Some(4)),
        (0, 39, 0.5, 0, -1, Some(3)),
        (0, 9, 0.5, 0, -1, None),
        (20, 40, 0.5, 0, -1, None),
        (20, 40, 0.49, 0, -1, Some(4)),
        (40, 40, 0.0, 0, -1, None),
        (30, 40, 0.0, 0, -1, Some(4)),
        (30, 40, 1.0, 0, -1, None),
        // Now is 1000: the segments are 1000, 900, 800 and 700 old.
        (0, 40, 0.5, 701, -1, Some(3)),
        (0, 40, 0.5, 700, -1, Some(4)),
        (0, 40, 0.5, 1001, -1, None),
        (30, 40, 0.0, 701, -1, None),
        (30, 40, 1.0, 0, 700, Some(4)),
        (30, 40, 1.0, 0, 701, None),
        (30, 40, 1.0, 701, 700, None),
        // The dirty part begins in the middle of a segment.
        (35, 40, 0.2, 0, -1, Some(4)),
    ];
    for (cleaned, counted, ratio, lag_min_ms, lag_max, taken) in rows {
        let rules = CompactionRules {
            dirty_ratio_min: (ratio * RATIO_ONE as f64) as u64,
            lag_min_ms,
            lag_max_ms: u64::try_from(lag_max).unwrap_or(u64::MAX),
        };
        let log = log(4, cleaned);
        let found = cleanable(&log, Offset(counted), (rules, TimestampMs(1000)));
        let count = found.as_ref().map(|found| found.segments.len());
        assert_eq!(count, taken, "{cleaned} {counted} {rules:?}: {found:?}");
        assert!(found.is_none_or(|found| found.dirty_from == Offset(cleaned)));
    }
}

#[test]
fn nothing_that_is_not_visible_or_not_closed_is_taken() {
    let mut log = log(2, 0);
    let taken = |log: &PartitionLog| {
        let found = cleanable(log, Offset(i64::MAX), (RULES, TimestampMs(1000)));
        found.map(|found| found.segments.iter().map(Segment::name).collect::<Vec<_>>())
    };
    let names = [SegmentName::appended(Offset(0)), SegmentName::appended(Offset(10))];
    assert_eq!(taken(&log), Some(names.to_vec()), "the active one stays");
    log.move_log_start(Offset(10));
    assert_eq!(taken(&log), Some(names[1..].to_vec()), "what is left of the log");
}

/// End, bytes of a segment, groups.
type Row = (i64, u64, &'static [(usize, usize)]);

fn pairs(segments: &[Segment], end: i64, segment_bytes: u64) -> Vec<(usize, usize)> {
    let groups = groups(segments, Offset(end), segment_bytes);
    groups.into_iter().map(|group| (group.start, group.end)).collect()
}

#[test]
fn small_neighbours_become_one_up_to_the_segment_size() {
    let segments: Vec<Segment> =
        [(0, 10, 60), (10, 20, 60), (20, 21, 0), (21, 30, 30), (30, 40, 200)]
            .map(|(base, end, bytes)| segment(base, end, bytes, 0))
            .to_vec();
    let far = i64::from(i32::MAX);
    let rows: [Row; 8] = [
        (40, 100, &[(0, 1), (1, 4), (4, 5)]),
        (40, 150, &[(0, 4), (4, 5)]),
        (40, 350, &[(0, 5)]),
        (30, 350, &[(0, 4)]),
        (22, 350, &[(0, 4)]),
        (21, 350, &[(0, 3)]),
        (1, 350, &[(0, 1)]),
        (0, 350, &[]),
    ];
    for (end, bytes, expected) in rows {
        assert_eq!(pairs(&segments, end, bytes), expected, "to {end}, {bytes} bytes");
    }
    let wide =
        [segment(0, far - 1, 1, 0), segment(far - 1, far, 1, 0), segment(far, far + 1, 1, 0)];
    assert_eq!(pairs(&wide, far + 1, 100), [(0, 2), (2, 3)], "a span of 2^31 offsets");
}
