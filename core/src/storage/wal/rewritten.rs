//! Commits that a start writes once more, on their way: first here, beside the ring, then in their
//! own place.
//!
//! A page that is being written may be spoiled as a whole by a power cut. The newest commits may
//! have been durable, and acknowledged, in an earlier life, so they are never written over
//! themselves without a durable copy: this file, `rewritten.wal`, in the folder of the ring. It
//! holds whole commits as they stand in the ring, one after the other, each padded to 4096 bytes.
//! A walk takes a commit from here when it is missing in its place. As long as a walk passes them,
//! the commits of this file may not be durable in their place, and a start puts them there first.

use bytes::Bytes;
use rivven_io::Env;

use crate::storage::error::OpenError;
use crate::storage::wal::commit::{COMMIT_HEADER_BYTES, CommitHeader};
use crate::storage::wal::replay::{ReplayedCommit, RingShape, WalPosition};

/// Bytes of commits that are written at once; a larger commit comes alone.
pub(crate) const REWRITE_BYTES: usize = 4 << 20;

/// The undamaged commits of the file.
#[derive(Default)]
pub(crate) struct Rewritten {
    commits: Vec<ReplayedCommit>,
}

impl Rewritten {
    /// Reads the file up to the first damaged commit; none if there is no file.
    ///
    /// # Errors
    /// `Io` for the disk's errors.
    pub(crate) async fn read(env: &Env, shape: &RingShape) -> Result<Rewritten, OpenError> {
        let path = shape.rewritten();
        let bytes_max = shape.file_bytes + REWRITE_BYTES as u64;
        let bytes = env.read_file(&path, bytes_max).await.map_err(|error| OpenError::Io {
            doing: format!("reading {}", path.display()),
            error,
        })?;
        Ok(Rewritten { commits: commits(bytes.unwrap_or_default()) })
    }

    /// The copy of a commit, if it is here.
    pub(crate) fn copy_of(&self, header: &CommitHeader) -> Option<&ReplayedCommit> {
        self.commits.iter().find(|commit| commit.header == *header)
    }

    /// The commit after `place`, and where it begins: there, or at the front of the next file.
    pub(crate) fn after(
        &self,
        place: WalPosition,
        file_bytes: u64,
    ) -> Option<(WalPosition, ReplayedCommit)> {
        let commit = self.commits.iter().find(|commit| commit.header.lsn == place.lsn.next())?;
        let header = &commit.header;
        let begin = if header.file_sequence == place.file_sequence {
            place
        } else {
            WalPosition { file_sequence: place.file_sequence + 1, position: 0, ..place }
        };
        let fits = header.file_sequence == begin.file_sequence
            && header.start >= place.start
            && begin.position + header.padded_bytes() <= file_bytes;
        fits.then(|| (begin, commit.clone()))
    }
}

fn commits(mut bytes: Bytes) -> Vec<ReplayedCommit> {
    let mut commits = Vec::new();
    while let Some(header) = CommitHeader::decode(&bytes) {
        let end = COMMIT_HEADER_BYTES + header.payload_bytes as usize;
        if bytes.len() < end || header.synced >= header.lsn || !header.verify(&bytes.slice(..end)) {
            break;
        }
        commits.push(ReplayedCommit { header, payload: bytes.slice(COMMIT_HEADER_BYTES..end) });
        let padded = usize::try_from(header.padded_bytes()).unwrap_or(usize::MAX);
        bytes = bytes.slice(padded.min(bytes.len())..);
    }
    commits
}
