//! What a verification found, and how much of it is kept.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ids::Offset;

/// Findings that are kept; the rest is counted.
const FINDINGS_MAX: usize = 1000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Left behind by a stop or a crash; a start removes it.
    Note,
    /// A start repairs it or does without.
    Warning,
    /// Damage.
    Error,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// File or folder, relative to the data directory.
    #[serde(rename = "where")]
    pub path: String,
    /// First offset that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Position in bytes in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    pub what: String,
}

/// What replaying the WAL in memory gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WalReport {
    /// Commits after the checkpoint.
    pub commits: u64,
    /// Records in them: batches, pages, changes of state.
    pub records: u64,
    /// Number of the last commit.
    pub end_lsn: u64,
}

/// The result of a verification. `batches`, `records` and `bytes` count what readers get after a
/// start: what the segments hold durably and what the WAL adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// No finding is an error.
    pub ok: bool,
    pub cluster_id: String,
    pub node_id: i32,
    pub partitions: u64,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
    pub wal: WalReport,
    /// The first 1,000, in the order in which they were found.
    pub findings: Vec<Finding>,
    /// How many more there were.
    pub findings_left_out: u64,
}

/// Collects findings within a bound.
pub(super) struct Findings {
    root: PathBuf,
    kept: Vec<Finding>,
    left_out: u64,
    errors: u64,
}

/// Where in a file something was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    pub(super) offset: Option<Offset>,
    pub(super) position: Option<u64>,
}

impl Findings {
    pub(super) fn new(root: &Path) -> Findings {
        Findings { root: root.to_owned(), kept: Vec::new(), left_out: 0, errors: 0 }
    }

    pub(super) fn note(&mut self, path: &Path, what: impl Into<String>) {
        self.add(Severity::Note, (path, Spot::default()), what.into());
    }

    pub(super) fn warning(&mut self, path: &Path, what: impl Into<String>) {
        self.add(Severity::Warning, (path, Spot::default()), what.into());
    }

    pub(super) fn error(&mut self, path: &Path, what: impl Into<String>) {
        self.add(Severity::Error, (path, Spot::default()), what.into());
    }

    pub(super) fn error_at(&mut self, place: (&Path, Spot), what: impl Into<String>) {
        self.add(Severity::Error, place, what.into());
    }

    fn add(&mut self, severity: Severity, (path, spot): (&Path, Spot), what: String) {
        assert!(!what.is_empty(), "a finding says what was found");
        self.errors += u64::from(severity == Severity::Error);
        if self.kept.len() >= FINDINGS_MAX {
            self.left_out += 1;
            return;
        }
        let path = path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
        let offset = spot.offset.map(|offset| offset.0);
        self.kept.push(Finding { severity, path, offset, position: spot.position, what });
    }

    /// Puts the findings into the report.
    pub(super) fn close(self, mut report: VerifyReport) -> VerifyReport {
        assert!(self.errors <= self.kept.len() as u64 + self.left_out, "errors are findings");
        report.ok = self.errors == 0;
        report.findings = self.kept;
        report.findings_left_out = self.left_out;
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_beyond_the_bound_are_counted_and_still_decide() {
        let root = Path::new("/data");
        let mut findings = Findings::new(root);
        for _ in 0..FINDINGS_MAX {
            findings.warning(&root.join("a"), "harmless");
        }
        findings.error(&root.join("b"), "damage");
        let report = findings.close(VerifyReport::default());
        assert!(!report.ok);
        assert_eq!((report.findings.len(), report.findings_left_out), (FINDINGS_MAX, 1));
        assert_eq!(report.findings[0].path, "a");
    }
}
