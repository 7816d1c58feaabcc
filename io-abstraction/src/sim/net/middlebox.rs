//! A middlebox: sees what streams send, segment by segment, and may change bytes on their way.

use bytes::Bytes;

/// A segment of a stream as it leaves its sender.
pub struct Passing<'a> {
    /// Number of the connection; no two of a run have the same.
    pub conn: u64,
    pub from: u64,
    pub to: u64,
    pub data: &'a Bytes,
}

/// Called with each segment; `Some`: these bytes, as many, travel in its place (N10).
pub type Middlebox = Box<dyn FnMut(&Passing<'_>) -> Option<Bytes> + Send>;
