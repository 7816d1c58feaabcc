//! I11: leader epochs are consistent: what Metadata and ListOffsets tell never falls, the epochs of
//! batches never fall along the log, and none is above what was told. One node stays in epoch 0.

use std::collections::BTreeMap;

use super::{Case, Findings, Oracle};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I11", about: "leader epochs agree with the log and never fall", check };

/// A log that was never led by anyone else is in this epoch.
const SINGLE_NODE_EPOCH: i32 = 0;

fn check(case: &Case<'_>, findings: &mut Findings) {
    findings.judged(case.ledger.epochs.len());
    for (at, partition, epoch) in &case.ledger.epochs {
        // −1 says that the epoch is not known.
        if *epoch != SINGLE_NODE_EPOCH && *epoch != -1 {
            findings.add(at.at_ns, format!("{partition} is said to be in epoch {epoch}"));
        }
    }
    let mut batches: BTreeMap<_, BTreeMap<i64, i32>> = BTreeMap::new();
    for fetch in case.ledger.all_fetches() {
        let seen = batches.entry(fetch.call.partition).or_default();
        findings.judged(fetch.reply.batches.len());
        for batch in &fetch.reply.batches {
            let epoch = batch.leader_epoch;
            let known = *seen.entry(batch.base_offset).or_insert(epoch);
            if epoch != SINGLE_NODE_EPOCH || known != epoch {
                let (topic, id) = (&fetch.call.topic, fetch.call.partition);
                let offset = batch.base_offset;
                let text = format!("{topic} {id}: the batch at {offset} is of epoch {epoch}");
                findings.add(fetch.at.at_ns, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, EventKind, Reply, SeenBatch};
    use crate::story::{Story, batch, partition};

    #[test]
    fn a_batch_of_another_epoch_fires() {
        for (leader_epoch, broken) in [(0, false), (1, true), (-1, true)] {
            let mut story = Story::new();
            story.fetched(0, 1, vec![SeenBatch { leader_epoch, ..batch(0, &[1]) }]);
            assert_eq!(story.is_broken("I11"), broken, "{leader_epoch}");
        }
    }

    #[test]
    fn an_answer_of_another_epoch_fires() {
        for (leader_epoch, broken) in [(0, false), (-1, false), (3, true)] {
            let mut story = Story::new();
            let call = Call::ListOffsets { partition: partition(1), timestamp: -1 };
            story.ask(
                1,
                call,
                EventKind::Ok(Reply::Listed { offset: 1, timestamp: -1, leader_epoch }),
            );
            assert_eq!(story.is_broken("I11"), broken, "{leader_epoch}");
        }
    }
}
