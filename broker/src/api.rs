//! What each Kafka API does. A handler turns a request into its response; it knows no socket.

pub(crate) mod alter_configs;
pub(crate) mod api_versions;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod elect_leaders;
pub(crate) mod errors;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod reassignments;
pub(crate) mod sync_group;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rivven_core::ids::PartitionId;
use rivven_core::storage::partition::Partition;

use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::codec::message::Message;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::Request;

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The address that the client reached.
    pub(crate) local: SocketAddr,
    /// The client's own.
    pub(crate) peer: SocketAddr,
}

impl Caller {
    /// Host and port at which this client finds the broker again.
    pub(crate) fn advertised(&self, node: &Node) -> (WireStr, i32) {
        match &node.config.advertise_addr {
            Some(address) => (address.host.as_str().into(), i32::from(address.port)),
            None => (self.local.ip().to_string().into(), i32::from(self.local.port())),
        }
    }
}

/// Whether the answer may depend on batches that the same client has just sent.
pub(crate) fn sees_appends(request: &Request) -> bool {
    !matches!(request, Request::ApiVersions(_) | Request::Metadata(_))
}

/// Whether a small request of the kind may have an answer of any size.
pub(crate) fn may_be_large(request: &Request) -> bool {
    matches!(
        request,
        Request::Metadata(_)
            | Request::DescribeConfigs(_)
            | Request::DescribeLogDirs(_)
            | Request::ElectLeaders(_)
            | Request::JoinGroup(_)
            | Request::OffsetFetch(_)
            | Request::DescribeGroups(_)
            | Request::ListGroups(_)
            | Request::AlterPartitionReassignments(_)
            | Request::ListConfigResources(_)
    )
}

/// The partition that a request names, if it is there.
pub(crate) fn find_partition(node: &Node, topic: &str, index: i32) -> Option<Arc<Partition>> {
    let image = node.storage.image();
    let index = u32::try_from(index).ok()?;
    let topic = image.topic(topic).filter(|topic| index < topic.partitions)?;
    node.storage.partition(PartitionId { topic: topic.id, index })
}

/// A frame to send, and the errors in it.
struct Encoder<'a> {
    node: &'a Node,
    header: &'a RequestHeader,
}

impl Encoder<'_> {
    fn frame<M: Message>(
        &self,
        response: &M,
        errors: impl IntoIterator<Item = ErrorCode>,
    ) -> Vec<Bytes> {
        for code in errors.into_iter().filter(|code| code.is_error()) {
            self.node.metrics.note_error(M::API, code);
        }
        encode_response(self.header.correlation_id, self.header.api_version, response)
    }
}

/// Answers any request but Produce and Fetch, whose answers come from elsewhere.
pub(crate) async fn answer(
    node: &Node,
    caller: Caller,
    header: &RequestHeader,
    request: Request,
) -> Vec<Bytes> {
    let out = Encoder { node, header };
    match request {
        Request::Produce(_) | Request::Fetch(_) => unreachable!("the connection handles these"),
        Request::ApiVersions(request) => {
            let response = api_versions::handle(header.api_version, &request);
            out.frame(&response, [response.error_code])
        }
        Request::Metadata(request) => {
            let response = metadata::handle(node, caller, header.api_version, request).await;
            out.frame(&response, response.topics.iter().map(|topic| topic.error_code))
        }
        Request::ListOffsets(request) => {
            let response = list_offsets::handle(node, header.api_version, request).await;
            let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
            out.frame(&response, rows.map(|row| row.error_code))
        }
        Request::CreateTopics(request) => {
            let response = create_topics::handle(node, request).await;
            out.frame(&response, response.topics.iter().map(|topic| topic.error_code))
        }
        Request::DeleteTopics(request) => {
            let response = delete_topics::handle(node, header.api_version, request).await;
            out.frame(&response, response.responses.iter().map(|topic| topic.error_code))
        }
        Request::CreatePartitions(request) => {
            let response = create_partitions::handle(node, request).await;
            out.frame(&response, response.results.iter().map(|topic| topic.error_code))
        }
        Request::DeleteRecords(request) => {
            let response = delete_records::handle(node, request).await;
            let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
            out.frame(&response, rows.map(|row| row.error_code))
        }
        Request::OffsetForLeaderEpoch(request) => {
            let response = offset_for_leader_epoch::handle(node, request);
            let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
            out.frame(&response, rows.map(|row| row.error_code))
        }
        other => coordinate(&out, caller, other).await,
    }
}

/// The APIs of consumer groups.
async fn coordinate(out: &Encoder<'_>, caller: Caller, request: Request) -> Vec<Bytes> {
    let (node, header) = (out.node, out.header);
    let version = header.api_version;
    match request {
        Request::FindCoordinator(request) => {
            let response = find_coordinator::handle(node, caller, version, request).await;
            let rows = response.coordinators.iter().map(|row| row.error_code);
            out.frame(&response, rows.chain([response.error_code]))
        }
        Request::JoinGroup(request) => {
            let response = join_group::handle(node, caller, header, request).await;
            out.frame(&response, [response.error_code])
        }
        Request::SyncGroup(request) => {
            let response = sync_group::handle(node, version, request).await;
            out.frame(&response, [response.error_code])
        }
        Request::Heartbeat(request) => {
            let response = heartbeat::handle(node, &request);
            out.frame(&response, [response.error_code])
        }
        Request::LeaveGroup(request) => {
            let response = leave_group::handle(node, version, request);
            let rows = response.members.iter().map(|row| row.error_code);
            out.frame(&response, rows.chain([response.error_code]))
        }
        Request::OffsetCommit(request) => {
            let response = offset_commit::handle(node, version, request).await;
            let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
            out.frame(&response, rows.map(|row| row.error_code))
        }
        Request::OffsetFetch(request) => {
            let response = offset_fetch::handle(node, version, request);
            let topics = response.groups.iter().flat_map(|group| &group.topics);
            let rows = topics.flat_map(|topic| &topic.partitions).map(|row| row.error_code);
            let groups = response.groups.iter().map(|group| group.error_code);
            out.frame(&response, rows.chain(groups).chain([response.error_code]))
        }
        other => administer_groups(out, caller, other).await,
    }
}

/// What operators ask about groups.
async fn administer_groups(out: &Encoder<'_>, caller: Caller, request: Request) -> Vec<Bytes> {
    let node = out.node;
    match request {
        Request::ListGroups(request) => {
            let response = list_groups::handle(node, &request);
            out.frame(&response, [response.error_code])
        }
        Request::DescribeGroups(request) => {
            let response = describe_groups::handle(node, out.header.api_version, request);
            out.frame(&response, response.groups.iter().map(|group| group.error_code))
        }
        Request::DeleteGroups(request) => {
            let response = delete_groups::handle(node, request).await;
            out.frame(&response, response.results.iter().map(|group| group.error_code))
        }
        Request::OffsetDelete(request) => {
            let response = offset_delete::handle(node, request).await;
            let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
            out.frame(&response, rows.map(|row| row.error_code).chain([response.error_code]))
        }
        other => configure(out, caller, other).await,
    }
}

/// The APIs that are about the broker and its settings.
async fn configure(out: &Encoder<'_>, caller: Caller, request: Request) -> Vec<Bytes> {
    let node = out.node;
    match request {
        Request::InitProducerId(request) => {
            let response = init_producer_id::handle(node, &request).await;
            out.frame(&response, [response.error_code])
        }
        Request::DescribeConfigs(request) => {
            let response = describe_configs::handle(node, request);
            out.frame(&response, response.results.iter().map(|result| result.error_code))
        }
        Request::AlterConfigs(request) => {
            let response = alter_configs::replace(node, request).await;
            out.frame(&response, response.responses.iter().map(|result| result.error_code))
        }
        Request::IncrementalAlterConfigs(request) => {
            let response = alter_configs::change(node, request).await;
            out.frame(&response, response.responses.iter().map(|result| result.error_code))
        }
        Request::DescribeCluster(request) => {
            let response = describe_cluster::handle(node, caller, &request);
            out.frame(&response, [response.error_code])
        }
        Request::ListConfigResources(request) => {
            let response = list_config_resources::handle(node, out.header.api_version, &request);
            out.frame(&response, [response.error_code])
        }
        other => place(out, other).await,
    }
}

/// The APIs that are about where partitions lie, and who leads them.
async fn place(out: &Encoder<'_>, request: Request) -> Vec<Bytes> {
    let node = out.node;
    match request {
        Request::DescribeLogDirs(request) => {
            let response = describe_log_dirs::handle(node, request).await;
            out.frame(&response, response.results.iter().map(|result| result.error_code))
        }
        Request::ElectLeaders(request) => {
            let response = elect_leaders::handle(node, request);
            let results = response.replica_election_results.iter();
            let rows = results.flat_map(|result| &result.partition_result);
            out.frame(&response, rows.map(|row| row.error_code))
        }
        Request::AlterPartitionReassignments(request) => {
            let response = reassignments::alter(node, request);
            let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
            out.frame(&response, rows.map(|row| row.error_code))
        }
        Request::ListPartitionReassignments(_) => out.frame(&reassignments::list(), []),
        other => unreachable!("{other:?} is answered above"),
    }
}
