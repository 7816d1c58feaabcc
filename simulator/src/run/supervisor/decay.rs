//! What happens to the platter while the power is off: bytes change, ends of files are gone, pages
//! cannot be read any more; how a drive errs in what it does; and that it is gone, or
//! another one.

use std::path::Path;

use rivven_core::storage::wal::commit::{COMMIT_ALIGN, COMMIT_HEADER_BYTES, CommitHeader, Lsn};
use rivven_io::sim::disk::DiskControl;

use crate::history::event::Mark;
use crate::run::supervisor::{DOWN_MS, Step, Supervisor};

/// How the names of segments end.
const SEGMENT: &str = ".log";

/// How often the disk is kept for a later moment, and how many times at most.
const KEEP_EVERY_US: u64 = 500_000;
const KEPT_DISKS_MAX: usize = 64;

impl Supervisor<'_> {
    /// Changes `bytes` bytes in one place of one file whose path contains `path`.
    pub(super) fn rot(&mut self, place: (&str, u64), bytes: u64) -> bool {
        let Some((file, content)) = self.pick_file(place) else { return false };
        let position = pick_below(place.1, content.len() as u64);
        if self.nothing_vouches_for(&file, &content, position + bytes) {
            return false;
        }
        let len = usize::try_from(bytes).unwrap_or(1);
        let changed = self.node.disk().rot(Path::new(&file), position, len);
        self.note_decay(changed > 0, &file);
        changed > 0
    }

    /// Cuts one file whose path contains `path` somewhere, as the repair of a file system does.
    pub(super) fn lose_end(&mut self, place: (&str, u64)) -> bool {
        let Some((file, content)) = self.pick_file(place) else { return false };
        let end = pick_below(place.1, content.len() as u64);
        let lost = self.node.disk().lose_end(Path::new(&file), end);
        self.note_decay(lost > 0, &file);
        lost > 0
    }

    /// Makes one page of a file whose path contains `path` unreadable.
    pub(super) fn spoil(&mut self, place: (&str, u64)) -> bool {
        let Some((file, content)) = self.pick_file(place) else { return false };
        let position = pick_below(place.1, content.len() as u64);
        let spoiled = self.node.disk().spoil(Path::new(&file), position);
        self.note_decay(spoiled, &file);
        spoiled
    }

    /// Has the drive err in what it does next to such a file.
    pub(super) fn lie(&mut self, lie: fn(&DiskControl, &str), path: &str) -> bool {
        if self.has_foreign_disk() {
            return false;
        }
        lie(&self.node.disk(), path);
        self.note_decay(true, path);
        true
    }

    /// What happens to a segment never keeps a broker from starting.
    fn note_decay(&mut self, changed: bool, path: &str) {
        self.rotten |= changed && !path.ends_with(SEGMENT);
    }

    /// Keeps what the disk has now, for a later moment, and does so again soon.
    pub(super) fn keep_disk(&mut self) {
        if self.kept_disks.len() == KEPT_DISKS_MAX {
            self.kept_disks.pop_front();
        }
        if !self.has_foreign_disk() {
            self.kept_disks.push_back((self.now_us(), self.node.disk().platter()));
        }
        self.queue_in(KEEP_EVERY_US, Step::KeepDisk);
    }

    /// Cuts the power; the broker finds the disk of `age_ms` ago when it starts, or an empty one if
    /// that is 0 or longer ago than anything was kept.
    pub(super) fn exchange_disk(&mut self, age_ms: u64, down_ms: u64) -> bool {
        if self.has_foreign_disk() || !self.crash(true, down_ms) {
            return false;
        }
        let then_us = self.now_us().saturating_sub(age_ms * 1_000);
        // What was kept since is of a disk that is not there any more.
        self.kept_disks.retain(|(at_us, _)| age_ms > 0 && *at_us <= then_us);
        let old = self.kept_disks.back().map(|(_, platter)| platter);
        let is_other = self.node.disk().exchange(old) > 0;
        if is_other {
            self.mark(Mark::OtherDisk { node: self.node.id() });
        }
        is_other
    }

    /// Takes the disk away; the broker may end, and starts again `down_ms` later.
    pub(super) fn take_disk(&mut self, for_ms: u64, down_ms: u64) -> bool {
        if !self.node.disk().take_away() {
            return false;
        }
        self.may_fail = true;
        self.down_ms = down_ms;
        self.queue_in(for_ms * 1_000, Step::DiskIsBack);
        true
    }

    /// Gives the disk back. A broker that has not noticed will never have it: it is started again.
    pub(super) fn return_disk(&mut self) {
        self.node.disk().bring_back();
        if !self.node.has_disk() {
            self.crash(false, DOWN_MS);
        }
    }

    /// One file and its content on the platter, without the zeros at its end.
    fn pick_file(&self, (path, pick): (&str, u64)) -> Option<(String, Vec<u8>)> {
        if self.has_foreign_disk() {
            // What it excuses is this broker's own loss.
            return None;
        }
        let disk = self.node.disk();
        let mut files: Vec<String> =
            disk.durable_files().into_iter().filter(|file| file.contains(path)).collect();
        let chosen = usize::try_from(pick_below(pick, files.len() as u64)).ok()?;
        let file = (chosen < files.len()).then(|| files.swap_remove(chosen))?;
        let mut content = disk.durable(Path::new(&file)).unwrap_or_default();
        let written = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        content.truncate(written);
        Some((file, content))
    }

    /// Whether the newest commit of the WAL begins before `end` in `file`. No later commit calls it
    /// synced, so that no single disk can show its loss: damage of it proves nothing.
    fn nothing_vouches_for(&self, file: &str, content: &[u8], end: u64) -> bool {
        if !file.contains(".wal") {
            return false;
        }
        let disk = self.node.disk();
        let files = disk.durable_files();
        let wal = files.iter().filter(|file| file.contains(".wal"));
        let contents = wal.filter_map(|file| disk.durable(Path::new(file)));
        let newest = contents.filter_map(|content| newest_commit(&content)).max();
        let here = newest_commit(content);
        here.is_some_and(|here| Some(here.0) == newest.map(|newest| newest.0) && here.1 < end)
    }
}

/// Number and position of the whole commit with the highest number in a WAL file.
fn newest_commit(content: &[u8]) -> Option<(Lsn, u64)> {
    let places = (0..content.len()).step_by(COMMIT_ALIGN);
    let commits = places.filter_map(|position| {
        let mut commit = content[position..].to_vec();
        let header = CommitHeader::decode(&commit)?;
        // Its last bytes may be zeros, which `content` does not have.
        commit.resize(COMMIT_HEADER_BYTES + header.payload_bytes as usize, 0);
        header.verify(&commit).then_some((header.lsn, position as u64))
    });
    commits.max()
}

fn pick_below(pick: u64, count: u64) -> u64 {
    pick % count.max(1)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rivven_core::storage::wal::commit::seal;

    use super::*;

    fn commit(lsn: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::zeroed(COMMIT_HEADER_BYTES);
        bytes.extend_from_slice(payload);
        let header = CommitHeader {
            lsn: Lsn(lsn),
            synced: Lsn(lsn - 1),
            file_sequence: 1,
            start: 1,
            payload_bytes: u32::try_from(payload.len()).unwrap(),
            records: 1,
        };
        seal(&mut bytes, &header);
        bytes.to_vec()
    }

    #[test]
    fn the_newest_commit_is_the_last_whole_one() {
        let mut content = [commit(7, b"seven"), commit(8, b"eight\0\0")].concat();
        let cut = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        content.truncate(cut);
        assert_eq!(newest_commit(&content), Some((Lsn(8), COMMIT_ALIGN as u64)));
        content[COMMIT_ALIGN + COMMIT_HEADER_BYTES] ^= 1;
        assert_eq!(newest_commit(&content), Some((Lsn(7), 0)));
        assert_eq!(newest_commit(b""), None);
    }
}
