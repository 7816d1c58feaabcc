//! `rivven group`.

use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::commits::Offsets;
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// A broker with a topic of 5 and 3 records, and a group that has read 2 and 3 of them.
fn with_group() -> Fixture {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    broker.produce("orders", 0, &[b"a", b"b", b"c", b"d", b"e"]);
    broker.produce("orders", 1, &[b"a", b"b", b"c"]);
    commit(&broker, "billing", &[2, 3]);
    broker
}

fn commit(broker: &Fixture, group: &str, offsets: &[i64]) {
    let offsets: Offsets = (0i32..)
        .zip(offsets)
        .map(|(partition, offset)| (TopicPartition::new("orders", partition), (*offset).into()))
        .collect();
    let results = broker.runtime.block_on(broker.admin().alter_group_offsets(group, &offsets));
    let results = results.expect("an answer");
    assert!(results.values().all(Result::is_ok), "{results:?}");
}

/// What the group has committed, by partition.
fn committed(broker: &Fixture) -> Vec<Value> {
    let described = broker.json(&["group", "describe", "billing"]);
    let rows = described["groups"][0]["partitions"].as_array().expect("a list").clone();
    rows.iter().map(|row| row["committed"].clone()).collect()
}

#[test]
fn groups_are_listed_and_described_with_lag() {
    let broker = with_group();
    assert_eq!(
        broker.json(&["group", "list"])["groups"][0],
        json!({ "group": "billing", "state": "Empty", "protocol_type": "", "coordinator": 7 })
    );
    let text = broker.text(&["group", "describe", "billing"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "group billing, state Empty, coordinator 7, 0 member(s), lag 3");
    assert_eq!(lines[1], "TOPIC   PARTITION  COMMITTED  END  LAG  MEMBER  CLIENT  HOST");
    assert_eq!(lines[2], "orders          0          2    5    3  -       -       -");
    assert_eq!(lines[3], "orders          1          3    3    0  -       -       -");
}

#[test]
fn members_are_shown_with_what_they_read() {
    let broker = with_group();
    let member = broker.join("billing", "orders");
    let described = broker.json(&["group", "describe", "billing"]);
    let group = &described["groups"][0];
    assert_eq!((&group["state"], &group["assignor"]), (&json!("Stable"), &json!("range")));
    let rows = group["partitions"].as_array().expect("a list");
    assert_eq!((&rows[0]["member"], &rows[1]["member"]), (&json!(member), &Value::Null));
    assert_eq!(group["members"][0]["partitions"], json!([{ "topic": "orders", "partition": 0 }]));
    let text = broker.text(&["group", "describe", "billing"]);
    assert!(text.contains("assignor range") && text.contains("127.0.0.1"), "{text}");
}

#[test]
fn a_name_of_a_member_does_not_act_on_the_terminal() {
    let broker = with_group();
    broker.join_idly_as("evil\u{1b}[2J\nrow", ("idle", "orders"));
    let text = broker.text(&["group", "describe", "idle"]);
    assert!(text.contains("evil\\u{1b}[2J\\nrow at 127.0.0.1 reads nothing"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_reset_is_shown_first_and_done_with_execute() {
    let broker = with_group();
    let shown = broker.text(&["group", "reset-offsets", "billing", "--to-earliest"]);
    assert!(shown.contains("orders          0     2   0      -2         5"), "{shown}");
    assert!(shown.contains("nothing was changed; --execute does it"), "{shown}");
    assert_eq!(committed(&broker), [2, 3]);
    for (target, wanted) in [
        (&["--to-earliest"][..], [0, 0]),
        (&["--to-latest"], [5, 3]),
        (&["--to-offset", "4"], [4, 3]),
        (&["--shift-by", "-2"], [2, 1]),
        (&["--shift-by", "1000"], [5, 3]),
        (&["--to-datetime", "2001-02-03T04:05:06Z"], [0, 0]),
        (&["--to-datetime", "2990-01-01"], [5, 3]),
        (&["--by-duration", "1h"], [0, 0]),
        (&["--topic", "orders:1", "--to-latest"], [0, 3]),
        (&["--topic", "orders", "--to-offset", "1"], [1, 1]),
    ] {
        let arguments = [&["group", "reset-offsets", "billing", "--execute"], target].concat();
        let done = broker.text(&arguments);
        assert!(done.contains("of group billing are set"), "{done}");
        assert_eq!(committed(&broker), wanted, "{target:?}");
    }
    let document = broker.json(&["group", "reset-offsets", "billing", "--to-latest"]);
    assert_eq!(document["executed"], false);
    let row = json!({ "topic": "orders", "partition": 0, "from": 1, "to": 5 });
    assert_eq!(document["partitions"][0], row);
}

#[test]
fn a_group_with_members_is_not_reset() {
    let broker = with_group();
    broker.join("billing", "orders");
    let shown = broker.text(&["group", "reset-offsets", "billing", "--to-earliest"]);
    assert!(shown.contains("stop the 1 member(s)"), "{shown}");
    let refused = broker.run(&["group", "reset-offsets", "billing", "--to-earliest", "--execute"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("has 1 member(s)"), "{}", refused.err);
    assert_eq!(committed(&broker), [2, 3]);
    let refused = broker.run(&["group", "delete", "billing"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("NON_EMPTY_GROUP (68); stop its members"), "{}", refused.err);
}

#[test]
fn what_cannot_be_reset_is_said() {
    let broker = with_group();
    broker.text(&["topic", "create", "payments", "-p", "1"]);
    for (arguments, code, wanted) in [
        (&["biling", "--to-earliest"][..], 1, "did you mean \"billing\"?"),
        (&["billing", "--topic", "order", "--to-earliest"], 1, "did you mean \"orders\"?"),
        (&["billing", "--topic", "orders:2", "--to-earliest"], 1, "no partition 2, only 0 to 1"),
        (&["billing", "--topic", "payments", "--shift-by", "1"], 1, "nothing to shift"),
        (&["billing"], 2, "--to-earliest"),
        (&["billing", "--to-earliest", "--to-latest"], 2, "cannot be used with"),
        (&["billing", "--to-datetime", "yesterday"], 2, "without a zone it is UTC"),
        (&["billing", "--by-duration", "2 days"], 2, "as ISO 8601"),
        (&["billing", "--to-offset", "-1"], 2, "-1"),
    ] {
        let ran = broker.run(&[&["group", "reset-offsets"], arguments].concat());
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_new_group_begins_where_a_reset_puts_it() {
    let broker = with_group();
    broker.text(&[
        "group",
        "reset-offsets",
        "audit",
        "--topic",
        "orders",
        "--to-latest",
        "--execute",
    ]);
    let described = broker.json(&["group", "describe", "audit"]);
    assert_eq!(described["groups"][0]["lag"], 0);
}

#[test]
fn deleted_groups_are_gone() {
    let broker = with_group();
    assert_eq!(broker.text(&["group", "delete", "billing"]), "group billing deleted\n");
    assert_eq!(broker.json(&["group", "list"]), json!({ "groups": [] }));
    for verb in ["describe", "delete"] {
        let gone = broker.run(&["group", verb, "billing"]);
        assert_eq!(gone.code, Some(1));
        assert!(gone.err.contains("there is no group \"billing\""), "{}", gone.err);
    }
}
