//! The `rivvend` program: its ready line, its signals, its settings. Refusals: refusals.rs.

#![allow(clippy::unwrap_used, reason = "functions that tests share")]

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
