//! I14: the order of the log is the order of sending: for an idempotent producer across all its
//! connections, for a plain one inside each of them (after an unknown outcome on one connection,
//! what it sends on the next may overtake).

use std::collections::BTreeMap;

use super::{Case, Findings, Oracle};
use crate::ledger::{Moment, Sent};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I14", about: "log order is send order per producer and partition", check };

/// Within one of these, order is promised: client, producer id and epoch, connection.
type Line = (u32, Option<(i64, i16)>, u64);

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        let Some(log) = &partition.final_log else { continue };
        let mut newest: BTreeMap<Line, ((Moment, usize), i64)> = BTreeMap::new();
        for record in log.records() {
            let Some(value) = record.value else { continue };
            let Some((batch, place)) = case.ledger.values.get(&value).copied() else { continue };
            let sent = &case.ledger.sent[batch];
            let (line, moment) = line_of(sent);
            let order = (moment, place);
            let last = newest.insert(line, (order, record.offset));
            findings.judged(usize::from(last.is_some()));
            if let Some((before, offset)) = last.filter(|(before, _)| *before > order) {
                let topic = &partition.topic;
                let text = format!(
                    "{topic} {id}: value {value} at {} was sent before the one at {offset} \
                     (at {} and {} ns)",
                    record.offset, order.0.at_ns, before.0.at_ns
                );
                findings.add(log.at.at_ns, text);
            }
        }
    }
}

fn line_of(sent: &Sent<'_>) -> (Line, Moment) {
    match sent.call.producer {
        Some(stamp) => {
            let producer = Some((stamp.producer_id, stamp.epoch));
            ((sent.client, producer, 0), sent.first_at())
        }
        // A plain producer sends again only what was refused for sure: the last attempt counts.
        None => {
            let last = sent.last_attempt();
            ((sent.client, None, last.connection), last.at)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, EventKind};
    use crate::story::{Story, batch, failure, stamped};

    #[test]
    fn a_plain_producer_keeps_its_order_inside_a_connection() {
        for (connection, broken) in [(1, true), (2, false)] {
            let mut story = Story::new();
            story.unknown(&[1]);
            let mut second = Story::send(&[2], None);
            second.connection = connection;
            story.ask(1, Call::Produce(second), EventKind::Info(failure()));
            story.read_back(vec![batch(0, &[2]), batch(1, &[1])]);
            assert_eq!(story.is_broken("I14"), broken, "{connection}");
        }
    }

    #[test]
    fn an_idempotent_producer_keeps_it_across_connections() {
        for (log, broken) in [
            (vec![stamped(0, &[1], 0), stamped(1, &[2], 1)], false),
            (vec![stamped(0, &[2], 1), stamped(1, &[1], 0)], true),
        ] {
            let mut story = Story::new();
            for (made, connection) in [(1, 1), (2, 2)] {
                let mut call = Story::send(&[made], Some(made as i32 - 1));
                call.connection = connection;
                story.ask(1, Call::Produce(call), EventKind::Info(failure()));
            }
            story.read_back(log);
            assert_eq!(story.is_broken("I14"), broken);
        }
    }

    #[test]
    fn a_batch_turned_inside_out_fires() {
        let mut story = Story::new();
        story.unknown(&[1, 2]).read_back(vec![batch(0, &[2, 1])]);
        assert!(story.is_broken("I14"));
    }
}
