//! I28: nothing at or above what is visible, closed and old enough is compacted: a record that is
//! younger than the topic's `min.compaction.lag.ms` is there, and so is the last one of the log.

use super::i27_last_value_of_each_key_stays::{Standing, View};
use super::{Case, Findings, Oracle};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I28", about: "what is young, and the end of the log, is not compacted", check };

const MS_NS: u64 = 1_000_000;

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        let Some(rules) = case.ledger.compaction.get(&partition.topic).copied() else { continue };
        let topic = &partition.topic;
        let standing = Standing::of(case, partition);
        let begun = case.ledger.liveness_end.unwrap_or_default();
        let log = partition.final_log.as_ref().and_then(|log| View::of_log(log, begun));
        if let Some(view) = log.as_ref().filter(|view| view.covers.0 <= view.covers.1) {
            let last = view.covers.1;
            if !view.present.contains(&last) {
                let text = format!("{topic} {id}: the last record, at {last}, is gone");
                findings.add(view.at.at_ns, text);
            }
        }
        // Timestamps are whole milliseconds.
        let lag_ms = rules.lag_min_ms.saturating_sub(1);
        for view in partition.fetches.iter().filter_map(View::of_fetch).chain(log) {
            for (offset, stood, _) in standing.gone(&view) {
                findings.judged(1);
                let age_ms = view.at.at_ns.saturating_sub(stood.sent.call.made_ns) / MS_NS;
                if age_ms < lag_ms {
                    let text = format!("{topic} {id} offset {offset} is gone after {age_ms} ms");
                    findings.add(view.at.at_ns, text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, Compaction, EventKind, NewTopic, Reply, Retention};
    use crate::story::{Story, batch};

    #[test]
    fn a_young_record_or_the_last_one_that_is_gone_fires() {
        for (lag_min_ms, log, broken) in [
            (0, vec![batch(0, &[0]), batch(1, &[1])], false),
            (0, vec![batch(1, &[1])], false),
            (100, vec![batch(0, &[0]), batch(1, &[1])], false),
            (100, vec![batch(1, &[1])], true),
        ] {
            let mut story = Story::new();
            let compaction = Some(Compaction { delete_retention_ms: 0, lag_min_ms });
            let (name, retention) = ("t".to_owned(), Retention::default());
            let topic = NewTopic { name, partitions: 1, retention, compaction };
            let created = Reply::Created { id: crate::story::partition(1).topic };
            story.ask(1, Call::CreateTopic(topic), EventKind::Ok(created));
            story.acked(&[0], 0).acked(&[1], 1);
            story.fetched(0, 2, log.clone());
            assert_eq!(story.is_broken("I28"), broken, "{lag_min_ms} {log:?}");
        }
        let mut emptied = batch(0, &[0, 1]);
        emptied.records.pop();
        let mut story = Story::new();
        let compaction = Some(Compaction { delete_retention_ms: 0, lag_min_ms: 0 });
        let (name, retention) = ("t".to_owned(), Retention::default());
        let topic = NewTopic { name, partitions: 1, retention, compaction };
        let created = Reply::Created { id: crate::story::partition(1).topic };
        story.ask(1, Call::CreateTopic(topic), EventKind::Ok(created));
        story.acked(&[0, 1], 0).read_back(vec![emptied]);
        assert!(story.is_broken("I28"), "the last record is gone");
    }
}
