//! Builds one batch from records: for clients, control records, the native protocol and tests.
//! Its output always passes the broker's own validation.

use super::compression::Codec;
use super::header::{
    ATTRIBUTES_POSITION, BASE_OFFSET_POSITION, BASE_SEQUENCE_POSITION, BASE_TIMESTAMP_POSITION,
    BATCH_LENGTH_POSITION, CONTROL_BIT, COUNT_POSITION, CRC_POSITION, HEADER_BYTES,
    LAST_OFFSET_DELTA_POSITION, LEADER_EPOCH_POSITION, LOG_OVERHEAD_BYTES, MAGIC, MAGIC_POSITION,
    MAX_TIMESTAMP_POSITION, PRODUCER_EPOCH_POSITION, PRODUCER_ID_POSITION, TRANSACTIONAL_BIT,
    compute_crc, put,
};
use super::varint;
use crate::ids::{Offset, ProducerId, TimestampMs};
use crate::limits::BATCH_BYTES_MAX;

/// A header to write: key and value, where `None` is null.
pub type NewHeader<'a> = (&'a [u8], Option<&'a [u8]>);

/// A record to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// `None` takes the batch's base timestamp.
    pub timestamp: Option<TimestampMs>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [NewHeader<'a>],
}

impl<'a> NewRecord<'a> {
    /// A record with a value and neither key nor headers.
    #[must_use]
    pub fn value(value: &'a [u8]) -> NewRecord<'a> {
        NewRecord { value: Some(value), ..NewRecord::default() }
    }

    /// A record with key and value, without headers.
    #[must_use]
    pub fn keyed(key: &'a [u8], value: &'a [u8]) -> NewRecord<'a> {
        NewRecord { key: Some(key), value: Some(value), ..NewRecord::default() }
    }
}

/// Collects records; [`BatchBuilder::build`] closes the batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    base_timestamp: TimestampMs,
    max_timestamp: Option<TimestampMs>,
    attributes: i16,
    count: i32,
    codec: Codec,
}

impl BatchBuilder {
    /// A batch without producer, at base offset 0 and leader epoch -1, as clients send it.
    #[must_use]
    pub fn new(base_timestamp: TimestampMs) -> BatchBuilder {
        let mut bytes = vec![0; HEADER_BYTES];
        put(&mut bytes, LEADER_EPOCH_POSITION, &(-1i32).to_be_bytes());
        bytes[MAGIC_POSITION] = MAGIC.cast_unsigned();
        put(&mut bytes, BASE_TIMESTAMP_POSITION, &base_timestamp.0.to_be_bytes());
        let builder = BatchBuilder {
            bytes,
            scratch: Vec::new(),
            base_timestamp,
            max_timestamp: None,
            attributes: 0,
            count: 0,
            codec: Codec::None,
        };
        builder.producer(ProducerId(-1), -1, -1)
    }

    /// Appends a record; its offset delta is the number of records before it.
    ///
    /// # Panics
    /// When the batch would exceed [`BATCH_BYTES_MAX`]: the caller bounds what it pushes.
    #[must_use]
    pub fn push(mut self, record: NewRecord<'_>) -> BatchBuilder {
        self.append(record);
        self
    }

    /// [`BatchBuilder::push`] into a builder that stays where it is.
    ///
    /// # Panics
    /// As [`BatchBuilder::push`]
    pub fn append(&mut self, record: NewRecord<'_>) {
        let timestamp = record.timestamp.unwrap_or(self.base_timestamp);
        let body = &mut self.scratch;
        body.clear();
        body.push(0);
        varint::write(body, timestamp.0.wrapping_sub(self.base_timestamp.0));
        varint::write(body, i64::from(self.count));
        write_nullable(body, record.key);
        write_nullable(body, record.value);
        varint::write(body, record.headers.len() as i64);
        for (key, value) in record.headers {
            write_nullable(body, Some(key));
            write_nullable(body, *value);
        }
        varint::write(&mut self.bytes, self.scratch.len() as i64);
        self.bytes.extend_from_slice(&self.scratch);
        assert!(self.bytes.len() <= BATCH_BYTES_MAX, "a batch of {} bytes", self.bytes.len());
        self.max_timestamp = self.max_timestamp.max(Some(timestamp));
        self.count += 1;
        assert!(self.count > 0, "a batch counts its records in 31 bits");
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Packs the records when the batch is built.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> BatchBuilder {
        self.codec = codec;
        self
    }

    /// Bytes of the batch if it were built now, before they are packed.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Marks the batch as an idempotent producer's (KIP-98).
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: i16, base_sequence: i32) -> BatchBuilder {
        put(&mut self.bytes, PRODUCER_ID_POSITION, &id.0.to_be_bytes());
        put(&mut self.bytes, PRODUCER_EPOCH_POSITION, &epoch.to_be_bytes());
        put(&mut self.bytes, BASE_SEQUENCE_POSITION, &base_sequence.to_be_bytes());
        self
    }

    /// Sets the base offset, for bytes that go to a log without passing a broker.
    #[must_use]
    pub fn base_offset(mut self, base_offset: Offset) -> BatchBuilder {
        put(&mut self.bytes, BASE_OFFSET_POSITION, &base_offset.0.to_be_bytes());
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Marks the batch as holding control records.
    #[must_use]
    pub fn control(mut self) -> BatchBuilder {
        self.attributes |= CONTROL_BIT;
        self
    }

    /// The finished batch, CRC included.
    ///
    /// # Panics
    /// When no record was pushed: an empty batch is never valid.
    #[must_use]
    pub fn build(mut self) -> Vec<u8> {
        let max_timestamp = self.max_timestamp.expect("a batch has at least one record");
        if self.codec != Codec::None {
            let (codec, packed) = self.codec.compress(&self.bytes[HEADER_BYTES..]);
            self.bytes.truncate(HEADER_BYTES);
            self.bytes.extend_from_slice(&packed);
            assert!(self.bytes.len() <= BATCH_BYTES_MAX, "packing made {} bytes", packed.len());
            self.attributes |= codec.bits();
        }
        let length = i32::try_from(self.bytes.len() - LOG_OVERHEAD_BYTES)
            .expect("push keeps the batch within BATCH_BYTES_MAX");
        let bytes = &mut self.bytes;
        put(bytes, BATCH_LENGTH_POSITION, &length.to_be_bytes());
        put(bytes, ATTRIBUTES_POSITION, &self.attributes.to_be_bytes());
        put(bytes, LAST_OFFSET_DELTA_POSITION, &(self.count - 1).to_be_bytes());
        put(bytes, MAX_TIMESTAMP_POSITION, &max_timestamp.0.to_be_bytes());
        put(bytes, COUNT_POSITION, &self.count.to_be_bytes());
        let crc = compute_crc(bytes);
        put(bytes, CRC_POSITION, &crc.to_be_bytes());
        self.bytes
    }
}

fn write_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(field) = field else {
        return varint::write(out, -1);
    };
    varint::write(out, field.len() as i64);
    out.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;
    use crate::record::header::BatchHeader;
    use crate::record::records::{RecordError, RecordHeader, Records};

    #[test]
    fn batch_has_kafka_s_bytes() {
        let batch = BatchBuilder::new(TimestampMs(1000))
            .producer(ProducerId(7), 1, 2)
            .push(NewRecord { headers: &[(b"h", None)], ..NewRecord::keyed(b"k", b"v") })
            .push(NewRecord { timestamp: Some(TimestampMs(1005)), ..NewRecord::default() })
            .build();
        let expected: &[u8] = &[
            0, 0, 0, 0, 0, 0, 0, 0, // base offset
            0, 0, 0, 68, // batch length
            0xff, 0xff, 0xff, 0xff, // leader epoch
            2,    // magic
            0xcb, 0x84, 0x84, 0x6f, // crc
            0, 0, // attributes
            0, 0, 0, 1, // last offset delta
            0, 0, 0, 0, 0, 0, 3, 0xe8, // base timestamp
            0, 0, 0, 0, 0, 0, 3, 0xed, // max timestamp
            0, 0, 0, 0, 0, 0, 0, 7, // producer id
            0, 1, // producer epoch
            0, 0, 0, 2, // base sequence
            0, 0, 0, 2, // count
            22, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 1, // record 0
            12, 0, 10, 2, 1, 1, 0, // record 1
        ];
        assert_eq!(batch, expected, "{batch:02x?}");
    }

    type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    fn records() -> impl Strategy<Value = Vec<OwnedRecord>> {
        let field = || vec(any::<u8>(), 0..20);
        let header = (field(), of(field()));
        vec((-5_000_000i64..5_000_000, of(field()), of(field()), vec(header, 0..3)), 1..20)
    }

    proptest! {
        #[test]
        fn records_survive_a_round_trip_and_truncations_are_errors(records in records()) {
            let base = 1_700_000_000_000;
            let mut builder = BatchBuilder::new(TimestampMs(base));
            for (delta, key, value, headers) in &records {
                let headers: Vec<NewHeader<'_>> =
                    headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
                builder = builder.push(NewRecord {
                    timestamp: Some(TimestampMs(base + delta)),
                    key: key.as_deref(),
                    value: value.as_deref(),
                    headers: &headers,
                });
            }
            prop_assert!(builder.size() < 4096);
            let bytes = builder.build();
            let header = BatchHeader::parse(&bytes).unwrap();
            let body = &bytes[HEADER_BYTES..];
            let read: Result<Vec<_>, _> = Records::new(&header, body).collect();
            let read = read.unwrap();
            prop_assert_eq!(read.len(), records.len());
            for (index, (record, expected)) in read.iter().zip(&records).enumerate() {
                prop_assert_eq!(record.offset_delta as usize, index);
                prop_assert_eq!(record.timestamp.0, base + expected.0);
                prop_assert_eq!(record.key, expected.1.as_deref());
                prop_assert_eq!(record.value, expected.2.as_deref());
                let headers: Vec<_> = record.headers.collect();
                let expected: Vec<_> = expected.3.iter()
                    .map(|(key, value)| RecordHeader { key, value: value.as_deref() })
                    .collect();
                prop_assert_eq!(headers, expected);
            }
            for end in 0..body.len() {
                let last = Records::new(&header, &body[..end]).last().unwrap();
                prop_assert!(last.is_err());
            }
            let longer = [body, &[0]].concat();
            let trailing = RecordError::Trailing { bytes: 1, count: records.len() as u32 };
            prop_assert_eq!(Records::new(&header, &longer).last(), Some(Err(trailing)));
        }

        #[test]
        fn random_bodies_never_panic(body in vec(any::<u8>(), 0..200), count: i32) {
            let bytes = BatchBuilder::new(TimestampMs(0)).push(NewRecord::value(b"")).build();
            let mut header = BatchHeader::parse(&bytes).unwrap();
            header.count = count;
            for record in Records::new(&header, &body).flatten() {
                let announced = record.headers.len();
                prop_assert_eq!(record.headers.collect::<Vec<_>>().len(), announced);
            }
        }
    }
}
