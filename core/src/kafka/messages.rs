//! The messages of every served API, one file each, and the decoder of whole request bodies.

use bytes::Bytes;

use super::codec::header::RequestHeader;
use super::codec::message::Message;
use super::codec::reader::{DecodeError, Reader};

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;

macro_rules! requests {
    ($($name:ident($module:ident::$request:ident)),* $(,)?) => {
        /// The body of any served request.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $( $name($module::$request), )*
        }

        impl Request {
            /// Reads the body that came with the header.
            ///
            /// # Errors
            /// [`DecodeError::Version`] if the API is not served in this version, others if the
            /// body is malformed. Kafka closes the connection in both cases, except for an
            /// ApiVersions request of an unknown version, which it answers in version 0.
            pub fn decode(header: &RequestHeader, body: Bytes) -> Result<Request, DecodeError> {
                Request::decode_from(header, &mut Reader::new(body))
            }

            /// [`Request::decode`] from a reader that can be asked afterwards what it took.
            pub fn decode_from(
                header: &RequestHeader,
                reader: &mut Reader,
            ) -> Result<Request, DecodeError> {
                let (api_key, api_version) = (header.api_key, header.api_version);
                $(
                    if api_key == $module::$request::API as i16 {
                        return $module::$request::decode_from(reader, api_version)
                            .map(Request::$name);
                    }
                )*
                Err(DecodeError::Version { api_key, api_version })
            }
        }
    };
}

requests! {
    Produce(produce::ProduceRequest),
    Fetch(fetch::FetchRequest),
    ListOffsets(list_offsets::ListOffsetsRequest),
    Metadata(metadata::MetadataRequest),
    OffsetCommit(offset_commit::OffsetCommitRequest),
    OffsetFetch(offset_fetch::OffsetFetchRequest),
    FindCoordinator(find_coordinator::FindCoordinatorRequest),
    JoinGroup(join_group::JoinGroupRequest),
    Heartbeat(heartbeat::HeartbeatRequest),
    LeaveGroup(leave_group::LeaveGroupRequest),
    SyncGroup(sync_group::SyncGroupRequest),
    DescribeGroups(describe_groups::DescribeGroupsRequest),
    ListGroups(list_groups::ListGroupsRequest),
    ApiVersions(api_versions::ApiVersionsRequest),
    CreateTopics(create_topics::CreateTopicsRequest),
    DeleteTopics(delete_topics::DeleteTopicsRequest),
    DeleteRecords(delete_records::DeleteRecordsRequest),
    InitProducerId(init_producer_id::InitProducerIdRequest),
    OffsetForLeaderEpoch(offset_for_leader_epoch::OffsetForLeaderEpochRequest),
    DescribeConfigs(describe_configs::DescribeConfigsRequest),
    AlterConfigs(alter_configs::AlterConfigsRequest),
    DescribeLogDirs(describe_log_dirs::DescribeLogDirsRequest),
    CreatePartitions(create_partitions::CreatePartitionsRequest),
    DeleteGroups(delete_groups::DeleteGroupsRequest),
    ElectLeaders(elect_leaders::ElectLeadersRequest),
    IncrementalAlterConfigs(incremental_alter_configs::IncrementalAlterConfigsRequest),
    AlterPartitionReassignments(
        alter_partition_reassignments::AlterPartitionReassignmentsRequest
    ),
    ListPartitionReassignments(list_partition_reassignments::ListPartitionReassignmentsRequest),
    OffsetDelete(offset_delete::OffsetDeleteRequest),
    DescribeCluster(describe_cluster::DescribeClusterRequest),
    ListConfigResources(list_config_resources::ListConfigResourcesRequest),
}

#[cfg(test)]
mod tests;
