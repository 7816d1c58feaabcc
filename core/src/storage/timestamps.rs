//! Looks for records by their timestamps.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Offset, TimestampMs};
use crate::limits::FIRST_RECORD_UNPACKED_BYTES_MAX;
use crate::log::index::SparseIndex;
use crate::log::segment::Segment;
use crate::record::header::BatchHeader;
use crate::record::timestamp::{find_timestamp, max_timestamp_offset, timestamp_at};
use crate::record::unpacked::UnreadableBatch;
use crate::storage::error::ReadError;
use crate::storage::indexes::{self, SegmentIndex};
use crate::storage::partition::Partition;
use crate::storage::read::{ReadRequest, batches, read};
use crate::storage::segment_read::SegmentSpan;
use crate::storage::shared::Shared;

const STEP_BYTES: usize = 1 << 20;

type Found = Option<(TimestampMs, Offset)>;

/// Which record of a batch is taken, of those at an offset or behind it, whose header says that one
/// has this timestamp or more.
type Pick = fn(&[u8], Offset, TimestampMs) -> Result<Found, UnreadableBatch>;

/// The first record, in the order of offsets, whose timestamp is `at_least` or more.
pub(crate) async fn find(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    at_least: TimestampMs,
) -> Result<Found, ReadError> {
    let Some(segment) = segments(partition).into_iter().find(|s| s.max_timestamp >= at_least)
    else {
        return Ok(None);
    };
    let from = start_in(shared, partition, (segment, at_least)).await?;
    find_from(shared, partition, (from, None), (at_least, find_timestamp)).await
}

/// The first record with the largest timestamp of those that consumers may see.
pub(crate) async fn max(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
) -> Result<Found, ReadError> {
    'again: loop {
        let log_start = partition.positions().log_start;
        let mut all = segments(partition);
        all.retain(|segment| segment.max_timestamp.0 >= 0);
        all.sort_by_key(|segment| (Reverse(segment.max_timestamp), segment.base));
        let mut largest: Found = None;
        for segment in all {
            // It is a bound only: the batch that has it may not be committed yet, or is gone.
            let bound = (segment.max_timestamp, Reverse(segment.base));
            if largest.is_some_and(|(timestamp, at)| (timestamp, Reverse(at)) > bound) {
                break;
            }
            let found = max_in(shared, partition, segment).await?;
            // What was found to be the largest may have gone before it was looked for.
            let is_whole = {
                let state = partition.lock();
                state.log.holds(segment.name()) && state.log.positions().log_start == log_start
            };
            if found.is_none() && !is_whole {
                continue 'again;
            }
            largest = largest.into_iter().chain(found).max_by_key(|(at, offset)| (*at, -offset.0));
        }
        return Ok(largest);
    }
}

/// The first record with the largest timestamp of those of a segment, or of what took its place,
/// that consumers may see.
async fn max_in(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    segment: Segment,
) -> Result<Found, ReadError> {
    let from = start_in(shared, partition, (segment, segment.max_timestamp)).await?;
    let within = (from, Some(segment.end));
    let at_least = (segment.max_timestamp, largest_of as Pick);
    let found = find_from(shared, partition, within, at_least).await?;
    if found.is_some() || rivven_io::planted!("B97") {
        return Ok(found);
    }
    if !partition.lock().log.holds(segment.name()) {
        // The cleaner replaced the segment meanwhile, or the log start has passed it.
        rivven_io::probe!("largest_timestamp_gone");
    }
    let (before, from) = known_before(shared, partition, segment).await?;
    let largest = before.max(max_from(shared, partition, (from, segment.end)).await?);
    if largest.0 < 0 {
        return Ok(None);
    }
    let from = start_in(shared, partition, (segment, largest)).await?;
    find_from(shared, partition, (from, Some(segment.end)), (largest, largest_of)).await
}

/// The first record with the largest timestamp of a batch; of one that lost its front to a delete,
/// only if it has `at_least`. A header may say more than its records do: then they count, and
/// nobody looks for more behind it.
fn largest_of(
    batch: &[u8],
    start: Offset,
    at_least: TimestampMs,
) -> Result<Found, UnreadableBatch> {
    let header = BatchHeader::parse(batch)?;
    if rivven_io::planted!("B99") {
        return Ok(Some((header.max_timestamp, header.last_offset())));
    }
    let is_whole = header.base_offset >= start;
    let found = max_timestamp_offset(batch, start)?;
    Ok(found.filter(|(timestamp, _)| is_whole || *timestamp >= at_least))
}

/// An offset of a segment and the largest timestamp before it, as near to the end of what consumers
/// may see as the index knows one; the log start and nothing if some of it was deleted.
async fn known_before(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    segment: Segment,
) -> Result<(TimestampMs, Offset), ReadError> {
    let positions = partition.positions();
    if positions.log_start > segment.base || positions.high_watermark <= segment.base {
        return Ok((TimestampMs(-1), positions.log_start.max(segment.base)));
    }
    let visible = positions.high_watermark.min(segment.end).0 - segment.base.0;
    let delta = u32::try_from(visible).expect("a segment spans less than 2^31 offsets");
    let entry = indexed(shared, partition, segment, |index| index.entry_at(delta)).await?;
    Ok(entry.flatten().map_or((TimestampMs(-1), segment.base), |entry| {
        (entry.max_timestamp_before, segment.base.plus(i64::from(entry.offset_delta)))
    }))
}

/// The first record from an offset on, and before another, whose timestamp is `at_least` or more.
async fn find_from(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (mut from, end): (Offset, Option<Offset>),
    (at_least, pick): (TimestampMs, Pick),
) -> Result<Found, ReadError> {
    let begin = from;
    while end.is_none_or(|end| from < end) {
        let data = step(shared, partition, from).await?;
        if data.is_empty() {
            return Ok(None);
        }
        for (header, batch) in batches(&data) {
            if end.is_some_and(|end| header.base_offset >= end) {
                return Ok(None);
            }
            from = header.last_offset().plus(1);
            if header.max_timestamp < at_least {
                continue;
            }
            let start = begin.max(partition.positions().log_start);
            let search = async move { pick(&batch, start, at_least) };
            let found = shared.env.tasks.offload(search).await;
            let found = found.map_err(|error| unreadable(partition, header.base_offset, &error))?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// The largest timestamp of all records from an offset on and before another; -1 without one.
async fn max_from(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (mut from, end): (Offset, Offset),
) -> Result<TimestampMs, ReadError> {
    let (begin, mut largest) = (from, TimestampMs(-1));
    while from < end {
        let data = step(shared, partition, from).await?;
        if data.is_empty() {
            break;
        }
        for (header, batch) in batches(&data) {
            if header.base_offset >= end {
                return Ok(largest);
            }
            from = header.last_offset().plus(1);
            if header.base_offset >= begin {
                largest = largest.max(header.max_timestamp);
                continue;
            }
            // Some of its records were deleted.
            let search = async move { max_timestamp_offset(&batch, begin) };
            let found = shared.env.tasks.offload(search).await;
            let found = found.map_err(|error| unreadable(partition, header.base_offset, &error))?;
            largest = largest.max(found.map_or(largest, |(timestamp, _)| timestamp));
        }
    }
    Ok(largest)
}

/// Timestamp of the first record at `from` or behind it that consumers may see, and the bytes of
/// batches that were read for it; `from` lies between log start and log end.
pub(crate) async fn first(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    from: Offset,
) -> Result<(Option<TimestampMs>, usize), ReadError> {
    let (mut bytes, mut next) = (0, from);
    loop {
        // One batch: nothing but the first may be larger than the bound.
        let request = ReadRequest { from: next, bytes_max: 0, at_least_one: true, cold: true };
        let data = read(shared, partition, request).await?.data;
        bytes += data.iter().map(Bytes::len).sum::<usize>();
        let Some((header, batch)) = batches(&data).next() else { return Ok((None, bytes)) };
        let search = async move { timestamp_at(&batch, from, FIRST_RECORD_UNPACKED_BYTES_MAX) };
        let found = shared.env.tasks.offload(search).await;
        match found.map_err(|error| unreadable(partition, header.base_offset, &error))? {
            Some(timestamp) => return Ok((Some(timestamp), bytes)),
            // The cleaner took the end of this batch.
            None => next = header.last_offset().plus(1),
        }
    }
}

/// All segments with data that consumers may see, oldest first.
fn segments(partition: &Partition) -> Vec<Segment> {
    let state = partition.lock();
    let positions = state.log.positions();
    let (start, end) = (positions.log_start, positions.high_watermark);
    let all = state.log.sealed().iter().chain([state.log.active()]);
    let seen = all.filter(|segment| segment.base < end && segment.end > start);
    seen.filter(|segment| !segment.is_empty()).copied().collect()
}

/// Offset of a batch before which no batch of the segment has a timestamp of `at_least` or more.
async fn start_in(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (segment, mut at_least): (Segment, TimestampMs),
) -> Result<Offset, ReadError> {
    if rivven_io::planted!("B96") {
        at_least = TimestampMs(at_least.0 + 1000);
    }
    let floor = |index: &SparseIndex| index.floor_of_timestamp(at_least).0;
    let delta = indexed(shared, partition, segment, floor).await?.unwrap_or(0);
    let offset = segment.base.plus(i64::from(delta));
    Ok(offset.max(partition.positions().log_start))
}

/// What a segment's index says; `None` if there is none (yet, or any more), or none that knows the
/// timestamps of all batches.
async fn indexed<T>(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    segment: Segment,
    ask: impl FnOnce(&SparseIndex) -> T,
) -> Result<Option<T>, ReadError> {
    let now = {
        let state = partition.lock();
        if state.log.active().base == segment.base {
            let (index, indexed_from) = state.log.index();
            // The front of the active segment may not be indexed yet.
            return Ok((indexed_from == 0).then(|| ask(index)));
        }
        let sealed = state.log.sealed().iter();
        sealed.copied().find(|now| now.name() == segment.name())
    };
    // An index is kept for as long as its segment is: it has to be that of all of it.
    let Some(segment) = now else { return Ok(None) };
    let span = SegmentSpan {
        name: segment.name(),
        start: None,
        end: segment.bytes,
        active: false,
        limit: segment.end,
        behind: segment.end,
    };
    match load(shared, partition, span).await {
        Ok(index) => Ok(index.as_ref().and_then(SegmentIndex::timestamps).map(ask)),
        // The cleaner replaced it meanwhile.
        Err(_) if !partition.lock().wants(span.name) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The index of a closed segment; `None` while part of the segment waits in the tail.
async fn load(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    span: SegmentSpan,
) -> Result<Option<SegmentIndex>, ReadError> {
    if partition.lock().flushed().0 <= span.name.base {
        return Ok(None);
    }
    let (shared, partition) = (shared.clone(), partition.clone());
    let tasks = shared.env.tasks.clone();
    tasks.offload(async move { indexes::index_of(&shared, &partition, (span, true)).await }).await
}

/// One of perhaps many: it gives way to commits, as a consumer's read does. Begins at the log start
/// if that has passed `from`.
async fn step(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    from: Offset,
) -> Result<Vec<Bytes>, ReadError> {
    let mut request = ReadRequest { from, bytes_max: STEP_BYTES, at_least_one: true, cold: true };
    shared.give_way().await;
    loop {
        match read(shared, partition, request).await {
            Err(ReadError::OutOfRange { log_start, .. }) if log_start > request.from => {
                request.from = log_start;
            }
            read => return Ok(read?.data),
        }
    }
}

fn unreadable(partition: &Partition, offset: Offset, error: &UnreadableBatch) -> ReadError {
    ReadError::Corrupt { partition: partition.id(), offset, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::real_world::run;
    use crate::storage::sample::Sample;

    #[test]
    fn the_index_of_a_closed_segment_is_known_once_all_of_it_was_copied() {
        run(async |env| {
            let mut sample = Sample::new(&env, &["a", "b"]).await;
            sample.reopen(&env).await;
            let (shared, partition) = (&sample.storage.shared, &sample.partition);
            let segment = partition.lock().log.sealed()[0];
            let found = indexed(shared, partition, segment, |index| index.entries().len()).await;
            assert_eq!(found.expect("looked at"), Some(0), "one batch needs no entry");
            sample.storage.shutdown().await.expect("shuts down");
        });
    }
}
