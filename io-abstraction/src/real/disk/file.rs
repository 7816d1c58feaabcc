//! An open file of the machine: positional reads and writes, syncs, maps.

use std::fs::File;
use std::io::{self, IoSlice};

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;

use crate::disk::{DIRECT_ALIGN, FileOps, aligned_buffer};
use crate::real::disk::retry;

/// Pieces of one gathering write (`IOV_MAX` of Linux and macOS); the rest is a short write.
const PIECES_MAX: usize = 1024;
/// Bytes that a direct write from unaligned memory copies at a time; the rest is a short write.
const COPIED_BYTES_MAX: usize = 1 << 20;

/// An open file.
pub struct RealFile {
    file: File,
    direct: bool,
}

impl RealFile {
    pub(super) fn new(file: File, direct: bool) -> RealFile {
        RealFile { file, direct }
    }

    /// The same answer as the simulated disk's, before the kernel gives its own.
    fn check_aligned(&self, position: u64, len: usize) -> io::Result<()> {
        let aligned =
            position.is_multiple_of(DIRECT_ALIGN as u64) && len.is_multiple_of(DIRECT_ALIGN);
        if self.direct && !aligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }

    /// Appends at most `len` bytes to `buf`, into capacity that is not zeroed first.
    fn read_spare(&self, position: u64, len: usize, buf: &mut BytesMut) -> io::Result<()> {
        buf.reserve(len);
        let count = retry(|| {
            let spare = &mut buf.spare_capacity_mut()[..len];
            rustix::io::pread(&self.file, spare, position).map(|(read, _)| read.len())
        })?;
        // SAFETY: pread has initialised the first `count` bytes of the spare capacity.
        #[expect(unsafe_code, reason = "the length follows what the kernel wrote")]
        unsafe {
            buf.set_len(buf.len() + count);
        }
        Ok(())
    }

    /// Direct reads need aligned memory: an empty `buf` is exchanged for some, a tail that is not
    /// aligned costs a copy.
    fn read_direct(&self, position: u64, len: usize, mut buf: BytesMut) -> io::Result<BytesMut> {
        buf.reserve(len);
        if is_aligned(buf.spare_capacity_mut().as_ptr().cast()) {
            self.read_spare(position, len, &mut buf)?;
            return Ok(buf);
        }
        let mut aligned = aligned_buffer(len);
        self.read_spare(position, len, &mut aligned)?;
        if buf.is_empty() {
            return Ok(aligned);
        }
        buf.extend_from_slice(&aligned);
        Ok(buf)
    }

    fn write_now(&self, position: u64, data: &[Bytes]) -> io::Result<usize> {
        if let [piece] = data {
            return retry(|| rustix::io::pwrite(&self.file, piece, position));
        }
        let pieces: Vec<IoSlice<'_>> =
            data.iter().take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
        retry(|| rustix::io::pwritev(&self.file, &pieces, position))
    }

    fn write_copied(&self, position: u64, data: &[Bytes]) -> io::Result<usize> {
        let len = data.iter().map(Bytes::len).sum::<usize>().min(COPIED_BYTES_MAX);
        let mut copy = aligned_buffer(len);
        for piece in data {
            copy.extend_from_slice(&piece[..piece.len().min(len - copy.len())]);
        }
        retry(|| rustix::io::pwrite(&self.file, &copy, position))
    }

    /// What a file system that cannot reserve space allows: a look at what is free now.
    fn check_space(&self, len: u64) -> io::Result<()> {
        let taken = std::os::unix::fs::MetadataExt::blocks(&self.file.metadata()?) * 512;
        let space = retry(|| rustix::fs::fstatvfs(&self.file))?;
        let available = space.f_bavail.saturating_mul(space.f_frsize);
        if len.saturating_sub(taken) > available {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, len: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags;
        let call = || rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len);
        match rustix::io::retry_on_intr(call) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.check_space(len),
            answer => Ok(answer?),
        }
    }

    /// macOS reserves only past the end of the file, and not surely: only the look is left.
    #[cfg(not(target_os = "linux"))]
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.check_space(len)
    }
}

fn is_aligned(memory: *const u8) -> bool {
    memory.addr().is_multiple_of(DIRECT_ALIGN)
}

impl FileOps for RealFile {
    async fn read_at(&self, position: u64, len: usize, mut buf: BytesMut) -> io::Result<BytesMut> {
        self.check_aligned(position, len)?;
        if self.direct {
            return self.read_direct(position, len, buf);
        }
        self.read_spare(position, len, &mut buf)?;
        Ok(buf)
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn try_read_cached(
        &self,
        position: u64,
        len: usize,
        buf: &mut BytesMut,
    ) -> io::Result<Option<usize>> {
        self.check_aligned(position, len)?;
        if self.direct {
            return Ok(None);
        }
        if len == 0 {
            return Ok(Some(0));
        }
        let fd = std::os::fd::AsFd::as_fd(&self.file);
        match crate::real::linux::read_cached(fd, position, len, buf) {
            // Linux 5.9 and 5.10 answer 0 for what is not cached, too (preadv2(2), BUGS).
            Ok(0) if position < self.file.metadata()?.len() => Ok(None),
            Ok(count) => Ok(Some(count)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(None),
                _ => Err(error),
            },
        }
    }

    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    fn try_read_cached(
        &self,
        position: u64,
        len: usize,
        _buf: &mut BytesMut,
    ) -> io::Result<Option<usize>> {
        self.check_aligned(position, len)?;
        Ok(None)
    }

    async fn write_at(&self, position: u64, data: &[Bytes]) -> io::Result<usize> {
        for piece in data {
            self.check_aligned(position, piece.len())?;
        }
        if self.direct && !data.iter().all(|piece| is_aligned(piece.as_ptr())) {
            return self.write_copied(position, data);
        }
        self.write_now(position, data)
    }

    /// `fdatasync`; on macOS `F_FULLFSYNC`, because its `fsync` leaves bytes in the drive's cache.
    async fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    async fn start_writeback(&self, position: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let fd = std::os::fd::AsFd::as_fd(&self.file);
        match crate::real::linux::start_writeback(fd, position, len) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSYS) => Ok(()),
            answer => answer,
        }
    }

    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    async fn start_writeback(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    async fn read_ahead(&self, position: u64, len: u64) {
        if let Some(len) = std::num::NonZeroU64::new(len) {
            let advice = rustix::fs::Advice::WillNeed;
            // Only a hint: what it fails with says nothing about the reads to come.
            let _ = rustix::fs::fadvise(&self.file, position, Some(len), advice);
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn read_ahead(&self, _position: u64, _len: u64) {}

    #[cfg(target_os = "linux")]
    async fn guess_reads(&self, guess: bool) {
        use rustix::fs::Advice::{Normal, Random};
        // Only a hint, as above; it goes for the whole file.
        let _ = rustix::fs::fadvise(&self.file, 0, None, if guess { Normal } else { Random });
    }

    #[cfg(not(target_os = "linux"))]
    async fn guess_reads(&self, _guess: bool) {}

    async fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 { Ok(()) } else { self.reserve(len) }
    }

    async fn map(&self, len: usize) -> io::Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        if self.file.metadata()?.len() < len as u64 {
            // Memory past the end of the file kills the process that touches it.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range is within the file, and the contract of `map` obliges the caller to
        // neither change nor truncate it while the map lives.
        #[expect(unsafe_code, reason = "a map of a file is memory that others could change")]
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(&self.file) }?;
        Ok(Bytes::from_owner(map))
    }
}
