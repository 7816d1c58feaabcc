//! `rivven topic`, `cluster` and `ping`.

use serde_json::json;

use crate::fixture::Fixture;

#[test]
fn a_topic_is_made_listed_described_and_deleted() {
    let broker = Fixture::start();
    assert!(broker.text(&["topic", "list"]).contains("rivven topic create"));
    let made = broker.text(&["topic", "create", "orders", "-p", "3"]);
    assert_eq!(made, "topic orders created: 3 partitions with 1 replica each\n");
    let made = broker.json(&[
        "topic",
        "create",
        "clicks",
        "--config",
        "retention.ms=86400000",
        "-c",
        "cleanup.policy=compact",
    ]);
    assert_eq!(made["topics"][0]["partitions"], 2, "the broker's default");
    let list = broker.text(&["topic", "list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines[0], "TOPIC   PARTITIONS  REPLICAS");
    assert_eq!(lines[1..], ["clicks           2         1", "orders           3         1"]);
    broker.produce("orders", 1, &[b"one", b"two"]);

    let described = broker.json(&["topic", "describe", "orders", "clicks"]);
    let [clicks, orders] = [&described["topics"][0], &described["topics"][1]];
    let names = |topic: &serde_json::Value| {
        let settings = topic["settings"].as_array().expect("a list").clone();
        settings.iter().map(|setting| setting["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(clicks), ["cleanup.policy", "retention.ms"]);
    assert!(names(orders).is_empty());
    let row = &orders["partitions"][1];
    assert_eq!((&row["leader"], &row["log_start"], &row["end"]), (&json!(7), &json!(0), &json!(2)));
    assert!(row["bytes"].as_i64().expect("a number") > 0);
    let text = broker.text(&["topic", "info", "clicks"]);
    assert!(text.starts_with("topic clicks, 2 partitions, 1 replica(s) each, id "), "{text}");
    assert!(text.contains("\n  retention.ms=86400000\nPARTITION  LEADER"), "{text}");

    let deleted = broker.text(&["topic", "delete", "orders", "clicks"]);
    assert_eq!(deleted, "topic clicks deleted\ntopic orders deleted\n");
    assert_eq!(broker.json(&["topic", "list"]), json!({ "topics": [] }));
}

#[test]
fn what_is_there_or_gone_already_can_be_let_pass() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders"]);
    let again = broker.run(&["topic", "create", "orders", "payments"]);
    assert_eq!(again.code, Some(1), "one of two is refused");
    assert!(again.out.contains("topic payments created"), "{}", again.out);
    assert!(again.err.contains("TOPIC_ALREADY_EXISTS (36)"), "{}", again.err);
    assert!(again.err.contains("--if-not-exists"), "{}", again.err);
    let passed = broker.text(&["topic", "create", "orders", "--if-not-exists"]);
    assert_eq!(passed, "topic orders is there already\n");
    let passed = broker.text(&["topic", "delete", "ghost", "--if-exists"]);
    assert_eq!(passed, "there is no topic ghost\n");
}

#[test]
fn a_dry_run_changes_nothing() {
    let broker = Fixture::start();
    let asked = broker.text(&["topic", "create", "orders", "--dry-run"]);
    assert!(asked.starts_with("topic orders could be created"), "{asked}");
    assert_eq!(broker.json(&["topic", "list"]), json!({ "topics": [] }));
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    broker.text(&["topic", "partitions", "orders", "9", "--dry-run"]);
    broker.text(&["topic", "config", "orders", "--set", "retention.ms=1", "--dry-run"]);
    let described = broker.json(&["topic", "describe", "orders"]);
    assert_eq!(described["topics"][0]["partitions"].as_array().map(Vec::len), Some(1));
    assert_eq!(described["topics"][0]["settings"], json!([]));
}

#[test]
fn settings_are_shown_and_changed_together_or_not_at_all() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders"]);
    let only_defaults = broker.text(&["topic", "config", "orders"]);
    assert_eq!(only_defaults, "topic orders has only defaults; --all shows them\n");
    assert!(broker.text(&["topic", "config", "orders", "--all"]).contains("cleanup.policy"));
    let set = broker.text(&[
        "topic",
        "config",
        "orders",
        "--set",
        "retention.ms=5000",
        "--set",
        "cleanup.policy=compact,delete",
    ]);
    assert!(set.contains("retention.ms of topic orders is now \"5000\""), "{set}");
    let refused = broker.run(&[
        "topic",
        "config",
        "orders",
        "--unset",
        "retention.ms",
        "--set",
        "cleanup.policy=shred",
    ]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("INVALID_CONFIG"), "{}", refused.err);
    let table = broker.text(&["topic", "config", "orders"]);
    assert!(table.contains("retention.ms    5000            topic"), "{table}");
    broker.text(&["topic", "config", "orders", "--unset", "retention.ms"]);
    let settings = broker.json(&["topic", "config", "orders"])["settings"].clone();
    assert_eq!(settings[0]["name"], "cleanup.policy");
    assert_eq!(settings.as_array().map(Vec::len), Some(1));
}

#[test]
fn partitions_grow_and_never_shrink() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    let grown = broker.text(&["topic", "partitions", "orders", "5"]);
    assert_eq!(grown, "topic orders has 5 partitions\n");
    let refused = broker.run(&["topic", "partitions", "orders", "4"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("INVALID_PARTITIONS"), "{}", refused.err);
}

#[test]
fn the_spellings_of_earlier_releases_and_of_kafka_s_tools_work() {
    let broker = Fixture::start();
    let address = broker.client.config().bootstrap[0].clone();
    for arguments in [
        ["topic", "create", "a", "-p", "3", "-s", &address],
        ["topic", "create", "b", "-p", "3", "--server", &address],
        ["topic", "create", "c", "-p", "3", "--bootstrap-server", &address],
        ["topic", "create", "d", "--partitions", "3", "-b", &address],
    ] {
        let ran = crate::fixture::run("127.0.0.1:1", &arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let info = broker.text(&["topic", "info", "a"]);
    assert!(info.starts_with("topic a, 3 partitions"), "{info}");
}

#[test]
fn the_cluster_is_shown_with_what_each_broker_leads() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "3"]);
    let cluster = broker.json(&["cluster"]);
    assert_eq!(cluster["brokers"][0]["id"], 7);
    assert_eq!(cluster["brokers"][0]["leads"], 3);
    assert_eq!(cluster["cluster"].as_str().map(str::len), Some(22));
    assert!(broker.text(&["cluster"]).contains("BROKER  ADDRESS"));
}

#[test]
fn a_ping_tells_percentiles() {
    let broker = Fixture::start();
    let text = broker.text(&["ping", "--count", "3", "--interval", "0ms"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("connected to 127.0.0.1:"), "{text}");
    assert!(lines[1].starts_with("1: ") && lines.len() == 5, "{text}");
    assert!(lines[4].starts_with("3 answers: least "), "{text}");
    let ran = broker.run(&["ping", "-c", "2", "-i", "0ms", "--json"]);
    let last: serde_json::Value =
        serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["count"], 2);
    assert!(last["p99_us"].as_u64() >= last["p50_us"].as_u64());
}
