//! The simulated disk: files and directories that survive a process, and, after a power cut, are
//! what a real disk could have kept.
//!
//! # What is durable
//! A file has two contents: the one that the running system reads (the page cache, or the drive's
//! cache below direct I/O: the model is the same) and the platter's. A good `sync_data` copies to
//! the platter the pages that were dirty and the length as it was **when the sync began**. A
//! directory has two sets of entries in the same way; a good `sync_dir` makes durable the changes
//! whose name is in that directory (a rename: in its target directory). A file's sync does not
//! make its name durable.
//!
//! # A process kill
//! changes nothing on the disk: handles and locks end, all that was written stays readable.
//!
//! # A power cut
//! decides, from a stream of its own per node and cut, for each page (4096 bytes) that was written
//! or cut off since the last sync of its file, independently, by the weights of [`CrashModel`]
//! (default 40 : 30 : 10 : 20):
//! - *kept*: the newest content;
//! - *dropped*: the platter's (zeros if it had none);
//! - *replaced*: half of the time, if there is one, a version between the two (the two latest are
//!   remembered); else the newest content with random bytes in place of each byte that differs
//!   from the platter's (with `shorn_pages`: in place of all bytes of the page);
//! - *torn*: of the page's eight 512-byte sectors, a prefix, a suffix or any set (a third each) is
//!   the newest, the others the platter's.
//!
//! So a later write may survive an earlier one (D4), and no byte changes that nobody wrote since
//! the last sync, unless `shorn_pages` says so. The file's length is, a third each, the newest, the
//! platter's, or drawn between the least and the greatest since the sync; where it leads the
//! content, zeros are read, and where a truncation is undone, the platter's old bytes.
//!
//! Each directory change since the sync is kept or undone: one time in two, each by itself, or (in
//! the ordered-journal mode) so that a prefix of the changes of the whole disk is kept. A rename is
//! one change. A name that is kept for a file whose content never reached the platter shows what
//! the rules above give: often an empty file.
//!
//! # A failed sync (D10)
//! drops the dirty pages: they count as clean though the platter never gets them, so that the next
//! sync answers `Ok` and does not cover them; the length is kept, as an inode of its own. See
//! [`AfterSyncError`] for what reads show. A failed `sync_dir` likewise makes that its changes will
//! never be durable.
//!
//! # A disk that is gone (D14)
//! loses its power at that moment: what was not synced fares as in a power cut. Every operation
//! fails with EIO, those that are under way too, and goes on failing in the processes that saw it
//! gone when the disk is back: only those that start then have it again.

mod control;
mod crash;
mod faults;
pub(crate) mod file;
mod handle;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub use control::{DiskControl, Platter};
pub use faults::{AfterSyncError, CrashModel, DiskFaults, EntryModel};
pub use handle::SimFile;

use crate::disk::{Create, DirEntry, DiskOps, OpenOptions, Space};
use crate::sim::disk::faults::Target;
use crate::sim::disk::state::{Op, Port, io_failed};
use crate::sim::disk::tree::{Found, InodeId, Tree};

/// The disk of a node, as one incarnation may use it.
#[derive(Clone)]
pub struct SimDisk {
    pub(crate) port: Port,
}

/// A lock on a file. It ends when it is dropped or its incarnation dies.
pub struct SimLock {
    port: Port,
    inode: InodeId,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        if self.port.incarnation.is_alive() && self.port.has_disk() {
            self.port.state.inner.lock().locked.remove(&self.inode);
        }
    }
}

impl SimDisk {
    pub(crate) fn buggify(&self, site: &'static str) -> bool {
        let incarnation = &self.port.incarnation;
        incarnation.is_alive() && incarnation.core.buggify(incarnation.node, site)
    }

    /// The file at `path`. Making one is a change of names, and may fail as such.
    fn open_now(&self, path: &Path, create: Create) -> io::Result<InodeId> {
        let mut inner = self.port.state.inner.lock();
        match (inner.tree.find(path)?, create) {
            (Found::File(id), Create::Never | Create::IfMissing) => return Ok(id),
            (Found::File(_) | Found::Dir(_), Create::New) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Found::Dir(_), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Found::Missing, Create::Never) => return Err(io::ErrorKind::NotFound.into()),
            (Found::Missing, _) => {}
        }
        if inner.fails(Target::Write, &path.to_string_lossy()) {
            drop(inner);
            self.port.fault("D12", 0);
            return Err(io_failed());
        }
        inner.tree.create_file(path)
    }

    /// Pays for a change of names and makes it.
    async fn change<T>(
        &self,
        path: &Path,
        change: impl FnOnce(&mut Tree) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let text = path.to_string_lossy();
        self.port.pay(Op::Names, &text, 0).await?;
        let mut inner = self.port.state.inner.lock();
        if inner.fails(Target::Write, &text) {
            drop(inner);
            self.port.fault("D12", 0);
            return Err(io_failed());
        }
        change(&mut inner.tree)
    }
}

impl DiskOps for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<SimFile> {
        let text = path.to_string_lossy();
        self.port.pay(Op::Names, &text, 0).await?;
        let inode = self.open_now(path, options.create)?;
        self.port.state.inner.lock().tree.opened(inode);
        self.port.incarnation.held.files.fetch_add(1, Relaxed);
        self.port.event("disk.open", inode, u64::from(options.write));
        Ok(SimFile { port: self.port.clone(), inode, path: Arc::from(text), options })
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.create_dir_all(path)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(to, |tree| tree.rename(from, to)).await?;
        self.port.event("disk.rename", 0, 0);
        Ok(())
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.remove_file(path)).await?;
        self.port.event("disk.remove", 0, 0);
        Ok(())
    }

    async fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.remove_dir_all(path)).await?;
        self.port.event("disk.remove", 1, 0);
        Ok(())
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let text = path.to_string_lossy();
        self.port.pay(Op::Sync, &text, 0).await?;
        let mut inner = self.port.state.inner.lock();
        let dir = match inner.tree.find(path)? {
            Found::Dir(dir) => dir,
            Found::File(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Found::Missing => return Err(io::ErrorKind::NotFound.into()),
        };
        if inner.fails(Target::Sync, &text) {
            let lost = inner.tree.lose_changes(dir);
            drop(inner);
            self.port.fault("D10", lost);
            return Err(io_failed());
        }
        let changes = inner.tree.sync_dir(dir);
        drop(inner);
        self.port.event("disk.sync_dir", dir, changes);
        Ok(())
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.port.pay(Op::Names, &path.to_string_lossy(), 0).await?;
        let entries = self.port.state.inner.lock().tree.list(path)?;
        let entry = |(name, is_dir, len)| DirEntry { name, is_dir, is_link: false, len };
        Ok(entries.into_iter().map(entry).collect())
    }

    async fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.port.pay(Op::Names, &path.to_string_lossy(), 0).await?;
        let inner = self.port.state.inner.lock();
        match inner.tree.find(path) {
            Ok(Found::File(id)) => inner.tree.file(id).map(|file| Some(file.len)),
            Ok(Found::Dir(_)) => Ok(Some(0)),
            Ok(Found::Missing) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn lock(&self, path: &Path) -> io::Result<SimLock> {
        self.port.pay(Op::Names, &path.to_string_lossy(), 0).await?;
        let inode = self.open_now(path, Create::IfMissing)?;
        if !self.port.state.inner.lock().locked.insert(inode) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(SimLock { port: self.port.clone(), inode })
    }

    async fn space(&self, path: &Path) -> io::Result<Space> {
        self.port.pay(Op::Names, &path.to_string_lossy(), 0).await?;
        let mut inner = self.port.state.inner.lock();
        if matches!(inner.tree.find(path)?, Found::Missing) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(inner.space())
    }

    async fn supports_direct(&self, path: &Path) -> io::Result<bool> {
        self.port.pay(Op::Names, &path.to_string_lossy(), 0).await?;
        match self.port.state.inner.lock().tree.find(path)? {
            Found::Dir(_) => Ok(true),
            Found::File(_) => Err(io::ErrorKind::NotADirectory.into()),
            Found::Missing => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
