//! Consumers: one stays at the end of its partitions, one reads them from the start again and
//! again.

use std::collections::BTreeMap;

use rivven_core::ids::PartitionId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::sim::rng::Stream;

use super::known::Known;
use super::operations::Operations;
use super::set_up::client_of;
use super::{ClientContext, ClientParams, millis};
use crate::client::reads::{EARLIEST, FetchSize, LATEST, MAX_TIMESTAMP, Place, is_gone};
use crate::client::{Client, Trouble};
use crate::history::event::Fetched;

/// How far back consumers search for a time.
const SEARCHED_MS: u64 = 60_000;

struct Consumer {
    client: Client,
    params: ClientParams,
    known: Known,
    positions: BTreeMap<PartitionId, i64>,
    tails: bool,
}

pub(crate) async fn run(context: ClientContext, params: ClientParams, tails: bool) {
    let timeout = millis(params.request_timeout_ms + params.fetch_wait_ms);
    let mut consumer = Consumer {
        client: client_of(&context, params.client, timeout),
        known: Known::new(),
        positions: BTreeMap::new(),
        params,
        tails,
    };
    let mut operations = Operations::of(&context, &consumer.params, "consumer");
    while let Some(mut operation) = operations.next().await {
        if consumer.step(&mut operation.draws).await.is_err() {
            consumer.client.back_off().await;
        }
    }
}

impl Consumer {
    async fn step(&mut self, draws: &mut Stream) -> Result<(), Trouble> {
        if !self.known.refresh(&mut self.client, &self.params).await {
            self.client.back_off().await;
            return Ok(());
        }
        let place = self.known.draw(draws);
        let percent = self.params.time_searches_percent;
        if percent > 0 && draws.below(100) < percent {
            return self.search(&place, draws).await;
        }
        let offset = self.position(&place).await?;
        let size = self.size();
        match self.client.fetch(&place, offset, size).await {
            Ok(fetched) => {
                self.advance(&place, offset, &fetched);
                Ok(())
            }
            Err(trouble) => {
                self.recover(&place, offset, &trouble);
                Err(trouble)
            }
        }
    }

    /// Asks for the largest timestamp, or for one of the last minute.
    async fn search(&mut self, place: &Place, draws: &mut Stream) -> Result<(), Trouble> {
        let age_ms = i64::try_from(draws.below(SEARCHED_MS)).expect("a minute");
        let timestamp = match draws.chance(0.5) {
            true => MAX_TIMESTAMP,
            false => self.client.env.clock.wall_ms() - age_ms,
        };
        let found = self.client.search(place, timestamp).await;
        if let Err(trouble) = &found
            && trouble.code().is_some_and(is_gone)
        {
            self.known.note_stale();
        }
        found.map(drop)
    }

    fn size(&self) -> FetchSize {
        let wait_ms = if self.tails { self.params.fetch_wait_ms } else { 0 };
        FetchSize {
            wait_ms: i32::try_from(wait_ms).unwrap_or(i32::MAX),
            bytes: i32::try_from(self.params.fetch_bytes).unwrap_or(i32::MAX),
        }
    }

    async fn position(&mut self, place: &Place) -> Result<i64, Trouble> {
        if let Some(position) = self.positions.get(&place.partition) {
            return Ok(*position);
        }
        let from = if self.tails { LATEST } else { EARLIEST };
        let asked = self.client.end_of(place, from).await;
        if let Err(trouble) = &asked {
            self.recover(place, 0, trouble);
        }
        let position = asked?;
        self.positions.insert(place.partition, position);
        Ok(position)
    }

    fn advance(&mut self, place: &Place, offset: i64, fetched: &Fetched) {
        let next = fetched.batches.last().map_or(offset, |batch| batch.last_offset + 1);
        let at_end = next >= fetched.high_watermark;
        if at_end && !self.tails {
            self.positions.remove(&place.partition);
        } else {
            self.positions.insert(place.partition, next.max(offset));
        }
    }

    fn recover(&mut self, place: &Place, offset: i64, trouble: &Trouble) {
        match trouble.code() {
            Some(code) if is_gone(code) => {
                self.positions.remove(&place.partition);
                self.known.note_stale();
            }
            Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                self.positions.remove(&place.partition);
            }
            // A range that is damaged stays so: go on behind it.
            Some(_) => {
                self.positions.insert(place.partition, offset + 1);
            }
            None => {}
        }
    }
}
