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

/// What the second run of a failing plan gave.
pub(crate) enum Trace {
    /// The file's place in the partial folder.
    Whole,
    /// Why there is none.
    Missing(String),
    /// How the second run differed from the first, so that there is none.
    Differs(String),
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

    /// A place for the files of a failing run.
    pub(crate) fn of(&self, plan: &Plan) -> Partial {
        let name = name(plan);
        let beside = |what: &str| format!("{PARTIAL}{}{what}-{name}", std::process::id());
        Partial {
            partial: self.home.join(beside("")),
            old: self.home.join(beside("-old")),
            folder: self.home.join(name),
        }
    }
}

/// The folder in which the files of one failing run are gathered. Dropped before it is kept, it
/// leaves nothing.
pub(crate) struct Partial {
    partial: PathBuf,
    /// The name that an older folder of the same run has for a moment.
    old: PathBuf,
    folder: PathBuf,
}

impl Partial {
    /// Where the trace is to be written.
    pub(crate) fn trace(&self) -> Result<PathBuf, String> {
        let made = std::fs::create_dir_all(&self.partial);
        let folder = made.and_then(|()| self.partial.canonicalize());
        let folder = folder.map_err(|error| format!("{}: {error}", self.partial.display()))?;
        Ok(folder.join("trace.txt"))
    }

    /// Writes the other files of a run and gives the folder its name; the folder.
    pub(crate) fn keep(
        self,
        plan: &Plan,
        report: &Report,
        (trace, replay): (&Trace, &str),
    ) -> Result<PathBuf, String> {
        let files = files(plan, report, (trace, replay));
        match write(&self.partial, files).and_then(|()| self.put_in_place()) {
            Ok(()) => Ok(self.folder.clone()),
            Err(error) => Err(format!("{} cannot be written: {error}", self.folder.display())),
        }
    }

    /// An older folder of the name is whole until the new one can be.
    fn put_in_place(&self) -> std::io::Result<()> {
        if !self.folder.exists() {
            return std::fs::rename(&self.partial, &self.folder);
        }
        std::fs::rename(&self.folder, &self.old)?;
        if let Err(error) = std::fs::rename(&self.partial, &self.folder) {
            std::fs::rename(&self.old, &self.folder)?;
            return Err(error);
        }
        // If it cannot be removed, its name says what it is.
        let _ = std::fs::remove_dir_all(&self.old);
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // There may be none; if it cannot be removed, its name says what it is.
        let _ = std::fs::remove_dir_all(&self.partial);
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

/// What files and folders of a plan are called.
pub(crate) fn name(plan: &Plan) -> String {
    let planted = if plan.planted.is_empty() { "" } else { "-" };
    format!("{}-{}{planted}{}", plan.scenario, plan.seed, plan.planted)
}

/// The files of one run; those that would be empty are left out.
fn files(plan: &Plan, report: &Report, (trace, replay): (&Trace, &str)) -> Vec<(String, String)> {
    let missing = match trace {
        Trace::Whole => None,
        Trace::Missing(why) | Trace::Differs(why) => Some(why),
    };
    let verdict = serde_json::json!({
        "build": build_id(),
        "verdict": report.outcome.verdict(),
        "replay": replay,
        "no_trace": missing,
        "outcome": report.outcome,
    });
    let verdict = serde_json::to_string_pretty(&verdict).expect("an outcome is plain data");
    let mut files = vec![
        ("plan.toml".to_owned(), plan.to_toml()),
        ("verdict.json".to_owned(), verdict),
        ("log.txt".to_owned(), report.log.clone()),
    ];
    for (broker, history) in report.histories.iter().enumerate() {
        let name = if broker == 0 { "history".to_owned() } else { format!("history-{broker}") };
        files.push((format!("{name}.jsonl"), history.clone()));
        files.push((format!("{name}.edn"), report.history_edn(broker).unwrap_or_default()));
    }
    files.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

fn write(folder: &Path, files: Vec<(String, String)>) -> std::io::Result<()> {
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
