//! Administrators: topics that come and go, log starts that move up, configurations that change.

use std::time::Duration;

use rivven_core::ids::{PartitionId, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::sim::rng::{Stream, stream};

use super::known::Known;
use super::set_up::client_of;
use super::{ClientContext, ClientParams, TopicParams, millis};
use crate::client::reads::{EARLIEST, FetchSize, LATEST, Place, fetch_request, is_gone};
use crate::client::{Client, Desertion, Trouble};

/// Configurations that change how the log is cut and indexed, but nothing that clients see.
const HARMLESS: [(&str, &[&str]); 3] = [
    ("segment.bytes", &["1048576", "2097152", "1073741824"]),
    ("index.interval.bytes", &["1", "512", "4096"]),
    ("segment.ms", &["1000", "10000", "604800000"]),
];

struct Admin {
    context: ClientContext,
    client: Client,
    params: ClientParams,
    rng: Stream,
}

impl Admin {
    fn new(context: ClientContext, params: ClientParams) -> Admin {
        let client = client_of(&context, params.client, millis(params.request_timeout_ms));
        let rng = stream(params.seed, "admin", u64::from(params.client), 0);
        Admin { context, client, params, rng }
    }

    /// Waits for its next turn; whether there is none.
    async fn is_over(&mut self) -> bool {
        let (low, high) = self.params.pause_ms;
        let pause = millis(self.rng.between(low, high));
        self.context.stop.pause(&self.context.env, pause).await
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.rng.below(all.len() as u64);
        &all[usize::try_from(index).expect("below a slice's length")]
    }
}

pub(crate) async fn churn_topics(context: ClientContext, params: ClientParams) {
    let topics: Vec<TopicParams> = context
        .topics
        .iter()
        .filter(|topic| topic.churn && params.topics.contains(&topic.name))
        .cloned()
        .collect();
    let mut admin = Admin::new(context, params);
    for _ in 0..admin.params.operations_max {
        if topics.is_empty() || admin.is_over().await {
            return;
        }
        let topic = admin.one_of(&topics).clone();
        if churn(&mut admin.client, &topic).await.is_err() {
            admin.client.back_off().await;
        }
    }
}

/// Deletes the topic if it is there, creates it if it is not. An unknown outcome is cleared up by
/// the next look.
async fn churn(client: &mut Client, topic: &TopicParams) -> Result<(), Trouble> {
    let known = client.topics().await?;
    let found: Option<TopicId> =
        known.iter().find(|known| known.name == topic.name).map(|known| known.id);
    if let Some(id) = found {
        client.delete_topic(&topic.name, id).await?;
    }
    match client.create_topic(topic).await {
        Err(Trouble::Refused { code: ErrorCode::TOPIC_ALREADY_EXISTS, .. }) => Ok(()),
        created => created.map(drop),
    }
}

/// Deletes and creates topics, and goes away before it is told: fetches that were sent before are
/// answered while the broker is at it.
pub(crate) async fn desert_topics(context: ClientContext, params: ClientParams) {
    let topics: Vec<TopicParams> =
        context.topics.iter().filter(|topic| topic.churn).cloned().collect();
    let mut admin = Admin::new(context, params);
    for _ in 0..admin.params.operations_max {
        if topics.is_empty() || admin.is_over().await {
            return;
        }
        let topic = admin.one_of(&topics).clone();
        if desert_one(&mut admin, &topic).await.is_err() {
            admin.client.back_off().await;
        }
    }
}

async fn desert_one(admin: &mut Admin, topic: &TopicParams) -> Result<(), Trouble> {
    let known = admin.client.topics().await?;
    let found = known.iter().find(|known| known.name == topic.name);
    let mut fetches = Vec::new();
    for watched in known.iter().filter(|known| known.name != topic.name) {
        let partition = PartitionId { topic: watched.id, index: 0 };
        let place = Place { topic: watched.name.clone(), partition };
        let end = admin.client.end_of(&place, LATEST).await?;
        for _ in 0..3 {
            let wait_ms = i32::try_from(admin.rng.between(1, 20)).expect("below 20");
            fetches.push(fetch_request(&place, end, FetchSize { wait_ms, bytes: 1 }));
        }
    }
    let after = Duration::from_micros(admin.rng.between(0, 20_000));
    admin.client.desert_next(Desertion { fetches, after });
    let left = match found {
        Some(found) => admin.client.delete_topic(&topic.name, found.id).await,
        None => admin.client.create_topic(topic).await.map(drop),
    };
    match left {
        Err(Trouble::NotSent(error)) => Err(Trouble::NotSent(error)),
        _ => Ok(()),
    }
}

pub(crate) async fn delete_records(context: ClientContext, params: ClientParams) {
    let mut known = Known::new();
    let mut admin = Admin::new(context, params);
    for _ in 0..admin.params.operations_max {
        if admin.is_over().await {
            return;
        }
        if delete_some(&mut admin, &mut known).await.is_err() {
            known.note_stale();
            admin.client.back_off().await;
        }
    }
}

/// Moves the log start of one partition up, by a quarter of what is there at most.
async fn delete_some(admin: &mut Admin, known: &mut Known) -> Result<(), Trouble> {
    if !known.refresh(&mut admin.client, &admin.params).await {
        admin.client.back_off().await;
        return Ok(());
    }
    let place = known.draw(&mut admin.rng);
    let low = admin.client.end_of(&place, EARLIEST).await?;
    let high = admin.client.end_of(&place, LATEST).await?;
    let quarter = u64::try_from(high - low).unwrap_or(0) / 4;
    let step = i64::try_from(admin.rng.below(quarter + 1)).expect("a quarter of an i64");
    match admin.client.delete_records(&place, low + step).await {
        Err(trouble) if trouble.code().is_some_and(is_gone) => Err(trouble),
        // Retention may have moved the log start past it in the meantime.
        Err(Trouble::Refused { code: ErrorCode::OFFSET_OUT_OF_RANGE, .. }) => Ok(()),
        moved => moved.map(drop),
    }
}

pub(crate) async fn alter_topics(context: ClientContext, params: ClientParams) {
    let mut admin = Admin::new(context, params);
    for _ in 0..admin.params.operations_max {
        if admin.params.topics.is_empty() || admin.is_over().await {
            return;
        }
        let topic = admin.one_of(&admin.params.topics.clone()).clone();
        let (key, values) = *admin.one_of(&HARMLESS);
        let value = *admin.one_of(values);
        if admin.client.alter_topic(&topic, (key, value)).await.is_err() {
            admin.client.back_off().await;
        }
    }
}
