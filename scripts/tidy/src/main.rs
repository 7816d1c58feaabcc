//! `cargo tidy`: prints what breaks a house rule, one line each, and exits 1 if there is any.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match rivven_tidy::check(&root()) {
        Ok(report) => {
            for finding in &report.findings {
                println!("{finding}");
            }
            for note in &report.notes {
                println!("note: {note}");
            }
            println!("tidy: {} findings", report.findings.len());
            ExitCode::from(u8::from(!report.findings.is_empty()))
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            ExitCode::from(4)
        }
    }
}

/// The first argument, else the checkout that cargo started this program from, else `.`.
fn root() -> PathBuf {
    if let Some(given) = std::env::args_os().nth(1) {
        return given.into();
    }
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(manifest) => PathBuf::from(manifest).join("../.."),
        None => PathBuf::from("."),
    }
}
