//! Records as they are given out, and the batches that they are read from.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use rivven_core::record::compression::Codec;
use rivven_core::record::header::{BatchHeader, HEADER_BYTES};
use rivven_core::record::records::{Record, Records};
use rivven_core::record::unpacked::{UnreadableBatch, unpack};

use crate::assignor::TopicPartition;

/// A record that was read. Key, value and headers are slices of the answer that they came in,
/// unless the batch was compressed, and keep it alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970: the producer's time, or the broker's if the topic says so.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Bytes of a name that are no UTF-8 are replaced.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Of the leader that wrote it; -1 if it is not known.
    pub leader_epoch: i32,
}

/// A batch with a valid checksum that is read bit by bit.
#[derive(Clone, Debug)]
pub(super) struct BatchReader {
    /// Its count is that of the records that are left.
    header: BatchHeader,
    /// What is left, unpacked.
    body: Bytes,
    /// The body is memory of its own, not part of the answer.
    is_unpacked: bool,
    next_delta: i32,
}

impl BatchReader {
    /// Unpacks a batch of exactly its length.
    pub(super) fn open(batch: &Bytes) -> Result<BatchReader, UnreadableBatch> {
        let unpacked = unpack(batch)?;
        let header = unpacked.header;
        let is_unpacked = unpacked.codec != Codec::None;
        let body = match is_unpacked {
            false => batch.slice(HEADER_BYTES..),
            true => Bytes::from(unpacked.body.into_owned()),
        };
        Ok(BatchReader { header, body, is_unpacked, next_delta: 0 })
    }

    pub(super) fn is_unpacked(&self) -> bool {
        self.is_unpacked
    }

    /// Appends records from `from` on, until `out` has `count_max`; what is before `from` is
    /// dropped. Whether the batch is read to its end.
    pub(super) fn read(
        &mut self,
        of: &TopicPartition,
        from: i64,
        (out, count_max): (&mut Vec<ConsumerRecord>, usize),
    ) -> Result<bool, UnreadableBatch> {
        let base_offset = self.header.base_offset;
        let mut records = Records::new(&self.header, &self.body);
        let mut read_count = 0;
        let mut is_read = false;
        while out.len() < count_max {
            let Some(record) = records.next() else {
                is_read = true;
                break;
            };
            let record =
                record.map_err(|source| UnreadableBatch::Record { base_offset, source })?;
            let delta = record.offset_delta;
            if !(self.next_delta..=self.header.last_offset_delta).contains(&delta) {
                return Err(UnreadableBatch::Order { base_offset, delta });
            }
            self.next_delta = delta.saturating_add(1);
            read_count += 1;
            let offset = base_offset.plus(i64::from(delta)).0;
            if offset >= from {
                out.push(self.given_out(of, offset, &record));
            }
        }
        let left = records.bytes_left();
        self.body.advance(self.body.len() - left);
        self.header.count -= read_count;
        assert!(is_read || self.header.count >= 0, "no more records than there are");
        Ok(is_read)
    }

    fn given_out(&self, of: &TopicPartition, offset: i64, record: &Record<'_>) -> ConsumerRecord {
        let slice = |bytes: &[u8]| self.body.slice_ref(bytes);
        let header = |header: rivven_core::record::records::RecordHeader<'_>| {
            (String::from_utf8_lossy(header.key).into_owned(), header.value.map(slice))
        };
        ConsumerRecord {
            topic: of.topic.clone(),
            partition: of.partition,
            offset,
            timestamp: record.timestamp.0,
            key: record.key.map(slice),
            value: record.value.map(slice),
            headers: record.headers.map(header).collect(),
            leader_epoch: self.header.leader_epoch.0,
        }
    }
}
