//! Cuts the bytes of a fetch answer into batches, checks them, and leaves out what this consumer
//! must not see.

use std::collections::BTreeSet;

use bytes::Bytes;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::fetch::AbortedTransaction;
use rivven_core::record::batches::Batches;
use rivven_core::record::header::{BatchHeader, HEADER_BYTES};
use rivven_core::record::records::Records;

use super::partitions::At;
use crate::assignor::TopicPartition;
use crate::error::Error;

/// A batch whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    /// Behind its last offset.
    pub(super) end: i64,
    pub(super) leader_epoch: i32,
    /// None that may be given out, if this is false.
    pub(super) has_records: bool,
}

/// What stands in one partition's answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) batches: Vec<Batch>,
    /// What is wrong behind them.
    pub(super) trouble: Option<Error>,
}

/// Cuts `bytes`, which answer a fetch from `from` on. `aborted` is there if only committed records
/// are wanted.
pub(super) fn cut(
    of: &TopicPartition,
    from: At,
    (bytes, aborted): (&Bytes, Option<&[AbortedTransaction]>),
) -> Cut {
    let mut cut = Cut::default();
    let mut aborted = aborted.map(Aborted::new);
    let mut next = from.offset;
    for batch in Batches::new(bytes) {
        let corrupt = |reason: String| {
            let what = format!("reading {of} at offset {next}");
            Some(Error::refused(what, ErrorCode::CORRUPT_MESSAGE, Some(&reason)))
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                cut.trouble = corrupt(error.to_string());
                return cut;
            }
        };
        if !batch.crc_is_valid() {
            let base_offset = batch.header.base_offset;
            cut.trouble = corrupt(format!("the batch at {base_offset} has a wrong checksum"));
            return cut;
        }
        let header = batch.header;
        let is_aborted = aborted.as_mut().is_some_and(|aborted| aborted.has(&header, batch.body()));
        let last = header.last_offset().0;
        // The first batch may begin, or even end, before what was asked for.
        if last < next && cut.batches.is_empty() {
            continue;
        }
        let begins_before = header.base_offset.0 < next && !cut.batches.is_empty();
        if begins_before || last < header.base_offset.0 || last == i64::MAX {
            let (base, expected) = (header.base_offset, next);
            cut.trouble = corrupt(format!("a batch from {base} to {last} follows {expected}"));
            return cut;
        }
        next = last + 1;
        let has_records = !header.is_control() && !is_aborted;
        let bytes = if has_records { bytes.slice(batch.range) } else { Bytes::new() };
        let leader_epoch = header.leader_epoch.0;
        cut.batches.push(Batch { bytes, end: next, leader_epoch, has_records });
    }
    if cut.batches.is_empty() && bytes.len() >= HEADER_BYTES {
        // Asking again would bring the same.
        let text = format!("none of {} bytes is a whole batch from there on", bytes.len());
        let what = format!("reading {of} at offset {next}");
        cut.trouble = Some(Error::refused(what, ErrorCode::CORRUPT_MESSAGE, Some(&text)));
    }
    cut
}

/// Whose transactions in this answer were given up, as the broker says it: by first offset.
struct Aborted {
    to_come: Vec<AbortedTransaction>,
    producers: BTreeSet<i64>,
}

impl Aborted {
    fn new(rows: &[AbortedTransaction]) -> Aborted {
        let mut to_come = rows.to_vec();
        to_come.sort_by_key(|row| std::cmp::Reverse(row.first_offset));
        Aborted { to_come, producers: BTreeSet::new() }
    }

    /// Whether a batch, which follows those that were asked for before, is part of one.
    fn has(&mut self, header: &BatchHeader, body: &[u8]) -> bool {
        let last = header.last_offset().0;
        while self.to_come.last().is_some_and(|row| row.first_offset <= last) {
            self.producers.extend(self.to_come.pop().map(|row| row.producer_id));
        }
        if header.is_control() {
            if is_abort(header, body) {
                self.producers.remove(&header.producer_id.0);
            }
            return false;
        }
        header.is_transactional() && self.producers.contains(&header.producer_id.0)
    }
}

/// The key of a marker is its version and its type (both i16), of which 0 is an abort.
fn is_abort(header: &BatchHeader, body: &[u8]) -> bool {
    let first = Records::new(header, body).next();
    let key = first.and_then(Result::ok).and_then(|record| record.key);
    key.is_some_and(|key| key.get(2..4) == Some(&[0, 0]))
}
