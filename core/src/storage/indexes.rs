//! Indexes of segments that are not in memory: read from their files, or rebuilt, and kept within
//! a bound.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rivven_io::disk::Create;

use crate::ids::{Offset, PartitionId};
use crate::log::index::SparseIndex;
use crate::log::index_file::{self, IndexFiles};
use crate::log::segment::SegmentName;
use crate::storage::error::ReadError;
use crate::storage::layout;
use crate::storage::partition::Partition;
use crate::storage::read::ReadRequest;
use crate::storage::segment_read::{self, BuiltIndex, SegmentReader, SegmentSpan};
use crate::storage::shared::Shared;

/// Index entries held for closed segments, of 16 bytes each. An index counts as one more: one
/// without entries takes room too.
const ENTRIES_MAX: usize = 1 << 20;
/// Largest index file that is read, in bytes.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Indexes of closed segments.
#[derive(Default)]
pub(crate) struct IndexCache {
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    indexes: BTreeMap<(PartitionId, SegmentName), (SegmentIndex, u64)>,
    entries: usize,
    clock: u64,
}

/// The index of a segment that is not in the partition's log.
#[derive(Clone, Debug)]
pub(crate) struct SegmentIndex {
    index: Arc<SparseIndex>,
    is_whole: bool,
}

impl SegmentIndex {
    fn whole(index: SparseIndex) -> SegmentIndex {
        SegmentIndex { index: Arc::new(index), is_whole: true }
    }

    /// Where offsets stand.
    pub(crate) fn offsets(&self) -> &SparseIndex {
        &self.index
    }

    /// Where timestamps stand, too; `None` if it was built around batches that are damaged or could
    /// not be read, whose timestamps it does not know.
    pub(crate) fn timestamps(&self) -> Option<&SparseIndex> {
        self.is_whole.then_some(&*self.index)
    }
}

impl IndexCache {
    fn get(&self, key: (PartitionId, SegmentName)) -> Option<SegmentIndex> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let (index, used) = state.indexes.get_mut(&key)?;
        *used = now;
        Some(index.clone())
    }

    fn keep(&self, key: (PartitionId, SegmentName), index: SegmentIndex) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        state.entries += cost(&index);
        if let Some((older, _)) = state.indexes.insert(key, (index, now)) {
            state.entries -= cost(&older);
        }
        while state.entries > ENTRIES_MAX && state.indexes.len() > 1 {
            let oldest =
                state.indexes.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((index, _)) = oldest.and_then(|key| state.indexes.remove(&key)) else { break };
            state.entries -= cost(&index);
        }
        assert!(state.entries >= state.indexes.len(), "each index counts");
    }

    /// Drops the index of a segment that is removed.
    pub(crate) fn forget(&self, key: (PartitionId, SegmentName)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((index, _)) = state.indexes.remove(&key) {
            state.entries -= cost(&index);
        }
    }
}

fn cost(index: &SegmentIndex) -> usize {
    index.index.entries().len() + 1
}

/// Base offset and position of a batch at or before the one that holds `request.from`, for a
/// segment whose index is not in the partition's log. `None` if the disk must be waited for.
pub(crate) async fn position_of(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (span, request): (SegmentSpan, ReadRequest),
) -> Result<Option<(Offset, u64)>, ReadError> {
    let Some(index) = index_of(shared, partition, (span, request.cold)).await? else {
        return Ok(None);
    };
    let delta =
        u32::try_from(request.from.0 - span.name.base.0).expect("a segment spans 2^31 offsets");
    let (floor_delta, position) = index.offsets().floor(delta);
    Ok(Some((span.name.base.plus(i64::from(floor_delta)), u64::from(position))))
}

/// The index of a segment; `None` if it is not in memory and `cold` is false.
pub(crate) async fn index_of(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (span, cold): (SegmentSpan, bool),
) -> Result<Option<SegmentIndex>, ReadError> {
    let base = span.name.base;
    let key = (partition.id(), span.name);
    if let Some(index) = shared.indexes.get(key) {
        return Ok(Some(index));
    }
    if !cold {
        return Ok(None);
    }
    let reading = |error: std::io::Error| ReadError::Io {
        partition: partition.id(),
        reason: format!("index of segment {base}: {error}"),
    };
    if !span.active
        && let Some(index) = stored(shared, partition, span).await.map_err(reading)?
    {
        return Ok(Some(keep(shared, (partition, span.name), SegmentIndex::whole(index))));
    }
    let interval = partition.config().index_interval_bytes;
    // A disk that does not answer says nothing about what is on it.
    let unopened = |error| segment_read::failed(partition, base, error);
    let file = shared.files.segment(partition, span.name, Create::Never).await.map_err(unopened)?;
    rivven_io::probe!("index_rebuilt");
    let mut reader = SegmentReader::new(&file, span.end, cold);
    let BuiltIndex { index, is_whole } =
        reader.build_index(base, interval).await.map_err(reading)?;
    if span.active && is_whole {
        partition.lock().log.adopt_index(base, index.clone());
        return Ok(Some(SegmentIndex::whole(index)));
    }
    let index = SegmentIndex { index: Arc::new(index), is_whole };
    Ok(Some(keep(shared, (partition, span.name), index)))
}

/// Keeps the index of a segment unless that was removed meanwhile: nobody would forget it again.
fn keep(
    shared: &Shared,
    (partition, name): (&Partition, SegmentName),
    index: SegmentIndex,
) -> SegmentIndex {
    let key = (partition.id(), name);
    shared.indexes.keep(key, index.clone());
    if partition.lock().is_stray(name) {
        shared.indexes.forget(key);
    }
    index
}

/// The index that the segment's files hold, if they are whole and cover the segment.
async fn stored(
    shared: &Shared,
    partition: &Partition,
    span: SegmentSpan,
) -> std::io::Result<Option<SparseIndex>> {
    let folder = partition.folder();
    let offsets_path = layout::index_path(folder, span.name);
    let times_path = layout::time_index_path(folder, span.name);
    let offsets = shared.env.read_file(&offsets_path, INDEX_BYTES_MAX).await?;
    let times = shared.env.read_file(&times_path, INDEX_BYTES_MAX).await?;
    let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(None) };
    let decoded = index_file::decode(span.name.base, &IndexFiles { offsets, times });
    Ok(decoded.filter(|(_, covered)| u64::from(*covered) == span.end).map(|(index, _)| index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;

    #[test]
    fn indexes_without_entries_are_dropped_too() {
        let cache = IndexCache::default();
        let topic = TopicId::from_random([1; 16]);
        let key = |base| (PartitionId { topic, index: 0 }, SegmentName::appended(Offset(base)));
        cache.state.lock().expect("unpoisoned").entries = ENTRIES_MAX - 2;
        for base in 0..5 {
            cache.keep(key(base), SegmentIndex::whole(SparseIndex::default()));
        }
        let held: Vec<_> = (0..5).filter(|base| cache.get(key(*base)).is_some()).collect();
        assert_eq!(held, [3, 4], "the oldest go first");
        cache.forget(key(3));
        assert!(cache.get(key(3)).is_none());
        assert_eq!(cache.state.lock().expect("unpoisoned").entries, ENTRIES_MAX - 1);
    }
}
