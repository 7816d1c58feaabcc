//! Which APIs the broker serves, in which versions: what ApiVersions answers.

/// An API that the broker serves, by its key on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    DescribeLogDirs = 35,
    CreatePartitions = 37,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeCluster = 60,
    ListConfigResources = 74,
}

/// One row of the table: an API with its versions, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub key: ApiKey,
    pub version_min: i16,
    pub version_max: i16,
    /// First version with compact lengths, tagged fields and request header v2 (KIP-482).
    pub first_flexible: i16,
}

impl Served {
    const fn new(key: ApiKey, versions: (i16, i16), first_flexible: i16) -> Served {
        Served { key, version_min: versions.0, version_max: versions.1, first_flexible }
    }

    /// Whether the version is advertised. Produce 0 to 2 are, but have no body that decodes.
    #[must_use]
    pub fn has(&self, version: i16) -> bool {
        (self.version_min..=self.version_max).contains(&version)
    }

    #[must_use]
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.first_flexible
    }
}

/// For an API whose versions are all of the classic kind.
const NEVER_FLEXIBLE: i16 = i16::MAX;

/// The ranges of Apache Kafka 4.3.1, in key order. Produce 0 to 2 are listed and not served:
/// librdkafka before 2.11.1 stops compressing if they are not listed (KAFKA-18659). It sends lz4
/// batches uncompressed if FindCoordinator is not listed.
pub const SERVED: [Served; 31] = [
    Served::new(ApiKey::Produce, (0, 13), 9),
    Served::new(ApiKey::Fetch, (4, 18), 12),
    Served::new(ApiKey::ListOffsets, (1, 11), 6),
    Served::new(ApiKey::Metadata, (0, 13), 9),
    Served::new(ApiKey::OffsetCommit, (2, 10), 8),
    Served::new(ApiKey::OffsetFetch, (1, 10), 6),
    Served::new(ApiKey::FindCoordinator, (0, 6), 3),
    Served::new(ApiKey::JoinGroup, (0, 9), 6),
    Served::new(ApiKey::Heartbeat, (0, 4), 4),
    Served::new(ApiKey::LeaveGroup, (0, 5), 4),
    Served::new(ApiKey::SyncGroup, (0, 5), 4),
    Served::new(ApiKey::DescribeGroups, (0, 6), 5),
    Served::new(ApiKey::ListGroups, (0, 5), 3),
    Served::new(ApiKey::ApiVersions, (0, 4), 3),
    Served::new(ApiKey::CreateTopics, (2, 7), 5),
    Served::new(ApiKey::DeleteTopics, (1, 6), 4),
    Served::new(ApiKey::DeleteRecords, (0, 2), 2),
    Served::new(ApiKey::InitProducerId, (0, 5), 2),
    Served::new(ApiKey::OffsetForLeaderEpoch, (2, 4), 4),
    Served::new(ApiKey::DescribeConfigs, (1, 4), 4),
    Served::new(ApiKey::AlterConfigs, (0, 2), 2),
    Served::new(ApiKey::DescribeLogDirs, (1, 5), 2),
    Served::new(ApiKey::CreatePartitions, (0, 3), 2),
    Served::new(ApiKey::DeleteGroups, (0, 2), 2),
    Served::new(ApiKey::ElectLeaders, (0, 2), 2),
    Served::new(ApiKey::IncrementalAlterConfigs, (0, 1), 1),
    Served::new(ApiKey::AlterPartitionReassignments, (0, 1), 0),
    Served::new(ApiKey::ListPartitionReassignments, (0, 0), 0),
    Served::new(ApiKey::OffsetDelete, (0, 0), NEVER_FLEXIBLE),
    Served::new(ApiKey::DescribeCluster, (0, 2), 0),
    Served::new(ApiKey::ListConfigResources, (0, 1), 0),
];

/// The row of a key that came over the wire.
#[must_use]
pub fn served(api_key: i16) -> Option<&'static Served> {
    SERVED.iter().find(|api| api.key as i16 == api_key)
}

impl ApiKey {
    /// The key's row.
    #[must_use]
    pub fn served(self) -> &'static Served {
        served(self as i16).expect("every key has a row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_key_order_with_possible_ranges() {
        assert!(SERVED.windows(2).all(|pair| pair[0].key < pair[1].key));
        for api in &SERVED {
            assert!(api.version_min <= api.version_max, "{api:?}");
            assert_eq!(api.key.served(), api);
        }
        assert_eq!(served(4), None);
        assert_eq!(served(-1), None);
    }
}
