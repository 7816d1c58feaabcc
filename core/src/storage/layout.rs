//! Names of everything in a data directory.
//!
//! ```text
//! meta.json                               format version, cluster id, node id
//! lock                                    held while a broker has the directory open
//! checkpoint.a, checkpoint.b              the last two checkpoints
//! checkpoint.new                          the newest one while a start writes it once more
//! topic_metadata.json                     topics for people to read; never read back
//! wal/%020d.wal                           slots of the WAL ring
//! wal/rewritten.wal, wal/rewritten.new    commits that a start writes once more
//! topics/<topic>/partition-N/partition.id the topic id that this folder belongs to
//! topics/<topic>/partition-N/damaged      mark of a partition of which the disk lost a part
//! topics/<topic>/partition-N/%020d.log    a segment, named by its base offset
//! topics/<topic>/partition-N/%020d.idx, %020d.timeindex
//! deleted/<number>                        folders and files on their way out
//! ```

use std::path::{Path, PathBuf};

use crate::ids::Offset;

/// Version of the whole directory; `meta.json` holds it.
pub const FORMAT_VERSION: u32 = 1;

/// File of a WAL slot.
#[must_use]
pub fn wal_file_name(slot: u64) -> String {
    format!("{slot:020}.wal")
}

/// File of the commits that a start writes once more.
pub(crate) const REWRITTEN_WAL: &str = "rewritten.wal";
/// The same before it has its name.
pub(crate) const NEW_REWRITTEN_WAL: &str = "rewritten.new";

/// File of a segment.
#[must_use]
pub fn segment_file_name(base: Offset) -> String {
    format!("{:020}.log", base.0)
}

/// Base offset that a segment's file name says, if it is one.
#[must_use]
pub fn segment_base(file_name: &str) -> Option<Offset> {
    let digits = file_name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    digits.parse().ok().map(Offset)
}

/// Paths below one data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    pub root: PathBuf,
}

impl Layout {
    #[must_use]
    pub fn meta(&self) -> PathBuf {
        self.root.join("meta.json")
    }

    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    #[must_use]
    pub fn topics(&self) -> PathBuf {
        self.root.join("topics")
    }

    #[must_use]
    pub fn deleted(&self) -> PathBuf {
        self.root.join("deleted")
    }

    #[must_use]
    pub fn topic_export(&self) -> PathBuf {
        self.root.join("topic_metadata.json")
    }

    /// Where a checkpoint is written that takes another one's name.
    #[must_use]
    pub fn new_checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint.new")
    }

    /// One of the two checkpoints.
    #[must_use]
    pub fn checkpoint(&self, odd: bool) -> PathBuf {
        self.root.join(if odd { "checkpoint.b" } else { "checkpoint.a" })
    }

    /// Folder of a partition. Topic names are legal file names (`[a-zA-Z0-9._-]`, not `.`, `..`).
    #[must_use]
    pub fn partition(&self, topic: &str, index: u32) -> PathBuf {
        self.topics().join(topic).join(format!("partition-{index}"))
    }
}

/// File that ties a partition's folder to one creation of its topic.
#[must_use]
pub fn partition_id(folder: &Path) -> PathBuf {
    folder.join("partition.id")
}

/// Mark of a partition of which the disk lost a part.
#[must_use]
pub fn damaged(folder: &Path) -> PathBuf {
    folder.join("damaged")
}

/// Offset index of a segment.
#[must_use]
pub fn index_path(folder: &Path, base: Offset) -> PathBuf {
    folder.join(format!("{:020}.idx", base.0))
}

/// Time index of a segment.
#[must_use]
pub fn time_index_path(folder: &Path, base: Offset) -> PathBuf {
    folder.join(format!("{:020}.timeindex", base.0))
}
