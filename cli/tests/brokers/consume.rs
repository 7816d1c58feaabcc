//! `rivven consume` and `bench consume`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::fixture::{Fixture, command, ran, signal};
use crate::produce::fed;

/// A broker with a topic of one partition and these lines in it.
fn with_lines(lines: &str) -> Fixture {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    let ran = fed(&broker, &["produce", "orders"], lines.as_bytes());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    broker
}

fn spawned(broker: &Fixture, arguments: &[&str]) -> Child {
    let mut command = command(&broker.client.config().bootstrap[0], arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

/// What the group of these tests has committed for partition 0, and its members.
fn group(broker: &Fixture) -> (Value, usize) {
    let described = broker.json(&["group", "describe", "readers"]);
    let group = &described["groups"][0];
    let members = group["members"].as_array().expect("a list").len();
    (group["partitions"][0]["committed"].clone(), members)
}

#[test]
fn records_are_printed_as_the_format_says() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    broker.text(&["produce", "orders", "first", "-k", "4711", "-H", "by=shop"]);
    broker.text(&["produce", "orders", "-k", "4711", "--tombstone"]);
    assert_eq!(broker.text(&["consume", "orders"]), "first\n\n");
    let lines = broker.text(&["consume", "orders", "--format", "%t/%p/%o %k=%v (%V) [%h]\\n"]);
    assert_eq!(lines, "orders/0/0 4711=first (5) [by=shop]\norders/0/1 4711= (-1) []\n");
    let lines = broker.text(&["consume", "orders", "--json"]);
    let records: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!((&records[0]["key"], &records[0]["value"]), (&json!("4711"), &json!("first")));
    assert_eq!(records[0]["headers"], json!([{ "name": "by", "value": "shop" }]));
    assert_eq!((&records[1]["offset"], &records[1]["value"]), (&json!(1), &Value::Null));
    assert!(records[0]["timestamp"].as_i64() > Some(1_700_000_000_000));
}

#[test]
fn any_bytes_come_back_through_every_codec() {
    let broker = Fixture::start();
    let values: Vec<Vec<u8>> = (0..2000_u32)
        .map(|n| [b"\xff\x00".repeat(n as usize % 40), n.to_string().into()].concat())
        .collect();
    let input = [values.join(&b'\n'), vec![b'\n']].concat();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        broker.text(&["topic", "create", codec, "-p", "1"]);
        let sent = fed(&broker, &["produce", codec, "--compression", codec], &input);
        assert_eq!((sent.code, sent.err.as_str()), (Some(0), ""));
        let child = spawned(&broker, &["consume", codec]);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout == input, "{codec}: other bytes come back");
    }
}

#[test]
fn reading_begins_where_it_is_told_to() {
    let broker = with_lines("a\nb\nc\nd\ne\n");
    for (arguments, wanted) in [
        (&["--from-beginning"][..], "a\nb\nc\nd\ne\n"),
        (&["--offset", "3"], "d\ne\n"),
        (&["-o", "-2"], "d\ne\n"),
        (&["-o", "0:1", "--max", "2"], "b\nc\n"),
        (&["-o", "latest"], ""),
        (&["-o", "5"], ""),
        (&["-p", "0", "-o", "0", "-m", "1"], "a\n"),
        (&["-m", "0"], ""),
        (&["--poll-interval", "100", "-m", "1"], "a\n"),
    ] {
        assert_eq!(
            broker.text(&[&["consume", "orders"], arguments].concat()),
            wanted,
            "{arguments:?}"
        );
    }
    for (arguments, code, wanted) in [
        (&["orders", "--offset", "6"][..], 1, "has offsets 0 to 5"),
        (&["orders", "--partition", "1"], 1, "no partition 1, only 0 to 0"),
        (&["ordres"], 1, "did you mean \"orders\"?"),
        (&["orders", "--offset", "soon"], 2, "earliest, latest or -N"),
        (&["orders", "--format", "%q"], 2, "stands for nothing"),
        (&["orders", "--group", "g", "--offset", "3"], 2, "reset-offsets"),
    ] {
        let ran = broker.run(&[&["consume"], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_group_goes_on_where_it_has_printed() {
    let broker = with_lines("a\nb\nc\nd\ne\n");
    let as_group = ["consume", "orders", "--group", "readers"];
    assert_eq!(broker.text(&[&as_group[..], &["--max", "2"]].concat()), "a\nb\n");
    assert_eq!(group(&broker), (json!(2), 0), "it has left");
    assert_eq!(broker.text(&as_group), "c\nd\ne\n");
    assert_eq!(broker.text(&as_group), "");
    assert_eq!(group(&broker), (json!(5), 0));
    broker.text(&["group", "reset-offsets", "readers", "--shift-by", "-1", "--execute"]);
    assert_eq!(broker.text(&as_group), "e\n");
    let latest = broker.text(&["consume", "orders", "-g", "late", "--offset", "latest"]);
    assert_eq!(latest, "");
}

#[test]
fn who_follows_sees_what_comes_and_leaves_when_interrupted() {
    for (signalled, code) in [("-INT", 130), ("-TERM", 143)] {
        follow_until(signalled, code);
    }
}

fn follow_until(signalled: &str, code: i32) {
    let broker = with_lines("a\n");
    let mut child = spawned(&broker, &["consume", "orders", "-f", "--group", "readers"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "a");
    assert_eq!(group(&broker).1, 1);
    broker.text(&["produce", "orders", "b"]);
    assert_eq!(next(), "b");
    signal(&child, signalled);
    assert!(lines.next().is_none());
    let ended = ran(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(code), ""));
    assert_eq!(group(&broker), (json!(2), 0));
}

#[test]
fn a_reader_who_goes_ends_it_without_a_word() {
    let lines: String = (0..50_000).map(|number| format!("line {number}\n")).collect();
    let broker = with_lines(&lines);
    let mut child = spawned(&broker, &["consume", "orders", "-f", "--group", "readers"]);
    let mut first = [0; 7];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("bytes");
    assert_eq!(&first, b"line 0\n");
    let ended = ran(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let (committed, members) = group_or_nothing(&broker);
    assert_eq!(members, 0);
    assert!(committed < 50_000, "{committed} were not all seen");
}

/// As [`group`], for a group that may have committed nothing.
fn group_or_nothing(broker: &Fixture) -> (i64, usize) {
    let described = broker.run(&["group", "describe", "readers", "--json"]);
    let document: Value = serde_json::from_str(&described.out).expect("a document");
    let group = &document["groups"][0];
    let members = group["members"].as_array().map_or(0, Vec::len);
    (group["partitions"][0]["committed"].as_i64().unwrap_or(0), members)
}

#[test]
fn a_bench_reads_what_is_there() {
    let broker = with_lines("a\nb\nc\n");
    let measured = broker.json(&["bench", "consume", "orders"]);
    assert_eq!((&measured["records"], &measured["latency_us"]["p50"]), (&json!(3), &Value::Null));
    let table = broker.text(&["bench", "consume", "orders", "--latest", "--duration", "300ms"]);
    assert!(table.contains("RECORDS/S"), "{table}");
}

/// Lines that no pipe holds.
fn many_lines() -> String {
    (0..20_000).map(|number| format!("line {number} {}\n", "x".repeat(100))).collect()
}

/// Waits for what another process brings about.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed().as_secs() < 30, "in vain: {what}");
    }
}

#[test]
fn a_member_without_a_partition_ends_when_others_have_read_everything() {
    let broker = with_lines("a\nb\n");
    let mut other = spawned(&broker, &["consume", "orders", "-f", "-g", "readers"]);
    let mut lines = BufReader::new(other.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "a");
    let ran = broker.run(&["consume", "orders", "-g", "readers"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{}", ran.err);
    assert_eq!(group(&broker), (json!(2), 1));
    signal(&other, "-TERM");
    assert_eq!(other.wait().expect("it ends").code(), Some(143));
}

#[test]
fn a_topic_that_goes_ends_it_with_a_sentence() {
    for makes_anew in [false, true] {
        let broker = with_lines(&many_lines());
        let mut child = spawned(&broker, &["consume", "orders"]);
        let mut out = child.stdout.take().expect("a pipe");
        out.read_exact(&mut [0; 7]).expect("bytes");
        broker.text(&["topic", "delete", "orders"]);
        if makes_anew {
            broker.text(&["topic", "create", "orders", "-p", "1"]);
            broker.text(&["produce", "orders", "of another topic"]);
        }
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("text");
        let ended = ran(child.wait_with_output().expect("it ends"));
        assert_eq!(ended.code, Some(1));
        let wanted = "topic \"orders\" was deleted";
        assert!(ended.err.contains(wanted), "{}", ended.err);
        assert!(!rest.contains("of another topic"));
    }
}

#[test]
fn a_reader_who_stops_keeps_nobody_out_of_the_group() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    for partition in ["0", "1"] {
        fed(&broker, &["produce", "orders", "-p", partition], many_lines().as_bytes());
    }
    let mut stopped = spawned(&broker, &["consume", "orders", "-g", "readers"]);
    let mut out = stopped.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 7]).expect("bytes");
    let mut other = spawned(&broker, &["consume", "orders", "-f", "-g", "readers"]);
    let mut others = other.stdout.take().expect("a pipe");
    others.read_exact(&mut [0; 7]).expect("bytes");
    let described = broker.json(&["group", "describe", "readers"]);
    assert_eq!(described["groups"][0]["members"].as_array().map(Vec::len), Some(2));
    // Signals are heeded, too, though nobody has read on.
    signal(&stopped, "-INT");
    assert_eq!(stopped.wait().expect("it ends").code(), Some(130));
    drop((out, others));
    assert_eq!(other.wait().expect("it ends").code(), Some(0), "its reader has gone");
    assert_eq!(group_or_nothing(&broker).1, 0);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let broker = with_lines(&many_lines());
    let path = "/dev/full";
    let full = std::fs::OpenOptions::new().write(true).open(path).expect("it is there");
    for arguments in [&["topic", "list"][..], &["consume", "orders"]] {
        let mut command = command(&broker.client.config().bootstrap[0], arguments);
        let ran =
            ran(command.stdout(full.try_clone().expect("a handle")).output().expect("it runs"));
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert!(ran.err.starts_with("rivven: writing the output: No space left"), "{}", ran.err);
    }
}

#[test]
fn a_reader_who_goes_is_noticed_though_nothing_comes() {
    let broker = with_lines("a\n");
    let mut child = spawned(&broker, &["consume", "orders", "-f", "-g", "readers"]);
    child.stdout.take().expect("a pipe").read_exact(&mut [0; 2]).expect("bytes");
    let ended = ran(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(group(&broker), (json!(1), 0));
}

#[test]
fn what_prints_as_nothing_counts_as_read() {
    let broker = with_lines("a\nb\n");
    let printed = broker.text(&["consume", "orders", "-g", "readers", "--format", "%k"]);
    assert_eq!((printed.as_str(), group(&broker)), ("", (json!(2), 0)));
}

#[test]
fn one_offset_for_partitions_of_different_lengths_is_moved_into_each() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    broker.produce("orders", 0, &[b"a", b"b", b"c"]);
    broker.produce("orders", 1, &[b"d"]);
    assert_eq!(broker.text(&["consume", "orders", "-o", "2"]), "c\n");
    for arguments in [&["-o", "2", "-p", "1"][..], &["-o", "1:2"], &["-o", "4"]] {
        let refused = broker.run(&[&["consume", "orders"], arguments].concat());
        assert_eq!(refused.code, Some(1), "{arguments:?}");
        assert!(refused.err.contains("begin inside them"), "{}", refused.err);
    }
    let refused = broker.run(&["consume", "orders", "-o", "1:0", "-p", "0"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
}

#[test]
fn two_members_print_every_record_between_them() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "4"]);
    let mut first = spawned(&broker, &["consume", "orders", "-f", "-g", "readers"]);
    let mut second = spawned(&broker, &["consume", "orders", "-f", "-g", "readers"]);
    let lines: String = (0..2000).map(|number| format!("{number}:{number}\n")).collect();
    let sent = fed(&broker, &["produce", "orders", "-K", ":"], lines.as_bytes());
    assert_eq!(sent.code, Some(0), "{}", sent.err);
    until("everything is committed", || {
        let described = broker.run(&["group", "describe", "readers", "--json"]);
        let document: Value = serde_json::from_str(&described.out).expect("a document");
        let rows = document["groups"][0]["partitions"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["committed"].as_i64()).sum::<i64>() == 2000
    });
    let mut printed = std::collections::BTreeSet::new();
    for child in [&mut first, &mut second] {
        signal(child, "-INT");
        let mut text = String::new();
        child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
        printed.extend(text.lines().map(str::to_owned));
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
    }
    assert_eq!(printed.len(), 2000);
}
