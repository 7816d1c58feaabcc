//! Tests over all messages: one list of them, and the checks that run for each in each version.

mod differential;
mod golden;
mod hostile;
mod round_trip;

use crate::kafka::codec::message::Message;
use crate::kafka::codec::sample::Sample;
use std::fmt::Debug;

use super::{
    alter_configs, alter_partition_reassignments, api_versions, create_partitions, create_topics,
    delete_groups, delete_records, delete_topics, describe_cluster, describe_configs,
    describe_groups, describe_log_dirs, elect_leaders, fetch, find_coordinator, heartbeat,
    incremental_alter_configs, init_producer_id, join_group, leave_group, list_config_resources,
    list_groups, list_offsets, list_partition_reassignments, metadata, offset_commit,
    offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group,
};

/// A check that runs for every message; `Theirs` is the same message of another implementation.
trait Check {
    fn run<Ours, Theirs>(&mut self)
    where
        Ours: Message + Sample + Debug + Clone + PartialEq,
        Theirs: kafka_protocol::protocol::Encodable
            + kafka_protocol::protocol::Decodable
            + kafka_protocol::protocol::Message
            + Debug;
}

macro_rules! every_message {
    ($($module:ident: $($message:ident)*),* $(,)?) => {
        fn check_every_message(check: &mut impl Check) {
            $($( check.run::<$module::$message, kafka_protocol::messages::$message>(); )*)*
        }
    };
}

every_message! {
    produce: ProduceRequest ProduceResponse,
    fetch: FetchRequest FetchResponse,
    list_offsets: ListOffsetsRequest ListOffsetsResponse,
    metadata: MetadataRequest MetadataResponse,
    offset_commit: OffsetCommitRequest OffsetCommitResponse,
    join_group: JoinGroupRequest JoinGroupResponse,
    heartbeat: HeartbeatRequest HeartbeatResponse,
    leave_group: LeaveGroupRequest LeaveGroupResponse,
    sync_group: SyncGroupRequest SyncGroupResponse,
    describe_groups: DescribeGroupsRequest DescribeGroupsResponse,
    list_groups: ListGroupsRequest ListGroupsResponse,
    delete_groups: DeleteGroupsRequest DeleteGroupsResponse,
    offset_delete: OffsetDeleteRequest OffsetDeleteResponse,
    offset_fetch: OffsetFetchRequest OffsetFetchResponse,
    find_coordinator: FindCoordinatorRequest FindCoordinatorResponse,
    api_versions: ApiVersionsRequest ApiVersionsResponse,
    create_topics: CreateTopicsRequest CreateTopicsResponse,
    delete_topics: DeleteTopicsRequest DeleteTopicsResponse,
    delete_records: DeleteRecordsRequest DeleteRecordsResponse,
    init_producer_id: InitProducerIdRequest InitProducerIdResponse,
    offset_for_leader_epoch: OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse,
    describe_configs: DescribeConfigsRequest DescribeConfigsResponse,
    alter_configs: AlterConfigsRequest AlterConfigsResponse,
    describe_log_dirs: DescribeLogDirsRequest DescribeLogDirsResponse,
    create_partitions: CreatePartitionsRequest CreatePartitionsResponse,
    elect_leaders: ElectLeadersRequest ElectLeadersResponse,
    incremental_alter_configs: IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
    alter_partition_reassignments:
        AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse,
    list_partition_reassignments:
        ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse,
    describe_cluster: DescribeClusterRequest DescribeClusterResponse,
    list_config_resources: ListConfigResourcesRequest ListConfigResourcesResponse,
}

/// A fixed sequence of pseudo-random bytes (SplitMix64), for checks with more cases than proptest
/// runs in reasonable time.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn every_message_has_the_versions_of_the_served_table() {
    struct Versions(usize);
    impl Check for Versions {
        fn run<Ours: Message, Theirs>(&mut self) {
            let served = Ours::API.served();
            let decoded_from = match Ours::API as i16 {
                0 => 3,
                _ => served.version_min,
            };
            assert_eq!(
                (Ours::VERSION_MIN, Ours::VERSION_MAX, Ours::FLEXIBLE_FROM),
                (decoded_from, served.version_max, served.first_flexible),
                "{:?}",
                Ours::API
            );
            self.0 += 1;
        }
    }
    let mut versions = Versions(0);
    check_every_message(&mut versions);
    assert_eq!(versions.0, 2 * crate::kafka::codec::api::SERVED.len());
}
