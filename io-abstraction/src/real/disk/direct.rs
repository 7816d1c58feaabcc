//! Direct I/O: how a file is opened for it, and whether a directory's file system does it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::disk::{Create, DIRECT_ALIGN, OpenOptions, aligned_buffer};
use crate::real::disk::{open_file, retry};

#[cfg(target_os = "linux")]
pub(super) fn open_flags(direct: bool) -> OFlags {
    if direct { OFlags::DIRECT } else { OFlags::empty() }
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it is a system call of its own")]
pub(super) fn bypass_cache(_fd: &OwnedFd) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "macos")]
pub(super) fn open_flags(_direct: bool) -> OFlags {
    OFlags::empty()
}

#[cfg(target_os = "macos")]
pub(super) fn bypass_cache(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_nocache(fd, true)?)
}

/// Whether direct I/O works in directory `path`. Some file systems accept the open and refuse the
/// write: so both are tried, on a file that is gone afterwards.
pub(super) fn probe(path: &Path) -> io::Result<bool> {
    let name = path.join(format!(".direct-io-probe-{}", std::process::id()));
    let options = OpenOptions { write: true, create: Create::IfMissing, direct: true };
    let opened = open_file(&name, options);
    // A refused open may have made the file, too: it goes first, so that a crash leaves nothing.
    let removed = match fs::remove_file(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let file = match opened {
        Ok(file) => file,
        Err(error) if means_unsupported(&error) => return removed.map(|()| false),
        Err(error) => return Err(error),
    };
    removed?;
    let mut block = aligned_buffer(DIRECT_ALIGN);
    block.resize(DIRECT_ALIGN, 0);
    match retry(|| rustix::io::pwrite(&file, &block, 0)) {
        Ok(count) => Ok(count == DIRECT_ALIGN),
        Err(error) if means_unsupported(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn means_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOTSUP];
    Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
}
