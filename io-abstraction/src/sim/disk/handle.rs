//! An open file of a simulated disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};

use crate::disk::{DIRECT_ALIGN, FileOps, OpenOptions};
use crate::sim::disk::faults::{AfterSyncError, Lie, Target, strikes};
use crate::sim::disk::file::{FileData, PAGE_BYTES, Snapshot, copy_out, page_count};
use crate::sim::disk::state::{Inner, Op, Port, io_failed};
use crate::sim::disk::tree::InodeId;
use crate::sim::incarnation::Incarnation;

/// An open file, refused once its incarnation is dead.
pub struct SimFile {
    pub(crate) port: Port,
    pub(crate) inode: InodeId,
    pub(crate) path: Arc<str>,
    pub(crate) options: OpenOptions,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.port.incarnation.held.files.fetch_sub(1, Relaxed);
        if self.port.incarnation.is_alive() && self.port.has_disk() {
            self.port.state.inner.lock().tree.closed(self.inode);
        }
    }
}

/// A map's bytes, counted while they live.
struct Mapped {
    bytes: BytesMut,
    incarnation: Arc<Incarnation>,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.incarnation.held.mapped_bytes.fetch_sub(self.bytes.len() as u64, Relaxed);
    }
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        const EBADF: i32 = 9;
        if self.options.write { Ok(()) } else { Err(io::Error::from_raw_os_error(EBADF)) }
    }

    fn check_aligned(&self, position: u64, len: usize) -> io::Result<()> {
        let aligned =
            position.is_multiple_of(DIRECT_ALIGN as u64) && len.is_multiple_of(DIRECT_ALIGN);
        if self.options.direct && !aligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }

    /// The least number of bytes that a short read or write does.
    fn unit(&self) -> usize {
        if self.options.direct { DIRECT_ALIGN } else { 1 }
    }

    fn read_now(&self, position: u64, len: usize, buf: &mut BytesMut) -> io::Result<()> {
        let mut inner = self.port.state.inner.lock();
        if inner.fails(Target::Read, &self.path) {
            drop(inner);
            self.port.fault("D12", 0);
            return Err(io_failed());
        }
        let readable = inner.tree.file(self.inode)?.readable(position, len);
        if inner.tree.file(self.inode)?.is_bad(position, readable) {
            drop(inner);
            self.port.fault("D6", position);
            return Err(io_failed());
        }
        let shortened = inner.shorten(Target::Read, self, readable);
        let from = inner.astray(self, position)?;
        let file = inner.tree.file(self.inode)?;
        copy_out(&file.pages, from, shortened, buf);
        if from != position {
            let mut right = BytesMut::with_capacity(shortened);
            copy_out(&file.pages, position, shortened, &mut right);
            let is_wrong = !buf.ends_with(&right);
            drop(inner);
            if is_wrong {
                self.port.fault("D9", from);
            }
            return Ok(());
        }
        drop(inner);
        if shortened < readable {
            self.port.fault("D12", 1);
        }
        Ok(())
    }

    /// What a sync that begins now covers, and whether it will fail.
    fn begin_sync(&self) -> io::Result<(bool, Snapshot)> {
        self.port.incarnation.check()?;
        let mut inner = self.port.state.inner.lock();
        let fails = inner.fails(Target::Sync, &self.path);
        Ok((fails, inner.tree.change_file(self.inode, FileData::snapshot)?))
    }

    fn end_sync(&self, fails: bool, snapshot: Snapshot) -> io::Result<()> {
        let pages = snapshot.page_count() as u64;
        let mut inner = self.port.state.inner.lock();
        let reverts = inner.faults.after_sync_error == AfterSyncError::Reverts;
        if !fails {
            let lie = inner.lie_of_sync(&self.path);
            let mut draw = inner.draws.astray.clone();
            let wrong = inner.tree.change_file(self.inode, |file| match lie {
                Some(lie) => {
                    file.commit_astray(snapshot, (lie == Lie::MisdirectedWrite, &mut draw))
                }
                None => {
                    file.commit(snapshot);
                    0
                }
            })?;
            inner.draws.astray = draw;
            drop(inner);
            if wrong > 0 {
                let number = if lie == Some(Lie::MisdirectedWrite) { "D7" } else { "D8" };
                self.port.fault(number, wrong);
            }
            self.port.event("disk.sync", self.inode, pages);
            return Ok(());
        }
        let lost = inner.tree.change_file(self.inode, |file| file.lose(snapshot, reverts))?;
        drop(inner);
        self.port.fault("D10", lost);
        Err(io_failed())
    }

    fn write_now(&self, position: u64, data: &[Bytes], len: usize) -> io::Result<usize> {
        let mut inner = self.port.state.inner.lock();
        if inner.fails(Target::Write, &self.path) {
            drop(inner);
            self.port.fault("D12", 0);
            return Err(io_failed());
        }
        let shortened = inner.shorten(Target::Write, self, len);
        let fitting = inner.fitting(self.inode, position, shortened)?;
        let number = inner.next_write_number();
        inner.tree.change_file(self.inode, |file| {
            let mut taken = 0;
            for piece in data {
                let count = piece.len().min(fitting - taken);
                file.write(position + taken as u64, &piece[..count], number);
                taken += count;
            }
        })?;
        drop(inner);
        self.port.event("disk.write", self.inode, position ^ (fitting as u64) << 40);
        if shortened < len {
            self.port.fault("D12", 1);
        }
        if fitting < shortened {
            self.port.fault("D11", fitting as u64);
        }
        if fitting == 0 && len > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(fitting)
    }
}

impl Inner {
    /// What the drive makes of a sync that ends well.
    fn lie_of_sync(&mut self, path: &str) -> Option<Lie> {
        let lies = [Lie::MisdirectedWrite, Lie::PhantomWrite];
        lies.into_iter().find(|lie| strikes(&mut self.lies, lie, path))
    }

    /// Where a read at `position` reads.
    fn astray(&mut self, file: &SimFile, position: u64) -> io::Result<u64> {
        let pages = page_count(self.tree.file(file.inode)?.len);
        if pages < 2 || !strikes(&mut self.lies, &Lie::MisdirectedRead, &file.path) {
            return Ok(position);
        }
        let page_bytes = PAGE_BYTES as u64;
        let shifted = position + self.draws.astray.between(1, pages - 1) * page_bytes;
        Ok(shifted % (pages * page_bytes))
    }

    /// `len`, or by chance less, but never nothing.
    fn shorten(&mut self, target: Target, file: &SimFile, len: usize) -> usize {
        let (draw, probability) = match target {
            Target::Read => (&mut self.draws.short_read, self.faults.short_read),
            Target::Write | Target::Sync => (&mut self.draws.short_write, self.faults.short_write),
        };
        let units = len.div_ceil(file.unit());
        if !self.faults.apply_to(&file.path) || !draw.chance(probability) || units < 2 {
            return len;
        }
        let kept = draw.between(1, units as u64 - 1);
        usize::try_from(kept).map_or(len, |kept| kept * file.unit())
    }

    fn fitting(&mut self, inode: InodeId, position: u64, len: usize) -> io::Result<usize> {
        if self.faults.capacity_bytes.is_none() {
            return Ok(len);
        }
        let room_bytes = self.available_bytes();
        Ok(self.tree.file(inode)?.fitting(position, len, room_bytes))
    }
}

impl FileOps for SimFile {
    async fn read_at(&self, position: u64, len: usize, mut buf: BytesMut) -> io::Result<BytesMut> {
        self.check_aligned(position, len)?;
        let op = if self.options.direct { Op::DirectRead } else { Op::Read };
        self.port.pay(op, &self.path, len).await?;
        self.read_now(position, len, &mut buf)?;
        Ok(buf)
    }

    fn try_read_cached(
        &self,
        position: u64,
        len: usize,
        buf: &mut BytesMut,
    ) -> io::Result<Option<usize>> {
        self.port.incarnation.check()?;
        self.check_aligned(position, len)?;
        if !self.port.has_disk() {
            return Ok(None);
        }
        let mut inner = self.port.state.inner.lock();
        let miss = inner.faults.cache_miss;
        if inner.draws.cached.chance(miss) {
            return Ok(None);
        }
        let file = inner.tree.file(self.inode)?;
        let readable = file.readable(position, len);
        if file.is_bad(position, readable) {
            // What the platter cannot give is in no cache.
            return Ok(None);
        }
        copy_out(&file.pages, position, readable, buf);
        Ok(Some(readable))
    }

    async fn write_at(&self, position: u64, data: &[Bytes]) -> io::Result<usize> {
        self.check_writable()?;
        let len = data.iter().map(Bytes::len).sum();
        for piece in data {
            self.check_aligned(position, piece.len())?;
        }
        let op = if self.options.direct { Op::DirectWrite } else { Op::Write };
        // A future that is dropped while it waits has its write done or never begun: either.
        self.port.incarnation.check()?;
        let first = self.port.has_disk() && self.port.state.inner.lock().draws.order.chance(0.5);
        if first {
            let result = self.write_now(position, data, len);
            self.port.pay(op, &self.path, len).await?;
            return result;
        }
        self.port.pay(op, &self.path, len).await?;
        self.write_now(position, data, len)
    }

    async fn sync_data(&self) -> io::Result<()> {
        if !self.port.has_disk() {
            return self.port.pay(Op::Sync, &self.path, 0).await;
        }
        let (fails, snapshot) = self.begin_sync()?;
        let bytes = snapshot.page_count() * PAGE_BYTES;
        self.port.pay(Op::Sync, &self.path, bytes).await?;
        self.end_sync(fails, snapshot)
    }

    async fn start_writeback(&self, _position: u64, _len: u64) -> io::Result<()> {
        self.port.pay(Op::Names, &self.path, 0).await
    }

    async fn read_ahead(&self, _position: u64, _len: u64) {}

    async fn guess_reads(&self, _guess: bool) {}

    async fn len(&self) -> io::Result<u64> {
        self.port.pay(Op::Names, &self.path, 0).await?;
        Ok(self.port.state.inner.lock().tree.file(self.inode)?.len)
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.port.pay(Op::Names, &self.path, 0).await?;
        let mut inner = self.port.state.inner.lock();
        let number = inner.next_write_number();
        inner.tree.change_file(self.inode, |file| file.set_len(len, number))?;
        drop(inner);
        self.port.event("disk.set_len", self.inode, len);
        Ok(())
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.port.pay(Op::Names, &self.path, 0).await?;
        let mut inner = self.port.state.inner.lock();
        let wanted = inner.tree.file(self.inode)?.allocation_bytes(len);
        if wanted > inner.available_bytes() {
            drop(inner);
            self.port.fault("D11", wanted);
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.tree.change_file(self.inode, |file| file.allocate(len))?;
        drop(inner);
        self.port.event("disk.allocate", self.inode, len);
        Ok(())
    }

    async fn map(&self, len: usize) -> io::Result<Bytes> {
        self.port.pay(Op::Names, &self.path, 0).await?;
        let inner = self.port.state.inner.lock();
        let file = inner.tree.file(self.inode)?;
        if file.readable(0, len) < len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if file.is_bad(0, len) {
            drop(inner);
            self.port.fault("D6", 0);
            return Err(io_failed());
        }
        let mut bytes = BytesMut::with_capacity(len);
        copy_out(&file.pages, 0, len, &mut bytes);
        drop(inner);
        let incarnation = self.port.incarnation.clone();
        incarnation.held.mapped_bytes.fetch_add(len as u64, Relaxed);
        Ok(Bytes::from_owner(Mapped { bytes, incarnation }))
    }
}
