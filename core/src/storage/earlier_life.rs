//! What an earlier life of the broker left, and may never have made durable.
//!
//! After a sync that failed the kernel shows bytes and names that the disk does not have, and no
//! later sync makes up for it: what was dirty counts as clean. So a start uses nothing that it
//! merely finds. What a checkpoint counts was synced before that checkpoint was written; all else
//! is made anew: the checkpoint itself, the WAL's newest commits, the WAL's files before the first
//! commit, and the folders that no checkpoint counts (here and in `folder`).

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rivven_io::Env;

use crate::storage::checkpoint_file::Checkpoint;
use crate::storage::directory::replace_file;
use crate::storage::error::OpenError;
use crate::storage::folder;
use crate::storage::layout::{Layout, NEW_REWRITTEN_WAL};
use crate::storage::wal::arena::unpooled;
use crate::storage::wal::commit::{COMMIT_HEADER_BYTES, Lsn, padded, seal};
use crate::storage::wal::replay::{Replay, ReplayedCommit, RingShape, WalPosition};
use crate::storage::wal::rewritten::REWRITE_BYTES;
use crate::storage::wal::ring::Ring;

/// Makes the directory's own names and the checkpoint those of this life. The WAL was walked to
/// its end before, so that a directory with a lost checkpoint was refused and not cleared.
pub(crate) async fn renew(
    env: &Env,
    layout: &Layout,
    (checkpoint, has_commits): (&Checkpoint, bool),
) -> Result<(), OpenError> {
    let renewed = async {
        if checkpoint.sequence > 0 {
            let path = layout.checkpoint(checkpoint.sequence % 2 == 1);
            let temporary = layout.new_checkpoint();
            replace_file(env, (&temporary, &path), checkpoint.encode()).await?;
        }
        if checkpoint.partitions.is_empty() {
            folder::clear(env, layout, &layout.topics()).await?;
        }
        if checkpoint.sequence == 0 && !has_commits {
            folder::remove_folder(env, &layout.wal()).await?;
        }
        Ok(())
    };
    renewed.await.map_err(|error: io::Error| OpenError::Io {
        doing: format!("making files of {} anew", layout.root.display()),
        error,
    })
}

/// Where the commits begin that nothing in the WAL calls synced.
#[derive(Default)]
pub(crate) struct Unsynced {
    /// The place before each of them.
    places: VecDeque<WalPosition>,
}

impl Unsynced {
    /// Notes the commit after `place`; everything through `synced` is known to be durable.
    pub(crate) fn note(&mut self, place: WalPosition, synced: Lsn) {
        self.places.push_back(place);
        while self.places.front().is_some_and(|place| place.lsn < synced) {
            self.places.pop_front();
        }
    }

    /// Writes these commits once more, first beside the ring and then each in its own place: they
    /// may have been durable and acknowledged in an earlier life, and a power cut may spoil what is
    /// being written. `beside` are those that an interrupted start left beside the ring: whether
    /// they are durable in their place nobody knows, so they come first, before another copy
    /// replaces theirs.
    pub(crate) async fn write_again(
        &self,
        env: &Env,
        beside: Vec<(ReplayedCommit, WalPosition)>,
        (shape, ring): (&RingShape, &mut Ring),
    ) -> Result<(), OpenError> {
        let Some(first) = self.places.front() else { return Ok(()) };
        let failed = |error| OpenError::Io { doing: "writing the WAL again".to_owned(), error };
        let again = |(commit, end): (ReplayedCommit, _)| (sealed_again(&commit), end);
        let beside: Vec<_> = beside.into_iter().map(again).collect();
        if !beside.is_empty() {
            rivven_io::probe!("copies_beside_the_wal_used");
            // Also the copy may be one whose sync failed.
            write_beside(env, shape, &beside).await.map_err(failed)?;
            put_in_place(env, ring, &beside).await.map_err(failed)?;
        }
        let mut replay = Replay::new(env, shape, *first);
        loop {
            let mut some = Vec::new();
            let mut bytes = 0;
            while bytes < REWRITE_BYTES
                && let Some(commit) = replay.next().await?
            {
                let commit = sealed_again(&commit);
                bytes += commit.len();
                some.push((commit, replay.position()));
            }
            if some.is_empty() {
                return Ok(());
            }
            write_beside(env, shape, &some).await.map_err(failed)?;
            rivven_io::probe!("unsynced_commit_written_again");
            put_in_place(env, ring, &some).await.map_err(failed)?;
        }
    }
}

async fn put_in_place(
    env: &Env,
    ring: &mut Ring,
    commits: &[(Bytes, WalPosition)],
) -> io::Result<()> {
    for (commit, end) in commits {
        assert!(commit.len() as u64 <= end.position, "a commit stands in one file");
        ring.write_again(commit.clone(), *end).await?;
    }
    if env.buggify("rewritten_before_sync") {
        env.clock.sleep(Duration::from_millis(20)).await;
    }
    ring.sync().await
}

/// Makes a copy of commits durable in `rewritten.wal`.
async fn write_beside(
    env: &Env,
    shape: &RingShape,
    commits: &[(Bytes, WalPosition)],
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    commits.iter().for_each(|(commit, _)| bytes.extend_from_slice(commit));
    let temporary = shape.dir.join(NEW_REWRITTEN_WAL);
    replace_file(env, (&temporary, &shape.rewritten()), bytes.freeze()).await
}

/// The bytes of a commit, as they stand in the WAL.
fn sealed_again(commit: &ReplayedCommit) -> Bytes {
    let bytes = COMMIT_HEADER_BYTES + commit.payload.len();
    let mut memory: BytesMut = unpooled(padded(bytes));
    memory.resize(COMMIT_HEADER_BYTES, 0);
    memory.extend_from_slice(&commit.payload);
    seal(&mut memory, &commit.header);
    memory.freeze()
}
