//! The supervisor's hand on a node's disk: faults to set, contents to look at. It takes no time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use crate::sim::core::Core;
use crate::sim::disk::faults::{DiskFaults, Lie, OneShot, Target};
use crate::sim::disk::file::copy_out;
use crate::sim::disk::state::DiskState;
use crate::sim::disk::tree::Tree;

/// The supervisor's hand on a node's disk; clones are hands on the same disk.
#[derive(Clone)]
pub struct DiskControl {
    pub(crate) core: Arc<Core>,
    pub(crate) disk: Arc<DiskState>,
}

/// What a disk had at a moment, and keeps whatever becomes of that disk.
pub struct Platter(Tree);

impl DiskControl {
    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> DiskFaults {
        self.disk.inner.lock().faults.clone()
    }

    /// Replaces the faults in force, from the next operation on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.disk.inner.lock().faults = faults;
    }

    /// D10 strikes the next sync of a file or directory whose path contains `path_part`.
    pub fn fail_next_sync(&self, path_part: &str) {
        self.one_shot(Target::Sync, path_part);
    }

    /// D12 strikes the next read of a file whose path contains `path_part`.
    pub fn fail_next_read(&self, path_part: &str) {
        self.one_shot(Target::Read, path_part);
    }

    /// D12 strikes the next write to a file, or change of a name, whose path contains `path_part`.
    pub fn fail_next_write(&self, path_part: &str) {
        self.one_shot(Target::Write, path_part);
    }

    /// D7: of what the next sync of a file whose path contains `path_part` covers, one page lands
    /// in the place of another. Both show when they are read from the platter.
    pub fn misdirect_next_write(&self, path_part: &str) {
        self.lie(Lie::MisdirectedWrite, path_part);
    }

    /// D8: of what the next sync of a file whose path contains `path_part` covers, one page never
    /// lands. It shows when it is read from the platter.
    pub fn forget_next_write(&self, path_part: &str) {
        self.lie(Lie::PhantomWrite, path_part);
    }

    /// D9: the next read of a file whose path contains `path_part` brings the bytes of another of
    /// its pages.
    pub fn misdirect_next_read(&self, path_part: &str) {
        self.lie(Lie::MisdirectedRead, path_part);
    }

    fn lie(&self, target: Lie, path_part: &str) {
        let shot = OneShot { target, path_part: path_part.to_owned() };
        self.disk.inner.lock().lies.push(shot);
    }

    fn one_shot(&self, target: Target, path_part: &str) {
        let shot = OneShot { target, path_part: path_part.to_owned() };
        self.disk.inner.lock().one_shots.push(shot);
    }

    /// Takes back the one-shots that have not struck.
    pub fn forget_one_shots(&self) {
        let mut inner = self.disk.inner.lock();
        inner.one_shots.clear();
        inner.lies.clear();
    }

    /// D13: no operation that begins from now on ends before `duration` has passed.
    pub fn stall_for(&self, duration: Duration) {
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = self.core.timers.now_ns().saturating_add(duration_ns);
        let mut inner = self.disk.inner.lock();
        inner.stalled_until_ns = inner.stalled_until_ns.max(until_ns);
    }

    /// D14: the disk is gone, and what was not synced fares as in a power cut. Returns whether it
    /// was there.
    #[must_use]
    pub fn take_away(&self) -> bool {
        self.disk.go(&self.core)
    }

    /// The disk is there again for processes that start from now on. Returns whether it was gone.
    pub fn bring_back(&self) -> bool {
        self.disk.come_back(&self.core)
    }

    /// What the platter has now.
    #[must_use]
    pub fn platter(&self) -> Platter {
        Platter(self.disk.inner.lock().tree.on_platter())
    }

    /// D15: puts a disk in the place of this one that has what `platter` says, or nothing. To be
    /// called while the power is off. Returns how many files are not what they were.
    pub fn exchange(&self, platter: Option<&Platter>) -> u64 {
        let tree = platter.map_or_else(Tree::new, |platter| platter.0.on_platter());
        self.disk.exchange(&self.core, tree)
    }

    /// D5: flips bits in each of the platter's bytes in the range; every later read shows the same
    /// wrong bytes until they are written again. Returns how many bytes changed: none past the
    /// durable length, or if the file's name is not durable.
    pub fn rot(&self, path: &Path, position: u64, len: usize) -> u64 {
        let mut inner = self.disk.inner.lock();
        let Some(id) = inner.tree.find_durable(path) else { return 0 };
        let mut draw = inner.draws.rot.clone();
        let mask = || u8::try_from(draw.between(1, 255)).unwrap_or(1);
        let changed = inner.tree.file_mut(id).map_or(0, |file| file.rot(position, len, mask));
        inner.draws.rot = draw;
        drop(inner);
        if changed > 0 {
            self.core.fault(self.disk.node, "D5", changed);
        }
        changed
    }

    /// D5: the file ends at `len`, as the repair of a damaged file system leaves it; what was not
    /// synced of it is gone, too. Returns how many bytes are lost: none if it is shorter, or if its
    /// name is not durable.
    pub fn lose_end(&self, path: &Path, len: u64) -> u64 {
        let mut inner = self.disk.inner.lock();
        let Some(id) = inner.tree.find_durable(path) else { return 0 };
        let lost = inner.tree.file_mut(id).map_or(0, |file| file.lose_end(len));
        drop(inner);
        if lost > 0 {
            self.core.fault(self.disk.node, "D5", lost);
        }
        lost
    }

    /// D6: the page of the platter at `position` cannot be read any more until it is written. It
    /// counts as an effect when a read meets it. Returns whether it is one of the file's durable
    /// bytes, and the file's name is durable.
    pub fn spoil(&self, path: &Path, position: u64) -> bool {
        let mut inner = self.disk.inner.lock();
        let Some(id) = inner.tree.find_durable(path) else { return false };
        inner.tree.file_mut(id).is_ok_and(|file| file.spoil(position))
    }

    /// D6 passes: the spoiled page at `position` can be read again, and holds what it held. Returns
    /// whether it could not be read.
    pub fn mend(&self, path: &Path, position: u64) -> bool {
        let mut inner = self.disk.inner.lock();
        let Some(id) = inner.tree.find_durable(path) else { return false };
        inner.tree.file_mut(id).is_ok_and(|file| file.mend(position))
    }

    /// The file's content as the running system reads it; `None` if there is no such file.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let inner = self.disk.inner.lock();
        let file = inner.tree.find_file(path).and_then(|id| inner.tree.file(id)).ok()?;
        let mut bytes = BytesMut::new();
        copy_out(&file.pages, 0, usize::try_from(file.len).ok()?, &mut bytes);
        Some(bytes.to_vec())
    }

    /// The file's content that surely survives a power cut now; `None` if its name, or that of a
    /// directory above it, does not.
    #[must_use]
    pub fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        let inner = self.disk.inner.lock();
        let file = inner.tree.file(inner.tree.find_durable(path)?).ok()?;
        let mut bytes = BytesMut::new();
        copy_out(&file.durable.pages, 0, usize::try_from(file.durable.len).ok()?, &mut bytes);
        Some(bytes.to_vec())
    }

    /// Paths from the root of all files of the running system, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.disk.inner.lock().tree.files(false)
    }

    /// Paths from the root of all files whose names are durable, sorted.
    #[must_use]
    pub fn durable_files(&self) -> Vec<String> {
        self.disk.inner.lock().tree.files(true)
    }

    /// Disk space in bytes that the files take, reservations included, in whole pages.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.disk.inner.lock().tree.used_bytes()
    }

    /// How often each fault changed something on this node (its disk and its clock).
    #[must_use]
    pub fn fault_counts(&self) -> BTreeMap<&'static str, u64> {
        self.core.fault_counts(Some(self.disk.node))
    }
}
