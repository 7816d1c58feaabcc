//! I33: delete and recreate never shows old data: no incarnation of a topic shows a record that was
//! sent to another one, and a deleted one is neither served nor listed again.

use super::{Case, Findings, Oracle};
use crate::ledger::{FetchSeen, Moment};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I33", about: "delete and recreate never shows old data", check };

fn check(case: &Case<'_>, findings: &mut Findings) {
    let names = || case.ledger.topics.values().map(|topic| topic.name.as_str());
    for fetch in case.ledger.all_fetches() {
        if names().filter(|name| *name == fetch.call.topic).count() > 1 {
            findings.judged(fetch.reply.batches.iter().map(|batch| batch.records.len()).sum());
        }
        if let Some(what) = shows_other_incarnation(case, fetch) {
            let text = format!("{} {}: {what}", fetch.call.topic, fetch.call.partition);
            findings.add(fetch.at.at_ns, text);
        }
        let topic = fetch.call.partition.topic;
        if !fetch.call.by_name && was_deleted(case, topic, fetch.invoked) {
            let text = format!("{} {topic} was deleted and is served", fetch.call.topic);
            findings.add(fetch.at.at_ns, text);
        }
    }
    for (id, topic) in &case.ledger.topics {
        let again = topic.shown.iter().find(|(invoked, _)| was_deleted(case, *id, *invoked));
        if let Some((_, at)) = again {
            let text = format!("{} {id} was deleted and is listed", topic.name);
            findings.add(at.at_ns, text);
        }
    }
}

/// Whether a delete was acknowledged before `moment`.
fn was_deleted(case: &Case<'_>, topic: rivven_core::ids::TopicId, moment: Moment) -> bool {
    let topic = case.ledger.topics.get(&topic);
    topic.and_then(|topic| topic.deleted).is_some_and(|deleted| deleted < moment)
}

fn shows_other_incarnation(case: &Case<'_>, fetch: &FetchSeen<'_>) -> Option<String> {
    let asked = fetch.call.partition;
    for record in fetch.reply.batches.iter().flat_map(|batch| &batch.records) {
        let Some(value) = record.value else { continue };
        let Some((batch, _)) = case.ledger.values.get(&value).copied() else { continue };
        let sent = case.ledger.sent[batch].call.partition;
        if sent.topic == asked.topic {
            continue;
        }
        // By name any incarnation may answer that was not deleted before the question.
        if !fetch.call.by_name || was_deleted(case, sent.topic, fetch.invoked) {
            return Some(format!("value {value} at {} was sent to {sent}", record.offset));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, EventKind, Fetch, Fetched, KnownTopic, Reply};
    use crate::story::{Story, batch, partition};

    fn deleted() -> Story {
        let mut story = Story::new();
        story.acked(&[1], 0);
        let call = Call::DeleteTopic { name: "t".to_owned(), id: partition(1).topic };
        story.ask(3, call, EventKind::Ok(Reply::Deleted));
        story
    }

    #[test]
    fn a_record_of_another_incarnation_fires() {
        for (incarnation, value, broken) in [(2, 1, true), (2, 9, false), (1, 1, true)] {
            let mut story = deleted();
            let answer = (0, 0, 1, vec![batch(0, &[value])]);
            story.fetched_by(2, partition(incarnation), answer);
            assert_eq!(story.is_broken("I33"), broken, "{incarnation} {value}");
        }
    }

    #[test]
    fn a_name_shows_only_what_is_not_deleted() {
        for (before, broken) in [(true, false), (false, true)] {
            let mut story = if before { Story::new() } else { deleted() };
            if before {
                story.acked(&[1], 0);
            }
            let (topic, partition) = ("t".to_owned(), partition(2));
            let call = Call::Fetch(Fetch { topic, partition, by_name: true, offset: 0 });
            let batches = vec![batch(0, &[1])];
            let reply = Fetched { high_watermark: 1, log_start: 0, batches, garbage: None };
            story.ask(2, call, EventKind::Ok(Reply::Fetched(reply)));
            assert_eq!(story.is_broken("I33"), broken, "{before}");
        }
    }

    #[test]
    fn a_deleted_topic_that_is_listed_again_fires() {
        for (id, broken) in [(1, true), (2, false)] {
            let mut story = deleted();
            let id = partition(id).topic;
            let topic = KnownTopic { name: "t".to_owned(), id, leader_epochs: vec![0] };
            story.ask(2, Call::Metadata, EventKind::Ok(Reply::Topics(vec![topic])));
            assert_eq!(story.is_broken("I33"), broken);
        }
    }
}
