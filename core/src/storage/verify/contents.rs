//! How much a stretch of log holds.

use crate::record::header::BatchHeader;
use crate::storage::verify::findings::VerifyReport;

/// Batches, records and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    batches: u64,
    records: u64,
    bytes: u64,
}

impl Contents {
    pub(super) fn add(&mut self, header: &BatchHeader) {
        self.batches += 1;
        self.records += u64::try_from(header.count).unwrap_or(0);
        self.bytes += header.size() as u64;
        assert!(self.bytes >= self.batches, "no batch is empty");
    }

    pub(super) fn report(&self, report: &mut VerifyReport) {
        report.batches += self.batches;
        report.records += self.records;
        report.bytes += self.bytes;
    }
}
