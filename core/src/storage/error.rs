//! What storage answers when it cannot do what was asked.

use std::path::PathBuf;

use crate::ids::{Offset, PartitionId};

/// Storage has failed for good: a sync failed, nothing more is acknowledged, the process must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage failed: {reason}; restart the broker, which replays everything acknowledged")]
pub struct StorageFailed {
    pub reason: String,
}

/// Whether an operation failed because the disk is full: what is there stays as it is, and it may
/// go through later.
pub(crate) fn lacks_room(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Why a data directory does not open. The broker's exit code follows from the variant.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data directory {} is locked by another process", .0.display())]
    Locked(PathBuf),
    #[error("{} is not a Rivven data directory: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("data directory {} has format {found}, this release knows {known}", path.display())]
    NewerFormat { path: PathBuf, found: u32, known: u32 },
    #[error("data directory {} cannot be written: {error}", path.display())]
    NotWritable { path: PathBuf, error: std::io::Error },
    #[error("{} is damaged: {reason}; keep a copy and run `rivven log verify`", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("{doing}: {error}")]
    Io { doing: String, error: std::io::Error },
    #[error(transparent)]
    Failed(#[from] StorageFailed),
}

/// Why a batch was not appended. Only `Failed` leaves open whether it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The partition was deleted.
    #[error("partition {0} is gone")]
    Gone(PartitionId),
    /// The disk has no room for it; retriable when there is.
    #[error("no room on disk for {bytes} bytes of partition {partition}")]
    NoRoom { partition: PartitionId, bytes: usize },
    /// It does not fit a WAL commit.
    #[error("a batch of {bytes} bytes is over the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The producer's sequence or epoch does not fit (KIP-98).
    #[error(transparent)]
    Producer(#[from] crate::producer::ProducerError),
    /// The partition's log is damaged where it would be continued.
    #[error("partition {0} is quarantined: its log is damaged")]
    Quarantined(PartitionId),
    #[error(transparent)]
    Failed(#[from] StorageFailed),
}

/// Why a read gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the log start or above the log end.
    #[error("offset {asked} of {partition} is outside {log_start} to {log_end}")]
    OutOfRange { partition: PartitionId, asked: Offset, log_start: Offset, log_end: Offset },
    /// The bytes on disk are not what was written; they are reported and never served.
    #[error("partition {partition} is damaged at offset {offset}: {reason}")]
    Corrupt { partition: PartitionId, offset: Offset, reason: String },
    /// The disk answered with an error; retriable.
    #[error("reading partition {partition}: {reason}")]
    Io { partition: PartitionId, reason: String },
    /// The partition was deleted.
    #[error("partition {0} is gone")]
    Gone(PartitionId),
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn only_a_full_disk_or_quota_lacks_room() {
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
        assert!(full.into_iter().all(|kind| lacks_room(&Error::from(kind))));
        let others = [ErrorKind::Other, ErrorKind::NotFound, ErrorKind::UnexpectedEof];
        assert!(!others.into_iter().any(|kind| lacks_room(&Error::from(kind))));
        assert!(!lacks_room(&Error::from_raw_os_error(5)), "EIO");
    }
}
