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
//! topics/<topic>/partition-N/%020d.G.log  one that the cleaner wrote, of generation G
//! topics/<topic>/partition-N/%020d.idx, %020d.timeindex, %020d.G.idx, %020d.G.timeindex
//! deleted/<number>                        folders and files on their way out
//! ```

use std::path::{Path, PathBuf};

use crate::ids::Offset;
use crate::log::segment::SegmentName;

/// Version of the whole directory; `meta.json` holds it.
pub const FORMAT_VERSION: u32 = 2;

/// File of a WAL slot.
#[must_use]
pub fn wal_file_name(slot: u64) -> String {
    format!("{slot:020}.wal")
}

/// File of the commits that a start writes once more.
pub(crate) const REWRITTEN_WAL: &str = "rewritten.wal";
/// The same before it has its name.
pub(crate) const NEW_REWRITTEN_WAL: &str = "rewritten.new";

/// Kinds of files that a segment has.
const SEGMENT_FILES: [&str; 3] = ["log", "idx", "timeindex"];

/// File of a segment.
#[must_use]
pub fn segment_file_name(name: SegmentName) -> String {
    file_name(name, "log")
}

fn file_name(name: SegmentName, kind: &str) -> String {
    let base = name.base.0;
    match name.generation {
        0 => format!("{base:020}.{kind}"),
        generation => format!("{base:020}.{generation}.{kind}"),
    }
}

/// The segment that a file belongs to by its name.
#[must_use]
pub fn segment_name(file: &str) -> Option<SegmentName> {
    let (stem, kind) = file.rsplit_once('.')?;
    let (digits, generation) = stem.split_once('.').unwrap_or((stem, "0"));
    let base = Offset(digits.parse().ok()?);
    let name = SegmentName { base, generation: generation.parse().ok()? };
    let is_right = base >= Offset::ZERO && SEGMENT_FILES.contains(&kind);
    (is_right && file_name(name, kind) == file).then_some(name)
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
pub fn index_path(folder: &Path, name: SegmentName) -> PathBuf {
    folder.join(file_name(name, "idx"))
}

/// Time index of a segment.
#[must_use]
pub fn time_index_path(folder: &Path, name: SegmentName) -> PathBuf {
    folder.join(file_name(name, "timeindex"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_segment() {
        let name = |base, generation| Some(SegmentName { base: Offset(base), generation });
        for (file, expected) in [
            ("00000000000000000000.log", name(0, 0)),
            ("00000000000000000042.idx", name(42, 0)),
            ("00000000000000000042.7.timeindex", name(42, 7)),
            ("09223372036854775807.4294967295.log", name(i64::MAX, u32::MAX)),
            ("00000000000000000042.0.log", None),
            ("00000000000000000042.07.log", None),
            ("00000000000000000042.4294967296.log", None),
            ("0000000000000000042.log", None),
            ("-0000000000000000042.log", None),
            ("00000000000000000042.log.log", None),
            ("00000000000000000042.wal", None),
            ("partition.id", None),
        ] {
            assert_eq!(segment_name(file), expected, "{file}");
            if let Some(name) = expected.filter(|_| file.ends_with(".log")) {
                assert_eq!(segment_file_name(name), file);
            }
        }
    }
    #[test]
    fn people_find_the_topics_where_the_reference_has_them() {
        let layout = Layout { root: PathBuf::from("/data") };
        assert_eq!(layout.topic_export(), Path::new("/data/topic_metadata.json"));
    }
}
