//! Records that a native client publishes, in each of the ways that the protocol has.

use bytes::Bytes;
use rivven_core::wire::codec::Name;
use rivven_core::wire::message::{BatchRecord, NewRecord, ProducerRun};
use rivven_core::wire::request::Request;

use crate::client::reads::Place;
use crate::history::event::{Produce, Stamp};
use crate::history::value::Value;

/// Records that go out together.
pub(super) struct Batch {
    pub(super) place: Place,
    pub(super) values: Vec<Value>,
    pub(super) run: Option<ProducerRun>,
    pub(super) made_ns: u64,
    pub(super) op: u64,
}

/// How a batch is published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Requests of release 0.0.22.
    One,
    Several,
    /// With all that records have.
    Records,
}

impl Batch {
    pub(super) fn call(&self, connection: u64) -> Produce {
        let stamp = |run: &ProducerRun| Stamp {
            producer_id: i64::try_from(run.producer_id).expect("the broker gives positive ones"),
            epoch: i16::try_from(run.producer_epoch).expect("the broker gives positive ones"),
            base_sequence: run.base_sequence,
        };
        Produce {
            topic: self.place.topic.clone(),
            partition: self.place.partition,
            acks: -1,
            producer: self.run.as_ref().map(stamp),
            connection,
            values: self.values.iter().map(Value::sent).collect(),
            bytes: self.values.iter().map(|value| value.value_bytes().len() as u64).sum(),
            made_ns: self.made_ns,
            stamped_ms: None,
        }
    }

    pub(super) fn request(&self, way: Way) -> Request {
        let topic = Name::from(self.place.topic.as_str());
        let (partition, leader_epoch) = (Some(self.place.partition.index), None);
        let bytes = |value: &Value| {
            (Some(Bytes::from(value.key_bytes())), Bytes::from(value.value_bytes()))
        };
        let mut records = self.values.iter().map(bytes);
        match way {
            Way::One => {
                let (key, value) = records.next().expect("a batch has a record");
                Request::Publish { topic, partition, key, value, leader_epoch }
            }
            Way::Several => {
                let records = records.map(|(key, value)| BatchRecord { key, value }).collect();
                Request::PublishBatch { topic, partition, records, leader_epoch }
            }
            Way::Records => {
                let headers = || vec![("client".to_owned(), Some(Bytes::from_static(b"native")))];
                let records = records.map(|(key, value)| NewRecord {
                    key,
                    value: Some(value),
                    headers: headers(),
                    timestamp_ms: None,
                });
                let (records, producer) = (records.collect(), self.run.clone());
                Request::PublishRecords {
                    topic,
                    partition,
                    records,
                    acks: -1,
                    producer,
                    leader_epoch,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rivven_core::ids::PartitionId;

    use super::*;
    use crate::history::value::{self, ValueId};

    #[test]
    fn each_way_sends_the_same_records() {
        let value = |made| {
            let id = ValueId::of(7, made);
            Value { id, counter: made, key: made, filler_bytes: 3, tombstone: false }
        };
        let place = Place { topic: "t".to_owned(), partition: PartitionId::default() };
        let run = None;
        let batch = Batch { place, values: vec![value(0), value(1)], run, made_ns: 5, op: 1 };
        let Request::PublishBatch { records, .. } = batch.request(Way::Several) else { panic!() };
        let Request::PublishRecords { records: all, .. } = batch.request(Way::Records) else {
            panic!()
        };
        for ((one, other), sent) in records.iter().zip(&all).zip(batch.call(1).values) {
            assert_eq!((&one.key, Some(&one.value)), (&other.key, other.value.as_ref()));
            let hash = value::hash(one.key.as_deref(), Some(&one.value));
            assert_eq!((value::id_in(&one.value), hash), (Some(sent.id), sent.hash));
        }
    }
}
