//! Random inputs for the log's machine, held against a list of batches.

use proptest::prelude::*;

use super::*;
use crate::ids::ProducerId;
use crate::record::compression::Codec;

#[derive(Clone, Debug)]
enum Step {
    Append { count: i32, size: usize, later_ms: i64 },
    Synced,
    MoveStart(i64),
    Retention { keep_ms: u64, keep_bytes: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..20_i32, 62..5000_usize, 0..400_i64)
            .prop_map(|(count, size, later_ms)| Step::Append { count, size, later_ms }),
        4 => Just(Step::Synced),
        1 => (0..300_i64).prop_map(Step::MoveStart),
        1 => (0..2000_u64, 0..40_000_u64)
            .prop_map(|(keep_ms, keep_bytes)| Step::Retention { keep_ms, keep_bytes }),
        1 => Just(Step::Restart),
    ]
}

const RULES: RollRules =
    RollRules { segment_bytes: 12_000, segment_ms: 1500, index_interval_bytes: 2048 };

fn batch(count: i32, size: usize, now: i64) -> ValidBatch {
    ValidBatch {
        count,
        last_offset_delta: count - 1,
        base_timestamp: TimestampMs(now),
        max_timestamp: TimestampMs(now),
        needs_create_time: false,
        producer_id: ProducerId(-1),
        producer_epoch: -1,
        base_sequence: -1,
        is_transactional: false,
        codec: Codec::None,
        size,
    }
}

/// What a machine is held against: where each batch went.
#[derive(Default)]
struct Model {
    now: i64,
    placed: Vec<(Placement, i32, usize)>,
}

fn append(log: &mut PartitionLog, model: &mut Model, (count, size): (i32, usize)) {
    let now = TimestampMs(model.now);
    let batch = batch(count, size, model.now);
    let before = log.clone();
    let plan = log.plan_append(&batch, &RULES, now).expect("no producer, no refusal");
    assert_eq!(format!("{before:?}"), format!("{log:?}"), "a plan changes nothing");
    let AppendPlan::Append(placement) = plan else { panic!("not a duplicate: {plan:?}") };
    let visible = log.positions().high_watermark;
    let closed = log.apply_append(placement, &batch, (now, &RULES));
    assert_eq!(log.positions().high_watermark, visible, "unsynced batches stay unseen");
    assert_eq!(closed.is_some(), placement.position == 0 && placement.base_offset.0 > 0);
    let expected =
        model.placed.last().map_or(0, |(last, count, _)| last.base_offset.0 + i64::from(*count));
    assert_eq!(placement.base_offset, Offset(expected), "offsets are dense");
    model.placed.push((placement, count, size));
}

fn restart(log: &PartitionLog) -> PartitionLog {
    let mut segments = log.sealed().to_vec();
    segments.push(*log.active());
    let start = log.positions().log_start;
    PartitionLog::restored((start, log.cleaned()), segments, ProducerTable::default())
        .expect("a chain")
}

proptest! {
    #[test]
    fn random_steps_keep_every_invariant(steps in prop::collection::vec(step(), 1..120)) {
        let mut log = PartitionLog::new(TimestampMs(0));
        let mut model = Model::default();
        for step in steps {
            let before = log.positions();
            match step {
                Step::Append { count, size, later_ms } => {
                    model.now += later_ms;
                    append(&mut log, &mut model, (count, size));
                }
                Step::Synced => log.synced(),
                Step::MoveStart(to) => {
                    let dropped = log.move_log_start(Offset(to));
                    prop_assert!(dropped.iter().all(|s| s.end <= log.positions().log_start));
                }
                Step::Retention { keep_ms, keep_bytes } => {
                    let rules = RetentionRules {
                        retention_ms: Some(keep_ms),
                        retention_bytes: Some(keep_bytes),
                    };
                    if let Some(to) = log.retention_start(rules, TimestampMs(model.now)) {
                        prop_assert!(to <= log.positions().high_watermark);
                        prop_assert!(to <= log.active().base, "the active segment stays");
                        log.move_log_start(to);
                    }
                }
                Step::Restart => {
                    log.synced();
                    log = restart(&log);
                }
            }
            let after = log.positions();
            prop_assert!(after.log_start >= before.log_start, "the log start never falls");
            prop_assert!(after.high_watermark >= before.high_watermark, "nor the mark");
            prop_assert!(after.log_end >= before.log_end, "nor the end");
            log.check_all();
        }
        for (placement, _, _) in &model.placed {
            if placement.base_offset >= log.positions().log_start {
                let segment = log.segment_of(placement.base_offset);
                prop_assert_eq!(segment.base, placement.segment_base);
            }
        }
    }
}

#[test]
fn replay_accepts_what_continues_the_log_and_nothing_else() {
    let now = TimestampMs(5);
    let at = |offset, segment, position| Placement {
        base_offset: Offset(offset),
        segment_base: Offset(segment),
        position,
    };
    let mut log = PartitionLog::new(now);
    let timing = (now, &RULES);
    let first = log.replay_append(at(0, 0, 0), &batch(3, 100, 5), timing);
    assert!(matches!(first, Ok(Replayed::Appended(None))), "{first:?}");
    let again = log.replay_append(at(0, 0, 0), &batch(3, 100, 5), timing);
    assert!(matches!(again, Ok(Replayed::Known)), "{again:?}");
    for (placement, count) in [
        (at(4, 0, 100), 1), // a gap
        (at(2, 0, 70), 4),  // overlaps the end
        (at(3, 0, 90), 1),  // another position
        (at(3, 1, 100), 1), // another segment
    ] {
        let refused = log.replay_append(placement, &batch(count, 80, 5), timing);
        assert!(refused.is_err(), "{placement:?}");
    }
    let rolled = log.replay_append(at(3, 3, 0), &batch(1, 80, 5), timing);
    assert!(matches!(rolled, Ok(Replayed::Appended(Some(_)))), "{rolled:?}");
    log.check_all();
}

#[test]
fn segments_that_form_no_chain_are_refused() {
    let segment = |base, end, bytes| Segment {
        base: Offset(base),
        end: Offset(end),
        bytes,
        max_timestamp: TimestampMs(1),
        created: TimestampMs(1),
        generation: 0,
    };
    let restore_cleaned = |start, cleaned, segments| {
        let starts = (Offset(start), Offset(cleaned));
        PartitionLog::restored(starts, segments, ProducerTable::default()).is_some()
    };
    let restore = |start, segments| restore_cleaned(start, 0, segments);
    assert!(restore(3, vec![segment(0, 5, 100), segment(5, 9, 80)]));
    assert!(!restore(0, vec![]), "no segment");
    assert!(!restore(3, vec![segment(0, 5, 100), segment(6, 9, 80)]), "a gap");
    assert!(!restore(3, vec![segment(0, 5, 0), segment(5, 9, 80)]), "offsets without bytes");
    assert!(!restore(10, vec![segment(0, 5, 100), segment(5, 9, 80)]), "start past the end");
    assert!(!restore(3, vec![segment(5, 9, 80)]), "start before the first segment");
    assert!(!restore(0, vec![segment(0, 5, 1 << 40)]), "too large");
    let written = |base, end, bytes| Segment { generation: 1, ..segment(base, end, bytes) };
    assert!(restore_cleaned(3, 5, vec![written(0, 5, 0), segment(5, 9, 80)]), "emptied");
    assert!(!restore_cleaned(3, 6, vec![written(0, 5, 7), segment(5, 9, 80)]), "the active one");
    assert!(!restore(3, vec![segment(0, 5, 100), written(5, 9, 80)]), "the active one");
    assert!(!restore(0, vec![written(0, 0, 0), segment(0, 9, 80)]), "it stands for nothing");
}

#[test]
fn a_written_segment_takes_the_place_of_those_it_stands_for_or_of_none() {
    let mut log = PartitionLog::new(TimestampMs(0));
    let mut model = Model::default();
    for _ in 0..5 {
        append(&mut log, &mut model, (10, 100));
        model.now += 2000;
    }
    log.synced();
    let written = |base, end, generation| Segment {
        base: Offset(base),
        end: Offset(end),
        bytes: 70,
        max_timestamp: TimestampMs(1),
        created: TimestampMs(1),
        generation,
    };
    // (base, end, generation, segments that it replaces)
    for (base, end, generation, replaced) in [
        (0, 25, 1, 0),
        (5, 20, 1, 0),
        (0, 50, 1, 0),
        (10, 30, 1, 2),
        (10, 30, 1, 0),
        (0, 30, 1, 0),
        (0, 30, 2, 2),
        (10, 30, 3, 0),
    ] {
        assert_eq!(log.would_replace(&written(base, end, generation)), replaced > 0);
        let found = log.replace(written(base, end, generation), Offset(end));
        assert_eq!(found.len(), replaced, "{base} to {end} of generation {generation}");
        log.check_all();
    }
    assert_eq!(log.cleaned(), Offset(30));
    assert!(log.holds(SegmentName { base: Offset(0), generation: 2 }));
    assert!(!log.holds(SegmentName::appended(Offset(0))));
    assert_eq!(log.segment_of(Offset(29)).end, Offset(30));
    // The log start passes one of two that are being written anew.
    assert_eq!(log.move_log_start(Offset(30)).len(), 1);
    assert!(log.replace(written(0, 40, 3), Offset(40)).is_empty());
    assert_eq!(log.cleaned(), Offset(30), "what was not replaced counts as not compared");
}
