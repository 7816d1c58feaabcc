//! Files and directories: the contract (`DiskOps`, `FileOps`) and the handles that callers hold.
//!
//! Promises that both worlds keep and the contract tests pin:
//! - Bytes are durable (survive power loss) only after `sync_data`/`sync_all` on their file
//!   returned `Ok`, a file's name only after `sync_dir` on its directory returned `Ok`.
//! - After a failed sync nothing is known about the bytes written since the last good one, and a
//!   later `Ok` does not cover them: callers must not sync that file again.
//! - Calls on one file by one task take effect in the order in which they were awaited.
//! - Dropping a returned future before it is ready leaves its write done or never begun.

use std::future::Future;
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};

/// Alignment in bytes of position, length and memory that direct I/O needs.
pub const DIRECT_ALIGN: usize = 4096;

/// An empty buffer for `len` bytes whose memory begins at a multiple of [`DIRECT_ALIGN`]: direct
/// I/O from and into it needs no copy. Growing past `len` bytes may lose the alignment.
#[must_use]
pub fn aligned_buffer(len: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(len.saturating_add(DIRECT_ALIGN));
    let misaligned = buffer.as_ptr().addr() % DIRECT_ALIGN;
    if misaligned > 0 {
        let skipped = DIRECT_ALIGN - misaligned;
        buffer.resize(skipped, 0);
        bytes::Buf::advance(&mut buffer, skipped);
    }
    buffer
}

/// What `open` does when the file is there or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// Fails with `NotFound` if there is none.
    Never,
    /// Opens it, or creates an empty one.
    IfMissing,
    /// Fails with `AlreadyExists` if there is one.
    New,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    pub write: bool,
    pub create: Create,
    /// Bypass the page cache (O_DIRECT). Position and length of each read, and position and the
    /// length of each piece of a write, are then multiples of [`DIRECT_ALIGN`], else the answer is
    /// `InvalidInput`; memory that is not so aligned (see [`aligned_buffer`]) costs a copy. Ask
    /// [`Disk::supports_direct`] first.
    pub direct: bool,
}

impl OpenOptions {
    /// An existing file, for reading.
    #[must_use]
    pub fn read() -> OpenOptions {
        OpenOptions { write: false, create: Create::Never, direct: false }
    }

    /// For reading and writing, created as `create` says.
    #[must_use]
    pub fn write(create: Create) -> OpenOptions {
        OpenOptions { write: true, create, direct: false }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    /// A symbolic link, of which the other fields say where it leads.
    pub is_link: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    /// What may still be written.
    pub available_bytes: u64,
}

/// The contract of a disk.
pub trait DiskOps {
    type File: FileOps;
    type Lock;
    /// Opens or creates a file.
    fn open(
        &self,
        path: &Path,
        options: OpenOptions,
    ) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Creates a directory and its missing parents; fine if it is there.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Renames a file or directory, atomically replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send;
    fn remove_file(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Removes a directory and all below it.
    fn remove_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Returns after the names created, renamed and removed in `path` survive power loss.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Entries sorted by name.
    fn read_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>> + Send;
    /// Length of a file (0 for a directory), `None` if there is nothing of that name.
    fn file_len(&self, path: &Path) -> impl Future<Output = io::Result<Option<u64>>> + Send;
    /// Exclusive lock on a file (created if missing) until the returned value is dropped or the
    /// process ends; `WouldBlock` while another process (or another handle) has it.
    fn lock(&self, path: &Path) -> impl Future<Output = io::Result<Self::Lock>> + Send;
    /// The room of the file system of `path`.
    fn space(&self, path: &Path) -> impl Future<Output = io::Result<Space>> + Send;
    /// Whether direct I/O works in directory `path`, found by a real aligned write.
    fn supports_direct(&self, path: &Path) -> impl Future<Output = io::Result<bool>> + Send;
}

/// The contract of an open file. All methods may be called from several tasks at once.
#[expect(clippy::len_without_is_empty, reason = "a file's length is asked for, not emptiness")]
pub trait FileOps {
    /// Appends at most `len` bytes from `position` to `buf`. Fewer (a short read) may come at any
    /// time; none means end of file.
    fn read_at(
        &self,
        position: u64,
        len: usize,
        buf: BytesMut,
    ) -> impl Future<Output = io::Result<BytesMut>> + Send;
    /// As `read_at`, but only what needs no waiting for the disk: `None` when it would wait.
    fn try_read_cached(
        &self,
        position: u64,
        len: usize,
        buf: &mut BytesMut,
    ) -> io::Result<Option<usize>>;
    /// Writes a prefix of `data`, at least one byte if there is any; returns how many.
    fn write_at(
        &self,
        position: u64,
        data: &[Bytes],
    ) -> impl Future<Output = io::Result<usize>> + Send;
    /// fdatasync: returns after the bytes and the length survive power loss.
    fn sync_data(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Asks the disk to begin writing a range back, without waiting; promises nothing.
    fn start_writeback(
        &self,
        position: u64,
        len: u64,
    ) -> impl Future<Output = io::Result<()>> + Send;
    /// Says that a range will be read soon, through the page cache; a hint that promises nothing
    /// and never fails.
    fn read_ahead(&self, position: u64, len: u64) -> impl Future<Output = ()> + Send;
    /// Whether the system may guess from reads which come next and do them ahead, as it does at
    /// first; a hint for all users of this handle, as the one above.
    fn guess_reads(&self, guess: bool) -> impl Future<Output = ()> + Send;
    fn len(&self) -> impl Future<Output = io::Result<u64>> + Send;
    /// Truncates, or extends with zeros.
    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// Reserves disk space for the first `len` bytes without changing the length: after `Ok`,
    /// writes below `len` do not fail for lack of space; `StorageFull` if it is not there. A file
    /// system that cannot reserve (it answers EOPNOTSUPP to `fallocate`) or that writes elsewhere
    /// each time (btrfs, ZFS) keeps less: `Ok` then means that as much was free at that moment.
    fn allocate(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// A read-only map of the first `len` bytes, which must be within the file and must not be
    /// truncated or changed while the map lives.
    fn map(&self, len: usize) -> impl Future<Output = io::Result<Bytes>> + Send;
}

macro_rules! both {
    ($self:expr, $kind:ident, $inner:ident => $call:expr) => {
        match $self {
            $kind::Real($inner) => $call,
            #[cfg(feature = "sim")]
            $kind::Sim($inner) => $call,
        }
    };
}
pub(crate) use both;

/// A disk of either world.
#[derive(Clone)]
pub enum Disk {
    #[doc(hidden)]
    Real(crate::real::disk::RealDisk),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::disk::SimDisk),
}

/// An open file of either world.
pub enum File {
    #[doc(hidden)]
    Real(crate::real::disk::RealFile),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::disk::SimFile),
}

/// An exclusive lock, released on drop.
pub enum Lock {
    #[doc(hidden)]
    Real { _file: crate::real::disk::RealLock },
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim { _lock: crate::sim::disk::SimLock },
}

impl Disk {
    /// See [`DiskOps::open`].
    pub async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<File> {
        match self {
            Disk::Real(disk) => disk.open(path, options).await.map(File::Real),
            #[cfg(feature = "sim")]
            Disk::Sim(disk) => disk.open(path, options).await.map(File::Sim),
        }
    }

    /// See [`DiskOps::lock`].
    pub async fn lock(&self, path: &Path) -> io::Result<Lock> {
        match self {
            Disk::Real(disk) => Ok(Lock::Real { _file: disk.lock(path).await? }),
            #[cfg(feature = "sim")]
            Disk::Sim(disk) => Ok(Lock::Sim { _lock: disk.lock(path).await? }),
        }
    }

    /// See [`DiskOps::create_dir_all`].
    pub async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        both!(self, Disk, disk => disk.create_dir_all(path).await)
    }

    /// See [`DiskOps::rename`].
    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        both!(self, Disk, disk => disk.rename(from, to).await)
    }

    /// See [`DiskOps::remove_file`].
    pub async fn remove_file(&self, path: &Path) -> io::Result<()> {
        both!(self, Disk, disk => disk.remove_file(path).await)
    }

    /// See [`DiskOps::remove_dir_all`].
    pub async fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        both!(self, Disk, disk => disk.remove_dir_all(path).await)
    }

    /// See [`DiskOps::sync_dir`].
    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        both!(self, Disk, disk => disk.sync_dir(path).await)
    }

    /// See [`DiskOps::read_dir`].
    pub async fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        both!(self, Disk, disk => disk.read_dir(path).await)
    }

    /// See [`DiskOps::file_len`].
    pub async fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        both!(self, Disk, disk => disk.file_len(path).await)
    }

    /// See [`DiskOps::space`].
    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        both!(self, Disk, disk => disk.space(path).await)
    }

    /// See [`DiskOps::supports_direct`].
    pub async fn supports_direct(&self, path: &Path) -> io::Result<bool> {
        both!(self, Disk, disk => disk.supports_direct(path).await)
    }
}

impl File {
    /// See [`FileOps::read_at`].
    pub async fn read_at(&self, position: u64, len: usize, buf: BytesMut) -> io::Result<BytesMut> {
        both!(self, File, file => file.read_at(position, len, buf).await)
    }

    /// Reads exactly `len` bytes at `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; else the disk's error.
    pub async fn read_full_at(&self, position: u64, len: usize) -> io::Result<BytesMut> {
        let mut buf = BytesMut::with_capacity(len);
        while buf.len() < len {
            let had = buf.len();
            buf = self.read_at(position + had as u64, len - had, buf).await?;
            if buf.len() == had {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(buf)
    }

    /// See [`FileOps::try_read_cached`].
    pub fn try_read_cached(
        &self,
        position: u64,
        len: usize,
        buf: &mut BytesMut,
    ) -> io::Result<Option<usize>> {
        both!(self, File, file => file.try_read_cached(position, len, buf))
    }

    /// Writes all of `data`, in order, at `position`. On error a prefix may be written.
    pub async fn write_all_at(&self, position: u64, mut data: Vec<Bytes>) -> io::Result<()> {
        let mut at = position;
        loop {
            data.retain(|piece| !piece.is_empty());
            if data.is_empty() {
                return Ok(());
            }
            let mut written = both!(self, File, file => file.write_at(at, &data).await)?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero));
            }
            at += written as u64;
            for piece in &mut data {
                let taken = written.min(piece.len());
                bytes::Buf::advance(piece, taken);
                written -= taken;
                if written == 0 {
                    break;
                }
            }
        }
    }

    /// See [`FileOps::sync_data`].
    pub async fn sync_data(&self) -> io::Result<()> {
        both!(self, File, file => file.sync_data().await)
    }

    /// See [`FileOps::read_ahead`].
    pub async fn read_ahead(&self, position: u64, len: u64) {
        both!(self, File, file => file.read_ahead(position, len).await);
    }

    /// See [`FileOps::guess_reads`].
    pub async fn guess_reads(&self, guess: bool) {
        both!(self, File, file => file.guess_reads(guess).await);
    }

    /// See [`FileOps::start_writeback`].
    pub async fn start_writeback(&self, position: u64, len: u64) -> io::Result<()> {
        both!(self, File, file => file.start_writeback(position, len).await)
    }

    /// Length in bytes.
    pub async fn len(&self) -> io::Result<u64> {
        both!(self, File, file => file.len().await)
    }

    /// See [`FileOps::set_len`].
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        both!(self, File, file => file.set_len(len).await)
    }

    /// See [`FileOps::allocate`].
    pub async fn allocate(&self, len: u64) -> io::Result<()> {
        both!(self, File, file => file.allocate(len).await)
    }

    /// See [`FileOps::map`].
    pub async fn map(&self, len: usize) -> io::Result<Bytes> {
        both!(self, File, file => file.map(len).await)
    }
}
