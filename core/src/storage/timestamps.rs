//! Looks for records by their timestamps.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Offset, TimestampMs};
use crate::limits::FIRST_RECORD_UNPACKED_BYTES_MAX;
use crate::log::segment::Segment;
use crate::record::timestamp::{find_timestamp, max_timestamp_offset, timestamp_at};
use crate::storage::error::ReadError;
use crate::storage::indexes;
use crate::storage::partition::Partition;
use crate::storage::read::{ReadRequest, batches, read};
use crate::storage::segment_read::SegmentSpan;
use crate::storage::shared::Shared;

const STEP_BYTES: usize = 1 << 20;

/// The first record, in the order of offsets, whose timestamp is `at_least` or more.
pub(crate) async fn find(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    at_least: TimestampMs,
) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
    let Some(segment) = segments(partition).into_iter().find(|s| s.max_timestamp >= at_least)
    else {
        return Ok(None);
    };
    let mut from = start_in(shared, partition, (segment, at_least)).await?;
    loop {
        let data = step(shared, partition, from).await?;
        if data.is_empty() {
            return Ok(None);
        }
        for (header, batch) in batches(&data) {
            from = header.last_offset().plus(1);
            if header.max_timestamp < at_least {
                continue;
            }
            if let Some(found) = find_timestamp(&batch, at_least)
                .map_err(|error| unreadable(partition, header.base_offset, &error))?
            {
                return Ok(Some(found));
            }
        }
    }
}

/// The first record with the largest timestamp.
pub(crate) async fn max(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
    loop {
        let all = segments(partition);
        let largest = all.iter().map(|segment| segment.max_timestamp).max();
        let Some(largest) = largest.filter(|largest| largest.0 >= 0) else { return Ok(None) };
        let segment = all.into_iter().find(|segment| segment.max_timestamp == largest);
        let Some(segment) = segment else { return Ok(None) };
        let found = max_in(shared, partition, (segment, largest)).await?;
        if found.is_some() || partition.lock().log.holds(segment.name()) {
            return Ok(found);
        }
        // The cleaner replaced the segment meanwhile, or the log start has passed it: what it held
        // is no longer the largest.
        rivven_io::probe!("largest_timestamp_gone");
    }
}

/// The first record of a segment, or of what took its place, whose timestamp is `largest` or more.
async fn max_in(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (segment, largest): (Segment, TimestampMs),
) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
    let mut from = start_in(shared, partition, (segment, largest)).await?;
    while from < segment.end {
        let data = step(shared, partition, from).await?;
        if data.is_empty() {
            return Ok(None);
        }
        for (header, batch) in batches(&data) {
            from = header.last_offset().plus(1);
            if header.max_timestamp >= largest {
                return max_timestamp_offset(&batch)
                    .map_err(|error| unreadable(partition, header.base_offset, &error));
            }
        }
    }
    Ok(None)
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
    let start = state.log.positions().log_start;
    let all = state.log.sealed().iter().chain([state.log.active()]);
    all.filter(|segment| !segment.is_empty() && segment.end > start).copied().collect()
}

/// Offset of a batch before which no batch of the segment has a timestamp of `at_least` or more.
async fn start_in(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (segment, at_least): (Segment, TimestampMs),
) -> Result<Offset, ReadError> {
    let (active, delta) = {
        let state = partition.lock();
        let active = state.log.active().base == segment.base;
        let (index, indexed_from) = state.log.index();
        let known = active && indexed_from == 0;
        (active, known.then(|| index.floor_of_timestamp(at_least).0))
    };
    let delta = match delta {
        Some(delta) => delta,
        // The front of the active segment is not indexed yet: begin at its first batch.
        None if active => 0,
        None => {
            let span = SegmentSpan {
                name: segment.name(),
                start: None,
                end: segment.bytes,
                active: false,
                limit: segment.end,
                behind: segment.end,
            };
            match load(shared, partition, span).await {
                Ok(index) => index.map_or(0, |index| index.floor_of_timestamp(at_least).0),
                // The cleaner replaced it meanwhile.
                Err(_) if !partition.lock().wants(span.name) => 0,
                Err(error) => return Err(error),
            }
        }
    };
    let offset = segment.base.plus(i64::from(delta));
    Ok(offset.max(partition.positions().log_start))
}

/// The index of a closed segment; `None` while part of the segment waits in the tail.
async fn load(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    span: SegmentSpan,
) -> Result<Option<Arc<crate::log::index::SparseIndex>>, ReadError> {
    if partition.lock().flushed().0 <= span.name.base {
        return Ok(None);
    }
    let (shared, partition) = (shared.clone(), partition.clone());
    let tasks = shared.env.tasks.clone();
    tasks.offload(async move { indexes::index_of(&shared, &partition, (span, true)).await }).await
}

/// One of perhaps many: it gives way to commits, as a consumer's read does.
async fn step(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    from: Offset,
) -> Result<Vec<Bytes>, ReadError> {
    let request = ReadRequest { from, bytes_max: STEP_BYTES, at_least_one: true, cold: true };
    shared.give_way().await;
    Ok(read(shared, partition, request).await?.data)
}

fn unreadable(
    partition: &Partition,
    offset: Offset,
    error: &crate::record::unpacked::UnreadableBatch,
) -> ReadError {
    ReadError::Corrupt { partition: partition.id(), offset, reason: error.to_string() }
}
