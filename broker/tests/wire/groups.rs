//! Consumer groups: members, offsets, restarts, and topics that go.

use std::time::Duration;

use bytes::Bytes;
use rivven_broker::config::Config;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::delete_groups::DeleteGroupsRequest;
use rivven_core::kafka::messages::delete_topics::DeleteTopicsRequest;
use rivven_core::kafka::messages::describe_groups::DescribeGroupsRequest;
use rivven_core::kafka::messages::find_coordinator::FindCoordinatorRequest;
use rivven_core::kafka::messages::heartbeat::HeartbeatRequest;
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use rivven_core::kafka::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use rivven_core::kafka::messages::list_groups::ListGroupsRequest;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rivven_core::kafka::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroup, OffsetFetchPartitionResponse, OffsetFetchRequest,
};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use rivven_core::wire::message::OffsetToCommit;
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use crate::client::Client;
use crate::fixture::Fixture;
use crate::native_client::Native;

/// ConsumerProtocolSubscription 0 of the topic `t`.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

pub(crate) fn at_once(config: &mut Config) {
    config.group_initial_rebalance_delay = Duration::ZERO;
    config.offsets_topic_partitions = 3;
}

async fn join(client: &mut Client, member_id: &str, instance: Option<&str>) -> JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: Bytes::from_static(SUBSCRIPTION),
    };
    let request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        reason: None,
    };
    client.call(9, &request).await
}

/// Joins as a new member does: with the id that it is given.
async fn join_anew(client: &mut Client) -> JoinGroupResponse {
    let first = join(client, "", None).await;
    assert_eq!(first.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    let joined = join(client, &first.member_id, None).await;
    assert_eq!(joined.error_code, ErrorCode::NONE);
    joined
}

async fn sync(client: &mut Client, me: &JoinGroupResponse, given: &[(&str, &[u8])]) -> Bytes {
    let assignments = given.iter().map(|(member, assignment)| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: Bytes::copy_from_slice(assignment),
    });
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: me.generation_id,
        member_id: me.member_id.clone(),
        group_instance_id: None,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.collect(),
    };
    let response = client.call(5, &request).await;
    assert_eq!(response.error_code, ErrorCode::NONE);
    response.assignment
}

pub(crate) async fn commit(client: &mut Client, me: (&str, i32), of: (&str, i64)) -> ErrorCode {
    commit_noted(client, (9, me), of, "note").await
}

async fn commit_noted(
    client: &mut Client,
    (version, me): (i16, (&str, i32)),
    (topic, offset): (&str, i64),
    note: &str,
) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_metadata: Some(note.into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: me.1,
        member_id: me.0.into(),
        topics: vec![topic],
        ..Default::default()
    };
    commit_as_asked(client, version, &request).await
}

async fn commit_as_asked(
    client: &mut Client,
    version: i16,
    request: &OffsetCommitRequest,
) -> ErrorCode {
    client.call(version, request).await.topics[0].partitions[0].error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_take_a_share_of_the_memory_and_those_that_are_there_go_on() {
    let fixture = Fixture::start_with(|config| {
        at_once(config);
        config.memory_bytes = 32 << 20;
        config.max_connections = 256;
    })
    .await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    let of_group = |number: usize, committed_offset| {
        let partition = OffsetCommitRequestPartition {
            committed_offset,
            committed_metadata: Some("x".repeat(4000).as_str().into()),
            ..Default::default()
        };
        let partitions = vec![partition];
        let topic = OffsetCommitRequestTopic { name: "t".into(), partitions, ..Default::default() };
        OffsetCommitRequest {
            group_id: format!("g{number}").as_str().into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        }
    };
    let mut made = 0;
    let refused = loop {
        match commit_as_asked(&mut client, 9, &of_group(made, 1)).await {
            ErrorCode::NONE => made += 1,
            code => break code,
        }
        assert!(made < 1000, "4 MB of offsets do not fit an eighth of 32 MiB");
    };
    assert_eq!(refused, ErrorCode::INVALID_COMMIT_OFFSET_SIZE);
    assert!(made > 300, "{made}");
    let joined = join(&mut client, "", None).await;
    assert_eq!(joined.error_code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(commit_as_asked(&mut client, 9, &of_group(0, 2)).await, ErrorCode::NONE);
    let metrics = crate::http::metrics(&fixture).await;
    let line = metrics.lines().find(|line| line.starts_with("rivven_groups_memory_bytes "));
    let bytes: usize = line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a row");
    assert!((made * 4000..made * 6000).contains(&bytes), "{bytes} bytes of {made} groups");
    let request = DeleteGroupsRequest { groups_names: vec!["g1".into(), "g2".into()] };
    client.call(2, &request).await;
    assert_eq!(commit_as_asked(&mut client, 9, &of_group(made, 1)).await, ErrorCode::NONE);
    fixture.stop().await;
}

/// Topic, partition and offset of everything that the group has committed.
pub(crate) async fn committed(client: &mut Client) -> Vec<(String, i32, i64)> {
    let group = OffsetFetchGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    loop {
        let response = client.call(9, &request).await;
        let group = &response.groups[0];
        if group.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            continue;
        }
        assert_eq!(group.error_code, ErrorCode::NONE);
        let rows = group.topics.iter().flat_map(|topic| {
            let name = topic.name.to_string();
            let row = move |row: &OffsetFetchPartitionResponse| {
                (name.clone(), row.partition_index, row.committed_offset)
            };
            topic.partitions.iter().map(row)
        });
        return rows.collect();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_outlives_its_broker() {
    let fixture = Fixture::start_with(at_once).await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(1, &request).await.error_code, ErrorCode::NONE);
    let me = join_anew(&mut client).await;
    assert_eq!(
        (me.generation_id, me.leader.clone(), me.members.len()),
        (1, me.member_id.clone(), 1)
    );
    assert_eq!(sync(&mut client, &me, &[(&me.member_id, b"all")]).await, "all");
    assert_eq!(commit(&mut client, (&me.member_id, 1), ("t", 42)).await, ErrorCode::NONE);
    assert_eq!(commit(&mut client, ("", -1), ("t", 7)).await, ErrorCode::UNKNOWN_MEMBER_ID);
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    assert_eq!(committed(&mut client).await, [("t".to_owned(), 0, 42)]);
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: me.member_id.clone(),
        group_instance_id: None,
    };
    assert_eq!(client.call(4, &heartbeat).await.error_code, ErrorCode::NONE);
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let described = client.call(6, &request).await.groups.remove(0);
    assert_eq!((&*described.group_state, &*described.protocol_data), ("Stable", "range"));
    assert_eq!(described.members[0].member_assignment, "all");
    let listed = client.call(5, &ListGroupsRequest::default()).await.groups;
    assert_eq!((listed.len(), &*listed[0].group_id, &*listed[0].group_state), (1, "g", "Stable"));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_and_one_goes() {
    let fixture = Fixture::start_with(at_once).await;
    let mut one = fixture.client().await;
    let mut two = fixture.client().await;
    one.create("t", 2, &[]).await;
    let first = join_anew(&mut one).await;
    sync(&mut one, &first, &[(&first.member_id, b"all")]).await;
    let id = join(&mut two, "", None).await.member_id;
    let (a, b) = tokio::join!(join(&mut two, &id, None), async {
        // The first is told to join again.
        let heartbeat = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: 1,
            member_id: first.member_id.clone(),
            group_instance_id: None,
        };
        while one.call(4, &heartbeat).await.error_code != ErrorCode::REBALANCE_IN_PROGRESS {}
        join(&mut one, &first.member_id, None).await
    });
    assert_eq!((a.generation_id, b.generation_id, b.members.len()), (2, 2, 2));
    let given: [(&str, &[u8]); 2] = [(&a.member_id, b"half"), (&b.member_id, b"rest")];
    let (half, rest) = tokio::join!(sync(&mut two, &a, &[]), sync(&mut one, &b, &given));
    assert_eq!((half, rest), (Bytes::from("half"), Bytes::from("rest")));
    assert_eq!(commit(&mut one, (&b.member_id, 1), ("t", 1)).await, ErrorCode::ILLEGAL_GENERATION);
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![MemberIdentity { member_id: a.member_id.clone(), ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(two.call(5, &leave).await.members[0].error_code, ErrorCode::NONE);
    assert_eq!(two.call(5, &leave).await.members[0].error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let again = join(&mut one, &b.member_id, None).await;
    assert_eq!((again.generation_id, again.members.len()), (3, 1));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_go_with_their_topic_or_group() {
    let fixture = Fixture::start_with(at_once).await;
    let mut client = fixture.client().await;
    for topic in ["t", "u", "v"] {
        client.create(topic, 1, &[]).await;
        assert_eq!(commit(&mut client, ("", -1), (topic, 5)).await, ErrorCode::NONE);
    }
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    client.call(5, &request).await;
    client.create("t", 1, &[]).await;
    assert_eq!(committed(&mut client).await.len(), 2, "the new topic was never read");
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
    let topics = vec![OffsetDeleteRequestTopic { name: "u".into(), partitions }];
    let request = OffsetDeleteRequest { group_id: "g".into(), topics };
    let deleted = client.call(0, &request).await;
    assert_eq!(deleted.topics[0].partitions[0].error_code, ErrorCode::NONE);
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    assert_eq!(committed(&mut client).await, [("v".to_owned(), 0, 5)]);
    assert_eq!(commit(&mut client, ("", -1), ("t", 6)).await, ErrorCode::NONE);
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    let left = [("t".to_owned(), 0, 6), ("v".to_owned(), 0, 5)];
    assert_eq!(committed(&mut client).await, left);
    let request = DeleteGroupsRequest { groups_names: vec!["g".into(), "none".into()] };
    let codes: Vec<_> =
        client.call(2, &request).await.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::GROUP_ID_NOT_FOUND]);
    assert_eq!(committed(&mut client).await, []);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_as_by_kafka() {
    let fixture = Fixture::start_with(at_once).await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    for (version, code) in [(8, ErrorCode::ILLEGAL_GENERATION), (9, ErrorCode::GROUP_ID_NOT_FOUND)]
    {
        let refused = commit_noted(&mut client, (version, ("m", 1)), ("t", 5), "").await;
        assert_eq!(refused, code, "version {version}");
    }
    // 4096 of Java's characters, and one more.
    for (unit, count) in [("n", 4096), ("\u{e9}", 4096), ("\u{20ac}", 4096), ("\u{1f600}", 2048)] {
        let note = unit.repeat(count);
        let taken = commit_noted(&mut client, (9, ("", -1)), ("t", 5), &note).await;
        assert_eq!(taken, ErrorCode::NONE, "{unit}");
        let refused = commit_noted(&mut client, (9, ("", -1)), ("t", 5), &(note + "n")).await;
        assert_eq!(refused, ErrorCode::OFFSET_METADATA_TOO_LARGE, "{unit}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_keeps_its_place() {
    let fixture = Fixture::start_with(at_once).await;
    let mut client = fixture.client().await;
    let first = join(&mut client, "", Some("i")).await;
    assert_eq!((first.error_code, first.generation_id), (ErrorCode::NONE, 1));
    sync(&mut client, &first, &[(&first.member_id, b"all")]).await;
    let second = join(&mut client, "", Some("i")).await;
    assert_eq!((second.generation_id, second.skip_assignment), (1, true));
    assert_ne!(second.member_id, first.member_id);
    assert_eq!(sync(&mut client, &second, &[]).await, "all");
    let fenced = join(&mut client, &first.member_id, Some("i")).await;
    assert_eq!(fenced.error_code, ErrorCode::FENCED_INSTANCE_ID);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_members_are_members_like_others() {
    let fixture = Fixture::start_with(at_once).await;
    let mut native = Native::connect(&fixture).await;
    let mut client = fixture.client().await;
    native.create("t", 2).await;
    let join = Request::JoinGroup {
        group_id: "g".into(),
        member_id: "".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        subscriptions: vec!["t".into()],
    };
    let Response::JoinGroupResult { generation_id, member_id, leader_id, members, .. } =
        native.call(&join).await
    else {
        panic!("it joins")
    };
    assert_eq!((generation_id, &leader_id), (1, &member_id));
    assert_eq!(members, [(member_id.clone(), vec!["t".to_owned()])]);
    let sync = Request::SyncGroup {
        group_id: "g".into(),
        generation_id,
        member_id: (&*member_id).into(),
        assignments: vec![((&*member_id).into(), vec![("t".into(), vec![0, 1])])],
    };
    let assigned = Response::SyncGroupResult { assignments: vec![("t".to_owned(), vec![0, 1])] };
    assert_eq!(native.call(&sync).await, assigned);
    let commit = |offset| Request::CommitOffset {
        consumer_group: "g".into(),
        topic: "t".into(),
        partition: 0,
        offset,
    };
    assert_eq!(native.call(&commit(5)).await, Response::OffsetCommitted);
    assert_eq!(committed(&mut client).await, [("t".to_owned(), 0, 5)]);
    // Another connection is nobody's member.
    let mut stranger = Native::connect(&fixture).await;
    let refused = stranger.error(&commit(1)).await;
    assert!(refused.starts_with("UNKNOWN_MEMBER_ID: "), "{refused}");
    let offset = OffsetToCommit {
        topic: "t".into(),
        partition: 1,
        offset: 9,
        leader_epoch: None,
        metadata: None,
    };
    let commits = Request::CommitOffsets {
        group_id: "g".into(),
        generation_id: 1,
        member_id: (&*member_id).into(),
        group_instance_id: None,
        offsets: vec![offset],
    };
    let Response::OffsetsCommitted { results } = stranger.call(&commits).await else {
        panic!("the member is named")
    };
    assert_eq!(results[0].error_code, 0);
    let heartbeat = |generation_id| Request::Heartbeat {
        group_id: "g".into(),
        generation_id,
        member_id: (&*member_id).into(),
    };
    assert_eq!(native.call(&heartbeat(1)).await, Response::HeartbeatResult { error_code: 0 });
    assert!(native.error(&heartbeat(7)).await.starts_with("ILLEGAL_GENERATION: "));
    let get = Request::GetOffset { consumer_group: "g".into(), topic: "t".into(), partition: 1 };
    assert_eq!(stranger.call(&get).await, Response::Offset { offset: Some(9) });
    let groups = Response::Groups { groups: vec!["g".to_owned()] };
    assert_eq!(stranger.call(&Request::ListGroups).await, groups);
    let leave = Request::LeaveGroup { group_id: "g".into(), member_id: (&*member_id).into() };
    assert_eq!(native.call(&leave).await, Response::LeaveGroupResult);
    let describe = Request::DescribeGroup { consumer_group: "g".into() };
    let Response::GroupDescription { offsets, .. } = native.call(&describe).await else {
        panic!("the group is there")
    };
    assert_eq!(offsets["t"], [(0, 5), (1, 9)].into());
    let delete = Request::DeleteGroup { consumer_group: "g".into() };
    assert_eq!(native.call(&delete).await, Response::GroupDeleted);
    assert!(native.error(&describe).await.starts_with("GROUP_ID_NOT_FOUND: "));
    fixture.stop().await;
}
