//! Consumer groups of native members.

use std::time::Duration;

use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroup, OffsetFetchRequest, OffsetFetchTopic,
};
use rivven_core::wire::message::{CommittedOffset, OffsetToCommit};
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use crate::fixture::Fixture;
use crate::groups::at_once;
use crate::native_client::{Native, publish};

fn join(member: &str) -> Request {
    join_group("g", member)
}

fn join_group(group: &str, member: &str) -> Request {
    Request::JoinGroup {
        group_id: group.into(),
        member_id: member.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        subscriptions: vec!["t".into()],
    }
}

impl Native {
    /// Joins a group; generation and member.
    async fn join(&mut self, request: &Request) -> (u32, String) {
        match self.call(request).await {
            Response::JoinGroupResult { generation_id, member_id, .. } => {
                (generation_id, member_id)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn commit(offset: u64) -> Request {
    let (consumer_group, topic) = ("g".into(), "t".into());
    Request::CommitOffset { consumer_group, topic, partition: 0, offset }
}

fn committed() -> Request {
    Request::GetOffset { consumer_group: "g".into(), topic: "t".into(), partition: 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_commits_and_leaves_and_a_stranger_commits_nothing() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("t", 1).await;
    for _ in 0..5 {
        native.call(&publish("t", 0, "v")).await;
    }
    assert_eq!(native.call(&committed()).await, Response::Offset { offset: None });
    let answer = native.call(&join("")).await;
    let Response::JoinGroupResult { generation_id, member_id, leader_id, members, .. } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(member_id, leader_id);
    assert_eq!(members, [(member_id.clone(), vec!["t".to_owned()])]);
    let sync = Request::SyncGroup {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.as_str().into(),
        assignments: vec![(member_id.as_str().into(), vec![("t".into(), vec![0])])],
    };
    let assignments = vec![("t".to_owned(), vec![0])];
    assert_eq!(native.call(&sync).await, Response::SyncGroupResult { assignments });
    let heartbeat = |generation_id| Request::Heartbeat {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.as_str().into(),
    };
    let accepted = Response::HeartbeatResult { error_code: 0 };
    assert_eq!(native.call(&heartbeat(generation_id)).await, accepted);
    let error = native.error(&heartbeat(generation_id + 1)).await;
    assert!(error.starts_with("ILLEGAL_GENERATION: "), "{error}");
    assert_eq!(native.call(&commit(3)).await, Response::OffsetCommitted);
    // In protobuf: field 16 with group, topic and offset.
    let in_protobuf = [0x82, 1, 8, 0x0a, 1, b'g', 0x12, 1, b't', 0x20, 3];
    native.client.send_frame(&[&[1, 0, 0, 0, 7][..], &in_protobuf].concat()).await;
    let frame = native.client.frame().await.unwrap();
    assert_eq!(frame[11..], [0x82, 1, 0], "{frame:?}");

    let mut stranger = Native::connect(&fixture).await;
    let error = stranger.error(&commit(1)).await;
    assert!(error.starts_with("UNKNOWN_MEMBER_ID: "), "{error}");
    let with_generation = |generation_id: i32| Request::CommitOffsets {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.as_str().into(),
        group_instance_id: None,
        offsets: vec![OffsetToCommit {
            topic: "t".into(),
            partition: 0,
            offset: 4,
            metadata: Some("m".to_owned()),
            ..OffsetToCommit::default()
        }],
    };
    let current = i32::try_from(generation_id).unwrap();
    for (generation, error_code) in [(current + 1, 22), (current, 0)] {
        let row = CommittedOffset { topic: "t".to_owned(), partition: 0, error_code };
        let expected = Response::OffsetsCommitted { results: vec![row] };
        assert_eq!(stranger.call(&with_generation(generation)).await, expected);
    }
    assert_eq!(stranger.call(&committed()).await, Response::Offset { offset: Some(4) });

    let group = |group: &str| Request::DescribeGroup { consumer_group: group.into() };
    let Response::GroupDescription { offsets, .. } = native.call(&group("g")).await else {
        panic!("the group is there")
    };
    assert_eq!(offsets["t"][&0], 4);
    let error = native.error(&group("none")).await;
    assert!(error.starts_with("GROUP_ID_NOT_FOUND: "), "{error}");
    let groups = Response::Groups { groups: vec!["g".to_owned()] };
    assert_eq!(native.call(&Request::ListGroups).await, groups);
    let delete = Request::DeleteGroup { consumer_group: "g".into() };
    let error = native.error(&delete).await;
    assert!(error.starts_with("NON_EMPTY_GROUP: "), "{error}");

    let leave = Request::LeaveGroup { group_id: "g".into(), member_id: member_id.as_str().into() };
    assert_eq!(native.call(&leave).await, Response::LeaveGroupResult);
    assert_eq!(native.call(&commit(5)).await, Response::OffsetCommitted, "the group is empty");
    let fixture = fixture.restart().await;
    let mut native = Native::connect(&fixture).await;
    while let Response::Error { message } = native.call(&committed()).await {
        assert!(message.starts_with("COORDINATOR_LOAD_IN_PROGRESS: "), "{message}");
    }
    assert_eq!(native.call(&committed()).await, Response::Offset { offset: Some(5) });
    let mut kafka = fixture.client().await;
    let topic = OffsetFetchTopic {
        name: "t".into(),
        partition_indexes: vec![0],
        ..OffsetFetchTopic::default()
    };
    let asked = OffsetFetchGroup {
        group_id: "g".into(),
        topics: Some(vec![topic]),
        ..OffsetFetchGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![asked], ..OffsetFetchRequest::default() };
    let found = kafka.call(8, &request).await.groups.remove(0);
    assert_eq!(found.topics[0].partitions[0].committed_offset, 5, "Kafka's clients see it too");
    assert_eq!(native.call(&delete).await, Response::GroupDeleted);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_id_is_not_known_any_more_joins_under_a_new_one() {
    let fixture = Fixture::start_with(at_once).await;
    let mut native = Native::connect(&fixture).await;
    let (_, member) = native.join(&join("gone")).await;
    assert!(!["", "gone"].contains(&&*member), "{member}");
    let (_, again) = native.join(&join(&member)).await;
    assert_eq!(again, member, "a known id is kept");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_waits_for_its_group_keeps_nothing_else_waiting() {
    let fixture = Fixture::start_with(at_once).await;
    let mut first = Native::connect(&fixture).await;
    first.create("t", 1).await;
    let (generation_id, member) = first.join(&join("")).await;
    let mut second = Native::connect(&fixture).await;
    let create = Request::CreateTopic { name: "made".into(), partitions: Some(1) };
    let mut sent = Vec::new();
    for request in [join(""), commit(1), create] {
        sent.push(second.send(&request).await);
    }
    let mut other = Native::connect(&fixture).await;
    let begun = fixture.env.clock.now();
    let made = Request::GetMetadata { topic: "made".into() };
    while !matches!(other.call(&made).await, Response::Metadata { .. }) {
        assert!(fixture.env.clock.now().since(begun) < Duration::from_secs(8));
    }
    let heartbeat =
        Request::Heartbeat { group_id: "g".into(), generation_id, member_id: (&*member).into() };
    while first.call(&heartbeat).await != (Response::HeartbeatResult { error_code: 27 }) {
        assert!(fixture.env.clock.now().since(begun) < Duration::from_secs(8));
    }
    first.join(&join(&member)).await;
    let (id, answer) = second.receive().await;
    assert_eq!(id, sent[0]);
    assert!(matches!(answer, Response::JoinGroupResult { generation_id: 2, .. }), "{answer:?}");
    let (id, answer) = second.receive().await;
    assert_eq!(id, sent[1]);
    let Response::Error { message } = answer else { panic!("{answer:?}") };
    assert!(
        message.starts_with("REBALANCE_IN_PROGRESS: "),
        "a member's, not a stranger's: {message}"
    );
    assert_eq!(second.receive().await.0, sent[2]);

    let mut third = Native::connect(&fixture).await;
    third.send(&join("")).await;
    third.client.end();
    let (_, answer) = third.receive().await;
    let Response::Error { message } = answer else { panic!("{answer:?}") };
    assert!(message.starts_with("REBALANCE_IN_PROGRESS: "), "{message}");
    assert!(third.client.is_closed().await);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_too_many_is_not_joined_and_a_failed_join_takes_no_place() {
    let fixture = Fixture::start_with(at_once).await;
    let mut native = Native::connect(&fixture).await;
    for group in 0..100 {
        let request = Request::JoinGroup {
            group_id: format!("failed{group}").as_str().into(),
            member_id: "".into(),
            session_timeout_ms: 0,
            rebalance_timeout_ms: 0,
            protocol_type: "consumer".into(),
            subscriptions: vec![],
        };
        let error = native.error(&request).await;
        assert!(error.starts_with("INVALID_SESSION_TIMEOUT: "), "{error}");
    }
    let mut first = String::new();
    for group in 0..64 {
        let (_, member) = native.join(&join_group(&format!("g{group}"), "")).await;
        if group == 0 {
            first = member;
        }
    }
    let one_more = join_group("one more", "");
    let error = native.error(&one_more).await;
    assert!(error.starts_with("GROUP_MAX_SIZE_REACHED: "), "{error}");
    let Response::Groups { groups } = native.call(&Request::ListGroups).await else {
        panic!("they are listed")
    };
    assert!(!groups.iter().any(|group| group == "one more"), "{groups:?}");
    native.join(&join_group("g0", &first)).await;
    let leave = Request::LeaveGroup { group_id: "g0".into(), member_id: (&*first).into() };
    assert_eq!(native.call(&leave).await, Response::LeaveGroupResult);
    native.join(&one_more).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_forgets_a_membership_that_ended_elsewhere() {
    let fixture = Fixture::start_with(at_once).await;
    let mut native = Native::connect(&fixture).await;
    let mut other = Native::connect(&fixture).await;
    native.create("t", 1).await;
    for way in 0..4 {
        let (generation_id, member) = native.join(&join("")).await;
        let (group_id, member_id) = ("g".into(), (&*member).into());
        let leave = Request::LeaveGroup { group_id, member_id };
        assert_eq!(other.call(&leave).await, Response::LeaveGroupResult);
        let (group_id, member_id) = ("g".into(), (&*member).into());
        let request = match way {
            0 => Request::Heartbeat { group_id, generation_id, member_id },
            1 => Request::SyncGroup { group_id, generation_id, member_id, assignments: vec![] },
            2 => commit(1),
            _ => Request::DeleteGroup { consumer_group: group_id },
        };
        match native.call(&request).await {
            Response::GroupDeleted => {}
            Response::Error { message } => {
                assert!(message.starts_with("UNKNOWN_MEMBER_ID: "), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(native.call(&commit(2)).await, Response::OffsetCommitted, "way {way}");
    }
    fixture.stop().await;
}
