//! A Produce request of several batches, and what its answer says of each.

use std::time::Duration;

use bytes::Bytes;
use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};

use super::accumulator::{Answer, Sending};
use super::batch::{Delivered, Number};
use super::config::Acks;
use crate::error::{Error, accepted};

/// A batch within a request, by which its row of the answer is found.
pub(super) struct Sent {
    pub(super) queue: usize,
    pub(super) number: Number,
    pub(super) partition: i32,
    topic: WireStr,
    topic_id: TopicId,
}

impl Sent {
    pub(super) fn new(batch: &Sending) -> Sent {
        Sent {
            queue: batch.queue,
            number: batch.number,
            partition: batch.partition,
            topic: WireStr::from(&*batch.topic),
            topic_id: batch.topic_id,
        }
    }

    fn is_of(&self, topic: &TopicProduceResponse) -> bool {
        // From version 13 on topics are named by id, before by name.
        match topic.topic_id == TopicId::NIL {
            true => topic.name == self.topic,
            false => topic.topic_id == self.topic_id,
        }
    }
}

pub(super) fn produce_request<'a>(
    acks: Acks,
    timeout: Duration,
    batches: impl Iterator<Item = (&'a Sent, Bytes)>,
) -> ProduceRequest {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    for (sent, records) in batches {
        let row = PartitionProduceData { index: sent.partition, records: Some(records) };
        // Batches of one topic stand together.
        match topics.last_mut().filter(|topic| topic.name == sent.topic) {
            Some(topic) => topic.partition_data.push(row),
            None => topics.push(TopicProduceData {
                name: sent.topic.clone(),
                topic_id: sent.topic_id,
                partition_data: vec![row],
            }),
        }
    }
    ProduceRequest {
        transactional_id: None,
        acks: acks.wire(),
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics,
    }
}

/// What became of each batch.
pub(super) fn read_answer(sent: &[Sent], answer: Result<ProduceResponse, Error>) -> Vec<Answer> {
    let read = |sent: &Sent| {
        let answer = answer.as_ref().map_err(Clone::clone)?;
        let mut rows = answer.responses.iter().filter(|topic| sent.is_of(topic));
        let row = rows.find_map(|topic| {
            topic.partition_responses.iter().find(|row| row.index == sent.partition)
        });
        let missing = || Error::Malformed("a Produce answer lacks a partition".to_owned());
        outcome(sent, row.ok_or_else(missing)?)
    };
    let answers = sent.iter().map(|sent| Answer {
        queue: sent.queue,
        number: sent.number,
        result: read(sent),
    });
    answers.collect()
}

fn outcome(sent: &Sent, row: &PartitionProduceResponse) -> Result<Delivered, Error> {
    let first = row.record_errors.first();
    let of_record = first.and_then(|error| error.batch_index_error_message.as_deref());
    let text = of_record.or(row.error_message.as_deref());
    accepted(row.error_code, text, || format!("{}-{}", sent.topic, sent.partition))?;
    Ok(Delivered {
        partition: sent.partition,
        offset: row.base_offset,
        log_start: row.log_start_offset,
        append_time_ms: Some(row.log_append_time_ms).filter(|time| *time >= 0),
    })
}
