//! The probes that an ensemble over all scenarios must hit: every one that stands in the code.

/// Names in the sources of `core` and `broker`, sorted.
pub const ALL: [&str; 32] = [
    "batch_left_whole",
    "commit_only_beside_the_wal",
    "compacted_in_vain",
    "compacted_segment_lost",
    "copies_beside_the_wal_used",
    "duplicate_batch",
    "index_rebuilt",
    "largest_timestamp_gone",
    "late_batch_refused",
    "log_compacted",
    "log_uncleanable",
    "no_room_to_compact",
    "offset_map_full",
    "opened_while_removed",
    "packed_unsoundly",
    "page_logged",
    "page_restored",
    "partition_quarantined",
    "replay_spills_tail",
    "replay_torn_commit",
    "resync_after_damage",
    "retention_moved_log_start",
    "segment_emptied",
    "segment_gone_while_read",
    "segment_written_direct",
    "session_over",
    "spoiled_batch_refused",
    "stray_segments_removed",
    "tail_full",
    "torn_checkpoint",
    "unsynced_commit_written_again",
    "wal_ring_full",
];

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test reads the sources")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn collect(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text.split("probe!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                names.extend(found.map(|(name, _)| name.to_owned()));
            }
        }
    }

    #[test]
    fn the_list_is_what_stands_in_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut names = BTreeSet::new();
        for package in ["core", "broker"] {
            collect(&root.join(package).join("src"), &mut names);
        }
        let listed: BTreeSet<String> = ALL.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed, names);
    }
}
