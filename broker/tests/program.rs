//! The `rivvend` program: its ready line, its signals and its exit codes.

#![allow(clippy::unwrap_used, reason = "functions that tests share")]
#![expect(clippy::disallowed_methods, reason = "the files are made by the test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

fn rivvend(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rivvend"));
    command
        .args(["--bind", "127.0.0.1:0,127.0.0.1:0", "--api-bind", "127.0.0.1:0", "--data-dir"])
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

#[test]
fn a_locked_directory_is_exit_code_3() {
    let folder = TempDir::new().unwrap();
    let mut first = rivvend(folder.path()).spawn().unwrap();
    ready(&mut first);
    assert_eq!(rivvend(folder.path()).status().unwrap().code(), Some(3));
    signal(&first, "TERM");
    assert_eq!(first.wait().unwrap().code(), Some(0));
}

#[test]
fn a_strangers_directory_is_exit_code_3() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("photo.jpg"), "x").unwrap();
    assert_eq!(rivvend(folder.path()).status().unwrap().code(), Some(3));
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert_eq!(rivvend(&file).status().unwrap().code(), Some(3));
}

#[test]
fn bad_configuration_is_exit_code_2() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("rivven.yaml");
    std::fs::write(&file, "auto_create_topic: true\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [&[&str]; 6] = [
        &["--no-such-flag", "1"],
        &["--node-id", "x"],
        &["--config", file],
        &["--config", "/nonexistent/rivven.yaml"],
        &["--memory-bytes", "1"],
        &["--api-bind", "192.0.2.1:1"],
    ];
    for args in cases {
        let data_dir = folder.path().join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivvend"));
        command.args(["--bind", "127.0.0.1:0", "--data-dir"]).arg(data_dir).args(args);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    let output = rivvend(folder.path()).env("RIVVEN_NODE_ID", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
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
