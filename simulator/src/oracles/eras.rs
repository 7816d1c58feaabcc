//! A history in which the disk was exchanged, cut into the eras of its disks.
//!
//! An older disk does not have what was acknowledged, or it gives a place to another record: what
//! an era's answers said binds no other era. What was asked in an earlier one may still come true.

use std::collections::BTreeSet;

use crate::history::event::{Event, EventKind, Mark};

/// The history as each disk may be judged by it: the requests of the eras before, of which those
/// that were acknowledged count as never answered, and all of its own. One, if there was one disk.
pub(super) fn of(events: &[Event]) -> Vec<Vec<Event>> {
    let mut eras = vec![Vec::new()];
    let mut earlier = BTreeSet::new();
    for event in events {
        if matches!(event.kind, EventKind::Mark(Mark::OtherDisk { .. })) {
            let before = eras.last().expect("there is one").iter();
            let asked: Vec<Event> = before.filter(|event| stays(event)).cloned().collect();
            earlier.extend(asked.iter().map(|event| event.op));
            eras.push(asked);
            continue;
        }
        if matches!(event.kind, EventKind::Invoke(_)) {
            // Another attempt belongs to this era.
            earlier.remove(&event.op);
        }
        // What answers a request of an earlier era may come from its disk.
        let is_late = earlier.contains(&event.op) && !stays(event);
        if !is_late {
            eras.last_mut().expect("there is one").push(event.clone());
        }
    }
    eras
}

/// Whether an event says something about every disk: what was asked, and what was refused for sure.
fn stays(event: &Event) -> bool {
    matches!(event.kind, EventKind::Invoke(_) | EventKind::Fail(_) | EventKind::Info(_))
}

#[cfg(test)]
mod tests {
    use super::super::{Contract, judge};
    use super::*;
    use crate::history::event::Call;
    use crate::story::{Story, batch, failure};

    #[test]
    fn what_one_disk_had_at_an_offset_binds_no_other_disk() {
        for (is_other, value, broken) in [(false, 2, true), (true, 2, false), (true, 1, false)] {
            let mut story = Story::new();
            story.evidence.contract = Contract::ExpectLoss;
            story.acked(&[1], 0).unknown(&[2]).fetched(0, 1, vec![batch(0, &[1])]);
            if is_other {
                story.mark(Mark::OtherDisk { node: 1 });
            }
            story.fetched(0, 1, vec![batch(0, &[value])]);
            assert_eq!(story.is_broken("I2"), broken, "{is_other} {value}");
        }
    }

    #[test]
    fn what_was_never_sent_or_refused_is_shown_by_no_disk() {
        for (value, broken) in [(1, false), (2, true), (3, true)] {
            let mut story = Story::new();
            story.evidence.contract = Contract::ExpectLoss;
            let refused = Call::Produce(Story::send(&[2], None));
            story.acked(&[1], 0).ask(1, refused, EventKind::Fail(failure()));
            story.mark(Mark::OtherDisk { node: 1 });
            story.fetched(0, 1, vec![batch(0, &[value])]);
            assert_eq!(story.is_broken("I12"), broken, "{value}");
        }
    }

    #[test]
    fn one_disk_after_an_exchange_is_judged_as_any() {
        let mut story = Story::new();
        story.evidence.contract = Contract::ExpectLoss;
        story.acked(&[1], 0).unknown(&[2]).mark(Mark::OtherDisk { node: 1 });
        story.fetched(0, 1, vec![batch(0, &[1])]).fetched(0, 1, vec![batch(0, &[2])]);
        assert!(story.is_broken("I2"));
        assert_eq!(judge(&story.evidence, &["I2".to_owned()]).judged["I2"], 1);
    }
}
