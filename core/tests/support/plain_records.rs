//! Records without a key: an append that is awaited, a read of everything.

use std::sync::Arc;

use rivven_core::ids::{Offset, TimestampMs};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::header::HEADER_BYTES;
use rivven_core::record::records::Records;
use rivven_core::storage::Storage;
use rivven_core::storage::error::AppendError;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::{ReadRequest, batches};
use rivven_core::storage::shared::Appended;

use super::support::append_batch;

/// Appends one record and waits for the outcome.
pub(crate) async fn append(
    storage: &Storage,
    partition: &Arc<Partition>,
    value: &str,
) -> Result<Appended, AppendError> {
    let batch =
        BatchBuilder::new(TimestampMs(1000)).push(NewRecord::value(value.as_bytes())).build();
    append_batch(storage, partition, batch).await
}

/// Every record from the log start: offset and value.
pub(crate) async fn read_all(storage: &Storage, partition: &Arc<Partition>) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut from = partition.positions().log_start;
    loop {
        let request = ReadRequest { from, bytes_max: 300_000, at_least_one: true, cold: true };
        let answer = storage.read(partition, request).await.expect("readable");
        if answer.data.is_empty() {
            return found;
        }
        for (header, batch) in batches(&answer.data) {
            for record in Records::new(&header, &batch[HEADER_BYTES..]) {
                let record = record.expect("a sound record");
                let offset = header.base_offset.0 + i64::from(record.offset_delta);
                let value = record.value.expect("a value");
                found.push((offset, String::from_utf8(value.to_vec()).expect("text")));
            }
            from = Offset(header.last_offset().0 + 1);
        }
    }
}
