//! Tells the program which commit it is built from, if it is built from a checkout. Outside of one,
//! or without git, it says nothing and the build goes on.

use std::path::Path;
use std::process::Command;

/// What the simulator is built from, as seen from the workspace.
const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "io-abstraction",
    "core",
    "client",
    "broker",
    "simulator",
    "scenarios",
];

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Whatever changes these builds the simulator anew in any case.
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    // A commit, a checkout and a reset change this file, which need not touch a source.
    if let Some(log) = git(&workspace, &["rev-parse", "--git-path", "logs/HEAD"])
        && workspace.join(&log).exists()
    {
        println!("cargo::rerun-if-changed={}", workspace.join(log).display());
    }
    if let Some(commit) = commit(&workspace) {
        println!("cargo::rustc-env=RIVVEN_SIMULATOR_COMMIT={commit}");
    }
}

/// The commit of the sources, marked if they are not as it has them.
fn commit(workspace: &Path) -> Option<String> {
    // A checkout of something else around an unpacked archive says nothing about these sources.
    let top = git(workspace, &["rev-parse", "--show-toplevel"])?;
    let is_own = workspace.canonicalize().ok()? == Path::new(&top).canonicalize().ok()?;
    let commit = is_own.then(|| git(workspace, &["rev-parse", "--short=12", "HEAD"]))??;
    let changes = git(workspace, &[&["status", "--porcelain", "--"][..], &SOURCES].concat())?;
    let mark = if changes.is_empty() { "" } else { "-dirty" };
    Some(format!("{commit}{mark}"))
}

/// What git prints, if it can.
fn git(folder: &Path, args: &[&str]) -> Option<String> {
    // The index is not refreshed: a build writes nothing into the checkout.
    let mut git = Command::new("git");
    git.arg("--no-optional-locks").args(args).current_dir(folder);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
