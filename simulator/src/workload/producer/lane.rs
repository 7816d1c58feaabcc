//! The batches of a producer: values in order per partition, sequences of a producer id.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rivven_core::ids::{PartitionId, ProducerId, TimestampMs};
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use rivven_core::record::builder::BatchBuilder;
use rivven_core::record::compression::Codec;

use crate::client::reads::Place;
use crate::history::event::{Produce, SentValue, Stamp, stamp_of};
use crate::history::value::Value;
use crate::workload::operations::Operation;
use crate::workload::{ClientContext, ClientParams};

/// Keeps a batch below every limit of a small configuration.
const BATCH_BYTES_MAX: u64 = 128 << 10;

/// One batch with its fate so far.
pub(crate) struct Batch {
    pub(crate) op: u64,
    pub(crate) place: Place,
    pub(crate) attempts: u32,
    /// Number of the connection of the last attempt.
    pub(crate) sent_on: u64,
    stamp: Option<Stamp>,
    values: Vec<SentValue>,
    bytes: Bytes,
    made_ns: u64,
    wall_ms: i64,
}

/// What a batch is made with.
pub(crate) struct Stamps {
    op: u64,
    wall_ms: i64,
    made_ns: u64,
}

impl Stamps {
    pub(crate) fn now(context: &ClientContext) -> Stamps {
        let history = &context.history;
        let (op, made_ns) = (history.next_op(), history.now_ns());
        Stamps { op, wall_ms: context.env.clock.wall_ms(), made_ns }
    }
}

impl Batch {
    pub(crate) fn call(&self, acks: i16) -> Produce {
        Produce {
            topic: self.place.topic.clone(),
            partition: self.place.partition,
            acks,
            producer: self.stamp,
            connection: self.sent_on,
            values: self.values.clone(),
            bytes: self.bytes.len() as u64,
            made_ns: self.made_ns,
            stamped_ms: Some(self.wall_ms),
        }
    }

    pub(crate) fn request(&self, acks: i16, timeout_ms: u64) -> ProduceRequest {
        let data =
            PartitionProduceData { index: self.place.index(), records: Some(self.bytes.clone()) };
        let topic = TopicProduceData {
            name: WireStr::from(self.place.topic.as_str()),
            topic_id: self.place.partition.topic,
            partition_data: vec![data],
        };
        ProduceRequest {
            transactional_id: None,
            acks,
            timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
            topic_data: vec![topic],
        }
    }
}

/// What a producer remembers per partition, and its producer id if it has one.
#[derive(Default)]
pub(crate) struct Lanes {
    producer: Option<(i64, i16)>,
    sequences: BTreeMap<PartitionId, i32>,
    counters: BTreeMap<PartitionId, u64>,
    /// Where the broker has taken something of this producer id.
    confirmed: BTreeSet<PartitionId>,
}

impl Lanes {
    pub(crate) fn has_producer_id(&self) -> bool {
        self.producer.is_some()
    }

    /// Takes a producer id; every partition begins at sequence 0.
    pub(crate) fn begin(&mut self, id: i64, epoch: i16) {
        self.producer = Some((id, epoch));
        self.sequences.clear();
        self.confirmed.clear();
    }

    /// Gives the producer id up.
    pub(crate) fn end(&mut self) {
        self.producer = None;
    }

    /// The partition is gone for good.
    pub(crate) fn forget(&mut self, partition: &PartitionId) {
        self.sequences.remove(partition);
        self.confirmed.remove(partition);
    }

    /// The broker has taken a batch there.
    pub(crate) fn confirm(&mut self, partition: PartitionId) {
        self.confirmed.insert(partition);
    }

    pub(crate) fn is_confirmed(&self, partition: &PartitionId) -> bool {
        self.confirmed.contains(partition)
    }

    /// Draws a new batch for `place`.
    pub(crate) fn make(
        &mut self,
        place: Place,
        stamps: Stamps,
        (params, operation): (&ClientParams, &mut Operation),
    ) -> Batch {
        let count =
            operation.draws.between(params.batch_records.0.max(1), params.batch_records.1.max(1));
        let Stamps { op, wall_ms, made_ns } = stamps;
        let codec = i16::try_from(params.codec).ok().and_then(Codec::from_bits);
        let mut builder =
            BatchBuilder::new(TimestampMs(wall_ms)).codec(codec.unwrap_or(Codec::None));
        let stamp = self.stamp(&place.partition, count);
        if let Some(stamp) = stamp {
            let id = ProducerId(stamp.producer_id);
            builder = builder.producer(id, stamp.epoch, stamp.base_sequence);
        }
        let counter = self.counters.entry(place.partition).or_default();
        let mut values = Vec::new();
        for index in 0..count {
            let rng = &mut operation.draws;
            let filler = rng.between(params.filler_bytes.0, params.filler_bytes.1);
            let filler = filler.min(BATCH_BYTES_MAX / count);
            let drawn = (rng.below(params.keys), rng.below(100) < params.tombstone_percent);
            let (key, tombstone) = match params.keys {
                0 => ((operation.number + index) % 64, false),
                _ => drawn,
            };
            let value = Value {
                id: operation.value(params.client, index),
                counter: *counter,
                key,
                tombstone,
                filler_bytes: usize::try_from(filler).expect("at most 128 KiB"),
            };
            *counter += 1;
            let timestamp = TimestampMs(stamp_of(wall_ms, values.len()));
            builder = value.push_to(builder, Some(timestamp));
            values.push(value.sent());
        }
        let bytes = Bytes::from(builder.build());
        Batch { op, place, attempts: 0, sent_on: 0, stamp, values, bytes, made_ns, wall_ms }
    }

    fn stamp(&mut self, partition: &PartitionId, count: u64) -> Option<Stamp> {
        let (producer_id, epoch) = self.producer?;
        let next = self.sequences.entry(*partition).or_default();
        let base_sequence = *next;
        // Sequences wrap from 2³¹ − 1 to 0 (KIP-98).
        let end = i64::from(base_sequence) + i64::try_from(count).expect("a small batch");
        *next = i32::try_from(end % (i64::from(i32::MAX) + 1)).expect("below 2^31");
        Some(Stamp { producer_id, epoch, base_sequence })
    }
}
