//! What a bench has measured, as one line while it runs and as a table at the end.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::histogram::Histogram;
use crate::output::Output;
use crate::table::{Table, bytes, or_dash};
use crate::time::shown;

#[derive(Clone, Default)]
pub(super) struct Measured {
    pub(super) records: u64,
    /// Of none: it cannot be told.
    pub(super) latency: Histogram,
    pub(super) bytes: u64,
    pub(super) failed: u64,
    /// Records that were due and never sent; latency counts them as if they were sent at the end.
    pub(super) unsent: u64,
    /// Records whose timestamp is ahead of this machine's clock; latency counts them as 0.
    pub(super) from_the_future: u64,
    pub(super) first_failure: Option<String>,
}

const PERCENTILES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];

impl Measured {
    /// For a terminal.
    pub(super) fn line(&self, elapsed: Duration) -> String {
        let [p50, _, p99, p999] = PERCENTILES.map(|(_, part)| shown(self.latency.per_mille(part)));
        format!(
            "{:.0} s: {:.0} records/s, {}/s, p50 {p50}, p99 {p99}, p99.9 {p999}, {} failed",
            elapsed.as_secs_f64(),
            self.per_second(elapsed),
            bytes(self.bytes_per_second(elapsed)),
            self.failed
        )
    }

    pub(super) fn print(
        &self,
        (elapsed, rate): (Duration, u32),
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        let has_latency = self.latency.count() > 0;
        let us = |duration: Duration| {
            has_latency.then(|| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
        };
        let shown = |duration: Duration| or_dash(has_latency.then(|| shown(duration)));
        let mut latency: serde_json::Map<_, _> = PERCENTILES
            .iter()
            .map(|(name, part)| (name.replace('.', ""), json!(us(self.latency.per_mille(*part)))))
            .collect();
        latency.insert("mean".to_owned(), json!(us(self.latency.mean())));
        latency.insert("max".to_owned(), json!(us(self.latency.max())));
        output.document(json!({
            "records": self.records,
            "failed": self.failed,
            "unsent": self.unsent,
            "from_the_future": self.from_the_future,
            "first_failure": self.first_failure,
            "seconds": elapsed.as_secs_f64(),
            "target_records_per_second": Some(rate).filter(|rate| *rate > 0),
            "records_per_second": self.per_second(elapsed).round(),
            "bytes_per_second": self.bytes_per_second(elapsed),
            "latency_us": latency,
        }))?;
        let mut table = Table::new(&[
            ">RECORDS",
            ">FAILED",
            ">UNSENT",
            ">TARGET/S",
            ">RECORDS/S",
            ">BYTES/S",
            ">MEAN",
            ">P50",
            ">P90",
            ">P99",
            ">P99.9",
            ">MOST",
        ]);
        let times = PERCENTILES.map(|(_, part)| shown(self.latency.per_mille(part)));
        let head = [
            self.records.to_string(),
            self.failed.to_string(),
            self.unsent.to_string(),
            or_dash(Some(rate).filter(|rate| *rate > 0)),
            format!("{:.0}", self.per_second(elapsed)),
            bytes(self.bytes_per_second(elapsed)),
            shown(self.latency.mean()),
        ];
        table.row(head.into_iter().chain(times).chain([shown(self.latency.max())]));
        output.text(&table.text())?;
        match self.from_the_future {
            0 => Ok(()),
            count => output.text(&format!(
                "{count} records have a timestamp ahead of this machine's clock; their latency \
                 counts as 0"
            )),
        }
    }

    fn per_second(&self, elapsed: Duration) -> f64 {
        self.records as f64 / elapsed.as_secs_f64().max(1e-6)
    }

    fn bytes_per_second(&self, elapsed: Duration) -> i64 {
        (self.bytes as f64 / elapsed.as_secs_f64().max(1e-6)) as i64
    }
}
