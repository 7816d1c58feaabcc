//! Batches that their segments hold already and that stay in memory for a while, because those who
//! follow the log read them next: segments are written past the page cache.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::Offset;
use crate::storage::partition::Partition;

/// Pieces remembered at most, whatever their size.
const PIECES_MAX: usize = 1 << 16;

/// What was copied last, oldest first, over all partitions.
pub(crate) struct Recent {
    bytes_max: u64,
    /// Batches that recovery copies are slices of what it read, and would hold all of that.
    is_kept: AtomicBool,
    pieces: Mutex<Pieces>,
}

#[derive(Default)]
struct Pieces {
    queue: VecDeque<Piece>,
    bytes: u64,
}

/// Batches of one partition through an offset.
struct Piece {
    partition: Arc<Partition>,
    end: Offset,
    bytes: u64,
}

impl Recent {
    pub(crate) fn new(bytes_max: u64) -> Recent {
        Recent { bytes_max, is_kept: AtomicBool::new(false), pieces: Mutex::default() }
    }

    /// Keeps batches from now on: recovery is over.
    pub(crate) fn begin(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Notes that `partition` keeps `bytes` of batches through `end`; lets the oldest go for them.
    pub(crate) fn keep(&self, partition: Arc<Partition>, end: Offset, bytes: u64) {
        let bytes_max = if self.is_kept.load(Ordering::Relaxed) { self.bytes_max } else { 0 };
        self.lock().push(Piece { partition, end, bytes });
        loop {
            let oldest = {
                let mut pieces = self.lock();
                if pieces.bytes <= bytes_max && pieces.queue.len() <= PIECES_MAX {
                    return;
                }
                pieces.pop()
            };
            oldest.expect("more than nothing is kept").drop_batches();
        }
    }

    /// Lets at least `bytes` of the oldest go; whether there were any.
    pub(crate) fn make_room(&self, bytes: u64) -> bool {
        let mut freed = 0;
        while freed < bytes.max(1) {
            let Some(oldest) = self.lock().pop() else { break };
            freed += oldest.bytes;
            oldest.drop_batches();
        }
        freed > 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pieces {
    fn push(&mut self, piece: Piece) {
        assert!(piece.bytes > 0, "a piece holds something");
        self.bytes += piece.bytes;
        self.queue.push_back(piece);
    }

    fn pop(&mut self) -> Option<Piece> {
        let piece = self.queue.pop_front()?;
        assert!(piece.bytes <= self.bytes, "every piece was counted");
        self.bytes -= piece.bytes;
        Some(piece)
    }
}

impl Piece {
    /// No other lock is held: memory is never freed under the queue's.
    fn drop_batches(self) {
        self.partition.lock().drop_copied(self.end);
    }
}
