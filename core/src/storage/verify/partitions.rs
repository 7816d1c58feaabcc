//! Holds the files of each partition to what checkpoint and WAL say of them.

use std::io;
use std::path::{Path, PathBuf};

use rivven_io::disk::{File, OpenOptions};

use crate::ids::PartitionId;
use crate::log::segment::Segment;
use crate::storage::damage;
use crate::storage::folder::id_text;
use crate::storage::layout;
use crate::storage::segment_end::page_end;
use crate::storage::segment_walk::{Damage, SegmentWalk, Step, Stretch};
use crate::storage::verify::contents::Contents;
use crate::storage::verify::expected::{Expected, ExpectedPartition};
use crate::storage::verify::findings::Spot;
use crate::storage::verify::indexes::IndexCheck;
use crate::storage::verify::{OnProgress, Verifier, VerifyProgress};

const ID_BYTES_MAX: u64 = 256;
/// Bytes between two reports of progress.
const PROGRESS_BYTES: u64 = 1 << 20;

/// One segment to be verified.
struct Task<'a> {
    partition: &'a ExpectedPartition,
    segment: Segment,
    path: PathBuf,
    /// Bytes that must be there.
    needed: u64,
}

impl Verifier<'_> {
    pub(super) async fn partitions(&mut self, expected: &Expected, on_progress: OnProgress<'_>) {
        let mut progress = VerifyProgress::default();
        for partition in expected.partitions.values() {
            let segments = partition.log.sealed().iter().chain([partition.log.active()]);
            progress.total_bytes += segments
                .map(|segment| partition.needed_bytes(segment.base, segment.bytes))
                .sum::<u64>();
        }
        for (id, partition) in &expected.partitions {
            self.report.partitions += 1;
            self.identity(*id, partition).await;
            self.mark(partition).await;
            for segment in partition.log.sealed().iter().chain([partition.log.active()]) {
                if segment.is_empty() {
                    continue;
                }
                self.report.segments += 1;
                if let Some(added) = partition.added.get(&segment.base) {
                    added.report(&mut self.report);
                }
                let needed = partition.needed_bytes(segment.base, segment.bytes);
                if needed > 0 {
                    let name = layout::segment_file_name(segment.name());
                    let path = partition.folder.join(name);
                    let task = Task { partition, segment: *segment, path, needed };
                    self.segment(&task, (&mut progress, &mut *on_progress)).await;
                }
            }
        }
        assert!(progress.done_bytes <= progress.total_bytes, "no more is done than there is");
        on_progress(progress);
    }

    /// A start sets aside a folder that another id stands in, with all that is in it.
    async fn identity(&mut self, id: PartitionId, partition: &ExpectedPartition) {
        if partition.trusts_bytes() && !self.is_own(id, &partition.folder).await {
            let what = format!("it is missing or damaged; it must say {id}");
            self.findings.error(&layout::partition_id(&partition.folder), what);
        }
    }

    /// A partition that a start took out of service.
    async fn mark(&mut self, partition: &ExpectedPartition) {
        let path = layout::damaged(&partition.folder);
        match damage::read_mark(self.env, &partition.folder).await {
            Ok(Some((name, reason))) if partition.log.holds(name) => {
                let remedy = match partition.log.active().name() == name {
                    true => "delete its topic",
                    false => "delete its topic, or its records through this segment",
                };
                let what = format!("{reason}: the partition takes no batches; {remedy}");
                self.findings.error(&path, what);
            }
            Ok(_) => {}
            Err(error) => self.findings.error(&path, format!("it cannot be read: {error}")),
        }
    }

    pub(super) async fn is_own(&mut self, id: PartitionId, folder: &Path) -> bool {
        let path = layout::partition_id(folder);
        match self.env.read_file(&path, ID_BYTES_MAX).await {
            Ok(found) => found.is_some_and(|found| found == id_text(id).as_bytes()),
            Err(error) => {
                self.findings.error(&path, format!("it cannot be read: {error}"));
                false
            }
        }
    }

    async fn segment(&mut self, task: &Task<'_>, progress: (&mut VerifyProgress, OnProgress<'_>)) {
        let file = match self.env.disk.open(&task.path, OpenOptions::read()).await {
            Ok(file) => file,
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::NotFound => format!("it is missing, with {} bytes", task.needed),
                    _ => format!("it cannot be opened: {error}"),
                };
                let spot = Spot { offset: Some(task.segment.base), position: None };
                self.findings.error_at((&task.path, spot), what);
                return;
            }
        };
        if let Err(error) = self.batches(task, &file, progress).await {
            let spot = Spot { offset: Some(task.segment.base), position: None };
            self.findings.error_at((&task.path, spot), format!("it cannot be read: {error}"));
        }
    }

    /// Walks through the batches of one segment.
    async fn batches(
        &mut self,
        task: &Task<'_>,
        file: &File,
        (progress, on_progress): (&mut VerifyProgress, OnProgress<'_>),
    ) -> io::Result<()> {
        let Task { partition, segment, path, needed } = task;
        assert!(*needed > 0 && *needed <= segment.bytes, "no more than the log has is asked for");
        let done_before = progress.done_bytes;
        let is_trusted_end = segment.base == partition.trusted.0;
        let is_closed = segment.base < partition.trusted.0;
        self.length(task, file.len().await?, is_closed);
        let mut index = match is_closed {
            true => self.index_check(&partition.folder, *segment).await,
            false => None,
        };
        let page = partition.page.clone().filter(|_| is_trusted_end);
        let has_gaps = segment.has_gaps();
        let stretch = Stretch { base: Some(segment.base), has_gaps, bytes: *needed, page };
        let mut walk = SegmentWalk::new(file, stretch).await?;
        let mut contents = Contents::default();
        let mut is_whole = true;
        while let Some(step) = walk.next().await? {
            match step {
                Step::Batch { position, header } => {
                    contents.add(&header);
                    if let Some(index) = &mut index {
                        index.note(position, &header);
                    }
                }
                Step::Damage(damage) => {
                    is_whole = false;
                    self.damage(path, &damage);
                }
            }
            let done_bytes = done_before + walk.position();
            if done_bytes - progress.done_bytes >= PROGRESS_BYTES {
                progress.done_bytes = done_bytes;
                on_progress(*progress);
            }
        }
        assert_eq!(walk.position(), *needed, "a walk ends where the stretch ends");
        progress.done_bytes = done_before + needed;
        let ends = |end| if has_gaps { end <= segment.end } else { end == segment.end };
        if is_whole && is_closed && !walk.expected().is_some_and(ends) {
            let what = format!("its batches do not end at offset {}", segment.end);
            let spot = Spot { offset: walk.expected(), position: Some(*needed) };
            self.findings.error_at((path, spot), what);
        }
        if is_whole && index.as_ref().is_some_and(|index| !IndexCheck::is_met(index)) {
            let path = layout::index_path(&partition.folder, segment.name());
            self.findings.warning(&path, "it does not agree with the segment; delete it");
        }
        contents.report(&mut self.report);
        Ok(())
    }

    fn length(&mut self, task: &Task<'_>, found: u64, is_closed: bool) {
        let needed = task.needed;
        if found < needed {
            let what = format!("it has {found} bytes, the checkpoint counts {needed}");
            let spot = Spot { offset: None, position: Some(found) };
            self.findings.error_at((&task.path, spot), what);
        } else if is_closed && found > needed {
            let what =
                format!("{} bytes follow the batches of this closed segment", found - needed);
            // One whose last page could not be read is cut off behind that page.
            match found <= page_end(needed) {
                true => self.findings.note(&task.path, what),
                false => self.findings.warning(&task.path, what),
            }
        }
    }

    fn damage(&mut self, path: &Path, damage: &Damage) {
        let rest = match damage.next {
            Some((position, offset)) => {
                format!("the next whole batch is at position {position}, offset {offset}")
            }
            None => "no whole batch follows".to_owned(),
        };
        let what = match damage.passed {
            true => damage.reason.clone(),
            false => format!("{}; {rest}", damage.reason),
        };
        let spot = Spot { offset: damage.expected, position: Some(damage.position) };
        self.findings.error_at((path, spot), what);
    }
}
