//! A plan: everything that a seed decided, as numbers. A run takes a plan; a scenario and a seed
//! are short for one. It prints as TOML and reads back.

pub(crate) mod brokers;
mod clients;
pub mod fault;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rivven_core::log::compaction::COMPACTED_SEGMENT_BYTES_MAX;
use rivven_core::storage::options::StorageOptions;
use rivven_io::sim::rng::{Stream, stream};
use serde::{Deserialize, Serialize};

use crate::oracles::Contract;
use crate::plan::fault::{PlannedFault, pick};
use crate::planted;
use crate::scenario::draw::Draw;
use crate::scenario::{CompactionSpec, CrashStyle, DiskSpec, Scenario, TopicSpec, name};
use crate::workload::{TopicParams, WorkloadParams};

/// The version of plans that this simulator runs. It changes with the meaning of a plan's fields
/// and of what operations draw: a plan of another version would show something else.
pub const VERSION: u32 = 1;
/// The first broker's node; those of others follow it.
pub const SERVER: u64 = 1;
/// The node of client number `n` is `CLIENTS + n`.
pub const CLIENTS: u64 = 10;
/// Partitions of `__consumer_offsets`.
pub(crate) const OFFSETS_PARTITIONS: u32 = 2;

/// The largest seed. Numbers in TOML have 63 bits.
pub const SEED_MAX: u64 = u64::MAX >> 1;

/// Everything that a run needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What its draws mean: see [`VERSION`].
    pub version: u32,
    pub scenario: String,
    pub seed: u64,
    /// The planted bug that is switched on; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub planted: String,
    pub contract: Contract,
    pub oracles: Vec<String>,
    /// Length of the phase with faults.
    pub seconds: u64,
    pub liveness_seconds: u64,
    /// Brokers in the world that know nothing of each other, 1 to 5. Each
    /// has the knobs and topics of the plan, and clients and faults of its own.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub brokers: u64,
    pub broker: BrokerPlan,
    pub disk: DiskPlan,
    pub network: NetworkPlan,
    pub workload: WorkloadParams,
    pub faults: Vec<PlannedFault>,
}

/// The broker's knobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerPlan {
    pub wal_file_bytes: u64,
    pub wal_files: u64,
    pub tail_bytes: u64,
    pub memory_bytes: u64,
    pub checkpoint_interval_ms: u64,
    pub retention_interval_ms: u64,
    pub open_files: u64,
    #[serde(default = "cleaner_interval_ms")]
    pub cleaner_interval_ms: u64,
    #[serde(default = "cleaner_map_bytes")]
    pub cleaner_map_bytes: u64,
    #[serde(default = "compacted_segment_bytes")]
    pub compacted_segment_bytes: u64,
    /// Requests that are taken from a connection before one is answered; 0: as a broker does.
    #[serde(default)]
    pub connection_requests: u64,
}

impl BrokerPlan {
    /// Knobs that let little happen by themselves: where a plan's simplest form has them.
    pub(crate) fn at_rest() -> BrokerPlan {
        BrokerPlan {
            wal_file_bytes: 1 << 20,
            wal_files: 8,
            tail_bytes: 4 << 20,
            memory_bytes: 64 << 20,
            checkpoint_interval_ms: 5_000,
            retention_interval_ms: 5_000,
            open_files: 1_024,
            cleaner_interval_ms: cleaner_interval_ms(),
            cleaner_map_bytes: cleaner_map_bytes(),
            compacted_segment_bytes: compacted_segment_bytes(),
            connection_requests: 0,
        }
    }

    /// A ring with room for so many partitions beside those of the broker itself.
    pub(crate) fn with_room_for(mut self, partitions: u64) -> BrokerPlan {
        while self.partitions_max() < partitions + u64::from(OFFSETS_PARTITIONS) {
            self.wal_files += 1;
        }
        self
    }

    fn partitions_max(&self) -> u64 {
        let mut options = StorageOptions::new(PathBuf::new(), 0);
        options.wal_file_bytes = self.wal_file_bytes;
        options.wal_files = u32::try_from(self.wal_files).expect("a ring has few files");
        options.partitions_max()
    }

    /// The smallest knobs that scenarios use: what fills up does so soonest.
    pub(crate) fn least() -> BrokerPlan {
        BrokerPlan {
            wal_file_bytes: 256 << 10,
            wal_files: 3,
            tail_bytes: 256 << 10,
            checkpoint_interval_ms: 200,
            open_files: 1,
            ..BrokerPlan::at_rest()
        }
    }
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_one(number: &u64) -> bool {
    *number == 1
}

fn cleaner_interval_ms() -> u64 {
    15_000
}

fn cleaner_map_bytes() -> u64 {
    1 << 20
}

fn compacted_segment_bytes() -> u64 {
    COMPACTED_SEGMENT_BYTES_MAX
}

/// The broker's disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskPlan {
    pub crash: CrashStyle,
    pub short_permille: u64,
    pub latency_percent: u64,
}

/// The links between clients and broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    pub tail_permille: u64,
    /// 0: the model's default.
    pub buffer_bytes: u64,
}

/// Why a text is not a plan that can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("not a plan: {reason}")]
    Malformed { reason: String },
    #[error(
        "a plan of version {found}, and this simulator runs version {VERSION}: check out a build \
         that wrote such plans, or draw the plan again from its scenario and seed"
    )]
    OtherVersion { found: u32 },
}

/// What every plan has; the first ones had no number.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    version: u32,
    scenario: Option<serde::de::IgnoredAny>,
}

impl Plan {
    /// Draws the plan of a seed. Each concern has a stream of its own, so that what one concern
    /// draws never depends on another.
    #[must_use]
    pub fn draw(scenario: &Scenario, seed: u64, planted: &str) -> Plan {
        let concern = |name: &str| stream(seed, &format!("plan.{name}"), SERVER, 0);
        let number = |name: &str, draw: &Draw| draw.draw(&mut concern(name));
        let knobs = &scenario.broker;
        let broker = BrokerPlan {
            wal_file_bytes: number("wal_file_bytes", &knobs.wal_file_bytes),
            wal_files: number("wal_files", &knobs.wal_files),
            tail_bytes: number("tail_bytes", &knobs.tail_bytes),
            memory_bytes: number("memory_bytes", &knobs.memory_bytes),
            checkpoint_interval_ms: number("checkpoint", &knobs.checkpoint_interval_ms),
            retention_interval_ms: number("retention", &knobs.retention_interval_ms),
            open_files: number("open_files", &knobs.open_files),
            cleaner_interval_ms: number("cleaner", &knobs.cleaner_interval_ms),
            cleaner_map_bytes: number("cleaner_map", &knobs.cleaner_map_bytes),
            compacted_segment_bytes: number("compacted_segment", &knobs.compacted_segment_bytes),
            connection_requests: number("connection_requests", &knobs.connection_requests),
        };
        let network = NetworkPlan {
            tail_permille: number("tail_permille", &scenario.network.tail_permille),
            buffer_bytes: number("buffer_bytes", &scenario.network.buffer_bytes),
        };
        let topics = draw_topics(&scenario.topics, seed);
        let count = number("brokers", &scenario.topology.brokers);
        let of = |broker| clients::draw(&scenario.clients, &topics, (seed, broker));
        let clients = (0..count).flat_map(of).collect();
        let partitions = topics.iter().map(|topic| u64::from(topic.partitions)).sum();
        Plan {
            version: VERSION,
            scenario: scenario.name.clone(),
            seed,
            planted: planted.to_owned(),
            contract: scenario.contract,
            oracles: scenario.oracles.clone(),
            seconds: scenario.time.seconds,
            liveness_seconds: scenario.time.liveness_seconds,
            brokers: count,
            broker: broker.with_room_for(partitions),
            disk: draw_disk(&scenario.disk, &mut concern("disk")),
            network,
            workload: WorkloadParams { topics, clients },
            faults: fault::draw(scenario, seed, count),
        }
    }

    /// The plan as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a plan holds only what TOML can say")
    }

    /// Reads what [`Plan::to_toml`] wrote.
    ///
    /// # Errors
    /// If `text` is something else, or a plan of another [`VERSION`], or its scenario has no name
    /// for files, or its planted bug is not known.
    pub fn from_toml(text: &str) -> Result<Plan, PlanError> {
        let malformed = |error: toml::de::Error| PlanError::Malformed { reason: error.to_string() };
        let head: Head = toml::from_str(text).map_err(malformed)?;
        let is_plan = head.version > 0 || head.scenario.is_some();
        if is_plan && head.version != VERSION {
            return Err(PlanError::OtherVersion { found: head.version });
        }
        let plan: Plan = toml::from_str(text).map_err(malformed)?;
        plan.check().map_err(|reason| PlanError::Malformed { reason })?;
        Ok(plan)
    }

    /// Files are named after the scenario and the planted bug.
    fn check(&self) -> Result<(), String> {
        name::check(&self.scenario)?;
        self.check_brokers()?;
        if self.planted.is_empty() || planted::ALL.iter().any(|bug| bug.id == self.planted) {
            return Ok(());
        }
        Err(format!("there is no planted bug {:?}: leave it out", self.planted))
    }
}

fn draw_disk(spec: &DiskSpec, draws: &mut Stream) -> DiskPlan {
    let styles = if spec.crash.is_empty() { &CrashStyle::ALL[..] } else { &spec.crash[..] };
    DiskPlan {
        crash: *pick(styles, draws).expect("there is at least one style"),
        short_permille: spec.short_permille.draw(draws),
        latency_percent: spec.latency_percent.as_ref().map_or(100, |draw| draw.draw(draws)),
    }
}

fn draw_topics(spec: &TopicSpec, seed: u64) -> Vec<TopicParams> {
    let mut shape = stream(seed, "plan.topics", SERVER, u64::MAX);
    let count = spec.count.draw(&mut shape);
    let churning = spec.churning.draw(&mut shape);
    let topic = |k: u64| {
        let mut draws = stream(seed, "plan.topics", SERVER, k);
        let partitions = u32::try_from(spec.partitions.draw(&mut draws)).unwrap_or(u32::MAX);
        let numbers = [
            ("segment.ms", spec.segment_ms.draw(&mut draws)),
            ("retention.ms", spec.retention_ms.draw(&mut draws)),
            ("retention.bytes", spec.retention_bytes.draw(&mut draws)),
        ];
        let mut configs: BTreeMap<String, String> = numbers
            .iter()
            .filter(|(_, number)| *number > 0)
            .map(|(key, number)| ((*key).to_owned(), number.to_string()))
            .collect();
        if let Some(compaction) = &spec.compaction {
            configs.extend(draw_compaction(compaction, &mut draws));
        }
        TopicParams { name: format!("topic-{k}"), partitions, configs, churn: k < churning }
    };
    (0..count).map(topic).collect()
}

/// Retention removes nothing unless it was drawn: then I30 would have to know what was compacted.
fn draw_compaction(spec: &CompactionSpec, draws: &mut Stream) -> BTreeMap<String, String> {
    let numbers = [
        ("delete.retention.ms", spec.delete_retention_ms.draw(draws)),
        ("min.compaction.lag.ms", spec.lag_min_ms.draw(draws)),
        ("file.delete.delay.ms", spec.file_delete_delay_ms.draw(draws)),
    ];
    let texts = [
        ("cleanup.policy", "compact,delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("min.cleanable.dirty.ratio", {
            format!("{:.2}", spec.dirty_ratio_percent.draw(draws) as f64 / 100.0)
        }),
    ];
    let numbers = numbers.into_iter().map(|(key, number)| (key, number.to_string()));
    numbers.chain(texts).map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::registry;

    #[test]
    fn one_kind_of_fault_taken_out_leaves_all_other_draws_as_they_were() {
        let whole = registry::find("power_cuts").unwrap();
        let mut part = whole.clone();
        part.faults.kill = None;
        for seed in 0..20 {
            let (mut with, without) = (Plan::draw(whole, seed, ""), Plan::draw(&part, seed, ""));
            with.faults.retain(|fault| fault.what.kind() != "kill");
            assert_eq!(with, without);
        }
    }

    #[test]
    fn seeds_differ_in_knobs_clients_and_faults() {
        let scenario = registry::find("power_cuts").unwrap();
        let plans: Vec<Plan> = (0..50).map(|seed| Plan::draw(scenario, seed, "")).collect();
        let kinds = |plan: &Plan| plan.faults.iter().any(|fault| fault.what.kind() == "kill");
        assert!(plans.iter().any(kinds) && !plans.iter().all(kinds), "swarm");
        let clients: std::collections::BTreeSet<usize> =
            plans.iter().map(|plan| plan.workload.clients.len()).collect();
        assert!(clients.len() > 2, "{clients:?}");
        assert!(plans.windows(2).all(|pair| pair[0].faults != pair[1].faults));
    }

    #[test]
    fn what_is_always_on_is_in_every_plan() {
        for scenario in registry::all() {
            for seed in 0..20 {
                let plan = Plan::draw(scenario, seed, "");
                for kind in &scenario.swarm.always {
                    let has = plan.faults.iter().any(|fault| fault.what.kind() == kind);
                    assert!(has, "{} seed {seed} has no {kind}", scenario.name);
                }
            }
        }
    }

    #[test]
    fn a_text_that_is_no_plan_is_refused() {
        let scenario = registry::find("power_cuts").unwrap();
        let plan = Plan::draw(scenario, 1, "B01");
        let text = plan.to_toml();
        assert_eq!(Plan::from_toml(&text), Ok(plan));
        for bad in ["", "seed = 1", &text.replace("seconds = 60", "secs = 60")] {
            assert!(Plan::from_toml(bad).is_err());
        }
        for (good, bad, said) in [
            ("'power_cuts'", "'/tmp/story'", "\"/tmp/story\" is not a scenario's name"),
            ("'B01'", "'../B01'", "no planted bug \"../B01\""),
        ] {
            let text = text.replace(&good.replace('\'', "\""), bad);
            let error = Plan::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_plan_of_another_version_says_so_whatever_else_it_holds() {
        for (text, wanted) in [
            ("version = 2\nnews = true\n", Err(PlanError::OtherVersion { found: 2 })),
            ("scenario = 'clocks'\n", Err(PlanError::OtherVersion { found: 0 })),
        ] {
            assert_eq!(Plan::from_toml(text), wanted);
        }
        let plan = Plan::draw(registry::find("power_cuts").unwrap(), 1, "");
        let unnumbered = plan.to_toml().replace("version = 1\n", "");
        assert_eq!(Plan::from_toml(&unnumbered), Err(PlanError::OtherVersion { found: 0 }));
    }
}
