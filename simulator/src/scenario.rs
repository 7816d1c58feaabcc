//! A scenario: the TOML file that says what a story is about. It holds ranges; a seed draws from
//! them (see [`crate::plan`]).

pub(crate) mod draw;
mod explain;
pub(crate) mod faults;
pub(crate) mod name;
pub mod registry;

use rivven_core::log::compaction::COMPACTED_SEGMENT_BYTES_MAX;
use rivven_io::sim::disk::{CrashModel, EntryModel};
use serde::{Deserialize, Serialize};

use crate::oracles::{Contract, ORACLES};
use crate::plan::brokers::BROKERS_MAX;
use crate::scenario::draw::Draw;
use crate::scenario::faults::FaultSpecs;

/// Why a scenario cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    #[error("scenario {name}: {reason}")]
    Malformed { name: String, reason: String },
    #[error("there is no scenario {name}; did you mean {nearest}?")]
    Unknown { name: String, nearest: String },
}

/// A story for the simulator.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Unique; also the last part of its file name, and of the names of what its runs leave.
    pub name: String,
    /// One sentence: which trouble, and what must survive it.
    pub about: String,
    /// `expect-loss` if faults may destroy bytes that only one disk has.
    pub contract: Contract,
    pub time: TimeSpec,
    #[serde(default)]
    pub topology: TopologySpec,
    #[serde(default)]
    pub broker: BrokerSpec,
    #[serde(default)]
    pub topics: TopicSpec,
    #[serde(default)]
    pub clients: ClientSpec,
    #[serde(default)]
    pub disk: DiskSpec,
    #[serde(default)]
    pub network: NetworkSpec,
    #[serde(default)]
    pub swarm: SwarmSpec,
    #[serde(default)]
    pub faults: FaultSpecs,
    /// Oracles that must hold, by their names (`I1`).
    pub oracles: Vec<String>,
}

/// How long a run is, in simulated time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSpec {
    /// Length of the first phase, with faults; at least 60.
    pub seconds: u64,
    /// After the healing, everything must work again within this time.
    #[serde(default = "liveness_seconds")]
    pub liveness_seconds: u64,
}

fn liveness_seconds() -> u64 {
    60
}

/// Who is in the world.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopologySpec {
    /// Brokers that know nothing of each other, 1 to 5, each with clients and faults of its own.
    pub brokers: Draw,
}

impl Default for TopologySpec {
    fn default() -> TopologySpec {
        TopologySpec { brokers: Draw::Fixed(1) }
    }
}

/// What the operator of the broker decides, drawn by a seed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerSpec {
    pub wal_file_bytes: Draw,
    pub wal_files: Draw,
    pub tail_bytes: Draw,
    pub memory_bytes: Draw,
    pub checkpoint_interval_ms: Draw,
    pub retention_interval_ms: Draw,
    pub open_files: Draw,
    pub cleaner_interval_ms: Draw,
    pub cleaner_map_bytes: Draw,
    pub compacted_segment_bytes: Draw,
    /// Requests that are taken from a connection before one is answered (M2); 0: as a broker does.
    pub connection_requests: Draw,
}

impl Default for BrokerSpec {
    /// Small rings and short intervals: what happens once an hour in production happens each
    /// simulated second here.
    fn default() -> BrokerSpec {
        BrokerSpec {
            wal_file_bytes: Draw::one_of(&[256 << 10, 512 << 10, 1 << 20]),
            wal_files: Draw::one_of(&[3, 4, 8]),
            tail_bytes: Draw::one_of(&[256 << 10, 1 << 20, 4 << 20]),
            memory_bytes: Draw::one_of(&[64 << 20, 256 << 20]),
            checkpoint_interval_ms: Draw::one_of(&[200, 1_000, 5_000]),
            retention_interval_ms: Draw::one_of(&[500, 5_000]),
            open_files: Draw::one_of(&[1, 4, 1024]),
            cleaner_interval_ms: Draw::Fixed(15_000),
            cleaner_map_bytes: Draw::Fixed(1 << 20),
            compacted_segment_bytes: Draw::Fixed(COMPACTED_SEGMENT_BYTES_MAX),
            connection_requests: Draw::Fixed(0),
        }
    }
}

/// The topics and their configuration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSpec {
    pub count: Draw,
    pub partitions: Draw,
    /// `segment.ms`, so that segments roll though they are small.
    pub segment_ms: Draw,
    /// `retention.ms`; 0: no limit.
    pub retention_ms: Draw,
    /// `retention.bytes`; 0: no limit.
    pub retention_bytes: Draw,
    /// How many of the topics are deleted and recreated by the topic admins.
    pub churning: Draw,
    /// If they are compacted: then without retention, unless it is drawn.
    pub compaction: Option<CompactionSpec>,
}

/// How topics are compacted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompactionSpec {
    pub delete_retention_ms: Draw,
    pub lag_min_ms: Draw,
    pub dirty_ratio_percent: Draw,
    pub file_delete_delay_ms: Draw,
}

impl Default for TopicSpec {
    fn default() -> TopicSpec {
        TopicSpec {
            count: Draw::between(1, 2),
            partitions: Draw::one_of(&[1, 2, 5]),
            segment_ms: Draw::one_of(&[200, 2_000, 604_800_000]),
            retention_ms: Draw::Fixed(0),
            retention_bytes: Draw::Fixed(0),
            churning: Draw::Fixed(0),
            compaction: None,
        }
    }
}

/// Who uses the broker. Each client has a node of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientSpec {
    pub plain_producers: Draw,
    pub idempotent_producers: Draw,
    pub tail_consumers: Draw,
    pub scan_consumers: Draw,
    /// Each deletes and recreates the topics that churn.
    pub topic_admins: Draw,
    /// Each does so too, and goes away before it is answered.
    pub deserters: Draw,
    /// Each moves log starts up (DeleteRecords).
    pub record_deleters: Draw,
    pub config_admins: Draw,
    /// Share of their changes that are of the broker's defaults, in 1/100.
    pub broker_changes_percent: Draw,
    /// Members of consumer groups.
    pub group_members: Draw,
    /// Producers of the client library.
    pub library_producers: Draw,
    /// Members of groups whose consumers are those of the client library.
    pub library_members: Draw,
    /// Clients of the native protocol, each with a group of its own.
    pub native_clients: Draw,
    /// Each asks for much at once and does not read the answers for seconds (M4).
    pub stalled_consumers: Draw,
    /// Mean pause of a producer between two batches.
    pub pause_ms: Draw,
    pub batch_records: Draw,
    /// Keys that producers draw from; 0: they count through 64.
    pub keys: Draw,
    /// Share of records without a value, in 1/100, of producers that draw keys.
    pub tombstone_percent: Draw,
    pub filler_bytes: Draw,
    /// How producers pack batches: attribute bits 0 to 2, from 0 (not at all) to 4 (zstd).
    pub codec: Draw,
    /// Share of the turns of consumers in which they search for a time, in 1/100.
    pub time_searches_percent: Draw,
    pub in_flight: Draw,
    /// Of plain producers: 0, 1, or 2 for all.
    pub acks: Draw,
    pub request_timeout_ms: Draw,
    /// Requests that the client library sends over a connection before one is answered (M2); 0: as
    /// it does by itself.
    pub connection_requests: Draw,
}

impl Default for ClientSpec {
    fn default() -> ClientSpec {
        ClientSpec {
            plain_producers: Draw::between(1, 2),
            idempotent_producers: Draw::between(1, 2),
            tail_consumers: Draw::between(0, 1),
            scan_consumers: Draw::between(0, 1),
            topic_admins: Draw::Fixed(0),
            deserters: Draw::Fixed(0),
            record_deleters: Draw::Fixed(0),
            config_admins: Draw::Fixed(0),
            broker_changes_percent: Draw::Fixed(0),
            group_members: Draw::Fixed(0),
            library_producers: Draw::Fixed(0),
            library_members: Draw::Fixed(0),
            native_clients: Draw::Fixed(0),
            stalled_consumers: Draw::Fixed(0),
            pause_ms: Draw::one_of(&[10, 30]),
            batch_records: Draw::one_of(&[1, 3, 20]),
            keys: Draw::Fixed(0),
            tombstone_percent: Draw::Fixed(0),
            filler_bytes: Draw::one_of(&[0, 10, 100, 2_000]),
            codec: Draw::Fixed(0),
            time_searches_percent: Draw::Fixed(0),
            in_flight: Draw::one_of(&[1, 5]),
            acks: Draw::one_of(&[2, 2, 1]),
            request_timeout_ms: Draw::one_of(&[1_000, 5_000]),
            connection_requests: Draw::Fixed(0),
        }
    }
}

/// What is always true of the disk in a run, besides its faults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSpec {
    /// What a power cut may do, one drawn per run; empty: all of them.
    pub crash: Vec<CrashStyle>,
    /// Share of reads and writes that are short, in 1/1000.
    pub short_permille: Draw,
    pub latency_percent: Option<Draw>,
}

/// A character of power cuts: the weights of what a page may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashStyle {
    /// Everything a disk can do, and directory entries each by themselves.
    Mixed,
    /// Unsynced bytes are gone.
    Dropped,
    /// Unsynced pages are torn or garbage.
    Torn,
    /// Half of the unsynced pages survive: later ones without earlier ones.
    Reordered,
    /// As `mixed`, on a file system that keeps the order of its entries.
    Journalled,
    /// Pages that were being written are garbage, bytes of them that were durable included.
    Shorn,
}

impl CrashStyle {
    /// What a scenario that names none draws from. Not `shorn`: it spoils what nobody wrote.
    pub(crate) const ALL: [CrashStyle; 5] = [
        CrashStyle::Mixed,
        CrashStyle::Dropped,
        CrashStyle::Torn,
        CrashStyle::Reordered,
        CrashStyle::Journalled,
    ];
}

/// What is always true of the network in a run, besides its faults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// Share of segments with a heavy-tailed latency, in 1/1000.
    pub tail_permille: Draw,
    /// Bytes of a stream's buffers at both ends; 0: the model's default.
    pub buffer_bytes: Draw,
}

/// Which faults a seed has at all.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwarmSpec {
    /// In how many of 100 seeds a kind of fault is off.
    pub off_percent: u64,
    /// Kinds that are on in every seed.
    pub always: Vec<String>,
}

impl Default for SwarmSpec {
    fn default() -> SwarmSpec {
        SwarmSpec { off_percent: 30, always: Vec::new() }
    }
}

impl Scenario {
    /// Reads a scenario from the text of its file; `origin` is named in errors.
    ///
    /// # Errors
    /// If a key is unknown (the nearest known one is named) or a value is out of its bounds.
    pub fn parse(origin: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let malformed =
            |reason: String| ScenarioError::Malformed { name: origin.to_owned(), reason };
        let scenario: Scenario =
            toml::from_str(text).map_err(|error| malformed(explain::explain(&error)))?;
        scenario.check().map_err(malformed)?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        name::check(&self.name)?;
        if self.time.seconds < 60 {
            return Err("time.seconds must be at least 60".to_owned());
        }
        let most = self.topology.brokers.most();
        if self.topology.brokers.least() == 0 || most > BROKERS_MAX {
            return Err(format!("topology.brokers must be 1 to {BROKERS_MAX}"));
        }
        if most == 1 && self.faults.swap_disks.is_some() {
            return Err("faults.swap_disks needs topology.brokers of 2 or more".to_owned());
        }
        for name in &self.swarm.always {
            if !self.faults.rates().iter().any(|(kind, rate)| kind == name && rate.is_some()) {
                return Err(format!("swarm.always names {name}, which is not among the faults"));
            }
        }
        self.check_old_disk()?;
        for name in &self.oracles {
            if !ORACLES.iter().any(|oracle| oracle.id == name) {
                let nearest = explain::nearest(name, ORACLES.iter().map(|oracle| oracle.id));
                return Err(format!("there is no oracle {name}; did you mean {nearest}?"));
            }
        }
        Ok(())
    }
}

/// Oracles that say something of a run in which the disk becomes an older one: see D15.
const OF_OLD_DISKS: [&str; 6] = ["I2", "I10", "I11", "I12", "I45", "I46"];

impl Scenario {
    /// No single disk can show that it is an older one, so that little can be demanded; and what a
    /// broker gave a producer id for, it gives it for again.
    fn check_old_disk(&self) -> Result<(), String> {
        if self.faults.old_disk.is_none() {
            return Ok(());
        }
        if self.contract != Contract::ExpectLoss {
            return Err("faults.old_disk needs the contract expect-loss".to_owned());
        }
        if let Some(name) = self.oracles.iter().find(|name| !OF_OLD_DISKS.contains(&name.as_str()))
        {
            return Err(format!("no oracle {name} with faults.old_disk"));
        }
        let clients = &self.clients;
        let with_ids =
            [&clients.idempotent_producers, &clients.library_producers, &clients.native_clients];
        if with_ids.iter().any(|count| **count != Draw::Fixed(0)) {
            return Err("only plain producers with faults.old_disk".to_owned());
        }
        Ok(())
    }
}

impl CrashStyle {
    pub(crate) fn model(self) -> CrashModel {
        let weights = |kept, dropped, replaced, torn| CrashModel {
            kept,
            dropped,
            replaced,
            torn,
            ..CrashModel::default()
        };
        match self {
            CrashStyle::Mixed => CrashModel::default(),
            CrashStyle::Dropped => weights(5, 95, 0, 0),
            CrashStyle::Torn => weights(20, 10, 20, 50),
            CrashStyle::Reordered => weights(50, 50, 0, 0),
            CrashStyle::Journalled => {
                CrashModel { entries: EntryModel::OrderedJournal, ..CrashModel::default() }
            }
            CrashStyle::Shorn => CrashModel { shorn_pages: true, ..weights(30, 10, 50, 10) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"story\"\nabout = \"x\"\ncontract = \"fsync-ack\"\n";

    #[test]
    fn mistakes_are_refused_with_the_nearest_known_name() {
        for (rest, wanted) in [
            ("oracles = []\n[time]\nseconds = 60\n", None),
            ("oracles = []\n[time]\nseconds = 59\n", Some("at least 60")),
            ("oracles = []\n[time]\nsecond = 60\n", Some("did you mean seconds?")),
            ("oracles = [\"I4\"]\n[time]\nseconds = 60\n", Some("no oracle I4; did you mean I1?")),
            ("oracles = []\n[time]\nseconds = 60\n[fault]\n", Some("did you mean faults?")),
            (
                "oracles = []\n[time]\nseconds = 60\n[faults]\nkil = { per_minute = 1 }\n",
                Some("did you mean kill?"),
            ),
            (
                "oracles = []\n[time]\nseconds = 60\n[swarm]\nalways = [\"kill\"]\n",
                Some("not among the faults"),
            ),
            (
                "oracles = []\n[time]\nseconds = 60\n[topology]\nbrokers = [1, 6]\n",
                Some("must be 1 to 5"),
            ),
            (
                "oracles = []\n[time]\nseconds = 60\n[faults]\nswap_disks = { per_minute = 1, \
                 for_ms = 1 }\n",
                Some("needs topology.brokers of 2"),
            ),
            (
                "oracles = []\n[time]\nseconds = 60\n[faults.old_disk]\nper_minute = 1\n\
                 age_ms = 0\ndown_ms = 1\n",
                Some("needs the contract expect-loss"),
            ),
            (
                "oracles = []\n[time]\nseconds = 60\n[disk]\ncrash = [\"tron\"]\n",
                Some("did you mean torn?"),
            ),
        ] {
            let parsed = Scenario::parse("story.toml", &format!("{HEAD}{rest}"));
            match (parsed, wanted) {
                (Ok(_), None) => {}
                (Err(error), Some(wanted)) => {
                    let text = error.to_string();
                    assert!(text.contains(wanted) && text.contains("story.toml"), "{text}");
                }
                (parsed, _) => panic!("{rest}: {parsed:?}"),
            }
        }
    }

    #[test]
    fn a_name_that_is_a_path_is_refused() {
        let text = format!("{HEAD}oracles = []\n[time]\nseconds = 60\n");
        let text = text.replace("\"story\"", "\"../story\"");
        let error = Scenario::parse("story.toml", &text).unwrap_err().to_string();
        assert!(error.contains("\"../story\" is not a scenario's name"), "{error}");
    }
}
