//! Two Linux system calls in a form that rustix does not offer: `sync_file_range`, and `preadv2`
//! into memory that nobody has written yet.

use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use bytes::BytesMut;

/// Begin write-back of dirty pages; do not wait.
const SYNC_FILE_RANGE_WRITE: c_uint = 2;
/// Answer EAGAIN instead of waiting for the disk.
const RWF_NOWAIT: c_int = 8;

/// `struct iovec`.
#[repr(C)]
struct IoVec {
    base: *mut u8,
    len: usize,
}

// On the 64-bit targets that this module is built for, off_t is 64 bits wide with every C library.
#[expect(unsafe_code, reason = "declares functions of the C library that std links anyway")]
unsafe extern "C" {
    fn sync_file_range(fd: c_int, offset: i64, nbytes: i64, flags: c_uint) -> c_int;
    fn preadv2(fd: c_int, iov: *const IoVec, iovcnt: c_int, offset: i64, flags: c_int) -> isize;
}

/// Starts write-back of a range (0 bytes: to the end of the file).
pub(crate) fn start_writeback(fd: BorrowedFd<'_>, position: u64, len: u64) -> io::Result<()> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let position = i64::try_from(position).map_err(out_of_range)?;
    let len = i64::try_from(len).map_err(out_of_range)?;
    // SAFETY: it takes no pointers, and the borrow keeps `fd` open.
    #[expect(unsafe_code, reason = "rustix does not offer it")]
    let answer = unsafe { sync_file_range(fd.as_raw_fd(), position, len, SYNC_FILE_RANGE_WRITE) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Appends to `buf` at most `len` bytes that are in the page cache at `position`, without waiting
/// for the disk; returns how many.
pub(crate) fn read_cached(
    fd: BorrowedFd<'_>,
    position: u64,
    len: usize,
    buf: &mut BytesMut,
) -> io::Result<usize> {
    let position =
        i64::try_from(position).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    buf.reserve(len);
    let spare = &mut buf.spare_capacity_mut()[..len];
    let piece = IoVec { base: spare.as_mut_ptr().cast(), len: spare.len() };
    // SAFETY: `piece` describes memory that `buf` owns and that nothing else refers to during the
    // call; the kernel only writes to it. The borrow keeps `fd` open.
    #[expect(unsafe_code, reason = "rustix wants initialised memory here")]
    let answer = unsafe { preadv2(fd.as_raw_fd(), &raw const piece, 1, position, RWF_NOWAIT) };
    let Ok(count) = usize::try_from(answer) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel wrote the first `count` bytes of the spare capacity, and `count` ≤ `len`.
    #[expect(unsafe_code, reason = "the length follows what the kernel wrote")]
    unsafe {
        buf.set_len(buf.len() + count);
    }
    Ok(count)
}
