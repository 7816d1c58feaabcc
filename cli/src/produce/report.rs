//! How many records went where.

use std::collections::BTreeMap;
use std::io;

use rivven_client::producer::Delivered;
use serde_json::json;

use crate::output::Output;
use crate::table::{Table, bytes, or_dash};

#[derive(Default)]
pub(super) struct Report {
    partitions: BTreeMap<i32, Tally>,
    bytes: usize,
    /// Records that may or may not be in the log.
    pub(super) failed: u64,
}

#[derive(Default)]
struct Tally {
    records: u64,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
}

impl Report {
    pub(super) fn count(&mut self, delivered: Delivered, bytes: usize) {
        self.bytes += bytes;
        let tally = self.partitions.entry(delivered.partition).or_default();
        tally.records += 1;
        if delivered.offset >= 0 {
            tally.first_offset.get_or_insert(delivered.offset);
            tally.last_offset = Some(delivered.offset);
        }
    }

    pub(super) fn print(&self, topic: &str, output: &mut Output<'_>) -> io::Result<()> {
        let records: u64 = self.partitions.values().map(|tally| tally.records).sum();
        let rows = self.partitions.iter().map(|(partition, tally)| {
            json!({
                "partition": partition,
                "records": tally.records,
                "first_offset": tally.first_offset,
                "last_offset": tally.last_offset,
            })
        });
        output.document(json!({
            "topic": topic,
            "records": records,
            "bytes": self.bytes,
            "failed": self.failed,
            "partitions": rows.collect::<Vec<_>>(),
        }))?;
        if let (1, Some((partition, tally))) = (records, self.partitions.iter().next()) {
            let offset = tally.first_offset.map(|offset| format!(", offset {offset}"));
            let offset = offset.unwrap_or_default();
            return output
                .text(&format!("1 record to topic {topic}: partition {partition}{offset}"));
        }
        let size = bytes(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        output.text(&format!("{records} records to topic {topic}, {size} of values"))?;
        if records == 0 {
            return Ok(());
        }
        let mut table = Table::new(&[">PARTITION", ">RECORDS", ">FIRST OFFSET", ">LAST OFFSET"]);
        for (partition, tally) in &self.partitions {
            table.row([
                partition.to_string(),
                tally.records.to_string(),
                or_dash(tally.first_offset),
                or_dash(tally.last_offset),
            ]);
        }
        output.text(&table.text())
    }
}
