//! I48: the topics of each name are linearizable: one order of all creates, deletes and answers of
//! Metadata that keeps to real time explains every answer, through all crashes. Names are looked at
//! one by one; that two of them change together is nowhere promised.

use super::{Case, Findings, Oracle};
use crate::linear::topics::{Name, histories};
use crate::linear::{STEPS_MAX, Search};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I48",
    about: "one order in real time explains what is seen of each topic's name",
    check,
};

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() {
        return;
    }
    let mut search = Search::new(STEPS_MAX);
    for (name, operations) in histories(case.ledger) {
        if let Err(what) = search.check::<Name>(operations) {
            findings.add(what.at_ns, format!("{name}: {}", what.text));
        }
    }
    findings.judged(usize::try_from(search.looked.operations).unwrap_or(usize::MAX));
    findings.looked = search.looked;
}

#[cfg(test)]
mod tests {
    use super::super::Contract;
    use crate::history::event::{Call, EventKind, Failure, KnownTopic, NewTopic, Reply, Retention};
    use crate::story::{Story, failure, partition};
    use rivven_core::kafka::codec::error_code::ErrorCode;

    /// What a client does or sees of topic "t", whose incarnations are numbered.
    #[derive(Clone, Copy, Debug)]
    enum Told {
        Created(u8),
        MaybeCreated,
        IsThere,
        Shown(Option<u8>),
        Deleted(u8),
        MaybeDeleted(u8),
        IsNotThere(u8),
    }
    use Told::{Created, Deleted, IsNotThere, IsThere, MaybeCreated, MaybeDeleted, Shown};

    fn ask(told: Told) -> (Call, EventKind) {
        let create = || {
            Call::CreateTopic(NewTopic {
                name: "t".to_owned(),
                partitions: 1,
                retention: Retention::default(),
                compaction: None,
            })
        };
        let id = |number: u8| partition(number).topic;
        let delete = |number| Call::DeleteTopic { name: "t".to_owned(), id: id(number) };
        let refused =
            |code: ErrorCode| EventKind::Fail(Failure { code: Some(code.0), why: String::new() });
        let topic = |number: u8| KnownTopic {
            name: "t".to_owned(),
            id: id(number),
            leader_epochs: vec![0],
        };
        match told {
            Created(number) => (create(), EventKind::Ok(Reply::Created { id: id(number) })),
            MaybeCreated => (create(), EventKind::Info(failure())),
            IsThere => (create(), refused(ErrorCode::TOPIC_ALREADY_EXISTS)),
            Shown(number) => {
                let topics = number.map(topic).into_iter().collect();
                (Call::Metadata, EventKind::Ok(Reply::Topics(topics)))
            }
            Deleted(number) => (delete(number), EventKind::Ok(Reply::Deleted)),
            MaybeDeleted(number) => (delete(number), EventKind::Info(failure())),
            IsNotThere(number) => (delete(number), refused(ErrorCode::UNKNOWN_TOPIC_ID)),
        }
    }

    fn story(told: &[Told]) -> Story {
        Story::of_asks(told.iter().copied().map(ask))
    }

    #[test]
    fn answers_that_no_order_explains_fire() {
        for (told, broken) in [
            (&[Created(1), Shown(Some(1)), Deleted(1), Shown(None)][..], false),
            (&[Created(1), Shown(None)], true),
            (&[Created(1), Shown(Some(2))], true),
            (&[Created(1), Deleted(1), Shown(Some(1))], true),
            (&[Created(1), Created(2)], true),
            (&[Created(1), Deleted(1), Deleted(1)], true),
            (&[Shown(Some(1))], true),
            (&[IsThere, Created(1), Shown(Some(1))], true),
            (&[Created(1), IsThere, IsNotThere(2), Shown(Some(1))], false),
            (&[Created(1), IsNotThere(1), Shown(Some(1))], true),
            (&[Created(1), Shown(Some(1)), Shown(None), Shown(Some(1))], true),
        ] {
            assert_eq!(story(told).is_broken("I48"), broken, "{told:?}");
        }
    }

    #[test]
    fn a_change_of_unknown_outcome_happens_once_or_never() {
        for (told, broken) in [
            (&[MaybeCreated, Shown(None), Shown(Some(1))][..], false),
            (&[MaybeCreated, Shown(Some(1)), Shown(None)], true),
            (&[MaybeCreated, Shown(Some(1)), Deleted(1), Shown(Some(2))], true),
            (&[MaybeCreated, MaybeCreated, Shown(Some(1)), Deleted(1), Shown(Some(2))], false),
            (&[MaybeCreated, IsThere, Shown(Some(1))], false),
            (&[Created(1), MaybeDeleted(1), Shown(Some(1)), Shown(None)], false),
            (&[Created(1), MaybeDeleted(1), Shown(None), Shown(Some(1))], true),
            (&[Created(1), MaybeDeleted(1), Created(2), Shown(Some(2))], false),
            (&[Created(1), MaybeDeleted(1), IsNotThere(1), Shown(Some(1))], true),
        ] {
            assert_eq!(story(told).is_broken("I48"), broken, "{told:?}");
        }
    }

    #[test]
    fn questions_that_overlap_a_change_may_see_it_or_not() {
        for (shown, broken) in [([None, Some(1)], false), ([Some(1), None], true)] {
            let mut story = Story::new();
            let (call, end) = ask(Created(1));
            story.event(90, 1, EventKind::Invoke(call));
            for shown in shown {
                let (call, end) = ask(Shown(shown));
                story.ask(2, call, end);
            }
            story.event(90, 1, end);
            assert_eq!(story.is_broken("I48"), broken, "{shown:?}");
        }
    }

    #[test]
    fn a_disk_that_forges_may_take_topics_back() {
        let mut story = story(&[Created(1), Shown(None)]);
        story.evidence.contract = Contract::ExpectLoss;
        assert!(!story.is_broken("I48"));
    }
}
