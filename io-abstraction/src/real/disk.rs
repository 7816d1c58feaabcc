//! Files and directories of the machine. Every call blocks the thread that polls it and is done
//! when the poll returns, so a dropped future leaves its call done whole or never begun: callers
//! run it on a dedicated thread or through `offload`.

mod direct;
mod file;

use std::fs::{self, TryLockError};
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

pub(crate) use file::RealFile;

use crate::disk::{Create, DirEntry, DiskOps, OpenOptions, Space};

/// The machine's disk.
#[derive(Clone)]
pub struct RealDisk;

/// A `flock` on a file, released when the file is closed.
pub struct RealLock {
    _file: fs::File,
}

/// Repeats a system call that a signal interrupted.
fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    Ok(rustix::io::retry_on_intr(call)?)
}

fn open_file(path: &Path, options: OpenOptions) -> io::Result<fs::File> {
    let access = if options.write { OFlags::RDWR } else { OFlags::RDONLY };
    let create = match options.create {
        Create::Never => OFlags::empty(),
        Create::IfMissing => OFlags::CREATE,
        Create::New => OFlags::CREATE | OFlags::EXCL,
    };
    let flags = access | create | direct::open_flags(options.direct) | OFlags::CLOEXEC;
    let fd = retry(|| rustix::fs::open(path, flags, Mode::from_raw_mode(0o666)))?;
    if options.direct {
        direct::bypass_cache(&fd)?;
    }
    Ok(fs::File::from(fd))
}

impl DiskOps for RealDisk {
    type File = RealFile;
    type Lock = RealLock;

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<RealFile> {
        let file = open_file(path, options)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(RealFile::new(file, options.direct))
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    async fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let dir = fs::File::open(path)?;
        if !dir.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        dir.sync_all()
    }

    /// Symbolic links are followed; one that leads nowhere, and an entry that is removed meanwhile,
    /// is left out. A name that is not UTF-8 is an `InvalidData` error: no name of ours is one.
    async fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let looked = fs::metadata(entry.path())
                .and_then(|metadata| Ok((metadata, entry.file_type()?.is_symlink())));
            let (metadata, is_link) = match looked {
                Ok(looked) => looked,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let name = entry.file_name().into_string().map_err(|name| {
                let text = format!("{} holds a name that is not utf-8: {name:?}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            let is_dir = metadata.is_dir();
            let len = if is_dir { 0 } else { metadata.len() };
            entries.push(DirEntry { name, is_dir, is_link, len });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    async fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(if metadata.is_dir() { 0 } else { metadata.len() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn lock(&self, path: &Path) -> io::Result<RealLock> {
        let file = open_file(path, OpenOptions::write(Create::IfMissing))?;
        match file.try_lock() {
            Ok(()) => Ok(RealLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    async fn space(&self, path: &Path) -> io::Result<Space> {
        let found = retry(|| rustix::fs::statvfs(path))?;
        Ok(Space {
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            available_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    async fn supports_direct(&self, path: &Path) -> io::Result<bool> {
        direct::probe(path)
    }
}
