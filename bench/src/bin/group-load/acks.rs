//! Commits and produce requests in turns, at one rate, each due at its time whether or not answers
//! keep up; latency counts from then. The turns are short, so that whatever else the machine does
//! is in the way of both.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use serde_json::{Value, json};

use crate::peer::Peer;
use crate::{AcksArguments, Outcome};

/// The last versions that name topics by name.
const COMMIT_VERSION: i16 = 9;
const PRODUCE_VERSION: i16 = 12;
/// The first requests make topics and files.
const WARM_UP: Duration = Duration::from_secs(1);
const RECORD_BYTES: usize = 100;

const TURN: Duration = Duration::from_millis(250);

/// Latencies of commits and of produce requests.
#[derive(Default)]
struct Times {
    /// Each connection of a group of its own, one partition a request.
    commit: Vec<Duration>,
    /// Each connection to a partition of its own, one record a request.
    produce: Vec<Duration>,
}

pub(crate) fn run(arguments: &AcksArguments) -> Outcome<Value> {
    let begin = Instant::now() + Duration::from_millis(200);
    let lines = thread::scope(|scope| {
        let connections = 0..arguments.connections;
        let threads: Vec<_> = connections
            .map(|index| scope.spawn(move || Line { arguments, index, begin }.run()))
            .collect();
        let all = threads.into_iter().map(|thread| thread.join().expect("it returns errors"));
        all.collect::<Outcome<Vec<_>>>()
    })?;
    let mut all = Times::default();
    for line in lines {
        all.commit.extend(line.commit);
        all.produce.extend(line.produce);
    }
    Ok(json!({ "commit": percentiles(all.commit), "produce": percentiles(all.produce) }))
}

fn percentiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |per_mille: usize| {
        let rank = (times.len() * per_mille).div_ceil(1000).max(1);
        times.get(rank - 1).map(|time| time.as_secs_f64() * 1000.0)
    };
    json!({ "answers": times.len(), "p50_ms": at(500), "p99_ms": at(990), "max_ms": at(1000) })
}

/// One connection.
struct Line<'a> {
    arguments: &'a AcksArguments,
    index: u32,
    begin: Instant,
}

impl Line<'_> {
    fn run(&self) -> Outcome<Times> {
        let mut peer = Peer::connect(self.arguments.broker)?;
        let connections = self.arguments.connections;
        let every =
            Duration::from_secs_f64(f64::from(connections) / f64::from(self.arguments.rate));
        let mut due = self.begin + every * self.index / connections;
        let measured = self.begin + WARM_UP;
        let end = measured + Duration::from_secs_f64(self.arguments.seconds);
        let mut times = Times::default();
        let batch = Bytes::from(rivven_bench::batches::batch(1, RECORD_BYTES));
        for number in 0.. {
            if due >= end {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let turn = due.duration_since(self.begin).as_nanos() / TURN.as_nanos();
            let of_kind = match turn % 2 {
                0 => {
                    self.commit(&mut peer, number)?;
                    &mut times.commit
                }
                _ => {
                    self.produce(&mut peer, &batch)?;
                    &mut times.produce
                }
            };
            if due >= measured {
                of_kind.push(due.elapsed());
            }
            due += every;
        }
        Ok(times)
    }

    fn partition(&self) -> Outcome<i32> {
        Ok(i32::try_from(self.index)?)
    }

    fn commit(&self, peer: &mut Peer, number: i64) -> Outcome<()> {
        let partition = OffsetCommitRequestPartition {
            partition_index: self.partition()?,
            committed_offset: number,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: WireStr::from(self.arguments.topic.as_str()),
            partitions: vec![partition],
            ..OffsetCommitRequestTopic::default()
        };
        let request = OffsetCommitRequest {
            group_id: WireStr::from(format!("acks-{}", self.index)),
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        let answer = peer.call(COMMIT_VERSION, &request)?;
        let rows = answer.topics.iter().flat_map(|topic| &topic.partitions);
        match rows.map(|row| row.error_code).find(|code| code.is_error()) {
            Some(code) => Err(format!("commit: {code}").into()),
            None => Ok(()),
        }
    }

    fn produce(&self, peer: &mut Peer, batch: &Bytes) -> Outcome<()> {
        produce(peer, (&self.arguments.topic, self.partition()?), batch)
    }
}

/// A Produce request of one batch, acknowledged by all, and its answer.
pub(crate) fn produce(
    peer: &mut Peer,
    (topic, partition): (&str, i32),
    batch: &Bytes,
) -> Outcome<()> {
    let row = PartitionProduceData { index: partition, records: Some(batch.clone()) };
    let data = TopicProduceData {
        name: WireStr::from(topic),
        partition_data: vec![row],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![data],
        ..ProduceRequest::default()
    };
    let answer = peer.call(PRODUCE_VERSION, &request)?;
    let rows = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    match rows.map(|row| row.error_code).find(|code| code.is_error()) {
        Some(code) => Err(format!("produce: {code}").into()),
        None => Ok(()),
    }
}
