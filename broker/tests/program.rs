//! The `rivvend` program: its ready line, its signals, its settings. Refusals: refusals.rs.

#![allow(clippy::unwrap_used, reason = "functions that tests share")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

fn rivvend(data_dir: &Path) -> Command {
    let mut command = bare(data_dir);
    command.args(["--bind", "127.0.0.1:0,127.0.0.1:0"]);
    command
}

/// Without an address for clients.
fn bare(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rivvend"));
    command
        .args(["--api-bind", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Waits for the ready line.
fn ready(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

#[test]
fn it_says_when_it_is_ready_and_ends_on_either_signal() {
    let folder = TempDir::new().unwrap();
    for name in ["TERM", "INT"] {
        let mut child = rivvend(folder.path()).spawn().unwrap();
        let line = ready(&mut child);
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let [word, kafka, http, recovered, ms] = words[..] else { panic!("{line:?}") };
        assert_eq!(word, "ready");
        assert_eq!(kafka.strip_prefix("kafka=").unwrap().split(',').count(), 2);
        assert!(!kafka.contains(":0,") && !http.ends_with(":0"), "{line}");
        assert!(http.starts_with("http=127.0.0.1:"));
        assert_eq!(recovered, "recovered=0");
        ms.strip_prefix("ms=").unwrap().parse::<u64>().unwrap();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "SIG{name}");
    }
}

/// The log as JSON objects; everything on stderr must be one.
fn json_lines(stderr: &mut impl Read) -> Vec<serde_json::Value> {
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    let object = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value.is_object(), "{line}");
        value
    };
    text.lines().map(object).collect()
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let mut child = bare(folder.path())
        .args(["--bind", "0.0.0.0:0", "--log-format", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ready(&mut child);
    let mut second = rivvend(folder.path())
        .env("RIVVEN_LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(3));
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let lines = json_lines(child.stderr.as_mut().unwrap());
    let of = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or("none").to_owned();
    let warning = lines.iter().find(|line| of(line, "level") == "WARN").unwrap();
    assert!(of(warning, "addr").starts_with("0.0.0.0:"), "{warning}");
    assert_eq!(of(lines.last().unwrap(), "message"), "stopping");
    for line in &lines {
        assert!(of(line, "timestamp").ends_with('Z'), "{line}");
        assert!(of(line, "target").starts_with("rivven"), "{line}");
    }
    let lines = json_lines(second.stderr.as_mut().unwrap());
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((of(line, "level"), of(line, "message")), ("ERROR".into(), "cannot start".into()));
    assert!(of(line, "error").contains("is locked by another process"), "{line}");
}

/// A device that has no room.
#[expect(clippy::disallowed_methods, reason = "it is given to the program, not used here")]
fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let folder = TempDir::new().unwrap();
    for format in ["text", "json"] {
        let mut command = bare(folder.path());
        // That other machines can reach it is a line of the log.
        command.args(["--bind", "0.0.0.0:0", "--log-format", format]);
        let mut child = command.stderr(full()).spawn().unwrap();
        assert!(ready(&mut child).starts_with("ready "), "{format}");
        let locked = bare(folder.path()).stderr(full()).status().unwrap();
        assert_eq!(locked.code(), Some(3), "{format}");
        signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}");
    }
}

#[test]
fn the_effective_configuration_is_printed_with_its_sources() {
    let folder = TempDir::new().unwrap();
    let output =
        rivvend(folder.path()).env("RIVVEN_NODE_ID", "5").arg("--print-config").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("node-id: 5 # environment\n"), "{text}");
    assert!(text.contains("api-bind: 127.0.0.1:0 # flag\n"), "{text}");
    assert!(text.contains("sync-policy: every_write # default\n"), "{text}");
}
