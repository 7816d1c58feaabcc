//! Files and folders that belong to nothing.

use std::collections::BTreeSet;
use std::path::Path;

use rivven_io::disk::DirEntry;

use crate::ids::PartitionId;
use crate::log::segment::{Segment, SegmentName};
use crate::storage::layout;
use crate::storage::verify::Verifier;
use crate::storage::verify::expected::{Expected, ExpectedPartition};

/// Everything that stands in a data directory.
const ROOT_NAMES: [&str; 11] = [
    "meta.json",
    "meta.json.new",
    "lock",
    "checkpoint.a",
    "checkpoint.b",
    "checkpoint.new",
    "topic_metadata.json",
    "wal",
    "topics",
    "deleted",
    "lost+found",
];

/// What stands in a partition's folder beside its segments.
const PARTITION_NAMES: [&str; 3] = ["partition.id", "damaged", "damaged.new"];

impl Verifier<'_> {
    pub(super) async fn strays(&mut self, expected: &Expected) {
        let root = self.layout.root.clone();
        for entry in self.list(&root).await {
            if !ROOT_NAMES.contains(&entry.name.as_str()) {
                self.findings.warning(&root.join(&entry.name), "it is none of the broker's");
            }
        }
        let topics = self.layout.topics();
        for entry in self.list(&topics).await {
            let path = topics.join(&entry.name);
            match expected.image.topic(&entry.name) {
                Some(topic) => {
                    let id = topic.id;
                    self.topic_strays(expected, (id, topic.partitions), &path).await;
                }
                None => self.findings.note(&path, "no topic has this name; a start removes it"),
            }
        }
    }

    async fn topic_strays(
        &mut self,
        expected: &Expected,
        (topic, count): (crate::ids::TopicId, u32),
        folder: &Path,
    ) {
        for entry in self.list(folder).await {
            let path = folder.join(&entry.name);
            let index = entry.name.strip_prefix("partition-").and_then(|n| n.parse().ok());
            match index.filter(|index: &u32| *index < count) {
                Some(index) => {
                    let id = PartitionId { topic, index };
                    // A partition whose state could not be read was reported then.
                    if let Some(partition) = expected.partitions.get(&id) {
                        self.partition_strays(id, partition, &path).await;
                    }
                }
                None => self.findings.warning(&path, "the topic has no such partition"),
            }
        }
    }

    async fn partition_strays(
        &mut self,
        id: PartitionId,
        partition: &ExpectedPartition,
        folder: &Path,
    ) {
        if !partition.trusts_bytes() && !self.is_own(id, folder).await {
            let what = "it was another topic's of the same name; the next append sets it aside";
            self.findings.note(folder, what);
            return;
        }
        let names: BTreeSet<SegmentName> = {
            let segments = partition.log.sealed().iter().chain([partition.log.active()]);
            segments.map(Segment::name).collect()
        };
        assert!(!names.is_empty(), "a log has an active segment");
        let active = partition.log.active().base;
        for entry in self.list(folder).await {
            let path = folder.join(&entry.name);
            match name_of(&entry) {
                Some(name) if names.contains(&name) => {}
                Some(name) if names.first().is_some_and(|first| name.base < first.base) => {
                    self.findings.note(&path, "it lies below the log; a start removes it");
                }
                // The cleaner replaced it, or had not finished it.
                Some(name) if name.base < active => {
                    self.findings.note(&path, "no reader needs it; a start removes it");
                }
                // A batch that was never written had its room reserved.
                Some(_) if entry.len == 0 => {}
                Some(_) => self.findings.warning(&path, "the log has no such segment"),
                None if PARTITION_NAMES.contains(&entry.name.as_str()) => {}
                None => self.findings.warning(&path, "it is none of the broker's"),
            }
        }
    }

    async fn list(&mut self, folder: &Path) -> Vec<DirEntry> {
        match self.env.disk.read_dir(folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.findings.error(folder, format!("it cannot be listed: {error}"));
                Vec::new()
            }
        }
    }
}

/// The segment that a file of a partition's folder belongs to.
fn name_of(entry: &DirEntry) -> Option<SegmentName> {
    if entry.is_dir { None } else { layout::segment_name(&entry.name) }
}
