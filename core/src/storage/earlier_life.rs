//! What an earlier life of the broker left, and may never have made durable.
//!
//! After a sync that failed the kernel shows bytes and names that the disk does not have, and no
//! later sync makes up for it: what was dirty counts as clean. So a start uses nothing that it
//! merely finds. What a checkpoint counts was synced before that checkpoint was written; all else
//! is made anew: the checkpoint itself, the WAL's newest commits, the WAL's files before the first
//! commit, and the folders that no checkpoint counts (here and in `folder`).

use std::collections::VecDeque;
use std::io;

use bytes::{Bytes, BytesMut};
use rivven_io::Env;
use rivven_io::disk::{Create, OpenOptions};

use crate::storage::checkpoint_file::Checkpoint;
use crate::storage::error::OpenError;
use crate::storage::folder;
use crate::storage::layout::Layout;
use crate::storage::wal::arena::unpooled;
use crate::storage::wal::commit::{COMMIT_HEADER_BYTES, Lsn, padded, seal};
use crate::storage::wal::replay::{Replay, ReplayedCommit, RingShape, WalPosition};
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
            folder::set_aside(env, layout, &layout.topics()).await?;
        }
        if checkpoint.sequence == 0 && !has_commits {
            remove_dir_if_there(env, layout).await?;
        }
        Ok(())
    };
    renewed.await.map_err(|error: io::Error| OpenError::Io {
        doing: format!("making files of {} anew", layout.root.display()),
        error,
    })
}

async fn remove_dir_if_there(env: &Env, layout: &Layout) -> io::Result<()> {
    match env.disk.remove_dir_all(&layout.wal()).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Replaces a file through a temporary one, so that a crash leaves the old or the new one; durable,
/// with its name, when it returns.
pub(crate) async fn replace_file(
    env: &Env,
    (temporary, path): (&std::path::Path, &std::path::Path),
    bytes: Bytes,
) -> io::Result<()> {
    let file = env.disk.open(temporary, OpenOptions::write(Create::IfMissing)).await?;
    file.set_len(0).await?;
    file.write_all_at(0, vec![bytes]).await?;
    file.sync_data().await?;
    env.disk.rename(temporary, path).await?;
    let folder = path.parent().expect("the file lies in the data directory");
    env.disk.sync_dir(folder).await
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

    /// Writes these commits once more, each in its own place, and syncs them. Nobody has seen them
    /// in this life, so a power cut in the middle may take the newest ones.
    pub(crate) async fn write_again(
        &self,
        env: &Env,
        (shape, ring): (&RingShape, &mut Ring),
    ) -> Result<(), OpenError> {
        let Some(first) = self.places.front() else { return Ok(()) };
        rivven_io::probe!("unsynced_commit_written_again");
        let failed = |error| OpenError::Io { doing: "writing the WAL again".to_owned(), error };
        let mut replay = Replay::new(env, shape, *first);
        while let Some(commit) = replay.next().await? {
            ring.write_again(sealed_again(&commit), replay.position()).await.map_err(failed)?;
        }
        ring.sync().await.map_err(failed)
    }
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
