//! What a failing run leaves on disk: plan, trace, history, log and verdict, in a folder that
//! appears whole or not at all.

use std::path::{Path, PathBuf};

use rivven_simulator::launch::Report;
use rivven_simulator::plan::Plan;

use crate::build_id::build_id;

/// What begins the name of a folder in which files are still written; the writer's process id
/// follows.
const PARTIAL: &str = ".partial-";

/// The folder that holds a folder of each failing run.
#[derive(Clone)]
pub(crate) struct Artefacts {
    home: PathBuf,
}

/// Where the trace of a failing run is.
pub(crate) enum Trace {
    /// The file's place in the partial folder.
    Whole,
    /// Why there is none.
    Missing(String),
}

impl Artefacts {
    /// Finds out whether files can be written to `home` before anything runs, and removes what
    /// commands that were killed left there half written.
    pub(crate) fn at(home: &Path) -> Result<Artefacts, String> {
        let failed = |error: std::io::Error| {
            let home = home.display();
            format!("artefacts cannot be written to {home}: {error}; name another --artefacts")
        };
        std::fs::create_dir_all(home).map_err(failed)?;
        let probe = home.join(format!("{PARTIAL}{}-probe", std::process::id()));
        std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe)).map_err(failed)?;
        for entry in std::fs::read_dir(home).map_err(failed)?.flatten() {
            if entry.file_name().to_str().is_some_and(is_left_over) {
                // If it cannot be removed, its name says what it is.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        Ok(Artefacts { home: home.to_owned() })
    }

    /// Where the trace of a failing run is to be written, in a fresh folder.
    pub(crate) fn trace_of(&self, plan: &Plan) -> Result<PathBuf, String> {
        let folder = self.partial(plan);
        let made = std::fs::create_dir_all(&folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
        let folder = folder.canonicalize().map_err(|error| error.to_string())?;
        Ok(folder.join("trace.txt"))
    }

    /// Writes the other files of a run and gives the folder its name; the folder.
    pub(crate) fn keep(
        &self,
        plan: &Plan,
        report: &Report,
        (trace, replay): (&Trace, &str),
    ) -> Result<PathBuf, String> {
        let folder = self.home.join(name(plan));
        let partial = self.partial(plan);
        let kept = write(&partial, files(plan, report, (trace, replay))).and_then(|()| {
            if folder.exists() {
                std::fs::remove_dir_all(&folder)?;
            }
            std::fs::rename(&partial, &folder)
        });
        match kept {
            Ok(()) => Ok(folder),
            Err(error) => {
                // Half a folder is of no use; if it cannot be removed, its name says what it is.
                let _ = std::fs::remove_dir_all(&partial);
                Err(format!("{} cannot be written: {error}", folder.display()))
            }
        }
    }

    /// Leaves nothing of a run whose trace was begun.
    pub(crate) fn forget(&self, plan: &Plan) {
        // There may be none; if it cannot be removed, its name says what it is.
        let _ = std::fs::remove_dir_all(self.partial(plan));
    }

    fn partial(&self, plan: &Plan) -> PathBuf {
        self.home.join(format!("{PARTIAL}{}-{}", std::process::id(), name(plan)))
    }
}

/// Whether a folder of this name is one that a command which runs no more was writing. This one has
/// none yet: one with its id is of an earlier process, for ids come again.
fn is_left_over(name: &str) -> bool {
    let process = name.strip_prefix(PARTIAL).and_then(|rest| rest.split_once('-'));
    let process = process.and_then(|(id, _)| id.parse::<u32>().ok());
    let runs = |id: u32| id != std::process::id() && Path::new(&format!("/proc/{id}")).exists();
    process.is_some_and(|id| !runs(id))
}

fn name(plan: &Plan) -> String {
    let planted = if plan.planted.is_empty() { "" } else { "-" };
    format!("{}-{}{planted}{}", plan.scenario, plan.seed, plan.planted)
}

/// The files of one run; those that would be empty are left out.
fn files(
    plan: &Plan,
    report: &Report,
    (trace, replay): (&Trace, &str),
) -> Vec<(&'static str, String)> {
    let missing = match trace {
        Trace::Whole => None,
        Trace::Missing(why) => Some(why),
    };
    let verdict = serde_json::json!({
        "build": build_id(),
        "verdict": report.outcome.verdict(),
        "replay": replay,
        "no_trace": missing,
        "outcome": report.outcome,
    });
    let verdict = serde_json::to_string_pretty(&verdict).expect("an outcome is plain data");
    let history_edn = report.history_edn().unwrap_or_default();
    let files = [
        ("plan.toml", plan.to_toml()),
        ("verdict.json", verdict),
        ("history.jsonl", report.history.clone()),
        ("history.edn", history_edn),
        ("log.txt", report.log.clone()),
    ];
    files.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

fn write(folder: &Path, files: Vec<(&'static str, String)>) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in files {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_commands_that_run_no_more_are_left_over() {
        let own = format!("{PARTIAL}{}-power_cuts-1", std::process::id());
        let parent = format!("{PARTIAL}{}-power_cuts-1", std::os::unix::process::parent_id());
        for (name, wanted) in [
            // No process has this id.
            (".partial-4294967295-power_cuts-1", true),
            (own.as_str(), true),
            (parent.as_str(), false),
            (".partial-4294967296-power_cuts-1", false),
            (".partial-download", false),
            (".partial-download-7", false),
            (".partial-7", false),
            ("4294967295-power_cuts-1", false),
        ] {
            assert_eq!(is_left_over(name), wanted, "{name}");
        }
    }
}
