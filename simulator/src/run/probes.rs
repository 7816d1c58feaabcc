//! The probes that an ensemble over all scenarios must hit: every one that stands in the code, by
//! the component whose rare states they show.

/// A part of the code under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub name: &'static str,
    /// Files and folders of the repository that it is made of. The longest that a file begins with
    /// says whose it is.
    pub modules: &'static [&'static str],
    /// Sorted.
    pub probes: &'static [&'static str],
}

/// Every component that has a probe, from the disk up to the client.
pub const COMPONENTS: [Component; 11] = [
    Component {
        name: "wal",
        modules: &["core/src/storage/wal", "core/src/storage/committer.rs"],
        probes: &["commit_only_beside_the_wal", "replay_torn_commit", "tail_full", "wal_ring_full"],
    },
    Component {
        name: "log",
        modules: &["core/src/storage"],
        probes: &[
            "directory_not_writable",
            "duplicate_batch",
            "foreign_directory_refused",
            "index_rebuilt",
            "opened_while_removed",
            "page_logged",
            "partition_reconfigured",
            "read_gave_way",
            "segment_gone_while_read",
            "segment_written_direct",
            "storage_failed",
        ],
    },
    Component {
        name: "damage",
        modules: &[
            "core/src/storage/damage.rs",
            "core/src/storage/segment_end.rs",
            "core/src/storage/segment_read.rs",
        ],
        probes: &[
            "page_unreadable",
            "partition_quarantined",
            "resync_after_damage",
            "segment_end_unreadable",
        ],
    },
    Component {
        name: "recovery",
        modules: &[
            "core/src/storage/earlier_life.rs",
            "core/src/storage/replayer.rs",
            "core/src/storage/recovery.rs",
        ],
        probes: &[
            "compacted_segment_lost",
            "copies_beside_the_wal_used",
            "page_restored",
            "replay_spills_tail",
            "torn_checkpoint",
            "unsynced_commit_written_again",
        ],
    },
    Component {
        name: "retention",
        modules: &["core/src/storage/housekeeping.rs", "core/src/storage/timestamps.rs"],
        probes: &["largest_timestamp_gone", "retention_moved_log_start", "stray_segments_removed"],
    },
    Component {
        name: "compaction",
        modules: &["core/src/storage/cleaner"],
        probes: &[
            "batch_left_whole",
            "compacted_in_vain",
            "log_compacted",
            "log_uncleanable",
            "no_room_to_compact",
            "offset_map_full",
            "segment_emptied",
        ],
    },
    Component {
        name: "records",
        modules: &["core/src/record"],
        probes: &["packed_unsoundly", "spoiled_batch_refused"],
    },
    Component {
        name: "producers",
        modules: &["core/src/producer"],
        probes: &["late_batch_refused"],
    },
    Component {
        name: "groups",
        modules: &["core/src/group"],
        probes: &["old_generation_refused", "session_over"],
    },
    Component {
        name: "connections",
        modules: &["broker/src/connection", "broker/src/memory.rs"],
        probes: &[
            "answer_waits_for_its_reader",
            "connection_takes_no_more",
            "memory_waited_for",
            "stuck_connection_evicted",
        ],
    },
    Component {
        name: "client",
        modules: &["client/src"],
        probes: &[
            "connection_has_no_place",
            "member_lost_its_partitions",
            "uncertain_batch_sent_again",
        ],
    },
];

/// Probes that no run is asked to hit, and why.
pub const UNREACHED: [(&str, &str); 1] = [(
    "packed_unsoundly",
    "it needs an encoder that loses data or panics, and no body is known of which one does; a unit \
     test has encoders that do",
)];

/// The names of all probes.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().flat_map(|component| component.probes).copied()
}

/// The names of those that many runs of all scenarios must hit.
pub fn expected() -> impl Iterator<Item = &'static str> {
    names().filter(|name| UNREACHED.iter().all(|(unreached, _)| name != unreached))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test reads the sources")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The component that a file of the repository belongs to.
    fn component_of(file: &str) -> Option<&'static str> {
        let modules = COMPONENTS.iter().flat_map(|component| {
            component.modules.iter().map(move |module| (*module, component.name))
        });
        let own = modules.filter(|(module, _)| file.starts_with(module));
        own.max_by_key(|(module, _)| module.len()).map(|(_, name)| name)
    }

    /// Adds each probe in `folder`, with the component of its file.
    fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let file = path.strip_prefix(root).unwrap().to_str().unwrap();
                let names = text.split("probe!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                for (name, _) in names {
                    let component = component_of(file);
                    let component =
                        component.unwrap_or_else(|| panic!("{file} is in no component"));
                    found.insert((component.to_owned(), name.to_owned()));
                }
            }
        }
    }

    #[test]
    fn the_probes_are_those_of_the_sources_by_their_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = BTreeSet::new();
        for package in ["core", "broker", "client"] {
            collect(root, &root.join(package).join("src"), &mut found);
        }
        let mut listed = BTreeSet::new();
        for component in COMPONENTS {
            assert!(component.probes.is_sorted(), "{}", component.name);
            for probe in component.probes {
                listed.insert((component.name.to_owned(), (*probe).to_owned()));
            }
        }
        assert_eq!(listed, found);
        assert_eq!(names().collect::<BTreeSet<_>>().len(), names().count(), "a name stands twice");
        assert_eq!(names().count(), expected().count() + UNREACHED.len(), "a name is no probe");
        assert!(20 * UNREACHED.len() <= names().count(), "more than one in twenty is left out");
    }
}
