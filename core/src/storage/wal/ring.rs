//! The files of the WAL: written round and round, each used again once a checkpoint has made its
//! commits superfluous.
//!
//! ```text
//!   slot   0        1        2        3            sequence 6 is in slot 6 mod 4 = 2
//!        ┌────────┬────────┬────────┬────────┐
//!   seq  │ 4 free │ 5 live │ 6 now  │ 3 free │     live: holds commits after the checkpoint
//!        └────────┴────────┴────────┴────────┘
//! ```
//!
//! All but page images leave some free files alone: a checkpoint may have to log images before it
//! can make room, and must always find some.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use rivven_io::Env;
use rivven_io::disk::{Create, File, OpenOptions, aligned_buffer};
use rivven_io::task::Task;
use tokio::sync::Notify;

use crate::storage::wal::commit::{COMMIT_ALIGN, Lsn};
use crate::storage::wal::replay::{RingShape, WalPosition};

/// Bytes of zeros in one write: small, so that commits get their turn between two.
const ZEROS_BYTES: usize = 256 << 10;
/// How far zero-filling runs ahead of its share before it pauses.
const ZEROS_AHEAD_BYTES: u64 = 4 << 20;

/// The ring, owned by the committer.
pub struct Ring {
    env: Env,
    shape: RingShape,
    slots: Vec<Slot>,
    at: WalPosition,
    /// Everything through this commit is in a checkpoint.
    checkpointed: Lsn,
    direct: bool,
    /// Slots that were written since their last sync.
    unsynced: Vec<usize>,
    pace: Arc<Pace>,
}

struct Slot {
    file: File,
    /// Last commit in it, 0 if it was never used.
    last: Lsn,
    /// Zero-filling under way.
    preparing: Option<Task<io::Result<()>>>,
}

/// How fast the next file is filled: twice as fast as the current one, so that it is ready in time
/// and the disk is not kept from commits.
#[derive(Default)]
struct Pace {
    /// Where commits stand in the current file.
    position: AtomicU64,
    /// Where commits must stand to wake the filling, which would cost them a call each.
    resume_at: AtomicU64,
    /// One of `PACED`, `HURRY` and `STOP`.
    order: AtomicU8,
    /// One of them changed.
    changed: Notify,
}

impl Pace {
    fn order(&self, order: u8) {
        self.order.store(order, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether filling through `filled` is enough for now; if so, it pauses for a while.
    fn is_ahead(&self, filled: u64) -> bool {
        let is_ahead = || filled > 2 * self.position.load(Ordering::SeqCst) + ZEROS_AHEAD_BYTES;
        if !is_ahead() {
            self.resume_at.store(u64::MAX, Ordering::SeqCst);
            return false;
        }
        self.resume_at.store((filled - ZEROS_AHEAD_BYTES / 2) / 2, Ordering::SeqCst);
        // A commit that came before this was to be seen did not wake anybody.
        is_ahead()
    }
}

const PACED: u8 = 0;
const HURRY: u8 = 1;
const STOP: u8 = 2;

/// Where the next commit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPlace {
    pub file_sequence: u64,
    pub position: u64,
}

impl Ring {
    /// Opens all files, creating and reserving what is missing; commits continue at `at`.
    /// `live_from` is the sequence of the oldest file that the checkpoint still needs.
    pub async fn open(
        env: &Env,
        shape: RingShape,
        at: WalPosition,
        checkpoint: WalPosition,
    ) -> io::Result<Ring> {
        assert!(shape.files >= 3, "a ring has at least three files");
        assert!(shape.file_bytes.is_multiple_of(COMMIT_ALIGN as u64), "files hold whole units");
        assert!(at.position <= shape.file_bytes, "the WAL ends inside a file");
        assert!(checkpoint.lsn <= at.lsn, "replay never ends before its checkpoint");
        env.disk.create_dir_all(&shape.dir).await?;
        let direct = env.disk.supports_direct(&shape.dir).await?;
        let mut slots = Vec::with_capacity(shape.files as usize);
        for slot in 0..u64::from(shape.files) {
            let options = OpenOptions { direct, ..OpenOptions::write(Create::IfMissing) };
            let file = env.disk.open(&shape.path_of(slot), options).await?;
            file.allocate(shape.file_bytes).await?;
            if file.len().await? < shape.file_bytes {
                file.set_len(shape.file_bytes).await?;
            }
            slots.push(Slot { file, last: Lsn(0), preparing: None });
        }
        env.disk.sync_dir(&shape.dir).await?;
        if let Some(parent) = shape.dir.parent() {
            env.disk.sync_dir(parent).await?;
        }
        let mut ring = Ring {
            env: env.clone(),
            shape,
            slots,
            at,
            checkpointed: checkpoint.lsn,
            direct,
            unsynced: Vec::new(),
            pace: Arc::default(),
        };
        for sequence in checkpoint.file_sequence..=at.file_sequence {
            let slot = ring.slot_of(sequence);
            ring.slots[slot].last = at.lsn;
        }
        Ok(ring)
    }

    /// Whether files bypass the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Where the last commit ended.
    #[must_use]
    pub fn position(&self) -> WalPosition {
        self.at
    }

    /// Bytes in files that a checkpoint has not freed, and bytes of the whole ring.
    #[must_use]
    pub fn used_bytes(&self) -> (u64, u64) {
        let live = self.slots.iter().filter(|slot| slot.last > self.checkpointed).count() as u64;
        let full = live.saturating_sub(1) * self.shape.file_bytes;
        let current = if live == 0 { 0 } else { self.at.position };
        (full + current, self.slots.len() as u64 * self.shape.file_bytes)
    }

    /// A checkpoint made everything through `lsn` superfluous.
    pub fn free_through(&mut self, lsn: Lsn) {
        assert!(lsn <= self.at.lsn, "a checkpoint covers what was written");
        self.checkpointed = self.checkpointed.max(lsn);
    }

    fn slot_of(&self, file_sequence: u64) -> usize {
        usize::try_from(file_sequence % u64::from(self.shape.files)).expect("slots are few")
    }

    fn is_free(&self, file_sequence: u64) -> bool {
        self.slots[self.slot_of(file_sequence)].last <= self.checkpointed
    }

    /// Where a commit of `bytes` goes now; `None` while its file waits for a checkpoint, or if
    /// fewer than `reserve` files would stay free behind that file, also if it is the current one:
    /// images may have gone into what was kept for them.
    #[must_use]
    pub fn place(&self, bytes: usize, reserve: u64) -> Option<CommitPlace> {
        assert!(bytes as u64 <= self.shape.file_bytes, "a commit fits a file");
        assert!(reserve + 1 < self.slots.len() as u64, "the reserve leaves files to write");
        let next = self.at.file_sequence + 1;
        let are_free = |mut files: std::ops::Range<u64>| files.all(|file| self.is_free(file));
        if self.at.position + bytes as u64 <= self.shape.file_bytes {
            let (file_sequence, position) = (self.at.file_sequence, self.at.position);
            return are_free(next..next + reserve)
                .then_some(CommitPlace { file_sequence, position });
        }
        are_free(next..next + 1 + reserve)
            .then_some(CommitPlace { file_sequence: next, position: 0 })
    }

    /// Writes a sealed commit where `place` said. It is durable only after `sync`.
    pub async fn write(
        &mut self,
        place: CommitPlace,
        commit: Bytes,
        header: (Lsn, u64),
    ) -> io::Result<()> {
        let (lsn, start) = header;
        assert_eq!(lsn, self.at.lsn.next(), "commits are written in order");
        let slot = self.slot_of(place.file_sequence);
        if place.file_sequence != self.at.file_sequence {
            self.enter(slot).await?;
        }
        let bytes = commit.len() as u64;
        assert!(bytes > 0 && bytes.is_multiple_of(COMMIT_ALIGN as u64), "commits are padded");
        assert!(place.position + bytes <= self.shape.file_bytes, "a commit stays in its file");
        assert!(self.slots[slot].preparing.is_none(), "nobody else writes to this file");
        self.slots[slot].file.write_all_at(place.position, vec![commit]).await?;
        self.slots[slot].last = lsn;
        if !self.unsynced.contains(&slot) {
            self.unsynced.push(slot);
        }
        self.at = WalPosition {
            lsn,
            file_sequence: place.file_sequence,
            position: place.position + bytes,
            start,
        };
        self.prepare_next();
        Ok(())
    }

    /// Writes a commit, which ends at `end`, over itself: the same bytes at the same place.
    pub async fn write_again(&mut self, commit: Bytes, end: WalPosition) -> io::Result<()> {
        assert!(end.lsn <= self.at.lsn, "it stands in the WAL");
        let position = end.position.checked_sub(commit.len() as u64);
        let position = position.expect("a commit stays in its file");
        let slot = self.slot_of(end.file_sequence);
        self.slots[slot].file.write_all_at(position, vec![commit]).await?;
        if !self.unsynced.contains(&slot) {
            self.unsynced.push(slot);
        }
        Ok(())
    }

    /// Waits for the zero-filling of a slot that is about to be written.
    async fn enter(&mut self, slot: usize) -> io::Result<()> {
        assert!(self.slots[slot].last <= self.checkpointed, "a live file is never written over");
        match self.slots[slot].preparing.take() {
            Some(task) => {
                self.pace.order(HURRY);
                task.await.unwrap_or_else(|end| Err(io::Error::other(format!("{end:?}"))))
            }
            None => Ok(()),
        }
    }

    /// Begins to zero-fill the next file if it was never used: writing over recycled blocks is
    /// twice as fast as writing new ones.
    fn prepare_next(&mut self) {
        let next = self.at.file_sequence + 1;
        let slot = self.slot_of(next);
        self.pace.position.store(self.at.position, Ordering::SeqCst);
        let fresh = self.slots[slot].last == Lsn(0) && next < u64::from(self.shape.files);
        if !fresh {
            return;
        }
        if self.slots[slot].preparing.is_some() {
            if self.at.position >= self.pace.resume_at.load(Ordering::SeqCst) {
                self.pace.changed.notify_one();
            }
            return;
        }
        self.pace.order.store(PACED, Ordering::Relaxed);
        self.pace.resume_at.store(u64::MAX, Ordering::SeqCst);
        let filling = fill(Filling {
            env: self.env.clone(),
            path: self.shape.path_of(next),
            bytes: self.shape.file_bytes,
            direct: self.direct,
            pace: self.pace.clone(),
        });
        self.slots[slot].preparing = Some(self.env.tasks.spawn_dedicated("wal-prepare", filling));
    }

    /// Makes everything written durable. After an error the ring must not be used any more.
    pub async fn sync(&mut self) -> io::Result<()> {
        for slot in std::mem::take(&mut self.unsynced) {
            self.slots[slot].file.sync_data().await?;
        }
        Ok(())
    }

    /// Waits for background work on the files.
    pub async fn close(&mut self) {
        self.pace.order(STOP);
        for slot in &mut self.slots {
            if let Some(task) = slot.preparing.take() {
                let _ = task.await;
            }
        }
    }
}

/// A file to be filled with zeros.
struct Filling {
    env: Env,
    path: PathBuf,
    bytes: u64,
    direct: bool,
    pace: Arc<Pace>,
}

/// Fills a file with zeros and syncs it; one that is stopped half-way is filled again another time.
async fn fill(filling: Filling) -> io::Result<()> {
    let Filling { env, path, bytes, direct, pace } = filling;
    let options = OpenOptions { direct, ..OpenOptions::write(Create::Never) };
    let file = env.disk.open(&path, options).await?;
    let mut zeros = aligned_buffer(ZEROS_BYTES);
    zeros.resize(ZEROS_BYTES, 0);
    let zeros = zeros.freeze();
    let mut position = 0;
    while position < bytes {
        match pace.order.load(Ordering::Relaxed) {
            STOP => return Ok(()),
            PACED if pace.is_ahead(position) => {
                pace.changed.notified().await;
                continue;
            }
            _ => {}
        }
        let piece = zeros.slice(..zeros.len().min((bytes - position) as usize));
        let piece_bytes = piece.len() as u64;
        file.write_all_at(position, vec![piece]).await?;
        position += piece_bytes;
    }
    file.sync_data().await
}
