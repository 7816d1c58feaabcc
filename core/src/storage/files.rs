//! Open segment files, few enough for the process's limit.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rivven_io::Env;
use rivven_io::disk::{Create, File, OpenOptions};

use crate::ids::PartitionId;
use crate::log::segment::SegmentName;
use crate::storage::layout;
use crate::storage::partition::Partition;

/// A segment of a partition.
type Segment = (PartitionId, SegmentName);
/// A handle on a segment's file, and whether it bypasses the page cache.
type Key = (Segment, bool);

/// A cache of open segment files; the one that was unused longest is closed first.
pub(crate) struct FileCache {
    env: Env,
    open_max: usize,
    /// Whether segments are written past the page cache.
    direct: bool,
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    files: BTreeMap<Key, (Arc<File>, u64)>,
    by_use: BTreeMap<u64, Key>,
    clock: u64,
}

impl FileCache {
    pub(crate) fn new(env: Env, open_max: usize, direct: bool) -> FileCache {
        FileCache { env, open_max: open_max.max(8), direct, state: Mutex::default() }
    }

    /// Whether segments are written past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    /// The segment's file, opened or (for writing) created; its folder must exist then.
    pub(crate) async fn segment(
        &self,
        partition: &Partition,
        name: SegmentName,
        create: Create,
    ) -> io::Result<Arc<File>> {
        self.open(partition, (name, false), create).await
    }

    /// The handle that whole pages of a segment are written through.
    pub(crate) async fn segment_to_write(
        &self,
        partition: &Partition,
        name: SegmentName,
    ) -> io::Result<Arc<File>> {
        self.open(partition, (name, self.direct), Create::IfMissing).await
    }

    async fn open(
        &self,
        partition: &Partition,
        (name, direct): (SegmentName, bool),
        create: Create,
    ) -> io::Result<Arc<File>> {
        let key = ((partition.id(), name), direct);
        if let Some(file) = self.used(key) {
            return Ok(file);
        }
        let path = partition.folder().join(layout::segment_file_name(name));
        let options = OpenOptions { direct, ..OpenOptions::write(create) };
        let file = Arc::new(self.env.disk.open(&path, options).await?);
        self.keep(key, file.clone());
        // Only now: whoever removes the segment from here on forgets the handle, too. One that is
        // kept after that holds the file's room on the disk.
        if partition.lock().is_stray(name) {
            rivven_io::probe!("opened_while_removed");
            self.forget(key.0);
        }
        Ok(file)
    }

    /// The file to read from, if it is open already.
    pub(crate) fn cached(&self, segment: Segment) -> Option<Arc<File>> {
        self.used((segment, false))
    }

    fn used(&self, key: Key) -> Option<Arc<File>> {
        let mut state = self.lock();
        let state = &mut *state;
        let (file, used) = state.files.get_mut(&key)?;
        state.by_use.remove(used);
        state.clock += 1;
        *used = state.clock;
        state.by_use.insert(state.clock, key);
        Some(file.clone())
    }

    fn keep(&self, key: Key, file: Arc<File>) {
        let mut state = self.lock();
        state.clock += 1;
        let now = state.clock;
        if let Some((_, used)) = state.files.insert(key, (file, now)) {
            state.by_use.remove(&used);
        }
        state.by_use.insert(now, key);
        while state.files.len() > self.open_max {
            let (_, oldest) = state.by_use.pop_first().expect("every open file has a last use");
            state.files.remove(&oldest);
        }
        assert_eq!(state.files.len(), state.by_use.len(), "one use per open file");
    }

    /// Closes the cache's handles; readers that hold the file keep it open.
    pub(crate) fn forget(&self, segment: Segment) {
        let mut state = self.lock();
        for direct in [false, true] {
            if let Some((_, used)) = state.files.remove(&(segment, direct)) {
                state.by_use.remove(&used);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Offset;
    use crate::storage::real_world::run;
    use crate::storage::sample::Sample;

    /// As a reader does who looked for the segment before it was removed.
    #[test]
    fn a_file_that_is_on_its_way_out_is_not_kept_open() {
        run(async |env| {
            let mut sample = Sample::new(&env, &["a", "b"]).await;
            sample.reopen(&env).await;
            let (files, partition) = (&sample.storage.shared.files, &sample.partition);
            // The start's own look for strays, which would remove the file, waits meanwhile.
            let folders = sample.storage.shared.folders.lock().await;
            let first = SegmentName::appended(Offset::ZERO);
            let stray = SegmentName { base: Offset::ZERO, generation: 1 };
            let path = partition.folder().join(layout::segment_file_name(stray));
            env.disk.open(&path, OpenOptions::write(Create::New)).await.expect("made");
            for (name, is_kept) in [(first, true), (stray, false)] {
                files.segment(partition, name, Create::Never).await.expect("it can be read");
                assert_eq!(files.cached((partition.id(), name)).is_some(), is_kept, "{name:?}");
            }
            drop(folders);
            sample.storage.shutdown().await.expect("shuts down");
        });
    }
}
