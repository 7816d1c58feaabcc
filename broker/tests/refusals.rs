//! What `rivvend` refuses to start with: its exit code, and words that tell the operator what to
//! change.

#![allow(clippy::unwrap_used, reason = "functions that tests share")]
#![expect(clippy::disallowed_methods, reason = "the files are made by the test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The program, without what the machine sets, and where no `rivven.yaml` lies.
fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rivvend"));
    command.env_clear().current_dir("/");
    command
}

fn rivvend() -> Command {
    let mut command = bare();
    command.args(["--api-bind", "127.0.0.1:0"]);
    command
}

/// Exit code and standard error.
fn refusal(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "a broker that does not start is not ready");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn assert_refused(name: &str, command: &mut Command, (code, words): (i32, &[&str])) {
    let (found, text) = refusal(command);
    assert_eq!(found, code, "{name}: {text}");
    for word in words {
        assert!(text.contains(word), "{name}: no {word:?} in {text:?}");
    }
}

/// A directory that a broker has made, and that broker.
fn serving(data_dir: &Path) -> Child {
    let mut command = rivvend();
    command.args(["--bind", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{line:?}");
    child
}

fn end(mut child: Child) {
    let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A directory of one file.
fn holding(folder: &TempDir, name: &str, (file, text): (&str, &str)) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join(file), text).unwrap();
    path
}

const NEWER: &str = r#"{ "format": 3, "shape": "unknown to this release" }"#;
const META: &str =
    r#"{ "format": 1, "cluster_id": "AAAAAAAAAAAAAAAAAAAAAA", "node_id": 5, "starts": 1 }"#;

#[test]
fn a_directory_that_is_not_its_own_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let beside = holding(&folder, "file", ("plain", "x")).join("plain");
    let cases: [(&str, PathBuf, &[&str]); 7] = [
        (
            "foreign",
            holding(&folder, "foreign", ("photo.jpg", "x")),
            &["not a Rivven data directory", "photo.jpg", "give an empty directory"],
        ),
        (
            "no JSON",
            holding(&folder, "no-json", ("meta.json", "hello")),
            &["not a Rivven data directory"],
        ),
        (
            "newer",
            holding(&folder, "newer", ("meta.json", NEWER)),
            &["has format 3, this release knows 2"],
        ),
        (
            "another node's",
            holding(&folder, "node", ("meta.json", META)),
            &["belongs to node 5", "start with --node-id 5"],
        ),
        ("a file", beside.clone(), &["cannot be written"]),
        ("below a file", beside.join("data"), &["cannot be written", "Not a directory"]),
        // Root may write anywhere but here.
        ("read-only", "/proc/rivven-data".into(), &["/proc/rivven-data cannot be written"]),
    ];
    for (name, path, words) in cases {
        let before = listing(&path);
        let mut command = rivvend();
        command.args(["--bind", "127.0.0.1:0", "--data-dir"]).arg(&path);
        assert_refused(name, &mut command, (3, words));
        assert_eq!(listing(&path), before, "{name}: something was changed");
    }
}

/// Names and contents, but for the lock, which is empty and stays.
fn listing(path: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut all: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != "lock")
        .map(|entry| {
            let text = std::fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), text)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn what_another_broker_holds_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let held = folder.path().join("held");
    let first = serving(&held);
    let mut command = rivvend();
    command.args(["--bind", "127.0.0.1:0", "--data-dir"]).arg(&held);
    let words: &[&str] = &["held is locked by another process"];
    assert_refused("locked", &mut command, (3, words));
    end(first);
    // The lock went with its owner.
    end(serving(&held));
}

#[test]
fn a_directory_whose_parts_cannot_be_used_is_a_failure_of_storage() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    end(serving(&path));
    std::fs::remove_dir_all(path.join("wal")).unwrap();
    std::fs::write(path.join("wal"), "x").unwrap();
    let mut command = rivvend();
    command.args(["--bind", "127.0.0.1:0", "--data-dir"]).arg(&path);
    assert_refused("wal is a file", &mut command, (4, &["wal"]));
}

#[test]
fn a_bad_setting_is_refused_with_its_source_its_limit_and_what_would_be_right() {
    let cases: [(&str, &str, &[&str]); 16] = [
        ("node-id", "-1", &["not within 0 to 2147483647"]),
        ("node-id", "one", &["node-id=one", "not a whole number"]),
        ("default-partitions", "0", &["not within 1 to 100000"]),
        ("default-partitions", "100001", &["not within 1 to 100000"]),
        ("auto-create-topics", "yes", &["neither true nor false"]),
        ("sync-policy", "sometimes", &["none of every_write, every_n_writes(N), none"]),
        ("sync-policy", "every_n_writes(0)", &["not within 1 to 4294967295"]),
        ("bind", "9092", &["not an address like 127.0.0.1:9092 or [::1]:9092"]),
        ("bind", "127.0.0.1:1,127.0.0.1:1", &["127.0.0.1:1 is given twice"]),
        ("api-bind", "there", &["not an address like"]),
        ("advertise-addr", "host:0", &["not a host and port like broker.example:9092"]),
        ("memory-bytes", "-1", &["not within 0 to"]),
        ("max-connections", "0", &["not within 1 to 1000000"]),
        ("log-level", "a=b=c", &["not a level such as info"]),
        ("log-format", "xml", &["neither text nor json"]),
        ("data-dir", "", &["a directory is needed"]),
    ];
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("given.yaml");
    for (name, value, words) in cases {
        let variable = format!("RIVVEN_{}", name.replace('-', "_").to_uppercase());
        std::fs::write(&file, format!("{name}: '{value}'\n")).unwrap();
        let (mut flag, mut environment, mut yaml) = (bare(), bare(), bare());
        flag.arg(format!("--{name}={value}"));
        environment.env(&variable, value);
        yaml.arg("--config").arg(&file);
        let sources: [(&mut Command, &str); 3] = [
            (&mut flag, "command line: "),
            (&mut environment, &format!("{variable}: ")),
            (&mut yaml, "given.yaml: "),
        ];
        for (command, source) in sources {
            let expected = [words, &[source, name]].concat();
            assert_refused(&format!("{source}{name}={value}"), command, (2, &expected));
        }
    }
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_name() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("given.yaml");
    std::fs::write(&file, "server:\n  auto_create_topic: true\n").unwrap();
    let file = file.to_str().unwrap();
    type Case<'a> = (&'a [&'a str], Option<(&'a str, &'a str)>, &'a [&'a str]);
    let cases: [Case<'_>; 4] = [
        (&["--data-dri", "x"], None, &["--data-dir"]),
        (
            &[],
            Some(("RIVVEN_DEFAULT_PARTITION", "3")),
            &["RIVVEN_DEFAULT_PARTITION", "did you mean default-partitions?"],
        ),
        (
            &["--config", file],
            None,
            &["given.yaml", "auto_create_topic", "did you mean auto-create-topics?"],
        ),
        (
            &["--config", "/nonexistent/rivven.yaml"],
            None,
            &["/nonexistent/rivven.yaml", "there is no such file"],
        ),
    ];
    for (args, variable, words) in cases {
        let mut command = bare();
        command.args(args).envs(variable);
        assert_refused(&format!("{args:?} {variable:?}"), &mut command, (2, words));
    }
}

#[test]
fn memory_and_addresses_that_do_not_suffice_are_refused_with_what_is_needed() {
    let folder = TempDir::new().unwrap();
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("memory", &["--memory-bytes", "1000"], &["memory-bytes=1000 is too little", "are needed"]),
        (
            "connections",
            &["--max-connections", "1000000"],
            &["are needed with max-connections=1000000"],
        ),
        ("no such address", &["--bind", "192.0.2.1:1"], &["cannot listen on 192.0.2.1:1"]),
    ];
    for (name, args, words) in cases {
        let mut command = rivvend();
        command.arg("--data-dir").arg(folder.path().join("data")).args(args);
        assert_refused(name, &mut command, (2, words));
    }
}
