//! Reads checkpoints and WAL as a start would, and reports what is wrong with either.

use std::collections::BTreeMap;

use crate::ids::PartitionId;
use crate::log::machine::PartitionLog;
use crate::storage::checkpoint_file::{CHECKPOINT_BYTES_MAX, Checkpoint, decode_log};
use crate::storage::error::OpenError;
use crate::storage::layout::{self, NEW_REWRITTEN_WAL, REWRITTEN_WAL};
use crate::storage::recovery::decode_image;
use crate::storage::verify::Verifier;
use crate::storage::verify::expected::{Expected, ExpectedPartition};
use crate::storage::wal::record::{Rolled, WalRecord};
use crate::storage::wal::replay::{Replay, ReplayedCommit, RingShape};

/// One of the two checkpoint files.
enum Found {
    Nothing,
    Damaged,
    Whole(Checkpoint),
}

impl Verifier<'_> {
    /// The newer valid checkpoint; an empty one if there is none.
    pub(super) async fn read_checkpoints(&mut self) -> Checkpoint {
        let first = self.read_checkpoint(false).await;
        let second = self.read_checkpoint(true).await;
        match (first, second) {
            (Found::Whole(a), Found::Whole(b)) => {
                if a.sequence > b.sequence {
                    a
                } else {
                    b
                }
            }
            (Found::Whole(whole), other) | (other, Found::Whole(whole)) => {
                if matches!(other, Found::Damaged) {
                    let torn = self.layout.checkpoint(whole.sequence % 2 == 0);
                    let what = "it is torn or damaged; a start uses the other one";
                    self.findings.warning(&torn, what);
                }
                whole
            }
            (Found::Damaged, Found::Damaged) => {
                for odd in [false, true] {
                    let path = self.layout.checkpoint(odd);
                    self.findings.error(&path, "it is damaged, and so is the other one");
                }
                Checkpoint::default()
            }
            (Found::Damaged, Found::Nothing) => self.lone_damaged(false),
            (Found::Nothing, Found::Damaged) => self.lone_damaged(true),
            (Found::Nothing, Found::Nothing) => Checkpoint::default(),
        }
    }

    /// The first checkpoint ever may be torn: until it was whole, no part of the WAL was freed.
    fn lone_damaged(&mut self, odd: bool) -> Checkpoint {
        let what = "it is torn or damaged, and there is no other; a start replays the whole WAL";
        self.findings.warning(&self.layout.checkpoint(odd), what);
        Checkpoint::default()
    }

    async fn read_checkpoint(&mut self, odd: bool) -> Found {
        let path = self.layout.checkpoint(odd);
        match self.env.read_file(&path, CHECKPOINT_BYTES_MAX).await {
            Ok(None) => Found::Nothing,
            Ok(Some(bytes)) => Checkpoint::decode(bytes).map_or(Found::Damaged, Found::Whole),
            Err(error) => {
                self.findings.error(&path, format!("it cannot be read: {error}"));
                Found::Damaged
            }
        }
    }

    pub(super) fn checkpointed(&mut self, checkpoint: &Checkpoint) -> Expected {
        let path = self.layout.checkpoint(checkpoint.sequence % 2 == 1);
        let image = decode_image(self.layout, checkpoint).unwrap_or_else(|error| {
            self.findings.error(&path, format!("its topics cannot be read: {error}"));
            Default::default()
        });
        let image = image.of_node(self.report.node_id);
        let mut expected = Expected { commands: checkpoint.commands, ..Expected::default() };
        for topic in image.topics() {
            for index in 0..topic.partitions {
                let id = PartitionId { topic: topic.id, index };
                let log = match checkpoint.partitions.get(&id) {
                    None => Ok(PartitionLog::new(topic.created_ms)),
                    Some(bytes) => decode_log(bytes),
                };
                match log {
                    Ok(log) => {
                        let partition = ExpectedPartition::new(self.layout, topic, (index, log));
                        expected.partitions.insert(id, partition);
                    }
                    Err(reason) => {
                        let what = format!("partition {index} of topic {}: {reason}", topic.name);
                        self.findings.error(&path, what);
                    }
                }
            }
        }
        expected.image = image;
        expected
    }

    /// Walks the WAL from the checkpoint to its end and applies what it holds.
    pub(super) async fn walk_wal(&mut self, checkpoint: &Checkpoint, expected: &mut Expected) {
        let Some(shape) = self.ring_shape().await else { return };
        expected.rolled = self.find_rolled(&shape, checkpoint).await;
        let mut replay = Replay::new(self.env, &shape, checkpoint.wal);
        loop {
            match replay.next().await {
                Ok(Some(commit)) => {
                    self.report.wal.commits += 1;
                    self.apply_commit(&commit, expected);
                }
                Ok(None) => break,
                Err(error) => {
                    self.wal_error(error);
                    break;
                }
            }
        }
        if let Err(error) = replay.refuse_lost_checkpoint().await {
            self.wal_error(error);
        }
        self.report.wal.end_lsn = replay.position().lsn.0;
        assert!(self.report.wal.end_lsn >= checkpoint.wal.lsn.0, "a walk never goes back");
    }

    /// What starts closed since the checkpoint. What is wrong, the walk reports that applies the
    /// rest.
    async fn find_rolled(
        &self,
        shape: &RingShape,
        checkpoint: &Checkpoint,
    ) -> BTreeMap<PartitionId, Vec<Rolled>> {
        let mut rolled: BTreeMap<PartitionId, Vec<Rolled>> = BTreeMap::new();
        let mut replay = Replay::new(self.env, shape, checkpoint.wal);
        while let Ok(Some(commit)) = replay.next().await {
            let mut payload = commit.payload.clone();
            while let Some(record) = WalRecord::decode(&mut payload) {
                if let WalRecord::Rolled { partition, rolled: found } = record {
                    rolled.entry(partition).or_default().push(found);
                }
            }
        }
        rolled
    }

    fn wal_error(&mut self, error: OpenError) {
        match error {
            OpenError::Corrupt { path, reason } => self.findings.error(&path, reason),
            other => self.findings.error(&self.layout.wal(), other.to_string()),
        }
    }

    fn apply_commit(&mut self, commit: &ReplayedCommit, expected: &mut Expected) {
        let lsn = commit.header.lsn.0;
        let mut payload = commit.payload.clone();
        for number in 1..=commit.header.records {
            let applied = match WalRecord::decode(&mut payload) {
                Some(record) => expected.apply(self.layout, record),
                None => Err("this release cannot read it".to_owned()),
            };
            self.report.wal.records += 1;
            if let Err(reason) = applied {
                let what = format!("commit {lsn}, record {number}: {reason}");
                self.findings.error(&self.layout.wal(), what);
                return;
            }
        }
    }

    /// The ring as its files show it: nothing else on disk says how many there are. `None` if
    /// there is no WAL.
    async fn ring_shape(&mut self) -> Option<RingShape> {
        let dir = self.layout.wal();
        let entries = match self.env.disk.read_dir(&dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.findings.error(&dir, format!("it cannot be listed: {error}"));
                return None;
            }
        };
        let (mut files, mut file_bytes) = (0, 0);
        for entry in entries {
            // Entries come in the order of their names, and so of their slots.
            if !entry.is_dir && entry.name == layout::wal_file_name(u64::from(files)) {
                files += 1;
                file_bytes = file_bytes.max(entry.len);
            } else if ![REWRITTEN_WAL, NEW_REWRITTEN_WAL].contains(&entry.name.as_str()) {
                let path = dir.join(&entry.name);
                self.findings.error(&path, format!("it is not file {files} of the ring"));
            }
        }
        assert!(files > 0 || file_bytes == 0, "only a file has a length");
        (files > 0).then_some(RingShape { dir, files, file_bytes })
    }
}
