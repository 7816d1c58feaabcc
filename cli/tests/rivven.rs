//! The `rivven` binary: exit codes, what it prints of each kind of file, and its JSON.
#![expect(clippy::disallowed_methods, reason = "the files are made and damaged by the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What a killed broker left; the core's tests say how it was made.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/dir-v1/data")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("listable") {
        let entry = entry.expect("listable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

/// A copy of the golden directory that may be damaged.
fn data() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().join("data");
    copy(&golden(), &root);
    (dir, root)
}

fn segment(root: &Path) -> PathBuf {
    root.join("topics/orders/partition-0/00000000000000000000.log")
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("writable");
}

fn rivven(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rivven"));
    command.args(arguments).env_remove("RIVVEN_DATA_DIR");
    command.output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = text(output);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn name(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn verify_ends_with_the_exit_code_that_its_help_promises() {
    let (_clean_dir, clean) = data();
    let (_damaged_dir, damaged) = data();
    flip(&segment(&damaged), 100);
    let (_foreign_dir, foreign) = data();
    fs::remove_file(foreign.join("meta.json")).expect("removed");
    for (arguments, code, wanted) in [
        (&["--data-dir", name(&clean)][..], 0, "ok: nothing is damaged"),
        (&["--data-dir", name(&damaged)], 1, "checksum does not match"),
        (&[], 2, "--data-dir"),
        (&["--data-dir", "/nowhere/at/all"], 3, "there is no directory"),
        (&["--data-dir", name(&foreign)], 3, "is not a Rivven data directory"),
    ] {
        let output = rivven(&[&["log", "verify"], arguments].concat());
        let said = text(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[test]
fn verify_prints_one_line_of_json() {
    let (_dir, root) = data();
    let records = fs::read_to_string(golden().join("../records.txt")).expect("readable");
    let clean = rivven(&["log", "verify", "--json", "--data-dir", name(&root)]);
    let lines = json_lines(&clean);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["ok"], true);
    assert_eq!(lines[0]["records"], records.lines().count());
    assert_eq!(lines[0]["findings"], Value::Array(Vec::new()));
    assert!(lines[0]["wal"]["commits"].as_u64() > Some(0));
    flip(&segment(&root), 100);
    let damaged = json_lines(&rivven(&["log", "verify", "--json", "--data-dir", name(&root)]));
    let finding = &damaged[0]["findings"][0];
    assert_eq!(damaged[0]["ok"], false);
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["where"], "topics/orders/partition-0/00000000000000000000.log");
    assert_eq!((&finding["offset"], &finding["position"]), (&0.into(), &0.into()));
}

#[test]
fn dump_prints_each_kind_of_file() {
    let root = golden();
    for (file, wanted) in [
        ("topics/orders/partition-0/00000000000000000000.log", "@0 offsets 0..=0 records 1"),
        ("topics/orders/partition-0/00000000000000000000.idx", "offset_index: segment 0, 8640"),
        ("topics/orders/partition-0/00000000000000000000.timeindex", "max timestamp before 1000"),
        ("wal/00000000000000000000.wal", "metadata 1: CreateTopic { name: \"orders\""),
        ("checkpoint.a", "topic orders id"),
        ("checkpoint.b", "partition orders-0 offsets 0.."),
    ] {
        let path = root.join(file);
        let printed = rivven(&["log", "dump", name(&path)]);
        assert_eq!(printed.status.code(), Some(0), "{file}: {}", text(&printed));
        assert!(text(&printed).contains(wanted), "{file}: {}", text(&printed));
        // The name does not matter, and each line of JSON is an object with a kind.
        let dir = tempfile::tempdir().expect("a temporary directory");
        let renamed = dir.path().join("renamed");
        fs::copy(&path, &renamed).expect("copied");
        let lines = json_lines(&rivven(&["log", "dump", "--json", name(&renamed)]));
        assert!(!lines.is_empty() && lines.iter().all(|line| line["kind"].is_string()), "{file}");
    }
}

#[test]
fn dump_prints_records_from_an_offset_on_and_not_more_than_asked() {
    let path = segment(&golden());
    let records = |more: &[&str]| {
        let arguments = [&["log", "dump", "--json", "--records", name(&path)], more].concat();
        let lines = json_lines(&rivven(&arguments));
        let records = lines.into_iter().filter(|line| line["kind"] == "record");
        records.map(|line| line["offset"].as_i64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(records(&[]), (0..8).collect::<Vec<_>>());
    assert_eq!(records(&["--from", "5"]), [5, 6, 7]);
    assert_eq!(records(&["--from", "5", "--max", "1"]), [5]);
    let shown = text(&rivven(&["log", "dump", "--records", "--max", "1", name(&path)]));
    assert!(shown.contains("0 time 1000 key null value \"order 0 0 abc"), "{shown}");
    assert!(shown.contains("… (1010 bytes)"), "{shown}");
}

#[test]
fn dump_loses_no_byte_in_json_and_begins_at_the_entry_that_covers_an_offset() {
    let lines =
        json_lines(&rivven(&["log", "dump", "--json", "--records", name(&segment(&golden()))]));
    let record = lines.iter().find(|line| line["kind"] == "record").expect("a record");
    assert_eq!(record["key"], Value::Null);
    assert_eq!(record["value"].as_str().map(str::len), Some(1010));
    let index = segment(&golden()).with_extension("idx");
    let entries = |from: &str| {
        let lines = json_lines(&rivven(&["log", "dump", "--json", "--from", from, name(&index)]));
        let entries = lines.into_iter().filter(|line| line["kind"] == "entry");
        entries.map(|line| line["offset"].as_i64().expect("a number")).collect::<Vec<_>>()
    };
    let all = entries("0");
    assert_eq!(entries("1000000"), all[all.len() - 1..], "the last one covers all that follows");
}

#[test]
fn dump_unpacks_compressed_batches() {
    // Attributes, deltas of time and offset, no key, a value of 10 bytes, no headers.
    let record = b"\x00\x00\x00\x01\x14squeeze me\x00";
    let zipped = gzip_stored(&[&[record.len() as u8 * 2], &record[..]].concat());
    let mut batch = vec![0; 61];
    batch[8..12].copy_from_slice(&(49 + zipped.len() as i32).to_be_bytes());
    batch[16] = 2;
    batch[22] = 1;
    batch[43..57].fill(0xff);
    batch[60] = 1;
    batch.extend(zipped);
    let crc = rivven_core::record::header::compute_crc(&batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("00000000000000000000.log");
    fs::write(&path, batch).expect("written");
    let shown = text(&rivven(&["log", "dump", "--records", name(&path)]));
    assert!(shown.contains("codec gzip") && shown.contains("value \"squeeze me\""), "{shown}");
}

/// Gzip with one stored block.
fn gzip_stored(data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u16).to_le_bytes();
    let complement = (!(data.len() as u16)).to_le_bytes();
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    let tail = [(!crc).to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    [&head[..], &len, &complement, data, &tail].concat()
}

#[test]
fn dump_names_damage_and_goes_on_behind_it() {
    let (_dir, root) = data();
    let offsets_index = segment(&root).with_extension("idx");
    flip(&segment(&root), 100);
    flip(&offsets_index, 34);
    flip(&root.join("checkpoint.a"), 70);
    for (path, wanted) in [
        (segment(&root), "the batch's checksum does not match"),
        (offsets_index, "the index is damaged"),
        (root.join("checkpoint.a"), "the checkpoint is torn or damaged"),
    ] {
        let printed = rivven(&["log", "dump", name(&path)]);
        assert_eq!(printed.status.code(), Some(1), "{}: {}", path.display(), text(&printed));
        assert!(text(&printed).contains(wanted), "{}: {}", path.display(), text(&printed));
    }
    let lines = json_lines(&rivven(&["log", "dump", "--json", name(&segment(&root))]));
    assert_eq!(lines[0]["kind"], "damage");
    assert_eq!(lines.iter().filter(|line| line["kind"] == "batch").count(), 7);
}

#[test]
fn dump_holds_the_first_offset_to_the_name_of_the_file() {
    let (_dir, root) = data();
    let mut bytes = fs::read(segment(&root)).expect("readable");
    bytes[..8].copy_from_slice(&i64::MAX.to_be_bytes());
    fs::write(segment(&root), bytes).expect("written");
    let printed = text(&rivven(&["log", "dump", name(&segment(&root))]));
    assert!(printed.contains("the batch says offset 9223372036854775807 where 0"), "{printed}");
    assert!(printed.contains("offsets 7..=7 "), "{printed}");
    let renamed = root.join("renamed");
    fs::copy(segment(&root), &renamed).expect("copied");
    assert_eq!(rivven(&["log", "dump", name(&renamed)]).status.code(), Some(1));
}

#[test]
fn dump_knows_the_zeros_that_fill_the_last_page() {
    let (_dir, root) = data();
    let mut bytes = fs::read(segment(&root)).expect("readable");
    let filled = bytes.len();
    bytes.resize(filled.next_multiple_of(4096), 0);
    assert!(bytes.len() > filled, "the golden segment ends inside a page");
    fs::write(segment(&root), &bytes).expect("written");
    let output = rivven(&["log", "dump", name(&segment(&root))]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).contains("zeros fill the last page"), "{}", text(&output));
    *bytes.last_mut().expect("not empty") = 1;
    fs::write(segment(&root), &bytes).expect("written");
    let output = rivven(&["log", "dump", name(&segment(&root))]);
    assert_eq!(output.status.code(), Some(1), "any other byte is damage");
}

#[test]
fn dump_refuses_what_it_does_not_know() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("poem.txt");
    fs::write(&path, "so much depends upon a red wheel barrow".repeat(10)).expect("written");
    for file in [name(&path), "/nowhere/at/all"] {
        let refused = rivven(&["log", "dump", file]);
        assert_eq!(refused.status.code(), Some(3), "{file}");
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{file}");
    }
    let zeros = dir.path().join("zeros");
    fs::write(&zeros, [0; 5000]).expect("written");
    assert!(text(&rivven(&["log", "dump", name(&zeros)])).contains("empty: 5000 bytes"));
}

#[test]
fn help_teaches_with_examples_and_completions_know_the_commands() {
    for (arguments, wanted) in [
        (&["--help"][..], "Examples:"),
        (&["log", "verify", "--help"], "rivven log verify --data-dir ./data --json | jq"),
        (&["log", "dump", "--help"], "--records --from 4711"),
        (&["completions", "bash"], "complete -F _rivven"),
        (&["completions", "zsh"], "data-dir"),
        (&["completions", "fish"], "verify"),
    ] {
        let output = rivven(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output).contains(wanted), "{arguments:?}: {}", text(&output));
    }
}
