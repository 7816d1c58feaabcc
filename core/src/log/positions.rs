//! The chain of positions of one log, and its check.

use crate::ids::Offset;

/// Where one log stands. Always
/// `log_start ≤ last_stable ≤ high_watermark ≤ ackable ≤ log_end`:
///
/// ```text
///  deleted │ readable, committed │ readable, open   │ synced here, │ accepted,  │ not yet
///          │                     │ transactions     │ not yet on   │ not synced │ written
///          │                     │                  │ every ISR    │            │
///      log_start            last_stable       high_watermark    ackable     log_end
/// ```
///
/// On a single node the high watermark is `ackable`, and without transactions the last stable
/// offset is the high watermark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// First offset that may be read.
    pub log_start: Offset,
    /// End of what `read_committed` consumers see.
    pub last_stable: Offset,
    /// End of what consumers see.
    pub high_watermark: Offset,
    /// End of what may be acknowledged: the synced end where an answer waits for the disk.
    pub ackable: Offset,
    /// Offset of the next record.
    pub log_end: Offset,
}

impl Positions {
    /// An empty log that begins at `start`.
    #[must_use]
    pub fn starting_at(start: Offset) -> Positions {
        Positions {
            log_start: start,
            last_stable: start,
            high_watermark: start,
            ackable: start,
            log_end: start,
        }
    }

    /// Holds the chain together.
    ///
    /// # Panics
    /// When a link is broken, which is our own mistake.
    pub fn check(&self) {
        assert!(self.log_start.0 >= 0, "negative log start: {self:?}");
        assert!(self.log_start <= self.last_stable, "log start above last stable: {self:?}");
        assert!(self.last_stable <= self.high_watermark, "last stable above mark: {self:?}");
        assert!(self.high_watermark <= self.ackable, "mark above ackable: {self:?}");
        assert!(self.ackable <= self.log_end, "ackable above log end: {self:?}");
    }
}
