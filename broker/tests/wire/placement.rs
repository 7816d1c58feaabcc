//! Where partitions lie, who leads them, and what has settings.

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use rivven_core::kafka::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest,
};
use rivven_core::kafka::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use rivven_core::kafka::messages::list_config_resources::ListConfigResourcesRequest;
use rivven_core::kafka::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use rivven_core::kafka::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::client::batch;
use crate::fixture::{Fixture, NODE_ID};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_directory_shows_what_each_partition_takes() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("full", 2, &[]).await;
    let sent = batch(&fixture.env, &[b"a", b"b", b"c"]);
    client.produce("full", 0, sent.clone()).await;
    for (topic, partitions, expected) in [
        ("full", vec![0, 1], vec![(0, sent.len() as i64), (1, 0)]),
        ("full", vec![1, 7, -1, 1], vec![(1, 0)]),
        ("none", vec![0], vec![]),
    ] {
        let asked = DescribableLogDirTopic { topic: topic.into(), partitions };
        let request = DescribeLogDirsRequest { topics: Some(vec![asked]) };
        for version in 1..=5 {
            let response = client.call(version, &request).await;
            assert_eq!(response.results.len(), 1);
            let dir = &response.results[0];
            assert_eq!((dir.error_code, dir.is_cordoned), (ErrorCode::NONE, false));
            assert!(dir.log_dir.starts_with('/'), "{dir:?}");
            let rows = dir.topics.iter().flat_map(|topic| &topic.partitions);
            let sizes: Vec<_> = rows.map(|row| (row.partition_index, row.partition_size)).collect();
            assert_eq!(sizes, expected, "{topic} version {version}");
            let room = 0 < dir.usable_bytes && dir.usable_bytes <= dir.total_bytes;
            assert_eq!(room, version >= 4, "{dir:?}");
        }
    }
    let all = client.call(5, &DescribeLogDirsRequest { topics: None }).await;
    assert_eq!(all.results[0].topics.len(), 1);
    let none = client.call(5, &DescribeLogDirsRequest { topics: Some(Vec::new()) }).await;
    assert_eq!(none.results[0].topics, []);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_reign_ends_where_the_log_does() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("reign", 1, &[]).await;
    client.produce("reign", 0, batch(&fixture.env, &[b"a", b"b", b"c"])).await;
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    for (topic, partition, current, epoch, expected) in [
        ("reign", 0, -1, 0, (ErrorCode::NONE, 0, 3)),
        ("reign", 0, 0, 0, (ErrorCode::NONE, 0, 3)),
        ("reign", 0, -1, 5, (ErrorCode::NONE, -1, -1)),
        ("reign", 0, -1, -1, (ErrorCode::NONE, -1, -1)),
        ("reign", 0, 7, 0, (ErrorCode::UNKNOWN_LEADER_EPOCH, -1, -1)),
        ("reign", 1, -1, 0, (unknown, -1, -1)),
        ("reign", -1, -1, 0, (unknown, -1, -1)),
        ("none", 0, -1, 0, (unknown, -1, -1)),
    ] {
        let asked = OffsetForLeaderPartition {
            partition,
            current_leader_epoch: current,
            leader_epoch: epoch,
        };
        let topics = vec![OffsetForLeaderTopic { topic: topic.into(), partitions: vec![asked] }];
        let request = OffsetForLeaderEpochRequest { topics, ..Default::default() };
        for version in 2..=4 {
            let response = client.call(version, &request).await;
            let row = &response.topics[0].partitions[0];
            assert_eq!(row.partition, partition);
            let found = (row.error_code, row.leader_epoch, row.end_offset);
            assert_eq!(found, expected, "{topic} {partition} {current} {epoch}");
        }
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_needs_an_election_or_a_move() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("still", 1, &[]).await;
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    for (topic, partition, election_type, expected) in [
        ("still", 0, 0, ErrorCode::ELECTION_NOT_NEEDED),
        ("still", 0, 1, ErrorCode::ELECTION_NOT_NEEDED),
        ("still", 1, 0, unknown),
        ("none", 0, 0, unknown),
        ("still", 0, 5, ErrorCode::INVALID_REQUEST),
    ] {
        let asked = TopicPartitions { topic: topic.into(), partitions: vec![partition] };
        let request = ElectLeadersRequest {
            election_type,
            topic_partitions: Some(vec![asked]),
            ..Default::default()
        };
        let response = client.call(2, &request).await;
        let row = &response.replica_election_results[0].partition_result[0];
        assert_eq!((row.partition_id, row.error_code), (partition, expected), "{topic}");
        assert_eq!(response.error_code.is_error(), election_type == 5);
    }
    let all = client.call(2, &ElectLeadersRequest::default()).await;
    assert_eq!((all.error_code, all.replica_election_results.len()), (ErrorCode::NONE, 0));

    let own = NODE_ID;
    let refused = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
    for (topic, replicas, expected) in [
        ("still", Some(vec![own]), ErrorCode::NONE),
        ("still", Some(vec![own + 1]), refused),
        ("still", Some(vec![]), refused),
        ("still", None, ErrorCode::NO_REASSIGNMENT_IN_PROGRESS),
        ("none", Some(vec![own]), unknown),
    ] {
        let partitions = vec![ReassignablePartition { partition_index: 0, replicas }];
        let topics = vec![ReassignableTopic { name: topic.into(), partitions }];
        let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
        for version in 0..=1 {
            let response = client.call(version, &request).await;
            assert_eq!(response.error_code, ErrorCode::NONE);
            assert_eq!(response.responses[0].partitions[0].error_code, expected, "{topic}");
        }
    }
    let moving = client.call(0, &ListPartitionReassignmentsRequest::default()).await;
    assert_eq!((moving.error_code, moving.topics.len()), (ErrorCode::NONE, 0));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_and_the_broker_have_settings() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("set", 1, &[]).await;
    let own = NODE_ID.to_string();
    for (version, resource_types, expected) in [
        (0, vec![], vec![]),
        (1, vec![], vec![("set", 2), (&*own, 4)]),
        (1, vec![2], vec![("set", 2)]),
        (1, vec![4, 8, 16, 32], vec![(&*own, 4)]),
    ] {
        let request = ListConfigResourcesRequest { resource_types };
        let response = client.call(version, &request).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        let found: Vec<_> = response
            .config_resources
            .iter()
            .map(|resource| (&*resource.resource_name, resource.resource_type))
            .collect();
        assert_eq!(found, expected, "version {version}");
    }
    let request = ListConfigResourcesRequest { resource_types: vec![2, 99] };
    let response = client.call(1, &request).await;
    let found = (response.error_code, response.config_resources.len());
    assert_eq!(found, (ErrorCode::UNSUPPORTED_VERSION, 0));
    fixture.stop().await;
}

/// A row of a request takes a few bytes; its answer must not take many times as many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refused_rows_are_not_all_answered_in_words() {
    const ROWS: usize = 100_000;
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("known", 1, &[]).await;
    for (topic, in_words) in
        [("x".repeat(30_000), 0), ("none".to_owned(), 1000), ("known".to_owned(), 1000)]
    {
        let partitions = vec![0; ROWS];
        let asked = TopicPartitions { topic: topic.as_str().into(), partitions };
        let request =
            ElectLeadersRequest { topic_partitions: Some(vec![asked]), ..Default::default() };
        let response = client.call(2, &request).await;
        let rows = &response.replica_election_results[0].partition_result;
        let texts = rows.iter().filter(|row| row.error_message.is_some()).count();
        assert_eq!((rows.len(), texts), (ROWS, in_words));
        assert!(rows.iter().all(|row| row.error_code.is_error()));

        let row = ReassignablePartition { partition_index: 7, replicas: None };
        let partitions = vec![row; ROWS];
        let topics = vec![ReassignableTopic { name: topic.as_str().into(), partitions }];
        let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
        let response = client.call(1, &request).await;
        let rows = &response.responses[0].partitions;
        let texts = rows.iter().filter(|row| row.error_message.is_some()).count();
        assert_eq!((rows.len(), texts), (ROWS, in_words));
    }
    fixture.stop().await;
}
