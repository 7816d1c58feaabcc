//! The form in which a history leaves for Jepsen's workload for Kafka, byte for byte.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test may panic outside its test function, too")]

use std::collections::BTreeMap;

use clojure_reader::edn::{self as reader, Edn};
use rivven_core::ids::{PartitionId, TopicId};
use rivven_simulator::history::edn;
use rivven_simulator::history::event::{
    Call, Consumed, ConsumerSaw, Event, EventKind, Failure, Fetch, Fetched, GivenRecord, Mark,
    Produce, Reply, SeenBatch, SeenRecord, SentValue,
};
use rivven_simulator::history::value::ValueId;

const GOLDEN: &str = include_str!("golden/history.edn");

/// A history in the making; each event is a microsecond after the one before.
#[derive(Default)]
struct Told(Vec<Event>);

impl Told {
    fn say(&mut self, client: u32, op: u64, kind: EventKind) -> &mut Told {
        let at_ns = (self.0.len() as u64 + 1) * 1_000;
        self.0.push(Event { at_ns, client, op, kind });
        self
    }

    fn send(&mut self, client: u32, op: u64, (topic, made): (u8, &[u64])) -> &mut Told {
        let values = made.iter().map(|made| sent(*made)).collect();
        let call = Produce {
            topic: "t".to_owned(),
            partition: partition(topic),
            acks: -1,
            producer: None,
            connection: 1,
            values,
            bytes: 100,
            made_ns: 0,
            stamped_ms: None,
        };
        self.say(client, op, EventKind::Invoke(Call::Produce(call)))
    }

    fn sent(&mut self, client: u32, op: u64, base_offset: i64) -> &mut Told {
        self.say(client, op, EventKind::Ok(Reply::Produced { base_offset, log_start: 0 }))
    }

    fn fetch(&mut self, client: u32, op: u64, (topic, offset): (u8, i64)) -> &mut Told {
        let (name, partition) = ("t".to_owned(), partition(topic));
        let call = Fetch { topic: name, partition, by_name: false, offset };
        self.say(client, op, EventKind::Invoke(Call::Fetch(call)))
    }

    fn fetched(&mut self, client: u32, op: u64, records: &[(i64, u64)]) -> &mut Told {
        let records: Vec<_> = records.iter().map(|(offset, made)| seen(*offset, *made)).collect();
        let batch = SeenBatch {
            base_offset: records.first().map_or(0, |first| first.offset),
            last_offset: records.last().map_or(0, |last| last.offset),
            leader_epoch: 0,
            producer: None,
            sound: true,
            records,
        };
        let batches = if batch.records.is_empty() { vec![] } else { vec![batch] };
        let reply = Fetched { high_watermark: 9, log_start: 0, batches, garbage: None };
        self.say(client, op, EventKind::Ok(Reply::Fetched(reply)))
    }

    fn consumer(&mut self, op: u64, what: ConsumerSaw) -> &mut Told {
        self.say(3, op, EventKind::Consumer(Consumed { group: "g".to_owned(), what }))
    }
}

fn partition(topic: u8) -> PartitionId {
    PartitionId { topic: TopicId([topic; 16]), index: 0 }
}

fn sent(made: u64) -> SentValue {
    SentValue { id: ValueId::of(1, made), hash: made, key: made, tombstone: false }
}

fn seen(offset: i64, made: u64) -> SeenRecord {
    SeenRecord { offset, value: Some(ValueId::of(1, made)), hash: made }
}

fn failure() -> Failure {
    Failure { code: None, why: "closed".to_owned() }
}

/// Sends that are acknowledged, refused, unknown, tried twice and pending; polls that go on, seek,
/// fail and show a strange record; a consumer that gets, reads, loses and ends.
fn history() -> Vec<Event> {
    let mut told = Told::default();
    told.say(1, 0, EventKind::Invoke(Call::Metadata)).say(1, 0, EventKind::Fail(failure()));
    told.send(1, 1, (1, &[1, 2])).sent(1, 1, 0);
    told.send(1, 2, (1, &[3])).say(1, 2, EventKind::Fail(failure()));
    told.send(1, 3, (1, &[4])).send(1, 4, (1, &[5]));
    told.say(1, 3, EventKind::Info(failure())).sent(1, 4, 2);
    // Tried again after an unknown outcome: once acknowledged without its place, once refused.
    told.send(1, 5, (1, &[6])).say(1, 5, EventKind::Info(failure()));
    told.send(1, 5, (1, &[6])).sent(1, 5, -1);
    told.send(1, 6, (1, &[7])).say(1, 6, EventKind::Info(failure()));
    told.send(1, 6, (1, &[7])).say(1, 6, EventKind::Fail(failure()));
    // A reader gets a batch that begins before the offset it asked for, and goes on.
    told.fetch(2, 7, (1, 1)).fetched(2, 7, &[(0, 1), (1, 2)]);
    told.fetch(2, 8, (1, 2)).fetched(2, 8, &[]);
    told.fetch(2, 9, (1, 2)).say(2, 9, EventKind::Fail(failure()));
    told.fetch(2, 10, (1, 2));
    let mut strange = seen(3, 4);
    strange.hash = 99;
    let batch = SeenBatch {
        base_offset: 2,
        last_offset: 3,
        leader_epoch: 0,
        producer: None,
        sound: true,
        records: vec![seen(2, 5), strange],
    };
    let reply = Fetched { high_watermark: 4, log_start: 0, batches: vec![batch], garbage: None };
    told.say(2, 10, EventKind::Ok(Reply::Fetched(reply)));
    // It seeks, and the topic is made anew.
    told.fetch(2, 11, (1, 0)).fetched(2, 11, &[(0, 1)]);
    told.send(1, 12, (2, &[8])).sent(1, 12, 0);
    let of = |name: &str| vec![(name.to_owned(), 0)];
    told.consumer(20, ConsumerSaw::Assigned(of("t")));
    told.consumer(20, ConsumerSaw::Assigned(of("never-read")));
    let given = |offset: i64, made: u64| GivenRecord {
        topic: "t".to_owned(),
        partition: 0,
        record: seen(offset, made),
    };
    told.consumer(20, ConsumerSaw::Given(vec![given(0, 1), given(1, 2), given(0, 8)]));
    told.consumer(20, ConsumerSaw::Revoked(of("t")));
    told.consumer(20, ConsumerSaw::Ended);
    told.fetch(2, 13, (1, 1)).send(1, 14, (2, &[9]));
    told.say(0, 15, EventKind::Mark(Mark::Healed));
    told.0
}

#[test]
fn a_history_is_written_in_the_golden_form() {
    let written = edn::text(&history());
    for (number, (line, golden)) in (1..).zip(written.lines().zip(GOLDEN.lines())) {
        assert_eq!(line, golden, "line {number} of\n{written}");
    }
    assert_eq!(written, GOLDEN);
}

fn get<'a>(map: &'a Edn<'_>, key: &'static str) -> &'a Edn<'a> {
    map.get(&Edn::key(key)).unwrap_or_else(|| panic!("{map} has no {key}"))
}

fn number(edn: &Edn<'_>) -> i64 {
    match edn {
        Edn::Int(number) => *number,
        other => panic!("{other} is no number"),
    }
}

/// What Jepsen asks of any history: indexes count, a process has one operation at a time, each end
/// has its beginning with the same function, and nothing follows an `:info`.
#[test]
fn a_reader_of_edn_finds_a_history_that_is_well_formed() {
    let mut open: BTreeMap<i64, String> = BTreeMap::new();
    let mut crashed = Vec::new();
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    let mut time = 0;
    for (index, line) in (0..).zip(GOLDEN.lines()) {
        let map = reader::read_string(line).unwrap();
        assert_eq!(number(get(&map, "index")), index);
        assert!(number(get(&map, "time")) >= time, "{line}");
        time = number(get(&map, "time"));
        let process = number(get(&map, "process"));
        assert!(!crashed.contains(&process), "{line}");
        let r#type = get(&map, "type").to_string();
        let what = get(&map, "f").to_string();
        assert!([":send", ":poll", ":assign", ":crash"].contains(&what.as_str()), "{line}");
        match r#type.as_str() {
            ":invoke" => assert_eq!(open.insert(process, what), None, "{line}"),
            _ => assert_eq!(open.remove(&process), Some(what), "{line}"),
        }
        if r#type == ":info" {
            crashed.push(process);
        }
        *types.entry(r#type).or_default() += 1;
        get(&map, "value");
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(types.keys().collect::<Vec<_>>(), [":fail", ":info", ":invoke", ":ok"]);
}

#[test]
fn a_reader_of_edn_refuses_a_line_that_was_cut() {
    let line = GOLDEN.lines().next().unwrap();
    for end in 1..line.len() {
        assert!(reader::read_string(&line[..end]).is_err(), "{}", &line[..end]);
    }
}
