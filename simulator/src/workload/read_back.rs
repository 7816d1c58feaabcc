//! The end of a run: probes that everything is answered again, and the read-back of every partition
//! by a fresh client.

use std::collections::BTreeMap;
use std::time::Duration;

use rivven_core::ids::TopicId;
use rivven_io::clock::Monotonic;

use super::known::partitions;
use super::library_member::LIBRARY_GROUPS;
use super::member::GROUPS;
use super::operations::Operation;
use super::producer::lane::{Lanes, Stamps};
use super::producer::read_answer;
use super::{ClientContext, ClientKind, ClientParams};
use crate::client::connection::ConnectionConfig;
use crate::client::groups::Membership;
use crate::client::reads::{EARLIEST, FetchSize, LATEST, MAX_TIMESTAMP, Place};
use crate::client::{Client, ClientConfig, Trouble};
use crate::history::event::{Call, CommittedOffset, EventKind, Failure, Fetched, Mark, Reply};
use crate::history::{LIVENESS_CLIENT, READ_BACK_CLIENT};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const READ_BYTES: i32 = 1 << 20;
/// Offsets that are tried one by one behind a range that answers errors.
const GAP_OFFSETS_MAX: i64 = 20_000;
/// How long ago the record was made that is searched for, in milliseconds.
const SEARCHED_AGE_MS: i64 = 30_000;

pub(crate) fn fresh_client(context: &ClientContext, number: u32) -> Client {
    let connection = ConnectionConfig {
        client_id: format!("client-{number}"),
        connect_timeout: Duration::from_secs(5),
        request_timeout: REQUEST_TIMEOUT,
        by_id: true,
    };
    let config = ClientConfig { number, broker: context.broker, connection };
    Client::new(context.env.clone(), context.history.clone(), config)
}

/// See [`super::probe_liveness`].
pub(crate) async fn probe(context: &ClientContext, within: Duration) {
    let mut client = fresh_client(context, LIVENESS_CLIENT);
    let Some(places) = all_places(&mut client, context, within).await else { return };
    let mut prober = Prober { lanes: Lanes::default(), made: 0, params: probe_params(), client };
    for place in &places {
        let deadline = context.env.clock.now().after(within);
        prober.probe(context, place, deadline).await;
    }
    if let Some(place) = places.first() {
        let deadline = context.env.clock.now().after(within);
        prober.probe_group(context, place, deadline).await;
    }
}

struct Prober {
    client: Client,
    lanes: Lanes,
    made: u64,
    params: ClientParams,
}

impl Prober {
    async fn probe(&mut self, context: &ClientContext, place: &Place, deadline: Monotonic) {
        let mut written = None;
        while written.is_none() && context.env.clock.now() < deadline {
            written = self.produce(context, place).await.ok();
            if written.is_none() {
                self.client.back_off().await;
            }
        }
        let size = FetchSize { wait_ms: 0, bytes: READ_BYTES };
        let offset = written.unwrap_or_default();
        while self.client.fetch(place, offset, size).await.is_err() {
            if context.env.clock.now() >= deadline {
                return;
            }
            self.client.back_off().await;
        }
    }

    /// A group of its own takes a commit.
    async fn probe_group(&mut self, context: &ClientContext, place: &Place, deadline: Monotonic) {
        let group = "liveness".to_owned();
        let me = Membership { group, generation: -1, ..Membership::default() };
        let of = CommittedOffset {
            topic: place.topic.clone(),
            id: place.partition.topic,
            partition: place.index(),
            offset: 1,
        };
        while self.client.commit(&me, vec![of.clone()]).await.is_err() {
            if context.env.clock.now() >= deadline {
                return;
            }
            self.client.back_off().await;
        }
    }

    async fn produce(&mut self, context: &ClientContext, place: &Place) -> Result<i64, Trouble> {
        self.client.connection().await.map_err(Trouble::NotSent)?;
        let stamps = Stamps::now(context);
        let mut operation = Operation::of((0, "liveness", 0), self.made);
        self.made += 1;
        let parts = (&self.params, &mut operation);
        let mut batch = self.lanes.make(place.clone(), stamps, parts);
        batch.sent_on = self.client.connections_made();
        let request = batch.request(-1, 5_000);
        let call = Call::Produce(batch.call(-1));
        match self.client.ask(call, &request, |answer| read_answer(&answer)).await? {
            Reply::Produced { base_offset, .. } => Ok(base_offset),
            other => unreachable!("the reader answers offsets, not {other:?}"),
        }
    }
}

fn probe_params() -> ClientParams {
    ClientParams {
        client: LIVENESS_CLIENT,
        broker: 0,
        kind: ClientKind::PlainProducer,
        seed: 0,
        topics: Vec::new(),
        pause_ms: (0, 0),
        batch_records: (1, 1),
        keys: 0,
        tombstone_percent: 0,
        codec: 0,
        time_searches_percent: 0,
        broker_changes_percent: 0,
        filler_bytes: (10, 100),
        in_flight: 1,
        acks: -1,
        fetch_wait_ms: 0,
        fetch_bytes: 1 << 20,
        request_timeout_ms: 10_000,
        connection_requests: 0,
        operations_max: 0,
        operations: None,
        group: None,
    }
}

/// Every partition, tried until `within` is over.
pub(crate) async fn all_places(
    client: &mut Client,
    context: &ClientContext,
    within: Duration,
) -> Option<Vec<Place>> {
    let deadline = context.env.clock.now().after(within);
    loop {
        match partitions(client).await {
            Ok(places) => return Some(places),
            Err(_) if context.env.clock.now() >= deadline => return None,
            Err(_) => client.back_off().await,
        }
    }
}

/// See [`super::read_back`].
pub(crate) async fn run(context: &ClientContext, patience: Duration) {
    let mut reader = Reader { client: fresh_client(context, READ_BACK_CLIENT), patience };
    let Some(places) = all_places(&mut reader.client, context, patience).await else { return };
    for place in &places {
        reader.partition(place).await;
    }
    for group in GROUPS.into_iter().chain(LIBRARY_GROUPS) {
        reader.committed(group, &places).await;
    }
    reader.mark(Mark::ReadBackDone);
}

struct Reader {
    client: Client,
    patience: Duration,
}

impl Reader {
    fn mark(&self, mark: Mark) {
        self.client.record(self.client.history.next_op(), EventKind::Mark(mark));
    }

    async fn partition(&mut self, place: &Place) {
        let Ok(log_start) = self.end_of(place, EARLIEST).await else { return };
        let Ok(high_watermark) = self.end_of(place, LATEST).await else { return };
        let partition = place.partition;
        let topic = place.topic.clone();
        self.mark(Mark::ReadBackBegin { topic, partition, log_start, high_watermark });
        let mut offset = log_start;
        while offset < high_watermark {
            match self.fetch_patiently(place, offset).await {
                Ok(next) => offset = next,
                Err(trouble) => {
                    let Some(next) = self.skip(place, (offset, high_watermark), &trouble).await
                    else {
                        break;
                    };
                    offset = next;
                }
            }
        }
        let now_ms = self.client.env.clock.wall_ms();
        for asked in [MAX_TIMESTAMP, 0, now_ms - SEARCHED_AGE_MS] {
            self.search(place, asked).await;
        }
        self.mark(Mark::ReadBackEnd { partition, next_offset: offset });
    }

    /// Asks for a record by its time, for the oracles.
    async fn search(&mut self, place: &Place, asked: i64) {
        let deadline = self.client.env.clock.now().after(self.patience);
        while let Err(trouble) = self.client.search(place, asked).await {
            if self.client.env.clock.now() >= deadline {
                let (partition, error) = (place.partition, failure(&trouble));
                self.mark(Mark::SearchFailed { partition, asked, error });
                return;
            }
            self.client.back_off().await;
        }
    }

    /// What a group has committed, for the oracles.
    async fn committed(&mut self, group: &str, places: &[Place]) {
        let me = Membership { group: group.to_owned(), generation: -1, ..Membership::default() };
        let names: BTreeMap<TopicId, String> =
            places.iter().map(|place| (place.partition.topic, place.topic.clone())).collect();
        let deadline = self.client.env.clock.now().after(self.patience);
        while self.client.committed(&me, &names).await.is_err() {
            if self.client.env.clock.now() >= deadline {
                return;
            }
            self.client.back_off().await;
        }
    }

    async fn end_of(&mut self, place: &Place, timestamp: i64) -> Result<i64, Trouble> {
        let deadline = self.client.env.clock.now().after(self.patience);
        loop {
            let answer = self.client.end_of(place, timestamp).await;
            if answer.is_ok() || self.client.env.clock.now() >= deadline {
                return answer;
            }
            self.client.back_off().await;
        }
    }

    /// The offset behind what was read at `offset`.
    async fn fetch_patiently(&mut self, place: &Place, offset: i64) -> Result<i64, Trouble> {
        let deadline = self.client.env.clock.now().after(self.patience);
        loop {
            let next = self.fetch(place, offset).await;
            if next.is_ok() || self.client.env.clock.now() >= deadline {
                return next;
            }
            self.client.back_off().await;
        }
    }

    async fn fetch(&mut self, place: &Place, offset: i64) -> Result<i64, Trouble> {
        let size = FetchSize { wait_ms: 0, bytes: READ_BYTES };
        let fetched: Fetched = self.client.fetch(place, offset, size).await?;
        let next = fetched.batches.last().map_or(offset, |batch| batch.last_offset + 1);
        if next > offset {
            return Ok(next);
        }
        let text = "an answer without the records at its offset".to_owned();
        let code = rivven_core::kafka::codec::error_code::ErrorCode::NONE;
        Err(Trouble::Refused { code, text, definite: true })
    }

    /// Looks for the first offset behind `from` that is served again, and notes the gap. `None` if
    /// the broker does not answer at all.
    async fn skip(
        &mut self,
        place: &Place,
        (from, high_watermark): (i64, i64),
        trouble: &Trouble,
    ) -> Option<i64> {
        let last = high_watermark.min(from + GAP_OFFSETS_MAX);
        let mut end = last;
        for offset in from + 1..last {
            match self.fetch(place, offset).await {
                Ok(_) => {
                    end = offset;
                    break;
                }
                Err(Trouble::Refused { .. }) => {}
                Err(_) => return None,
            }
        }
        let error = failure(trouble);
        if !matches!(trouble, Trouble::Refused { .. }) {
            return None;
        }
        self.mark(Mark::ReadBackGap { partition: place.partition, from, end, error });
        Some(end)
    }
}

fn failure(trouble: &Trouble) -> Failure {
    Failure { code: trouble.code().map(|code| code.0), why: trouble.to_string() }
}
