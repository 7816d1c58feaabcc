//! I45: when the clients are gone, a broker holds no more tasks, files, connections and mappings
//! than before they came, but for what its data needs.

use super::{Case, Findings, Oracle, ResourceReading};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I45", about: "tasks, files and connections return to the baseline", check };

/// Files beside those that the cache of segment files may hold: housekeeping opens some.
const FILES_SLACK: u64 = 80;
/// Housekeeping that may be under way when the reading is taken.
const TASKS_SLACK: u64 = 4;

fn check(case: &Case<'_>, findings: &mut Findings) {
    findings.judged(case.evidence.resources.len());
    for reading in &case.evidence.resources {
        for (what, baseline, now) in grown(reading) {
            let text = format!("{now} {what}, {baseline} at the baseline");
            findings.add_at(reading.node, reading.at_ns, text);
        }
    }
}

fn grown(reading: &ResourceReading) -> Vec<(&'static str, u64, u64)> {
    let (baseline, now) = (&reading.baseline, &reading.now);
    let rows = [
        ("tasks", baseline.tasks, now.tasks, TASKS_SLACK),
        ("files", baseline.files, now.files, reading.open_files + FILES_SLACK),
        ("streams", baseline.streams, now.streams, 0),
        ("listeners", baseline.listeners, now.listeners, 0),
        ("datagram sockets", baseline.datagrams, now.datagrams, 0),
        ("mapped bytes", baseline.mapped_bytes, now.mapped_bytes, 0),
    ];
    let over = rows.into_iter().filter(|(_, baseline, now, slack)| *now > baseline + slack);
    over.map(|(what, baseline, now, _)| (what, baseline, now)).collect()
}

#[cfg(test)]
mod tests {
    use rivven_io::sim::Resources;

    use super::super::ResourceReading;
    use crate::story::Story;

    #[test]
    fn each_kind_that_grew_fires() {
        let baseline = Resources { tasks: 5, streams: 0, listeners: 1, ..Resources::default() };
        for (now, broken) in [
            (baseline, false),
            (Resources { files: 3, ..baseline }, false),
            (Resources { tasks: 50, ..baseline }, true),
            (Resources { files: 100, ..baseline }, false),
            (Resources { files: 101, ..baseline }, true),
            (Resources { streams: 1, ..baseline }, true),
            (Resources { listeners: 2, ..baseline }, true),
            (Resources { datagrams: 1, ..baseline }, true),
            (Resources { mapped_bytes: 4096, ..baseline }, true),
        ] {
            let mut story = Story::new();
            story.evidence.resources.push(ResourceReading {
                node: 1,
                at_ns: 1,
                baseline,
                now,
                open_files: 20,
            });
            assert_eq!(story.is_broken("I45"), broken, "{now:?}");
        }
    }
}
