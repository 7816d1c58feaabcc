//! Memory for commits: aligned, bounded, and used again when nothing refers to it any more.
//!
//! A commit's bytes are the tail's bytes too, so a chunk is free again when the last batch in it
//! has been copied to its segment.

use bytes::{Buf, BytesMut};

use crate::storage::wal::commit::COMMIT_ALIGN;

/// Usable bytes of a chunk that is shared by many commits.
const CHUNK_BYTES: usize = 4 << 20;

/// Aligned memory with a bound.
pub struct Arena {
    current: Option<Lease>,
    /// Full chunks, oldest first; each is free when it can be reclaimed.
    retired: Vec<Lease>,
    chunk_bytes: usize,
    held_bytes: usize,
    bytes_max: usize,
}

/// Memory on loan: a chunk's unused part. Split commits off the front of `rest`.
pub struct Lease {
    pub rest: BytesMut,
    usable_bytes: usize,
    left_bytes: usize,
}

impl Arena {
    /// Memory of at most `bytes_max`, though one commit always fits when nothing is in use.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arena {
        let chunk_bytes = (bytes_max / 8).clamp(COMMIT_ALIGN, CHUNK_BYTES);
        let chunk_bytes = chunk_bytes / COMMIT_ALIGN * COMMIT_ALIGN;
        Arena { current: None, retired: Vec::new(), chunk_bytes, held_bytes: 0, bytes_max }
    }

    /// Memory for a commit of at most `bytes` (a multiple of 4096); `None` while the bound is
    /// reached. Give it back with [`Arena::put_back`].
    pub fn take(&mut self, bytes: usize) -> Option<Lease> {
        assert_eq!(bytes % COMMIT_ALIGN, 0, "commits are padded");
        match self.current.take() {
            Some(chunk) if chunk.left_bytes >= bytes => return Some(chunk),
            Some(chunk) => self.retired.push(chunk),
            None => {}
        }
        self.free_chunk(bytes)
    }

    /// Gives back what `take` gave, less the `used` bytes that were split off its front.
    pub fn put_back(&mut self, mut lease: Lease, used: usize) {
        assert!(used <= lease.left_bytes, "a commit stays within the bytes that it asked for");
        assert!(lease.rest.is_empty(), "what was written was split off");
        lease.left_bytes -= used;
        if let Some(older) = self.current.replace(lease) {
            self.retired.push(older);
        }
    }

    /// Bytes that are allocated now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn free_chunk(&mut self, bytes: usize) -> Option<Lease> {
        let mut at = 0;
        while at < self.retired.len() {
            let usable = self.retired[at].usable_bytes;
            if !self.retired[at].rest.try_reclaim(usable + COMMIT_ALIGN) {
                at += 1;
                continue;
            }
            let chunk = self.retired.remove(at);
            if usable >= bytes && usable <= self.chunk_bytes.max(bytes) {
                return Some(aligned(chunk.rest, usable));
            }
            self.held_bytes -= usable + COMMIT_ALIGN;
        }
        let usable = self.chunk_bytes.max(bytes);
        let allocation = usable + COMMIT_ALIGN;
        if self.held_bytes + allocation > self.bytes_max && !self.retired.is_empty() {
            return None;
        }
        self.held_bytes += allocation;
        Some(aligned(BytesMut::with_capacity(allocation), usable))
    }
}

/// Aligned memory outside the bound, for changes of state that must get through while the arena
/// is full, because only they let it be emptied.
#[must_use]
pub fn unpooled(bytes: usize) -> BytesMut {
    assert_eq!(bytes % COMMIT_ALIGN, 0, "commits are padded");
    aligned(BytesMut::with_capacity(bytes + COMMIT_ALIGN), bytes).rest
}

fn aligned(mut rest: BytesMut, usable_bytes: usize) -> Lease {
    assert!(rest.is_empty(), "a reclaimed chunk holds nothing");
    let pad = rest.as_ptr().align_offset(COMMIT_ALIGN);
    assert!(pad < COMMIT_ALIGN, "the padding is less than one unit");
    rest.resize(pad, 0);
    rest.advance(pad);
    Lease { rest, usable_bytes, left_bytes: usable_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(arena: &mut Arena, bytes: usize) -> Option<bytes::Bytes> {
        let mut lease = arena.take(bytes)?;
        assert_eq!(lease.rest.as_ptr().align_offset(COMMIT_ALIGN), 0);
        let before = lease.rest.as_ptr();
        lease.rest.resize(bytes, 1);
        assert_eq!(lease.rest.as_ptr(), before, "the arena never moves a commit");
        let taken = lease.rest.split().freeze();
        arena.put_back(lease, bytes);
        Some(taken)
    }

    #[test]
    fn chunks_are_used_again_and_the_bound_holds() {
        let mut arena = Arena::new(1 << 20);
        let mut held = std::collections::VecDeque::new();
        let mut refused = 0;
        for round in 0..5000 {
            let bytes = COMMIT_ALIGN * (1 + round % 7);
            match commit(&mut arena, bytes) {
                Some(commit) => held.push_back(commit),
                None => {
                    refused += 1;
                    held.clear();
                }
            }
            assert!(arena.held_bytes() <= 1 << 20, "{} bytes held", arena.held_bytes());
        }
        assert!(refused > 10, "the bound was reached {refused} times");
    }

    #[test]
    fn a_commit_larger_than_the_bound_fits_when_nothing_is_in_use() {
        let mut arena = Arena::new(64 << 10);
        for _ in 0..3 {
            let large = commit(&mut arena, 1 << 20);
            assert!(large.is_some());
            assert!(commit(&mut arena, 1 << 20).is_none(), "not two at once");
            drop(large);
        }
    }
}
