//! Reading: from the tail if the batches are still there, else from their segment.
//!
//! Every batch that comes from a file is checked against its CRC before it is given out. What does
//! not check out is reported with its offset and never served; what lies behind it still is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::ids::Offset;
use crate::log::positions::Positions;
use crate::record::header::BatchHeader;
use crate::storage::error::ReadError;
use crate::storage::partition::{Partition, PartitionState};
use crate::storage::segment_read::{SegmentSpan, Span, read_span};
use crate::storage::shared::Shared;

/// How late the simulator lets a read begin: the segment may be gone by then.
const LATE_READ: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    pub from: Offset,
    /// Bytes of whole batches to give at most.
    pub bytes_max: usize,
    /// Give the first batch even if it is larger than `bytes_max` (KIP-74).
    pub at_least_one: bool,
    /// Whether to wait for the disk, beside the executor; otherwise `would_wait` may come.
    pub cold: bool,
}

/// What a read gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadAnswer {
    /// Whole batches in order, the first of which holds `from`; without gaps, but for those that
    /// the cleaner left, also before the first.
    pub data: Vec<Bytes>,
    /// Where the log stood when it was read.
    pub positions: Positions,
    /// The disk would have to be waited for: ask again with `cold`.
    pub would_wait: bool,
}

/// Reads batches that consumers may see, from the one that holds `request.from`, or from the next
/// one if the cleaner took it.
///
/// # Errors
/// See [`ReadError`]. Nothing unsynced, deleted or damaged is ever given.
pub(crate) async fn read(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    mut request: ReadRequest,
) -> Result<ReadAnswer, ReadError> {
    loop {
        let (positions, source) = locate(partition, &mut request)?;
        let span = match source {
            Source::Nothing => return Ok(ReadAnswer { positions, ..ReadAnswer::default() }),
            Source::Tail(data) => return Ok(ReadAnswer { data, positions, would_wait: false }),
            Source::Segment(span) => span,
        };
        let found = if request.cold {
            read_from_disk(shared, partition, (span, request)).await
        } else {
            read_span(shared, partition, (span, request)).await
        };
        match found {
            // The file may have been another topic's of that name by then.
            Ok(_) if partition.lock().deleted => {}
            Ok(Span::Batches(data)) => {
                assert!(data.len() <= request.bytes_max || request.at_least_one, "in the bound");
                let data = if data.is_empty() { Vec::new() } else { vec![data] };
                return Ok(ReadAnswer { data, positions, would_wait: false });
            }
            Ok(Span::Passed) => {
                assert!(request.from < span.behind, "a read moves on");
                request.from = span.behind;
            }
            Ok(Span::WouldWait) => {
                return Ok(ReadAnswer { positions, would_wait: true, ..ReadAnswer::default() });
            }
            // It only shows that the segment was dropped or replaced meanwhile.
            Err(_) if !partition.lock().wants(span.name) => {
                rivven_io::probe!("segment_gone_while_read");
            }
            Err(error) => return Err(report(shared, partition, error)),
        }
    }
}

/// Reads beside the executor.
async fn read_from_disk(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (span, request): (SegmentSpan, ReadRequest),
) -> Result<Span, ReadError> {
    let clock = &shared.env.clock;
    if shared.env.buggify("located_before_read") {
        clock.sleep(LATE_READ).await;
    }
    let begun = clock.now();
    let read = {
        let (shared, partition) = (shared.clone(), partition.clone());
        async move { read_span(&shared, &partition, (span, request)).await }
    };
    let found = shared.env.tasks.offload(read).await;
    let now = clock.now();
    shared.pace.note_read(now, now.since(begun));
    found
}

fn report(shared: &Shared, partition: &Partition, error: ReadError) -> ReadError {
    match &error {
        ReadError::Corrupt { offset, reason, .. } => {
            shared.stats.corrupt.fetch_add(1, Ordering::Relaxed);
            tracing::error!(partition = %partition.id(), topic = partition.topic(), %offset, reason,
                "damaged batch, not served");
        }
        ReadError::Io { reason, .. } => {
            shared.stats.corrupt.fetch_add(1, Ordering::Relaxed);
            tracing::error!(partition = %partition.id(), topic = partition.topic(), reason,
                "a batch cannot be read");
        }
        ReadError::OutOfRange { .. } | ReadError::Gone(_) => {}
    }
    error
}

enum Source {
    Nothing,
    Tail(Vec<Bytes>),
    Segment(SegmentSpan),
}

/// Where `request.from` is; moves it over segments that the cleaner emptied.
fn locate(
    partition: &Partition,
    request: &mut ReadRequest,
) -> Result<(Positions, Source), ReadError> {
    let state = partition.lock();
    if state.deleted {
        return Err(ReadError::Gone(partition.id()));
    }
    let positions = state.log.positions();
    if request.from < positions.log_start || request.from > positions.log_end {
        return Err(ReadError::OutOfRange {
            partition: partition.id(),
            asked: request.from,
            log_start: positions.log_start,
            log_end: positions.log_end,
        });
    }
    while request.from < positions.high_watermark {
        if rivven_io::planted!("B94") && is_border(&state, request.from) {
            break;
        }
        if request.from >= state.tail_start() {
            return Ok((positions, Source::Tail(from_tail(&state, *request))));
        }
        let segment = state.log.segment_of(request.from);
        if !segment.is_empty() {
            return Ok((positions, Source::Segment(span_of(&state, request.from))));
        }
        request.from = segment.end;
    }
    Ok((positions, Source::Nothing))
}

/// Whether the segment files end there, and the tail goes on.
fn is_border(state: &PartitionState, from: Offset) -> bool {
    from == state.tail_start() && from > state.log.positions().log_start
}

/// Copies batches out of the tail, whose memory must become free whatever a consumer does.
fn from_tail(state: &PartitionState, request: ReadRequest) -> Vec<Bytes> {
    let end = state.log.positions().high_watermark;
    assert!(request.from < end, "only what consumers may see is looked for");
    let first = state.tail.partition_point(|entry| entry.end <= request.from);
    let mut taken = 0;
    let mut bytes = 0;
    for entry in state.tail.range(first..) {
        let first_of_all = taken == 0 && request.at_least_one;
        if entry.end > end || !first_of_all && bytes + entry.batch.len() > request.bytes_max {
            break;
        }
        taken += 1;
        bytes += entry.batch.len();
    }
    let mut copy = BytesMut::with_capacity(bytes);
    for entry in state.tail.range(first..first + taken) {
        copy.extend_from_slice(&entry.batch);
    }
    if copy.is_empty() { Vec::new() } else { vec![copy.freeze()] }
}

fn span_of(state: &PartitionState, from: Offset) -> SegmentSpan {
    let segment = *state.log.segment_of(from);
    let (flushed_base, flushed) = state.flushed();
    let end = if segment.base == flushed_base { flushed } else { segment.bytes };
    assert!(segment.base <= flushed_base, "what is not in the tail is in its segment");
    let active = segment.base == state.log.active().base;
    assert!(from >= segment.base && from < segment.end, "the segment holds the offset");
    assert!(end <= segment.bytes, "no byte past the segment is read");
    let delta = u32::try_from(from.0 - segment.base.0).expect("a segment spans 2^31 offsets");
    let (index, indexed_from) = state.log.index();
    let (floor_delta, position) = index.floor(delta);
    // An index that begins in the middle of the segment knows nothing of the part before.
    let known = active && (indexed_from == 0 || position > 0);
    let limit = state.log.positions().high_watermark;
    let start = known.then(|| (segment.base.plus(i64::from(floor_delta)), u64::from(position)));
    SegmentSpan { name: segment.name(), start, end, active, limit, behind: segment.end }
}

/// Splits bytes that hold whole batches.
pub fn batches(data: &[Bytes]) -> impl Iterator<Item = (BatchHeader, Bytes)> + '_ {
    data.iter().flat_map(|piece| {
        let mut rest = piece.clone();
        std::iter::from_fn(move || {
            let header = BatchHeader::parse(&rest).ok()?;
            if header.size() > rest.len() {
                return None;
            }
            Some((header, rest.split_to(header.size())))
        })
    })
}
