//! Reads the WAL back after a start: commit by commit, up to where it truly ends.
//!
//! The end is where no commit with the next LSN stands. If a later commit says that the missing
//! one had been synced, that is no end but damage, and it is reported. A power cut can leave the
//! newest, never synced commit torn; nothing after it can claim that it was synced.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use rivven_io::Env;
use rivven_io::disk::{File, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::storage::error::OpenError;
use crate::storage::layout;
use crate::storage::wal::commit::{COMMIT_ALIGN, COMMIT_HEADER_BYTES, CommitHeader, Lsn};
use crate::storage::wal::rewritten::Rewritten;

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// A place in the WAL: where the commit after `lsn` goes or stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalPosition {
    /// Last commit before this place.
    pub lsn: Lsn,
    /// Sequence of the file; its slot is the sequence modulo the number of files.
    pub file_sequence: u64,
    /// Position in bytes in that file.
    pub position: u64,
    /// Start number of the last commit before this place.
    pub start: u64,
}

/// The shape of the ring on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingShape {
    pub dir: PathBuf,
    pub files: u32,
    pub file_bytes: u64,
}

impl RingShape {
    /// Path of the file that holds sequence `file_sequence`.
    #[must_use]
    pub fn path_of(&self, file_sequence: u64) -> PathBuf {
        self.dir.join(layout::wal_file_name(file_sequence % u64::from(self.files)))
    }

    /// Path of the file that holds commits while a start writes them once more.
    #[must_use]
    pub(crate) fn rewritten(&self) -> PathBuf {
        self.dir.join(layout::REWRITTEN_WAL)
    }
}

/// One commit, checked.
#[derive(Clone, Debug)]
pub struct ReplayedCommit {
    pub header: CommitHeader,
    pub payload: Bytes,
}

/// Walks through the commits after a position.
pub struct Replay<'a> {
    env: &'a Env,
    shape: &'a RingShape,
    at: WalPosition,
    /// Largest LSN that a commit called synced.
    synced: Lsn,
    window: Window,
    /// Read before the first commit.
    rewritten: Option<Rewritten>,
    /// Commits that have a copy in it, and where they end.
    beside: Vec<(ReplayedCommit, WalPosition)>,
}

impl<'a> Replay<'a> {
    /// Begins after `from`, which a checkpoint names.
    #[must_use]
    pub fn new(env: &'a Env, shape: &'a RingShape, from: WalPosition) -> Replay<'a> {
        Replay {
            env,
            shape,
            at: from,
            synced: from.lsn,
            window: Window::default(),
            rewritten: None,
            beside: Vec::new(),
        }
    }

    /// Where the walk stands; after the last commit this is where the next one will be written.
    #[must_use]
    pub fn position(&self) -> WalPosition {
        self.at
    }

    /// Through which commit the WAL is known to be synced.
    #[must_use]
    pub fn synced(&self) -> Lsn {
        self.synced
    }

    /// The next commit, or `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` if a commit that was synced is damaged or missing; `Io` for the disk's errors.
    pub async fn next(&mut self) -> Result<Option<ReplayedCommit>, OpenError> {
        if self.rewritten.is_none() {
            self.rewritten = Some(Rewritten::read(self.env, self.shape).await?);
        }
        let Some((begin, commit)) = self.find_next().await? else {
            let next_file = self.front_of_next_file();
            for place in [self.at, next_file] {
                self.refuse_synced_after(place).await?;
            }
            return Ok(None);
        };
        let commit = self.step_over(begin, commit);
        let copy = self.rewritten.as_ref().and_then(|file| file.copy_of(&commit.header));
        if let Some(copy) = copy {
            self.beside.push((copy.clone(), self.at));
        }
        Ok(Some(commit))
    }

    async fn find_next(&mut self) -> Result<Option<(WalPosition, ReplayedCommit)>, OpenError> {
        for place in [self.at, self.front_of_next_file()] {
            if let Some(commit) = self.commit_at(place).await? {
                return Ok(Some((place, commit)));
            }
        }
        let rewritten = self.rewritten.as_ref().expect("read before the first commit");
        let found = rewritten.after(self.at, self.shape.file_bytes);
        if found.is_some() {
            rivven_io::probe!("commit_only_beside_the_wal");
        }
        Ok(found)
    }

    fn front_of_next_file(&self) -> WalPosition {
        WalPosition { file_sequence: self.at.file_sequence + 1, position: 0, ..self.at }
    }

    /// The commits that were passed and have a copy beside the ring, each with where it ends.
    pub(crate) fn take_beside(&mut self) -> Vec<(ReplayedCommit, WalPosition)> {
        std::mem::take(&mut self.beside)
    }

    /// Refuses a directory whose checkpoints are gone or older than what the WAL was freed for:
    /// some file then begins with a commit that lies past the end and was written after a sync.
    ///
    /// # Errors
    /// `Corrupt` if so; `Io` for the disk's errors.
    pub async fn refuse_lost_checkpoint(&mut self) -> Result<(), OpenError> {
        for slot in 0..u64::from(self.shape.files) {
            let path = self.shape.path_of(slot);
            let head = self.window.read(self.env, (&path, 0), COMMIT_HEADER_BYTES).await?;
            let Some(header) = CommitHeader::decode(&head) else { continue };
            if header.synced > self.at.lsn {
                return Err(OpenError::Corrupt {
                    path,
                    reason: format!(
                        "it begins with commit {}, but replay ends at {}: the checkpoint is lost",
                        header.lsn.0, self.at.lsn.0
                    ),
                });
            }
        }
        Ok(())
    }

    fn step_over(&mut self, at: WalPosition, commit: ReplayedCommit) -> ReplayedCommit {
        assert!(commit.header.synced < commit.header.lsn, "a commit cannot call itself synced");
        assert_eq!(commit.header.lsn, self.at.lsn.next(), "commits follow one another");
        assert!(commit.header.start >= self.at.start, "starts never fall");
        self.synced = self.synced.max(commit.header.synced);
        self.at = WalPosition {
            lsn: commit.header.lsn,
            file_sequence: at.file_sequence,
            position: at.position + commit.header.padded_bytes(),
            start: commit.header.start,
        };
        commit
    }

    /// The undamaged commit at `place` with the expected LSN, file and start, if there is one.
    async fn commit_at(&mut self, place: WalPosition) -> Result<Option<ReplayedCommit>, OpenError> {
        let path = self.shape.path_of(place.file_sequence);
        let head = self.window.read(self.env, (&path, place.position), COMMIT_HEADER_BYTES).await?;
        let Some(header) = CommitHeader::decode(&head) else { return Ok(None) };
        let expected = header.lsn == place.lsn.next()
            && header.file_sequence == place.file_sequence
            && header.start >= place.start
            && place.position + header.padded_bytes() <= self.shape.file_bytes
            && header.synced < header.lsn;
        if !expected {
            return Ok(None);
        }
        let bytes = COMMIT_HEADER_BYTES + header.payload_bytes as usize;
        let commit = self.window.read(self.env, (&path, place.position), bytes).await?;
        if !header.verify(&commit) {
            rivven_io::probe!("replay_torn_commit");
            return Ok(None);
        }
        Ok(Some(ReplayedCommit { header, payload: commit.slice(COMMIT_HEADER_BYTES..) }))
    }

    /// Looks for commits after the missing one in `place`'s file that call it synced.
    async fn refuse_synced_after(&mut self, place: WalPosition) -> Result<(), OpenError> {
        let path = self.shape.path_of(place.file_sequence);
        let mut position = place.position;
        loop {
            let head = self.window.read(self.env, (&path, position), COMMIT_HEADER_BYTES).await?;
            if head.len() < COMMIT_HEADER_BYTES {
                return Ok(());
            }
            if let Some(header) = CommitHeader::decode(&head) {
                let later = header.file_sequence == place.file_sequence
                    && header.start >= place.start
                    && header.lsn > place.lsn.next();
                if later && header.synced > place.lsn && !rivven_io::planted!("B04") {
                    return Err(OpenError::Corrupt {
                        path,
                        reason: format!(
                            "commit {} is damaged or missing, yet commit {} at position {position} \
                             says that it was synced",
                            place.lsn.next().0,
                            header.lsn.0
                        ),
                    });
                }
            }
            position += COMMIT_ALIGN as u64;
        }
    }
}

/// A part of one file in memory.
#[derive(Default)]
struct Window {
    path: PathBuf,
    file: Option<File>,
    position: u64,
    bytes: Bytes,
}

impl Window {
    /// At most `len` bytes of a file from a position; fewer at its end, none if there is no file.
    async fn read(&mut self, env: &Env, at: (&Path, u64), len: usize) -> Result<Bytes, OpenError> {
        let (path, position) = at;
        if self.path != path {
            *self = Window { path: path.to_owned(), ..Window::default() };
            self.file = match env.disk.open(path, OpenOptions::read()).await {
                Ok(file) => Some(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(reading(path, error)),
            };
        }
        let Some(file) = &self.file else { return Ok(Bytes::new()) };
        let inside = position >= self.position
            && position + len as u64 <= self.position + self.bytes.len() as u64;
        if !inside {
            let want = len.max(WINDOW_BYTES);
            let mut bytes = BytesMut::with_capacity(want);
            while bytes.len() < want {
                let had = bytes.len();
                bytes = file
                    .read_at(position + had as u64, want - had, bytes)
                    .await
                    .map_err(|error| reading(path, error))?;
                if bytes.len() == had {
                    break;
                }
            }
            self.position = position;
            self.bytes = bytes.freeze();
        }
        let from = usize::try_from(position - self.position).expect("within the window");
        let to = (from + len).min(self.bytes.len());
        Ok(self.bytes.slice(from..to))
    }
}

fn reading(path: &Path, error: std::io::Error) -> OpenError {
    OpenError::Io { doing: format!("reading {}", path.display()), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::real_world::run;
    use crate::storage::wal::commit::seal;

    /// A commit with 100 bytes of payload.
    fn commit((lsn, synced): (u64, u64)) -> BytesMut {
        let mut commit = BytesMut::zeroed(COMMIT_HEADER_BYTES + 100);
        let (lsn, synced) = (Lsn(lsn), Lsn(synced));
        let (file_sequence, start, records) = (0, 1, 1);
        let header =
            CommitHeader { lsn, synced, file_sequence, start, payload_bytes: 100, records };
        seal(&mut commit, &header);
        commit
    }

    #[test]
    fn a_missing_commit_is_damage_only_if_a_later_one_calls_it_synced() {
        /// Commits that are there, each with the one that it calls synced.
        type Commits = &'static [(u64, u64)];
        // The last commit that is found, `None` for damage.
        let cases: [(Commits, Option<u64>); 6] = [
            (&[(1, 0), (2, 1)], Some(2)),
            (&[(1, 0), (3, 0)], Some(1)),
            (&[(1, 0), (3, 1)], Some(1)),
            (&[(1, 0), (3, 2)], None),
            (&[(1, 0), (3, 1), (4, 1), (5, 1)], Some(1)),
            (&[(1, 0), (3, 1), (4, 3)], None),
        ];
        run(async |env| {
            for (commits, expected) in cases {
                let dir = tempfile::tempdir().expect("a temporary directory");
                let shape = RingShape { dir: dir.path().to_owned(), files: 3, file_bytes: 1 << 20 };
                let options = OpenOptions::write(rivven_io::disk::Create::New);
                let file = env.disk.open(&shape.path_of(0), options).await.expect("made");
                for (lsn, synced) in commits {
                    let at = (lsn - 1) * COMMIT_ALIGN as u64;
                    let bytes = commit((*lsn, *synced)).freeze();
                    file.write_all_at(at, vec![bytes]).await.expect("written");
                }
                let mut replay = Replay::new(&env, &shape, WalPosition::default());
                let end = loop {
                    match replay.next().await {
                        Ok(Some(_)) => {}
                        Ok(None) => break Some(replay.position().lsn.0),
                        Err(OpenError::Corrupt { .. }) => break None,
                        Err(error) => panic!("{error}"),
                    }
                };
                assert_eq!(end, expected, "{commits:?}");
            }
        });
    }
}
