//! The planted bugs: realistic mistakes of real brokers, each of which must turn an oracle red.

/// One planted bug; `rivven_io::planted!(id)` stands where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlantedBug {
    pub id: &'static str,
    pub what: &'static str,
    /// Where it happened.
    pub origin: &'static str,
    /// A scenario in which it shows.
    pub scenario: &'static str,
    /// It must break at least one of these.
    pub oracles: &'static [&'static str],
}

/// Every planted bug, by id.
pub const ALL: [PlantedBug; 44] = [
    PlantedBug {
        id: "B01",
        what: "a batch is acknowledged before the WAL is synced",
        origin: "NATS 7564, KAFKA-10533",
        scenario: "power_cuts",
        oracles: &["I1", "I2", "I3"],
    },
    PlantedBug {
        id: "B02",
        what: "a new segment's directory is not synced before the WAL that covers it is recycled",
        origin: "KAFKA-3968",
        scenario: "power_cuts",
        oracles: &["I1", "I42"],
    },
    PlantedBug {
        id: "B03",
        what: "a checkpoint is trusted before what it covers is synced",
        origin: "KAFKA-9892",
        scenario: "power_cuts",
        oracles: &["I1", "I42"],
    },
    PlantedBug {
        id: "B04",
        what: "recovery takes damage in the middle of the WAL for its end and serves on",
        origin: "NATS 7549",
        scenario: "wal_rot",
        oracles: &["I1", "I2", "I10", "I12"],
    },
    PlantedBug {
        id: "B09",
        what: "consumers see a batch before the sync that covers it",
        origin: "readers of the page cache: Rebello et al., ATC 2020",
        scenario: "power_cuts",
        oracles: &["I2", "I3", "I12"],
    },
    PlantedBug {
        id: "B25",
        what: "a retry after an unknown outcome is appended again",
        origin: "Redpanda 3039",
        scenario: "retry_other_connection",
        oracles: &["I13"],
    },
    PlantedBug {
        id: "B26",
        what: "the producer's state moves before the append succeeds",
        origin: "KAFKA-6683",
        scenario: "full_disk",
        oracles: &["I1", "I2", "I3", "I13"],
    },
    PlantedBug {
        id: "B30",
        what: "the cleaner takes different keys for one, and drops what must stay",
        origin: "KAFKA-14055, where a marker's key met a record's",
        scenario: "compaction",
        oracles: &["I27"],
    },
    PlantedBug {
        id: "B40",
        what: "a page that a checkpoint trusts is written again without its image in the WAL",
        origin: "PostgreSQL's torn pages, which full_page_writes answers",
        scenario: "shorn_pages",
        oracles: &["I1", "I2", "I12"],
    },
    PlantedBug {
        id: "B41",
        what: "recovery shows the newest commit, which only the page cache holds, without a sync",
        origin: "Rebello et al., Can Applications Recover from fsync Failures?, ATC 2020",
        scenario: "crash_in_recovery",
        oracles: &["I1", "I2", "I3", "I12"],
    },
    PlantedBug {
        id: "B42",
        what: "recovery does not rebuild producers' sequences from the batches it replays",
        origin: "Redpanda 3039, AutoMQ 437",
        scenario: "kill_storm",
        oracles: &["I13"],
    },
    PlantedBug {
        id: "B43",
        what: "a log start that was moved up is back at its last checkpoint after a crash",
        origin: "Kafka, which checkpoints log starts once a minute",
        scenario: "crash_in_checkpoint_retention",
        oracles: &["I30"],
    },
    PlantedBug {
        id: "B44",
        what: "a failed sync of the WAL is tried again, and believed when that succeeds",
        origin: "PostgreSQL 2018 (fsyncgate), Rebello et al., ATC 2020",
        scenario: "fsync_failure",
        oracles: &["I1", "I2", "I3"],
    },
    PlantedBug {
        id: "B45",
        what: "a change of topics is planned beside one whose client went away",
        origin: "ours: two topics of one name in the WAL, and a broker that never starts again",
        scenario: "deserted_changes",
        oracles: &["I42"],
    },
    PlantedBug {
        id: "B50",
        what: "compacted segments are removed before a checkpoint counts what replaced them",
        origin: "KAFKA-6264 and others: files and what is known of them out of step",
        scenario: "compaction",
        oracles: &["I1", "I27", "I42"],
    },
    PlantedBug {
        id: "B51",
        what: "a compacted segment is used before it is synced",
        origin: "KAFKA-2235, KAFKA-3968: a cleaner's files and their names, unsynced",
        scenario: "compaction",
        oracles: &["I1", "I27", "I42"],
    },
    PlantedBug {
        id: "B52",
        what: "a tombstone goes with the second cleaning, before its time",
        origin: "KAFKA-8522, the other way round",
        scenario: "compaction",
        oracles: &["I27"],
    },
    PlantedBug {
        id: "B53",
        what: "the cleaner takes records that min.compaction.lag.ms protects",
        origin: "KAFKA-1981, before there was such a bound",
        scenario: "compaction",
        oracles: &["I28"],
    },
    PlantedBug {
        id: "B54",
        what: "a run that had no room for all keys counts as whole, and a deleted key comes back",
        origin: "KAFKA-4298 and others: cleaner offsets that say too much",
        scenario: "compaction",
        oracles: &["I27"],
    },
    PlantedBug {
        id: "B60",
        what: "a commit of offsets is acknowledged before it is durable",
        origin: "Rivven 0.0.22, which saved every fiftieth",
        scenario: "group_members",
        oracles: &["I22", "I49"],
    },
    PlantedBug {
        id: "B61",
        what: "a coordinator keeps the first offset of a partition that its log holds",
        origin: "KAFKA-5600",
        scenario: "group_members",
        oracles: &["I22", "I49"],
    },
    PlantedBug {
        id: "B62",
        what: "members get an assignment before it is stored, and a crash forgets it",
        origin: "coordinators that keep generations in memory",
        scenario: "group_members",
        oracles: &["I24"],
    },
    PlantedBug {
        id: "B63",
        what: "a member of an older generation commits",
        origin: "Rivven 0.0.22, where anybody could",
        scenario: "group_members",
        oracles: &["I23"],
    },
    PlantedBug {
        id: "B64",
        what: "a reader takes a batch whose commit is under way for one that its segment holds",
        origin: "ours: a false CORRUPT_MESSAGE beside a consumer group, found by kill -9",
        scenario: "power_cuts",
        oracles: &["I12"],
    },
    PlantedBug {
        id: "B70",
        what: "the client library gives a batch that may be written a new sequence",
        origin: "KAFKA-5494",
        scenario: "client_library",
        oracles: &["I13"],
    },
    PlantedBug {
        id: "B71",
        what: "what the client library sends again goes behind what is newer",
        origin: "KAFKA-6119",
        scenario: "client_library",
        oracles: &["I13", "I14"],
    },
    PlantedBug {
        id: "B72",
        what: "the client library's consumer commits what it has fetched, given out or not",
        origin: "franz-go 57, where a killed consumer had committed what it had not worked on",
        scenario: "library_members",
        oracles: &["I26"],
    },
    PlantedBug {
        id: "B73",
        what: "a member that is out of its group goes on with its partitions",
        origin: "KAFKA-12983, where they were claimed again with the next join",
        scenario: "library_members",
        oracles: &["I24", "I25"],
    },
    PlantedBug {
        id: "B74",
        what: "a failed question for committed offsets is taken for an answer that there are none",
        origin: "kafka_ex 548",
        scenario: "library_members",
        oracles: &["I25"],
    },
    PlantedBug {
        id: "B75",
        what: "a topic that was made anew is read from where the one before was left",
        origin: "KAFKA-12257",
        scenario: "topics_come_and_go",
        oracles: &["I25", "I26"],
    },
    PlantedBug {
        id: "B76",
        what: "a group's offsets of a deleted topic are those of the next one of its name",
        origin: "KAFKA-4095, Strimzi 9269",
        scenario: "topics_come_and_go",
        oracles: &["I22"],
    },
    PlantedBug {
        id: "B77",
        what: "a producer never closes the gap of sequences that a batch leaves which it gave up",
        origin: "ours: a producer could not write to a partition any more, found by review",
        scenario: "client_library",
        oracles: &["I42"],
    },
    PlantedBug {
        id: "B80",
        what: "a native batch is appended without its producer, and again when it is sent again",
        origin: "Rivven 0.0.22, whose duplicates were found in memory only",
        scenario: "native_clients",
        oracles: &["I13"],
    },
    PlantedBug {
        id: "B81",
        what: "a native answer begins where its first batch does, not where it was asked to",
        origin: "readers that forget that the log gives whole batches",
        scenario: "native_clients",
        oracles: &["I25"],
    },
    PlantedBug {
        id: "B90",
        what: "a batch older than those that are remembered is taken for a new one",
        origin: "the late requests of KIP-890, outside of transactions",
        scenario: "late_duplicates",
        oracles: &["I13"],
    },
    PlantedBug {
        id: "B91",
        what: "sessions of members end by the wall clock",
        origin: "etcd 6700, etcd 12291",
        scenario: "clocks",
        oracles: &["I26"],
    },
    PlantedBug {
        id: "B92",
        what: "a batch is stored without a look at its CRC",
        origin: "KAFKA-8722",
        scenario: "late_duplicates",
        oracles: &["I1", "I12"],
    },
    PlantedBug {
        id: "B93",
        what: "a member gives out what it has fetched until it is told that its session is over",
        origin: "stopped processes that trust their lease: Kleppmann on Redlock, 2016",
        scenario: "pauses",
        oracles: &["I24", "I25"],
    },
    PlantedBug {
        id: "B94",
        what: "a reader that comes to the end of the segment files is told that there is no more",
        origin: "ours: the border between a partition's files and its memory, as in B64",
        scenario: "power_cuts",
        oracles: &["I47"],
    },
    PlantedBug {
        id: "B95",
        what: "a topic is acknowledged before it is durable, and before it is there",
        origin: "the acks of B01, of metadata",
        scenario: "deserted_changes",
        oracles: &["I48"],
    },
    PlantedBug {
        id: "B96",
        what: "a search by time begins behind the batches of the second before it",
        origin: "ours: the entry of the time index behind the right one",
        scenario: "clocks",
        oracles: &["I50"],
    },
    PlantedBug {
        id: "B97",
        what: "while a batch with the largest timestamp is committed, no record has the largest",
        origin: "ours: found by I50 when it was new",
        scenario: "power_cuts",
        oracles: &["I50"],
    },
    PlantedBug {
        id: "B98",
        what: "a broker serves whatever data directory it finds",
        origin: "before KAFKA-1070 nothing on the disk said whose it is",
        scenario: "neighbours",
        oracles: &["I1", "I2", "I12", "I33", "I48"],
    },
    PlantedBug {
        id: "B99",
        what: "the offset of the largest timestamp is that of its batch's last record",
        origin: "KAFKA-16310",
        scenario: "power_cuts",
        oracles: &["I50"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::ORACLES;

    #[test]
    fn every_bug_has_its_own_id_and_is_caught_by_oracles_that_exist() {
        assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
        for bug in &ALL {
            assert!(!bug.oracles.is_empty(), "{}", bug.id);
            for id in bug.oracles {
                assert!(ORACLES.iter().any(|oracle| oracle.id == *id), "{}: {id}", bug.id);
            }
        }
    }
}
