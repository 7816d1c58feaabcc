//! Which faults a simulated disk has: probabilities and limits that the supervisor may change at
//! any time, and the one-shots.

use std::time::Duration;

/// What a power cut makes of unsynced bytes. The four shares are weights, not percentages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashModel {
    /// The page's newest content reached the platter.
    pub kept: u32,
    /// None of it did: the page is as at its last sync.
    pub dropped: u32,
    /// A version between the two is there, or garbage in the bytes that changed.
    pub replaced: u32,
    /// Some sectors have the newest content, the others that of the last sync.
    pub torn: u32,
    /// Garbage may also take bytes of the page that nobody wrote since the last sync. Off at
    /// first: no design that shares a page between synced and new bytes survives such a drive.
    pub shorn_pages: bool,
    /// How unsynced directory entries fare.
    pub entries: EntryModel,
}

/// How unsynced directory entries fare in a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryModel {
    /// Each change is kept or undone by itself: all that POSIX promises.
    Independent,
    /// A prefix of the file system's changes is kept, as a journalling file system does.
    OrderedJournal,
}

/// What reads show after a failed sync dropped the dirty pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSyncError {
    /// The new bytes, until a power cut (ext4, xfs: pages stay in the cache, marked clean).
    KeepsCache,
    /// The bytes of the last good sync, at once (btrfs, or the cache was short of memory).
    Reverts,
}

/// The faults and limits of one disk. Probabilities are per operation, 0.0 to 1.0.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskFaults {
    /// Probabilities apply only to paths that contain this; `None`: to all.
    pub only_paths_with: Option<String>,
    /// D10: `sync_data` or `sync_dir` fails, and what it should have synced is dropped.
    pub sync_error: f64,
    pub after_sync_error: AfterSyncError,
    /// D12: a read or a write fails with EIO and does nothing, or does only a part.
    pub read_error: f64,
    pub write_error: f64,
    pub short_read: f64,
    pub short_write: f64,
    /// D13: an operation waits between the two bounds, and all later ones of this disk with it.
    pub stall: f64,
    pub stall_min: Duration,
    pub stall_max: Duration,
    /// `try_read_cached` finds nothing.
    pub cache_miss: f64,
    /// D11: bytes that all files together may take, in whole pages; `None`: no limit.
    pub capacity_bytes: Option<u64>,
    /// Every latency in percent of the model's; 2000 is a disk that is twenty times too slow.
    pub latency_percent: u32,
    pub crash: CrashModel,
}

impl Default for CrashModel {
    fn default() -> CrashModel {
        CrashModel {
            kept: 40,
            dropped: 30,
            replaced: 10,
            torn: 20,
            shorn_pages: false,
            entries: EntryModel::Independent,
        }
    }
}

impl Default for DiskFaults {
    /// A healthy disk without a limit; a power cut spares nothing, a quarter of cached reads miss.
    fn default() -> DiskFaults {
        DiskFaults {
            only_paths_with: None,
            sync_error: 0.0,
            after_sync_error: AfterSyncError::KeepsCache,
            read_error: 0.0,
            write_error: 0.0,
            short_read: 0.0,
            short_write: 0.0,
            stall: 0.0,
            stall_min: Duration::from_millis(10),
            stall_max: Duration::from_secs(60),
            cache_miss: 0.25,
            capacity_bytes: None,
            latency_percent: 100,
            crash: CrashModel::default(),
        }
    }
}

impl DiskFaults {
    pub(crate) fn apply_to(&self, path: &str) -> bool {
        self.only_paths_with.as_ref().is_none_or(|part| path.contains(part.as_str()))
    }
}

/// The operation that a one-shot makes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Read,
    Write,
    Sync,
}

/// What the drive does instead of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// D7: a page that is synced lands in the place of another one of the file.
    MisdirectedWrite,
    /// D8: a page that is synced never lands.
    PhantomWrite,
    /// D9: a read brings the bytes of another place of the file, once.
    MisdirectedRead,
}

/// A fault that strikes the next operation of its kind on a path that contains `path_part`.
pub(crate) struct OneShot<T> {
    pub(crate) target: T,
    pub(crate) path_part: String,
}

/// Takes the first of `shots` that strikes an operation of this kind on `path`; whether one does.
pub(crate) fn strikes<T: PartialEq>(shots: &mut Vec<OneShot<T>>, target: &T, path: &str) -> bool {
    let matches = |shot: &OneShot<T>| shot.target == *target && path.contains(&shot.path_part);
    let found = shots.iter().position(matches);
    found.map(|index| shots.remove(index)).is_some()
}
