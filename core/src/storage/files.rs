//! Open segment files, few enough for the process's limit.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rivven_io::Env;
use rivven_io::disk::{Create, File, OpenOptions};

use crate::ids::{Offset, PartitionId};
use crate::storage::layout;
use crate::storage::partition::Partition;

type Key = (PartitionId, Offset);

/// A cache of open segment files; the one that was unused longest is closed first.
pub(crate) struct FileCache {
    env: Env,
    open_max: usize,
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    files: BTreeMap<Key, (Arc<File>, u64)>,
    by_use: BTreeMap<u64, Key>,
    clock: u64,
}

impl FileCache {
    pub(crate) fn new(env: Env, open_max: usize) -> FileCache {
        FileCache { env, open_max: open_max.max(8), state: Mutex::default() }
    }

    /// The segment's file, opened or (for writing) created; its folder must exist then.
    pub(crate) async fn segment(
        &self,
        partition: &Partition,
        base: Offset,
        create: Create,
    ) -> io::Result<Arc<File>> {
        let key = (partition.id(), base);
        if let Some(file) = self.cached(key) {
            return Ok(file);
        }
        let path = partition.folder().join(layout::segment_file_name(base));
        let file = Arc::new(self.env.disk.open(&path, OpenOptions::write(create)).await?);
        self.keep(key, file.clone());
        Ok(file)
    }

    /// The file if it is open already.
    pub(crate) fn cached(&self, key: Key) -> Option<Arc<File>> {
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

    /// Closes the cache's handle; readers that hold the file keep it open.
    pub(crate) fn forget(&self, key: Key) {
        let mut state = self.lock();
        if let Some((_, used)) = state.files.remove(&key) {
            state.by_use.remove(&used);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
