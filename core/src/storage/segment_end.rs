//! The end of a segment's trusted bytes, and what is done if the disk cannot read it.
//!
//! Whoever goes on in the page in which those bytes end has its front logged first (`writer`). A
//! front that cannot be read cannot be logged, and to write over it would destroy what an error
//! that passes leaves whole. So the segment is closed there as it is, and what follows begins one.

use std::io;

use bytes::BytesMut;
use rivven_io::disk::Create;

use crate::ids::Offset;
use crate::log::segment::SegmentName;
use crate::storage::partition::Partition;
use crate::storage::shared::Shared;
use crate::storage::writer::{PAGE_BYTES, is_lost};

/// What stands before `position` of a segment in the same page.
///
/// # Errors
/// The disk's; see [`is_lost`].
pub(crate) async fn read_front(
    shared: &Shared,
    partition: &Partition,
    (segment_base, position): (Offset, u64),
) -> io::Result<BytesMut> {
    let page = position / PAGE_BYTES * PAGE_BYTES;
    let bytes = usize::try_from(position - page).expect("less than a page");
    let name = SegmentName::appended(segment_base);
    shared.files.segment(partition, name, Create::Never).await?.read_full_at(page, bytes).await
}

/// Whether the disk can read what stands before `position` in the same page; also if there is
/// nothing to be read, because it lost the file or its end.
///
/// # Errors
/// The file cannot be opened, which says nothing of the page.
pub(crate) async fn is_readable(
    shared: &Shared,
    partition: &Partition,
    place: (Offset, u64),
) -> io::Result<bool> {
    let name = SegmentName::appended(place.0);
    match shared.files.segment(partition, name, Create::Never).await {
        Err(error) if is_lost(&error) => return Ok(true),
        opened => drop(opened?),
    }
    match read_front(shared, partition, place).await {
        Err(error) if !is_lost(&error) => {
            rivven_io::probe!("segment_end_unreadable");
            tracing::warn!(partition = %partition.id(), segment = %place.0, position = place.1,
                %error, "the end of a segment cannot be read");
            Ok(false)
        }
        _ => Ok(true),
    }
}

/// Where a segment is cut off whose last page must not be touched.
pub(crate) fn page_end(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// Says that batches from `base` on go to a segment of their own.
pub(crate) fn report(partition: &Partition, (segment, position): (Offset, u64), base: Offset) {
    tracing::error!(partition = %partition.id(), topic = partition.topic(), %segment, position,
        %base, "the disk cannot read the end of a segment; it is closed and kept, batches go on in \
        a new one");
}
