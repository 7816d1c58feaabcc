//! The faults by their numbers in the catalogue: what an effect counts as, and which kinds of
//! scenario files cause it.

use crate::run::queues;
use crate::workload::{admin, stalled};

/// One number of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogueFault {
    pub number: &'static str,
    pub about: &'static str,
    /// Kinds of faults and clients, and knobs, as in scenario files, that can have this effect. It
    /// may come without them, too: every run ends with a power cut before the read-back, disks read
    /// and write in pieces, and links have a tail.
    pub kinds: &'static [&'static str],
}

const fn of(
    number: &'static str,
    about: &'static str,
    kinds: &'static [&'static str],
) -> CatalogueFault {
    CatalogueFault { number, about, kinds }
}

const CUTS: &[&str] = &[
    "power_cut",
    "crash_loop",
    "crash_at",
    "failed_sync",
    "bit_rot",
    "lost_end",
    "bad_sector",
    "disk_gone",
    "old_disk",
    "swap_disks",
];

/// Every number that a run can count as effective, in the catalogue's order.
pub const ALL: [CatalogueFault; 36] = [
    of("D1", "unsynced pages dropped", CUTS),
    of("D2", "torn pages", CUTS),
    of("D3", "unsynced names undone", CUTS),
    of("D4", "later write survives alone", CUTS),
    of("D5", "bytes of the platter changed", &["bit_rot", "lost_end"]),
    of("D6", "sector cannot be read", &["bad_sector"]),
    of("D7", "write lands elsewhere", &["misdirected_write"]),
    of("D8", "write never lands", &["phantom_write"]),
    of("D9", "read of another place", &["misdirected_read"]),
    of("D10", "sync fails and drops", &["failed_sync"]),
    of("D11", "disk full", &["full_disk"]),
    of("D12", "EIO, short reads, writes", &["failed_write", "failed_read"]),
    of("D13", "disk stalls", &["stall", "slow_disk", "crash_at"]),
    of("D14", "disk gone", &["disk_gone"]),
    of("D15", "disk of an earlier moment", &["old_disk"]),
    of("D16", "disks of two brokers swapped", &["swap_disks"]),
    of("N2", "late duplicate of a request", &["late_duplicate"]),
    of("N4", "packets are late", &["lag"]),
    of("N5", "clients clogged one by one", &["swizzle"]),
    of("N6", "partition", &["isolate", "black_hole"]),
    of("N8", "connections break", &["reset", "half_open", "swizzle", "isolate", "black_hole"]),
    of("N9", "narrow links, full buffers", &["narrow"]),
    of("N10", "bit of a batch changed", &["corrupt"]),
    of("P1", "kill", &["kill", "crash_loop", "crash_at"]),
    of("P2", "crash at a chosen moment", &["crash_at", "failed_sync"]),
    of("P4", "process paused", &["pause"]),
    of("P5", "stop under load", &["stop"]),
    of("P6", "crash loop", &["crash_loop"]),
    of("P8", "task panics", &["task_panic"]),
    of("P9", "slow processor", &["slow_cpu"]),
    of("C1", "clock is off", &["clock_offset"]),
    of("C2", "clock drifts", &["clock_drift"]),
    of("C3", "clock jumps", &["clock_step"]),
    of("M2", "queues short and full", &[queues::OF_BROKER, queues::OF_CLIENTS]),
    of("M4", "answers nobody reads", &[stalled::INJECTED]),
    of("G1", "knobs change under load", &[admin::INJECTED]),
];

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test reads the sources")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::scenario::faults::FaultSpecs;

    /// What only datagrams and clusters can count, which no run has.
    const NOT_YET: [&str; 3] = ["N1", "N3", "N11"];

    /// What counts as injected though it is no fault of a plan: knobs, and what clients do.
    const BESIDE_FAULTS: [&str; 4] =
        [queues::OF_BROKER, queues::OF_CLIENTS, stalled::INJECTED, admin::INJECTED];

    /// Adds each number that a source outside of tests writes as text.
    fn collect(path: &Path, numbers: &mut BTreeSet<String>) {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                collect(&entry.unwrap().path(), numbers);
            }
            return;
        }
        if path.ends_with("tests.rs") || path.ends_with("catalogue.rs") {
            return;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let is_number = |quoted: &&str| {
            quoted.strip_prefix(['D', 'N', 'P', 'C', 'M', 'G']).is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|letter| letter.is_ascii_digit())
            })
        };
        let code = text.split("#[cfg(test)]\nmod").next().unwrap_or_default();
        numbers.extend(code.split('"').filter(is_number).map(str::to_owned));
    }

    #[test]
    fn the_catalogue_has_what_the_sources_count() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut numbers = BTreeSet::new();
        collect(&root.join("io-abstraction/src/sim"), &mut numbers);
        collect(&root.join("simulator/src/run"), &mut numbers);
        collect(&root.join("simulator/src/workload"), &mut numbers);
        let listed = ALL.iter().map(|fault| fault.number).chain(NOT_YET);
        assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), numbers);
    }

    #[test]
    fn every_kind_of_fault_stands_in_the_catalogue() {
        let listed: BTreeSet<&str> = ALL.iter().flat_map(|fault| fault.kinds).copied().collect();
        let specs = FaultSpecs::default();
        let kinds = specs.rates().into_iter().map(|(kind, _)| kind).chain(BESIDE_FAULTS);
        assert_eq!(listed, kinds.collect());
    }
}
