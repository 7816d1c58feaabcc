//! `rivven produce` and `bench produce`.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran, command, ran};

/// `rivven ARGUMENTS` with this on its stdin.
pub(crate) fn fed(broker: &Fixture, arguments: &[&str], input: &[u8]) -> Ran {
    let mut command = command(&broker.client.config().bootstrap[0], arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let ran = ran(child.wait_with_output().expect("it ends"));
    // It may end before it has read everything.
    let _ = feeding.join().expect("no panic");
    ran
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("one document of JSON")
}

#[test]
fn an_argument_is_one_record() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    let said = broker.text(&["produce", "orders", "first"]);
    assert_eq!(said, "1 record to topic orders: partition 0, offset 0\n");
    let said = broker.text(&["produce", "orders", "--key", "4711", "--tombstone"]);
    assert_eq!(said, "1 record to topic orders: partition 0, offset 1\n");
    let document = broker.json(&["produce", "orders", "paid", "-k", "4711", "-H", "by=shop"]);
    assert_eq!((&document["records"], &document["bytes"]), (&json!(1), &json!(4)));
    let unanswered = broker.text(&["produce", "orders", "x", "--acks", "0"]);
    assert_eq!(unanswered, "1 record to topic orders: partition 0\n");
}

#[test]
fn each_line_of_stdin_is_a_record() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "3"]);
    let lines: String = (0..1000).map(|number| format!("{number}:value {number}\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let arguments =
            ["produce", "orders", "--key-separator", ":", "--compression", codec, "--json"];
        let ran = fed(&broker, &arguments, lines.as_bytes());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{codec}");
        assert_eq!(document(&ran)["records"], 1000, "{codec}");
    }
    let described = broker.json(&["topic", "describe", "orders"]);
    let rows = described["topics"][0]["partitions"].as_array().expect("a list").clone();
    let ends: i64 = rows.iter().filter_map(|row| row["end"].as_i64()).sum();
    assert_eq!(ends, 5000);
    assert!(rows.iter().all(|row| row["end"].as_i64() > Some(0)), "keys spread");
    let none = fed(&broker, &["produce", "orders"], b"");
    assert_eq!(
        (none.code, none.out.as_str()),
        (Some(0), "0 records to topic orders, 0 B of values\n")
    );
}

#[test]
fn a_file_may_hold_any_bytes() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"\xff\x00\nlast without end").expect("written");
    let path = file.path().to_str().expect("text");
    let document = broker.json(&["produce", "orders", "--file", path, "--partition", "1"]);
    let row = json!({ "partition": 1, "records": 2, "first_offset": 0, "last_offset": 1 });
    assert_eq!(document["partitions"], json!([row]));
    let missing = broker.run(&["produce", "orders", "--file", "/no/such/file"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains("cannot open /no/such/file"), "{}", missing.err);
}

#[test]
fn a_topic_is_made_unless_that_is_not_wanted() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders"]);
    assert!(broker.text(&["produce", "greetings", "hello"]).starts_with("1 record"));
    let refused = broker.run(&["produce", "ordres", "x", "--no-create"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("did you mean \"orders\"?"), "{}", refused.err);
}

#[test]
fn a_bad_line_is_named_and_what_stands_before_it_is_written() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    let ran = fed(&broker, &["produce", "orders", "-K", "=", "--json"], b"a=1\nb=2\nnone\nd=4\n");
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err, "rivven: line 3: no \"=\" parts a key from a value\n");
    assert_eq!(document(&ran)["records"], 2);
    let long = [b"short\n".to_vec(), vec![b'x'; 2_000_000]].concat();
    let ran = fed(&broker, &["produce", "orders", "--json"], &long);
    assert_eq!((ran.code, &document(&ran)["records"]), (Some(1), &json!(1)));
    assert!(
        ran.err.contains("line 2: a record of 2000000 bytes is above the topic's limit"),
        "{}",
        ran.err
    );
    let ran = broker.run(&["produce", "orders", "x", "--partition", "5", "--timeout", "2s"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
}

#[test]
fn an_interrupt_delivers_what_was_read() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    let address = broker.client.config().bootstrap[0].clone();
    let mut command = command(&address, &["produce", "orders", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"one\ntwo\n").expect("written");
    while broker.json(&["topic", "describe", "orders"])["topics"][0]["partitions"][0]["end"] != 2 {}
    crate::fixture::interrupt(&child);
    let ran = ran(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(130), ""));
    assert_eq!(document(&ran)["records"], 2);
}

#[test]
fn a_bench_tells_rates_and_percentiles() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "bench", "-p", "2"]);
    let arguments = ["bench", "produce", "bench", "--rate", "500", "--duration", "600ms"];
    let measured = broker.json(&arguments);
    assert_eq!(measured["failed"], 0);
    let records = measured["records"].as_u64().expect("a number");
    assert!((100..=300).contains(&records), "{measured}");
    let latency = &measured["latency_us"];
    assert!(latency["p50"].as_u64() <= latency["p999"].as_u64(), "{measured}");
    let table = broker.text(&["bench", "produce", "bench", "-r", "0", "-d", "200ms", "-z", "lz4"]);
    assert!(table.starts_with("RECORDS  FAILED  UNSENT  TARGET/S"), "{table}");
    let unknown = broker.run(&["bench", "produce", "bensch"]);
    assert!(unknown.err.contains("did you mean \"bench\"?"), "{}", unknown.err);
}

#[test]
fn nothing_is_lost_without_acks() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    let lines: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
    let ran = fed(&broker, &["produce", "orders", "--acks", "0"], lines.as_bytes());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let described = broker.json(&["topic", "describe", "orders"]);
    let rows = described["topics"][0]["partitions"].as_array().expect("a list");
    assert_eq!(rows.iter().filter_map(|row| row["end"].as_i64()).sum::<i64>(), 100_000);
}

#[test]
fn records_that_failed_are_named_by_their_lines() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "users", "-p", "1", "--config", "cleanup.policy=compact"]);
    let ran = fed(&broker, &["produce", "users", "--json"], b"a\nb\nc\n");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("3 records failed, between lines 1 and 3; the first: "),
        "{}",
        ran.err
    );
    assert_eq!((&document(&ran)["records"], &document(&ran)["failed"]), (&json!(0), &json!(3)));
    // Stdin stays open: the failure is told though nothing more comes.
    let mut command = command(&broker.client.config().bootstrap[0], &["produce", "users"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"a\n").expect("written");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    drop(stdin);
}

#[test]
fn a_pipe_is_read_as_a_file() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    for path in ["/dev/stdin", "-"] {
        let ran = fed(&broker, &["produce", "orders", "--json", "--file", path], b"a\nb\n");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{path}");
        assert_eq!(document(&ran)["records"], 2, "{path}");
    }
    let refused = broker.run(&["produce", "orders", "--file", "/tmp"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("cannot open /tmp: "), "{}", refused.err);
}

#[test]
fn a_topic_that_nobody_makes_is_answered_with_the_nearest() {
    let broker = Fixture::without_auto_create();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    let ran = broker.run(&["produce", "ordres", "x", "--timeout", "1s"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err, "rivven: there is no topic \"ordres\"; did you mean \"orders\"?\n");
    let ran = broker.run(&["produce", "orders", "x", "-p", "9"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("`rivven topic describe orders` shows"), "{}", ran.err);
}

#[test]
fn batches_are_no_larger_than_the_topic_takes() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1", "--config", "max.message.bytes=5000"]);
    let lines: String = (0..3000).map(|number| format!("line {number}\n")).collect();
    let ran = fed(&broker, &["produce", "orders", "--json"], lines.as_bytes());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(document(&ran)["records"], 3000);
    let ran = broker.run(&["produce", "orders", &"x".repeat(6000)]);
    assert_eq!(ran.code, Some(1));
    let wanted = "`rivven topic config orders --set max.message.bytes=6512` makes room";
    assert!(ran.err.contains(wanted), "{}", ran.err);
    broker.text(&["topic", "config", "orders", "--set", "max.message.bytes=6512"]);
    broker.text(&["produce", "orders", &"x".repeat(6000)]);
}

#[test]
fn a_load_that_cannot_be_carried_shows_as_late() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "bench", "-p", "1"]);
    let measured = broker.json(&[
        "bench",
        "produce",
        "bench",
        "--rate",
        "10000000",
        "--size",
        "1000",
        "--duration",
        "500ms",
    ]);
    let (sent, unsent) = (measured["records"].as_u64(), measured["unsent"].as_u64());
    let total = sent.zip(unsent).map(|(sent, unsent)| sent + unsent);
    assert_eq!(total, Some(5_000_000), "{measured}");
    // Half of what was due by the middle was sent at the end at the earliest.
    assert!(measured["latency_us"]["p50"].as_u64() > Some(100_000), "{measured}");
}
