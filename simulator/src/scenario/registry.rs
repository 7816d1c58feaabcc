//! The scenarios that are built in.

use std::sync::OnceLock;

use crate::scenario::{Scenario, ScenarioError, explain};

macro_rules! scenarios {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../scenarios/", $path)))),*]
    };
}

/// Path below `scenarios/`, and text.
const FILES: [(&str, &str); 41] = scenarios![
    "storage/power_cuts.toml",
    "storage/kill_storm.toml",
    "storage/torn_reordered.toml",
    "storage/shorn_pages.toml",
    "storage/full_disk.toml",
    "storage/fsync_failure.toml",
    "storage/stalled_disk.toml",
    "storage/crash_in_recovery.toml",
    "storage/crash_in_checkpoint_retention.toml",
    "storage/restart_loop.toml",
    "storage/compaction.toml",
    "storage/compaction_packed.toml",
    "storage/compaction_rot.toml",
    "storage/compaction_in_trouble.toml",
    "storage/bit_rot.toml",
    "storage/wal_rot.toml",
    "storage/lying_disk.toml",
    "storage/extreme_knobs.toml",
    "storage/vanishing_disk.toml",
    "storage/old_disk.toml",
    "network/connection_resets.toml",
    "network/retry_other_connection.toml",
    "network/client_library.toml",
    "network/native_clients.toml",
    "network/partitions.toml",
    "network/slow_links.toml",
    "network/late_duplicates.toml",
    "process/clocks.toml",
    "process/pauses.toml",
    "process/long_pauses.toml",
    "process/slow_cpu.toml",
    "process/neighbours.toml",
    "administration/delete_recreate.toml",
    "administration/deserted_changes.toml",
    "administration/changing_knobs.toml",
    "groups/group_members.toml",
    "groups/library_members.toml",
    "groups/topics_come_and_go.toml",
    "groups/groups_on_bad_disks.toml",
    "groups/extreme_group_knobs.toml",
    "clients/overload.toml",
];

/// All built-in scenarios, in a fixed order.
///
/// # Panics
/// If a built-in file is malformed; a test reads them all.
#[must_use]
pub fn all() -> &'static [Scenario] {
    static ALL: OnceLock<Vec<Scenario>> = OnceLock::new();
    ALL.get_or_init(|| {
        let parse = |(path, text): &(&str, &str)| match Scenario::parse(path, text) {
            Ok(scenario) => scenario,
            Err(error) => panic!("{error}"),
        };
        FILES.iter().map(parse).collect()
    })
}

/// The built-in scenario called `name`.
///
/// # Errors
/// If there is none; the nearest name is in it.
pub fn find(name: &str) -> Result<&'static Scenario, ScenarioError> {
    let known = all().iter().find(|scenario| scenario.name == name);
    known.ok_or_else(|| ScenarioError::Unknown {
        name: name.to_owned(),
        nearest: explain::nearest(name, all().iter().map(|known| known.name.as_str())).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn every_built_in_scenario_is_called_as_its_file() {
        for ((path, _), scenario) in FILES.iter().zip(all()) {
            assert!(path.ends_with(&format!("/{}.toml", scenario.name)), "{path}");
            assert!(!scenario.oracles.is_empty(), "{path}");
        }
    }

    #[test]
    fn a_plan_of_every_scenario_survives_its_own_text() {
        for scenario in all() {
            for seed in 0..5 {
                let plan = Plan::draw(scenario, seed, "");
                assert_eq!(Plan::from_toml(&plan.to_toml()), Ok(plan));
            }
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_one() {
        let error = find("power_cut").unwrap_err().to_string();
        assert_eq!(error, "there is no scenario power_cut; did you mean power_cuts?");
    }
}
