//! Consumer groups over the native protocol. Members speak Kafka's consumer protocol through it:
//! native and Kafka's clients can share a group.

mod subscription;

use std::collections::BTreeMap;

use rivven_core::wire::codec::Name;
use rivven_core::wire::message::{CommittedOffset, OffsetToCommit};
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use super::errors::{Failure, not_served};
use super::topics::{index, offset};
use super::{Member, Session};
use crate::api;
use rivven_core::kafka::codec::api::ApiKey;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::messages::delete_groups::DeleteGroupsRequest;
use rivven_core::kafka::messages::heartbeat::HeartbeatRequest;
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use rivven_core::kafka::messages::leave_group::LeaveGroupRequest;
use rivven_core::kafka::messages::list_groups::ListGroupsRequest;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroup, OffsetFetchGroupResponse, OffsetFetchRequest, OffsetFetchTopic,
};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

/// Before version 4 a new member joins with its first request.
const JOIN_VERSION: i16 = 3;
const SYNC_VERSION: i16 = 3;
const LEAVE_VERSION: i16 = 2;
/// The newest versions that name topics by name.
const OFFSET_COMMIT_VERSION: i16 = 9;
const OFFSET_FETCH_VERSION: i16 = 9;
/// What native members choose among: there is one way.
const PROTOCOL: &str = "range";
const CLIENT_ID: &str = "rivven";

type Answered = Result<Response, Failure>;
/// The partitions of each topic.
type TopicPartitions = Vec<(Name, Vec<u32>)>;

/// The group of a request that comes after those before it in the same group. Heartbeats do not:
/// they go on while their member waits.
pub(crate) fn group_in_order(request: &Request) -> Option<&str> {
    match request {
        Request::JoinGroup { group_id, .. }
        | Request::SyncGroup { group_id, .. }
        | Request::LeaveGroup { group_id, .. }
        | Request::CommitOffsets { group_id, .. } => Some(group_id),
        Request::CommitOffset { consumer_group, .. }
        | Request::GetOffset { consumer_group, .. }
        | Request::DescribeGroup { consumer_group }
        | Request::DeleteGroup { consumer_group } => Some(consumer_group),
        _ => None,
    }
}

/// Whether the answer waits for other members of a group.
pub(crate) fn waits_for_group(request: &Request) -> bool {
    matches!(request, Request::JoinGroup { .. } | Request::SyncGroup { .. })
}

/// Answers the requests about groups; what is left over is not served.
pub(super) async fn answer(session: &Session, request: Request) -> Answered {
    match request {
        Request::JoinGroup { .. } => join(session, request).await,
        Request::SyncGroup { group_id, generation_id, member_id, assignments } => {
            sync(session, (&group_id, generation_id, &member_id), &assignments).await
        }
        Request::Heartbeat { group_id, generation_id, member_id } => {
            heartbeat(session, (&group_id, generation_id, &member_id))
        }
        Request::LeaveGroup { group_id, member_id } => leave(session, &group_id, &member_id),
        Request::CommitOffset { consumer_group, topic, partition, offset } => {
            let one = OffsetToCommit { topic, partition, offset, ..OffsetToCommit::default() };
            let by = session.member(&consumer_group);
            let rows = commit(session, &consumer_group, (by, None), &[one]).await?;
            match ErrorCode(rows[0].error_code) {
                ErrorCode::NONE => Ok(Response::OffsetCommitted),
                code => Err(Failure::new(code, "the offset was not committed")),
            }
        }
        Request::CommitOffsets {
            group_id,
            generation_id,
            member_id,
            group_instance_id,
            offsets,
        } => {
            let by = match (generation_id, &*member_id) {
                // As in number 9, and in all of protobuf's commits, nobody is named.
                (-1, "") => session.member(&group_id),
                _ => Member { id: member_id, generation: generation_id },
            };
            let instance = group_instance_id.as_deref();
            let results = commit(session, &group_id, (by, instance), &offsets).await?;
            Ok(Response::OffsetsCommitted { results })
        }
        Request::GetOffset { consumer_group, topic, partition } => {
            committed(session, &consumer_group, (&topic, partition))
        }
        Request::ListGroups => list(session),
        Request::DescribeGroup { consumer_group } => describe(session, &consumer_group),
        Request::DeleteGroup { consumer_group } => delete(session, &consumer_group).await,
        other => Err(not_served(&other)),
    }
}

/// A member that its group does not know is none of this connection any more.
fn refused_member(session: &Session, code: ErrorCode, (group, member): (&str, &str)) -> Failure {
    if code == ErrorCode::UNKNOWN_MEMBER_ID {
        session.forget(group, member);
    }
    refused(code, group)
}

fn refused(code: ErrorCode, group: &str) -> Failure {
    Failure::new(code, format!("group '{group}'"))
}

async fn join(session: &Session, request: Request) -> Answered {
    let Request::JoinGroup {
        group_id,
        member_id,
        session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type,
        subscriptions,
    } = request
    else {
        unreachable!("the caller looked")
    };
    let metadata = subscription::subscription(subscriptions.iter().map(|topic| &**topic));
    let join = |member_id: &str| JoinGroupRequest {
        group_id: (&*group_id).into(),
        session_timeout_ms: millis(session_timeout_ms),
        rebalance_timeout_ms: millis(rebalance_timeout_ms),
        member_id: member_id.into(),
        protocol_type: (&*protocol_type).into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: PROTOCOL.into(),
            metadata: metadata.clone(),
        }],
        ..JoinGroupRequest::default()
    };
    session.reserve(&group_id)?;
    let mut joined = ask_to_join(session, join(&member_id)).await;
    // Released consumers ask with the id that they once got for ever, whatever became of it.
    if joined.error_code == ErrorCode::UNKNOWN_MEMBER_ID && !member_id.is_empty() {
        joined = ask_to_join(session, join("")).await;
    }
    if joined.error_code.is_error() {
        session.forget(&group_id, &Member::nobody().id);
        return Err(refused(joined.error_code, &group_id));
    }
    let id = Name::from(joined.member_id.as_str());
    session.remember(&group_id, Member { id, generation: joined.generation_id });
    let metadata = joined.members.iter().map(|member| (&*member.member_id, &*member.metadata));
    let Some(members) = subscription::of_members(metadata) else {
        let _left = leave(session, &group_id, &joined.member_id);
        let text = "the subscriptions of the group take more than an answer holds";
        return Err(Failure::new(ErrorCode::MESSAGE_TOO_LARGE, text));
    };
    Ok(Response::JoinGroupResult {
        generation_id: u32::try_from(joined.generation_id).expect("generations count from 1"),
        protocol_type: protocol_type.to_string(),
        member_id: joined.member_id.to_string(),
        leader_id: joined.leader.to_string(),
        members,
    })
}

async fn ask_to_join(session: &Session, join: JoinGroupRequest) -> JoinGroupResponse {
    let header = RequestHeader {
        api_key: ApiKey::JoinGroup as i16,
        api_version: JOIN_VERSION,
        client_id: Some(CLIENT_ID.into()),
        ..RequestHeader::default()
    };
    api::join_group::handle(&session.node, session.caller, &header, join).await
}

fn millis(millis: u32) -> i32 {
    i32::try_from(millis).unwrap_or(i32::MAX)
}

/// A generation beyond Kafka's is nobody's.
fn generation(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(i32::MAX)
}

async fn sync(
    session: &Session,
    (group, generation_id, member): (&str, u32, &str),
    assignments: &[(Name, TopicPartitions)],
) -> Answered {
    let assignment = |(member, topics): &(Name, TopicPartitions)| SyncGroupRequestAssignment {
        member_id: (&**member).into(),
        assignment: subscription::assignment(topics),
    };
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation(generation_id),
        member_id: member.into(),
        assignments: assignments.iter().map(assignment).collect(),
        ..SyncGroupRequest::default()
    };
    let synced = api::sync_group::handle(&session.node, SYNC_VERSION, request).await;
    if synced.error_code.is_error() {
        return Err(refused_member(session, synced.error_code, (group, member)));
    }
    let assignments = subscription::assigned(&synced.assignment).unwrap_or_default();
    Ok(Response::SyncGroupResult { assignments })
}

/// Released clients know two codes, 0 and that of a rebalance, and take every other for 0: what
/// else there is to say is an error.
fn heartbeat(session: &Session, (group, id, member): (&str, u32, &str)) -> Answered {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id: generation(id),
        member_id: member.into(),
        ..HeartbeatRequest::default()
    };
    match api::heartbeat::handle(&session.node, &request).error_code {
        code @ (ErrorCode::NONE | ErrorCode::REBALANCE_IN_PROGRESS) => {
            Ok(Response::HeartbeatResult { error_code: i32::from(code.0) })
        }
        code => Err(refused_member(session, code, (group, member))),
    }
}

fn leave(session: &Session, group: &str, member: &str) -> Answered {
    session.forget(group, member);
    let (group_id, member_id) = (group.into(), member.into());
    let request = LeaveGroupRequest { group_id, member_id, ..LeaveGroupRequest::default() };
    match api::leave_group::handle(&session.node, LEAVE_VERSION, request).error_code {
        ErrorCode::NONE => Ok(Response::LeaveGroupResult),
        code => Err(refused(code, group)),
    }
}

async fn commit(
    session: &Session,
    group: &str,
    (by, instance): (Member, Option<&str>),
    offsets: &[OffsetToCommit],
) -> Result<Vec<CommittedOffset>, Failure> {
    let topic = |one: &OffsetToCommit| {
        let committed_offset = i64::try_from(one.offset)
            .map_err(|_| Failure::new(ErrorCode::INVALID_REQUEST, "no log is that long"))?;
        let epoch = one.leader_epoch.and_then(|epoch| i32::try_from(epoch).ok());
        let partition = OffsetCommitRequestPartition {
            partition_index: index(&one.topic, one.partition)?,
            committed_offset,
            committed_leader_epoch: epoch.unwrap_or(-1),
            committed_metadata: one.metadata.as_deref().map(Into::into),
        };
        let (name, partitions) = ((&*one.topic).into(), vec![partition]);
        Ok(OffsetCommitRequestTopic { name, partitions, ..OffsetCommitRequestTopic::default() })
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: by.generation,
        member_id: (&*by.id).into(),
        group_instance_id: instance.map(Into::into),
        topics: offsets.iter().map(topic).collect::<Result<_, Failure>>()?,
        ..OffsetCommitRequest::default()
    };
    let response = api::offset_commit::handle(&session.node, OFFSET_COMMIT_VERSION, request).await;
    let mut codes = response.topics.iter().map(|topic| topic.partitions[0].error_code);
    if codes.any(|code| code == ErrorCode::UNKNOWN_MEMBER_ID) {
        session.forget(group, &by.id);
    }
    let rows = response.topics.iter().zip(offsets).map(|(topic, one)| CommittedOffset {
        topic: one.topic.to_string(),
        partition: one.partition,
        error_code: topic.partitions[0].error_code.0,
    });
    Ok(rows.collect())
}

/// What a group has committed for a topic and partition, or for all.
fn fetch(
    session: &Session,
    group: &str,
    topics: Option<Vec<OffsetFetchTopic>>,
) -> Result<OffsetFetchGroupResponse, Failure> {
    let group_id = group.into();
    let asked = OffsetFetchGroup { group_id, topics, ..OffsetFetchGroup::default() };
    let request = OffsetFetchRequest { groups: vec![asked], ..OffsetFetchRequest::default() };
    let mut response = api::offset_fetch::handle(&session.node, OFFSET_FETCH_VERSION, request);
    let found = response.groups.pop().expect("one for each group");
    match found.error_code {
        ErrorCode::NONE => Ok(found),
        code => Err(refused(code, group)),
    }
}

fn committed(session: &Session, group: &str, (topic, partition): (&str, u32)) -> Answered {
    let partition_indexes = vec![index(topic, partition)?];
    let name = topic.into();
    let asked = OffsetFetchTopic { name, partition_indexes, ..OffsetFetchTopic::default() };
    let found = fetch(session, group, Some(vec![asked]))?;
    let row = &found.topics[0].partitions[0];
    match row.error_code {
        ErrorCode::NONE => {
            Ok(Response::Offset { offset: u64::try_from(row.committed_offset).ok() })
        }
        code => Err(refused(code, group)),
    }
}

fn groups(session: &Session) -> Result<Vec<String>, Failure> {
    let listed = api::list_groups::handle(&session.node, &ListGroupsRequest::default());
    match listed.error_code {
        ErrorCode::NONE => Ok(listed.groups.iter().map(|row| row.group_id.to_string()).collect()),
        code => Err(Failure::new(code, "the groups are not read yet")),
    }
}

fn list(session: &Session) -> Answered {
    Ok(Response::Groups { groups: groups(session)? })
}

fn describe(session: &Session, group: &str) -> Answered {
    let found = fetch(session, group, None)?;
    if found.topics.is_empty() && !groups(session)?.iter().any(|listed| listed == group) {
        return Err(Failure::new(
            ErrorCode::GROUP_ID_NOT_FOUND,
            format!("there is no group '{group}'"),
        ));
    }
    let mut offsets: BTreeMap<String, BTreeMap<u32, u64>> = BTreeMap::new();
    for topic in &found.topics {
        let of_topic = offsets.entry(topic.name.to_string()).or_default();
        for row in topic.partitions.iter().filter(|row| row.committed_offset >= 0) {
            let partition = u32::try_from(row.partition_index).expect("partitions count from 0");
            of_topic.insert(partition, offset(row.committed_offset));
        }
    }
    Ok(Response::GroupDescription { consumer_group: group.to_owned(), offsets })
}

async fn delete(session: &Session, group: &str) -> Answered {
    let groups_names = vec![group.into()];
    let request = DeleteGroupsRequest { groups_names };
    let response = api::delete_groups::handle(&session.node, request).await;
    match response.results[0].error_code {
        ErrorCode::NONE => {
            session.forget_group(group);
            Ok(Response::GroupDeleted)
        }
        code => Err(refused(code, group)),
    }
}
