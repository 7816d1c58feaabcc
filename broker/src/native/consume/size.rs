//! What a record takes in an answer and in memory, from the bytes that it is stored in: nothing is
//! allocated here.

use bytes::Bytes;
use rivven_core::record::records::Record;

use crate::limits::NATIVE_ANSWER_BYTES_MAX;

/// What a record takes in an answer beside its contents, at most, and a header beside its own.
const RECORD_BYTES: usize = 64;
const HEADER_BYTES: usize = 24;
/// What a header takes in memory beside its key; values are slices of the batch.
const HEADER_MEMORY: usize = size_of::<(String, Option<Bytes>)>();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Above [`NATIVE_ANSWER_BYTES_MAX`] not counted to the end.
    pub(super) answer_bytes: usize,
    pub(super) header_memory: usize,
}

impl Size {
    pub(super) fn of(record: &Record<'_>) -> Size {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let contents = length(record.key) + length(record.value);
        let mut size = Size { answer_bytes: RECORD_BYTES + contents, header_memory: 0 };
        for header in record.headers {
            if size.answer_bytes > NATIVE_ANSWER_BYTES_MAX {
                break;
            }
            let key = text_bytes(header.key);
            size.answer_bytes += HEADER_BYTES + key + length(header.value);
            size.header_memory += HEADER_MEMORY + key;
        }
        size
    }
}

/// Bytes of a key as text, in which what is not UTF-8 is replaced.
fn text_bytes(key: &[u8]) -> usize {
    let replaced =
        |chunk: &[u8]| if chunk.is_empty() { 0 } else { char::REPLACEMENT_CHARACTER.len_utf8() };
    key.utf8_chunks().map(|chunk| chunk.valid().len() + replaced(chunk.invalid())).sum()
}

#[cfg(test)]
mod tests {
    use rivven_core::ids::TimestampMs;
    use rivven_core::record::batches::Batches;
    use rivven_core::record::builder::{BatchBuilder, NewHeader, NewRecord};
    use rivven_core::record::records::Records;

    use super::*;

    fn size(headers: &[NewHeader<'_>]) -> Size {
        let record = NewRecord { headers, ..NewRecord::keyed(b"key", b"value") };
        let batch = BatchBuilder::new(TimestampMs(0)).push(record).build();
        let batch = Batches::new(&batch).next().unwrap().unwrap();
        let record = Records::new(&batch.header, batch.body()).next().unwrap().unwrap();
        Size::of(&record)
    }

    #[test]
    fn every_header_is_counted_in_the_answer_and_in_memory() {
        assert_eq!(size(&[]), Size { answer_bytes: 64 + 8, header_memory: 0 });
        let keys: [(&[u8], usize); 3] = [(b"", 0), (b"abc", 3), (b"a\xffb\xf0\x9f", 8)];
        for (key, bytes) in keys {
            assert_eq!(bytes, String::from_utf8_lossy(key).len());
            let expected = Size {
                answer_bytes: 64 + 8 + 2 * (24 + bytes) + 1,
                header_memory: 2 * (56 + bytes),
            };
            assert_eq!(size(&[(key, Some(b"v")), (key, None)]), expected, "{key:?}");
        }
    }

    #[test]
    fn counting_ends_where_no_answer_holds_the_record() {
        let few = NATIVE_ANSWER_BYTES_MAX / HEADER_BYTES + 1;
        let found = size(&vec![(b"".as_slice(), None); 3 * few]);
        assert!(found.answer_bytes > NATIVE_ANSWER_BYTES_MAX);
        assert!(found.answer_bytes <= NATIVE_ANSWER_BYTES_MAX + HEADER_BYTES);
        assert!(found.header_memory <= few * HEADER_MEMORY);
    }
}
