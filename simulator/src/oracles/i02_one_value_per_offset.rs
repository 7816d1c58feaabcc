//! I2: one value per (partition, offset) in every sighting: in answers to producers and to
//! consumers, at any time.

use std::collections::BTreeMap;

use super::{Case, Findings, Oracle};
use crate::history::value::ValueId;
use crate::ledger::{Moment, Outcome};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I2", about: "one value per partition and offset in every sighting", check };

/// A value, or the hash of bytes that are none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sighting {
    Value(ValueId),
    Stranger(u64),
}

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        let mut sightings: Vec<(Moment, i64, Sighting)> = Vec::new();
        for sent in case.ledger.sent_to(partition) {
            if let Outcome::Acked { base_offset, at } = sent.outcome {
                let values = (base_offset..).zip(&sent.call.values);
                sightings
                    .extend(values.map(|(offset, value)| (at, offset, Sighting::Value(value.id))));
            }
        }
        for fetch in &partition.fetches {
            let records = fetch.reply.batches.iter().flat_map(|batch| &batch.records);
            for record in records {
                let seen = record.value.map_or(Sighting::Stranger(record.hash), Sighting::Value);
                sightings.push((fetch.at, record.offset, seen));
            }
        }
        sightings.sort_by_key(|sighting| sighting.0);
        let mut first: BTreeMap<i64, (Moment, Sighting)> = BTreeMap::new();
        for (at, offset, seen) in sightings {
            let known = first.len();
            let (since, value) = *first.entry(offset).or_insert((at, seen));
            findings.judged(usize::from(first.len() == known));
            if value != seen {
                let topic = &partition.topic;
                let text = format!(
                    "{topic} {id} offset {offset}: {value:?} was seen at {} ns, now {seen:?}",
                    since.at_ns
                );
                findings.add(at.at_ns, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::story::{Story, batch};

    #[test]
    fn two_values_at_one_offset_fire_whoever_saw_them() {
        for (other, broken) in [(1, false), (2, true)] {
            let mut story = Story::new();
            story.acked(&[1], 5).acked(&[2], 6).fetched(5, 7, vec![batch(5, &[other])]);
            assert_eq!(story.is_broken("I2"), broken);
            let mut story = Story::new();
            story.unknown(&[1]).unknown(&[2]);
            story.fetched(0, 1, vec![batch(0, &[1])]).fetched(0, 1, vec![batch(0, &[other])]);
            assert_eq!(story.is_broken("I2"), broken);
        }
        let mut story = Story::new();
        story.acked(&[1], 5).acked(&[2], 5);
        assert!(story.is_broken("I2"), "two acknowledgements at one offset");
    }
}
