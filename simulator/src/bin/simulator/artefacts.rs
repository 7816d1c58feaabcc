//! What a failing run leaves on disk: its plan, its history and its verdict.

use std::path::{Path, PathBuf};

use rivven_simulator::launch::Report;
use rivven_simulator::plan::Plan;

/// Writes the files of one run; the folder, if that worked.
pub(crate) fn keep(home: &Path, plan: &Plan, report: &Report, build: &str) -> Option<PathBuf> {
    let planted = if plan.planted.is_empty() { "" } else { "-" };
    let folder = home.join(format!("{}-{}{planted}{}", plan.scenario, plan.seed, plan.planted));
    std::fs::create_dir_all(&folder).ok()?;
    let verdict = serde_json::json!({ "build": build, "outcome": report.outcome });
    let verdict = serde_json::to_string_pretty(&verdict).ok()?;
    let history_edn = report.history_edn().ok()?;
    let files = [
        ("plan.toml", plan.to_toml()),
        ("verdict.json", verdict),
        ("history.jsonl", report.history.clone()),
        ("history.edn", history_edn),
        ("log.txt", report.log.clone()),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).ok()?;
    }
    Some(folder)
}
