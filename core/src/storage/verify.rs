//! Offline verification of a data directory that no broker has open. It reads and never writes.
//!
//! ```text
//!  lock ─► meta.json ─► checkpoints ─► WAL ─► what the segments must hold ─► segments, indexes
//!   held by another: refused           └─ replayed in memory, as a start would ─┘      └─► strays
//! ```
//!
//! An error is damage: acknowledged bytes, or what leads to them, are not what was written. A
//! warning is what a start repairs or passes over (one torn checkpoint, a damaged index). A note
//! is what a stop or a crash may leave behind and a start removes.

mod contents;
mod expected;
mod findings;
mod indexes;
mod partitions;
mod recovery;
mod strays;

use std::io;
use std::path::{Path, PathBuf};

use rivven_io::Env;
use rivven_io::disk::Lock;

use crate::storage::directory::{self, Meta};
use crate::storage::error::OpenError;
use crate::storage::layout::Layout;
use crate::storage::verify::expected::Expected;
use crate::storage::verify::findings::Findings;

pub use findings::{Finding, Severity, VerifyReport, WalReport};

/// Why a directory was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("there is no directory {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is open in a running broker; stop it first", .0.display())]
    Locked(PathBuf),
    #[error(transparent)]
    Refused(#[from] OpenError),
}

/// How far a verification is: bytes of segments that were read, of all that will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// Told of progress, once per mebibyte or so.
pub type OnProgress<'a> = &'a mut (dyn FnMut(VerifyProgress) + Send);

/// Verifies everything below `data_dir`: identity, checkpoints, WAL, the batches of each segment
/// and their chain, indexes, and files that belong to nothing. Holds the directory's lock
/// meanwhile, changes no file, and needs memory for the checkpoint and a window of 1 MiB (or one
/// WAL commit).
///
/// # Errors
/// [`VerifyError`] when there is nothing that could be verified; damage is in the report.
pub async fn verify(
    env: &Env,
    data_dir: &Path,
    on_progress: OnProgress<'_>,
) -> Result<VerifyReport, VerifyError> {
    let layout = Layout { root: data_dir.to_owned() };
    let mut findings = Findings::new(data_dir);
    let _lock = lock(env, &layout, &mut findings).await?;
    directory::refuse_strangers(env, &layout).await?;
    let mut report = VerifyReport::default();
    if let Some(meta) = directory::read_meta(env, &layout).await? {
        let Meta { cluster_id, node_id, .. } = meta;
        report.cluster_id = cluster_id;
        report.node_id = node_id;
        let mut verifier = Verifier { env, layout: &layout, findings: &mut findings, report };
        let expected = verifier.expected().await;
        verifier.partitions(&expected, on_progress).await;
        verifier.strays(&expected).await;
        report = verifier.report;
    }
    Ok(findings.close(report))
}

/// What the steps of one verification share.
struct Verifier<'a> {
    env: &'a Env,
    layout: &'a Layout,
    findings: &'a mut Findings,
    report: VerifyReport,
}

impl Verifier<'_> {
    /// What checkpoints and WAL say that the segments hold.
    async fn expected(&mut self) -> Expected {
        let checkpoint = self.read_checkpoints().await;
        let mut expected = self.checkpointed(&checkpoint);
        self.walk_wal(&checkpoint, &mut expected).await;
        expected
    }
}

/// Takes the directory's lock if its file is there. Without one no broker is at work, and to
/// create it would be a change.
async fn lock(
    env: &Env,
    layout: &Layout,
    findings: &mut Findings,
) -> Result<Option<Lock>, VerifyError> {
    let root = &layout.root;
    let entries = env.disk.read_dir(root).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VerifyError::Missing(root.clone()),
        _ => OpenError::Io { doing: format!("reading {}", root.display()), error }.into(),
    })?;
    if !entries.iter().any(|entry| entry.name == "lock") {
        return Ok(None);
    }
    match env.disk.lock(&layout.lock()).await {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(VerifyError::Locked(root.clone()))
        }
        Err(error) => {
            let what = format!("it cannot be locked, so a broker may be at work: {error}");
            findings.warning(&layout.lock(), what);
            Ok(None)
        }
    }
}
