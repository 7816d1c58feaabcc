//! Topics and settings.

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::alter_configs;
use rivven_core::kafka::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use rivven_core::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use rivven_core::kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rivven_core::kafka::messages::delete_topics::DeleteTopicsRequest;
use rivven_core::kafka::messages::describe_cluster::DescribeClusterRequest;
use rivven_core::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
};
use rivven_core::kafka::messages::incremental_alter_configs as incremental;
use rivven_core::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use crate::client::{Client, batch};
use crate::fixture::Fixture;

async fn auto_created(client: &mut Client, name: &str) -> (ErrorCode, usize) {
    let asked = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let response = client.call(4, &request).await;
    (response.topics[0].error_code, response.topics[0].partitions.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_looks_a_topic_up_by_its_id_whatever_name_stands_beside() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("here", 3, &[]).await;
    let id = client.metadata("here").await.topic_id;
    let other = TopicId([7; 16]);
    for (topic_id, name, wanted) in [
        (id, None, (ErrorCode::NONE, Some("here"))),
        (id, Some(""), (ErrorCode::NONE, Some("here"))),
        (other, None, (ErrorCode::UNKNOWN_TOPIC_ID, None)),
        (other, Some(""), (ErrorCode::UNKNOWN_TOPIC_ID, None)),
        (other, Some("not-made"), (ErrorCode::UNKNOWN_TOPIC_ID, None)),
        (TopicId::NIL, None, (ErrorCode::INVALID_REQUEST, None)),
    ] {
        let asked = MetadataRequestTopic { topic_id, name: name.map(Into::into) };
        let request = MetadataRequest {
            topics: Some(vec![asked]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let row = client.call(12, &request).await.topics.remove(0);
        assert_eq!((row.error_code, row.name.as_deref()), wanted, "{topic_id} {name:?}");
    }
    assert_eq!(client.metadata("not-made").await.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_creates_topics_with_legal_names_only() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("a_b", 1, &[]).await;
    let (long, longest) = ("z".repeat(250), "z".repeat(249));
    let invalid = (ErrorCode::INVALID_TOPIC_EXCEPTION, 0);
    let cases = [
        ("bad name!", invalid),
        ("", invalid),
        (".", invalid),
        (&long, invalid),
        ("a.b", (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0)),
        (&longest, (ErrorCode::NONE, 4)),
        ("new", (ErrorCode::NONE, 4)),
        ("new", (ErrorCode::NONE, 4)),
    ];
    for (name, expected) in cases {
        assert_eq!(auto_created(&mut client, name).await, expected, "{name}");
    }
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    assert_eq!(client.metadata("new").await.partitions.len(), 4);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_topic_is_created_where_that_is_off() {
    let fixture = Fixture::start_with(|config| config.auto_create_topics = false).await;
    let mut client = fixture.client().await;
    let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0);
    assert_eq!(auto_created(&mut client, "new").await, unknown);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_created_grown_and_deleted() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    let wish = |name: &str, num_partitions, replication_factor| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor,
        ..Default::default()
    };
    let topics = vec![
        wish("good", -1, -1),
        wish("none", 0, 1),
        wish("replicas", 1, 3),
        wish("bad name!", 1, 1),
        wish("twice", 1, 1),
        wish("twice", 1, 1),
        wish("c.d", 1, 1),
        wish("c_d", 1, 1),
    ];
    let response = client.call(5, &CreateTopicsRequest { topics, ..Default::default() }).await;
    let codes: Vec<(&str, ErrorCode)> =
        response.topics.iter().map(|topic| (&*topic.name, topic.error_code)).collect();
    let expected = [
        ("good", ErrorCode::NONE),
        ("none", ErrorCode::INVALID_PARTITIONS),
        ("replicas", ErrorCode::INVALID_REPLICATION_FACTOR),
        ("bad name!", ErrorCode::INVALID_TOPIC_EXCEPTION),
        ("twice", ErrorCode::INVALID_REQUEST),
        ("c.d", ErrorCode::NONE),
        ("c_d", ErrorCode::INVALID_TOPIC_EXCEPTION),
    ];
    assert_eq!(codes, expected);
    assert_eq!(response.topics[0].num_partitions, 4);

    for (count, expected) in [
        (4, ErrorCode::INVALID_PARTITIONS),
        (3, ErrorCode::INVALID_PARTITIONS),
        (6, ErrorCode::NONE),
    ] {
        let topics = vec![CreatePartitionsTopic { name: "good".into(), count, assignments: None }];
        let request = CreatePartitionsRequest { topics, ..Default::default() };
        assert_eq!(client.call(1, &request).await.results[0].error_code, expected, "{count}");
    }
    let before = client.metadata("good").await;
    assert_eq!(before.partitions.len(), 6);
    client.produce("good", 5, batch(&fixture.env, &[b"v"])).await;

    let request =
        DeleteTopicsRequest { topic_names: vec!["good".into(), "no".into()], ..Default::default() };
    let response = client.call(3, &request).await;
    let codes: Vec<ErrorCode> = response.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    client.create("good", 6, &[]).await;
    let after = client.metadata("good").await;
    assert_ne!(before.topic_id, after.topic_id);
    let row = client.produce("good", 5, batch(&fixture.env, &[b"v"])).await;
    assert_eq!(row.base_offset, 0, "nothing of the deleted topic shows");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_records_moves_the_log_start_for_good() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("d", 1, &[]).await;
    for _ in 0..5 {
        client.produce("d", 0, batch(&fixture.env, &[b"v"])).await;
    }
    let delete = |offset| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "d".into(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset }],
        }],
        ..Default::default()
    };
    for (offset, error_code, low_watermark) in [
        (3, ErrorCode::NONE, 3),
        (1, ErrorCode::NONE, 3),
        (6, ErrorCode::OFFSET_OUT_OF_RANGE, -1),
        (-2, ErrorCode::OFFSET_OUT_OF_RANGE, -1),
        (-1, ErrorCode::NONE, 5),
    ] {
        let response = client.call(2, &delete(offset)).await;
        let row = &response.topics[0].partitions[0];
        assert_eq!((row.error_code, row.low_watermark), (error_code, low_watermark), "{offset}");
    }
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    let row = client.produce("d", 0, batch(&fixture.env, &[b"v"])).await;
    assert_eq!((row.base_offset, row.log_start_offset), (5, 5));
    fixture.stop().await;
}

async fn describe(client: &mut Client, kind: i8, name: &str) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    client.call(4, &request).await.results.remove(0)
}

fn value<'a>(result: &'a DescribeConfigsResult, name: &str) -> (&'a str, i8) {
    let row = result.configs.iter().find(|row| row.name == name).unwrap();
    assert!(!row.synonyms.is_empty() && row.documentation.is_some());
    (row.value.as_deref().unwrap(), row.config_source)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_described_changed_and_replaced() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("s", 1, &[("retention.ms", "1000")]).await;
    let described = describe(&mut client, 2, "s").await;
    assert_eq!(value(&described, "retention.ms"), ("1000", 1));
    assert_eq!(value(&described, "cleanup.policy"), ("delete", 5));

    let change = |name: &str, config_operation, value: Option<&str>| {
        incremental::IncrementalAlterConfigsRequest {
            resources: vec![incremental::AlterConfigsResource {
                resource_type: 2,
                resource_name: "s".into(),
                configs: vec![incremental::AlterableConfig {
                    name: name.into(),
                    config_operation,
                    value: value.map(Into::into),
                }],
            }],
            ..Default::default()
        }
    };
    for (name, operation, value, expected) in [
        ("segment.bytes", 0, Some("2097152"), ErrorCode::NONE),
        ("cleanup.policy", 2, Some("compact"), ErrorCode::NONE),
        ("segment.bytes", 0, Some("1"), ErrorCode::INVALID_CONFIG),
        ("no.such", 0, Some("1"), ErrorCode::INVALID_CONFIG),
        ("segment.ms", 0, None, ErrorCode::INVALID_REQUEST),
        ("segment.ms", 9, Some("1"), ErrorCode::INVALID_REQUEST),
    ] {
        let response = client.call(1, &change(name, operation, value)).await;
        assert_eq!(response.responses[0].error_code, expected, "{name} {operation}");
    }
    let described = describe(&mut client, 2, "s").await;
    assert_eq!(value(&described, "segment.bytes"), ("2097152", 1));
    assert_eq!(value(&described, "cleanup.policy"), ("delete,compact", 1));

    let replace = alter_configs::AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: 2,
            resource_name: "s".into(),
            configs: vec![alter_configs::AlterableConfig {
                name: "retention.bytes".into(),
                value: Some("5".into()),
            }],
        }],
        ..Default::default()
    };
    let response = client.call(1, &replace).await;
    assert_eq!(response.responses[0].error_code, ErrorCode::NONE);
    let described = describe(&mut client, 2, "s").await;
    assert_eq!(value(&described, "retention.bytes"), ("5", 1));
    assert_eq!(value(&described, "retention.ms"), ("604800000", 5));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_describes_itself() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    let described = describe(&mut client, 4, "0").await;
    assert_eq!(value(&described, "num.partitions"), ("4", 4));
    for (kind, name, expected) in [
        (4, "7", ErrorCode::INVALID_REQUEST),
        (4, "x", ErrorCode::INVALID_REQUEST),
        (99, "x", ErrorCode::INVALID_REQUEST),
        (2, "none", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (2, "bad name!", ErrorCode::INVALID_TOPIC_EXCEPTION),
    ] {
        assert_eq!(describe(&mut client, kind, name).await.error_code, expected, "{kind} {name}");
    }
    for (endpoint_type, expected) in [
        (1, ErrorCode::NONE),
        (2, ErrorCode::MISMATCHED_ENDPOINT_TYPE),
        (3, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
    ] {
        let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
        let cluster = client.call(1, &request).await;
        assert_eq!(cluster.error_code, expected);
        if !expected.is_error() {
            assert_eq!(cluster.brokers.len(), 1);
            let port = i32::from(fixture.broker.kafka_addrs()[0].port());
            assert_eq!((&*cluster.brokers[0].host, cluster.brokers[0].port), ("127.0.0.1", port));
        }
    }
    fixture.stop().await;
}
