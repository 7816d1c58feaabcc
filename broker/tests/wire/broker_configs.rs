//! Configurations of brokers: the defaults of topics, changed while the broker runs.

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::alter_configs as replacing;
use rivven_core::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsSynonym,
};
use rivven_core::kafka::messages::incremental_alter_configs as changing;

use crate::client::{Client, batch};
use crate::fixture::Fixture;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;

type Operation<'a> = (&'a str, i8, Option<&'a str>);

/// Changes one key of a broker's configuration; what is answered.
async fn change(client: &mut Client, broker: &str, operation: Operation<'_>) -> ErrorCode {
    let (name, config_operation, value) = operation;
    let (name, value) = (name.into(), value.map(Into::into));
    let request = changing::IncrementalAlterConfigsRequest {
        resources: vec![changing::AlterConfigsResource {
            resource_type: BROKER,
            resource_name: broker.into(),
            configs: vec![changing::AlterableConfig { name, config_operation, value }],
        }],
        ..Default::default()
    };
    client.call(1, &request).await.responses[0].error_code
}

async fn describe(
    client: &mut Client,
    resource_type: i8,
    name: &str,
) -> Vec<DescribeConfigsResourceResult> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        ..Default::default()
    };
    let result = client.call(4, &request).await.results.remove(0);
    assert_eq!(result.error_code, ErrorCode::NONE);
    assert!(result.configs.is_sorted_by(|a, b| a.name < b.name));
    result.configs
}

/// Values of one setting and their sources, the one that counts first.
async fn values(
    client: &mut Client,
    (kind, name): (i8, &str),
    key: &str,
) -> Vec<(String, String, i8)> {
    let rows = describe(client, kind, name).await;
    let row = rows.into_iter().find(|row| row.name == key).expect("it is described");
    assert!(!row.read_only);
    let first = row.synonyms.first().expect("the default at least");
    assert_eq!((&first.value, first.source), (&row.value, row.config_source));
    let synonym = |DescribeConfigsSynonym { name, value, source }: &DescribeConfigsSynonym| {
        (name.to_string(), value.as_deref().unwrap_or("none").to_owned(), *source)
    };
    row.synonyms.iter().map(synonym).collect()
}

fn given(rows: &[(&str, &str, i8)]) -> Vec<(String, String, i8)> {
    rows.iter().map(|(name, value, source)| ((*name).into(), (*value).into(), *source)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_of_a_broker_is_the_default_of_its_topics() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("plain", 1, &[]).await;
    client.create("own", 1, &[("max.message.bytes", "100000")]).await;
    let large = batch(&fixture.env, &[&[b'x'; 5000]]);
    assert_eq!(client.produce("plain", 0, large.clone()).await.error_code, ErrorCode::NONE);

    for (broker, value) in [("", "3000"), ("0", "2000")] {
        let operation = ("message.max.bytes", SET, Some(value));
        assert_eq!(change(&mut client, broker, operation).await, ErrorCode::NONE);
    }
    let default = ("message.max.bytes", "1048588", 5);
    let (every, one) = (("message.max.bytes", "3000", 3), ("message.max.bytes", "2000", 2));
    let own = ("max.message.bytes", "100000", 1);
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    client.create("late", 1, &[]).await;
    for topic in ["plain", "late"] {
        let found = values(&mut client, (TOPIC, topic), "max.message.bytes").await;
        assert_eq!(found, given(&[one, every, default]), "{topic}");
        let row = client.produce(topic, 0, large.clone()).await;
        assert_eq!(row.error_code, ErrorCode::MESSAGE_TOO_LARGE, "{topic}");
    }
    let found = values(&mut client, (TOPIC, "own"), "max.message.bytes").await;
    assert_eq!(found, given(&[own, one, every, default]));
    assert_eq!(client.produce("own", 0, large.clone()).await.error_code, ErrorCode::NONE);
    let found = values(&mut client, (BROKER, "0"), "message.max.bytes").await;
    assert_eq!(found, given(&[one, every, default]));
    let found = values(&mut client, (BROKER, ""), "message.max.bytes").await;
    assert_eq!(found, given(&[every]));
    assert_eq!(describe(&mut client, BROKER, "").await.len(), 1, "only what was set");

    for broker in ["0", ""] {
        let operation = ("message.max.bytes", DELETE, None);
        assert_eq!(change(&mut client, broker, operation).await, ErrorCode::NONE);
    }
    assert_eq!(client.produce("plain", 0, large).await.error_code, ErrorCode::NONE);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_has_an_effect_is_taken() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    let refused = ErrorCode::INVALID_REQUEST;
    let cases = [
        ("0", ("log.flush.interval.messages", SET, Some("1234")), ErrorCode::NONE),
        ("0", ("log.cleanup.policy", 2, Some("compact")), ErrorCode::NONE),
        ("0", ("log.retention.ms", 2, Some("1")), ErrorCode::INVALID_CONFIG),
        ("0", ("log.retention.ms", SET, Some("x")), refused),
        ("0", ("log.retention.ms", SET, None), refused),
        ("0", ("num.partitions", SET, Some("9")), refused),
        ("0", ("no.such", SET, Some("9")), refused),
        ("7", ("log.retention.ms", SET, Some("9")), refused),
        ("x", ("log.retention.ms", SET, Some("9")), refused),
    ];
    for (broker, operation, expected) in cases {
        let answered = change(&mut client, broker, operation).await;
        assert_eq!(answered, expected, "{broker} {operation:?}");
    }
    let found = values(&mut client, (BROKER, "0"), "log.flush.interval.messages").await;
    assert_eq!(found[0].1, "1234");
    let found = values(&mut client, (BROKER, "0"), "log.cleanup.policy").await;
    assert_eq!((found[0].1.as_str(), found[0].2), ("delete,compact", 2));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_takes_away_what_is_not_named() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    let operation = ("log.roll.ms", SET, Some("1000"));
    assert_eq!(change(&mut client, "0", operation).await, ErrorCode::NONE);
    let replace = |validate_only| replacing::AlterConfigsRequest {
        resources: vec![replacing::AlterConfigsResource {
            resource_type: BROKER,
            resource_name: "0".into(),
            configs: vec![replacing::AlterableConfig {
                name: "log.retention.ms".into(),
                value: Some("5".into()),
            }],
        }],
        validate_only,
    };
    for (validate_only, roll, retention) in [(true, "1000", "604800000"), (false, "604800000", "5")]
    {
        let response = client.call(1, &replace(validate_only)).await;
        assert_eq!(response.responses[0].error_code, ErrorCode::NONE);
        let found = values(&mut client, (BROKER, "0"), "log.roll.ms").await;
        assert_eq!(found[0].1, roll);
        let found = values(&mut client, (BROKER, "0"), "log.retention.ms").await;
        assert_eq!(found[0].1, retention);
    }
    fixture.stop().await;
}
