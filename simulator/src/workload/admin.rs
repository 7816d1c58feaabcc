//! Administrators: topics that come and go, log starts that move up, configurations that change.

use std::time::Duration;

use rivven_core::ids::{PartitionId, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::sim::rng::{Stream, stream};
use rivven_io::sim::trace;

use super::known::{Known, by_lot};
use super::operations::Operations;
use super::set_up::client_of;
use super::{ClientContext, ClientParams, TopicParams, millis};
use crate::client::reads::{EARLIEST, FetchSize, LATEST, Place, fetch_request, is_gone};
use crate::client::{Client, Desertion, Trouble};
use crate::plan::CLIENTS;
use crate::plan::fault::one_of;

/// Configurations that change how the log is cut and indexed, but nothing that clients see.
const HARMLESS: [(&str, &[&str]); 3] = [
    ("segment.bytes", &["1048576", "2097152", "1073741824"]),
    ("index.interval.bytes", &["1", "512", "4096"]),
    ("segment.ms", &["1000", "10000", "604800000"]),
];

/// Defaults of brokers that change as little.
const HARMLESS_OF_BROKERS: [(&str, &[&str]); 5] = [
    ("log.segment.bytes", &["1048576", "2097152", "1073741824"]),
    ("log.index.interval.bytes", &["1", "512", "4096"]),
    ("log.roll.ms", &["1000", "10000", "604800000"]),
    ("log.segment.delete.delay.ms", &["0", "1000", "60000"]),
    ("message.max.bytes", &["1048588", "10485880"]),
];
/// As it counts among what was injected: the key of scenario files.
pub(crate) const INJECTED: &str = "config_admins";

struct Admin {
    client: Client,
    params: ClientParams,
    operations: Operations,
}

impl Admin {
    fn new(context: ClientContext, params: ClientParams) -> Admin {
        let client = client_of(&context, params.client, millis(params.request_timeout_ms));
        let operations = Operations::of(&context, &params, "admin");
        Admin { client, params, operations }
    }

    /// What its next operation draws from; `None` if there is none any more.
    async fn turn(&mut self) -> Option<Stream> {
        self.operations.next().await.map(|operation| operation.draws)
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
    while let Some(mut draws) = admin.turn().await {
        let Some(topic) = by_lot(&mut draws, &topics, |topic| (&topic.name, 0)) else { return };
        if churn(&mut admin.client, topic).await.is_err() {
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
    while let Some(mut draws) = admin.turn().await {
        let Some(topic) = by_lot(&mut draws, &topics, |topic| (&topic.name, 0)) else { return };
        if desert_one(&mut admin.client, &mut draws, topic).await.is_err() {
            admin.client.back_off().await;
        }
    }
}

async fn desert_one(
    client: &mut Client,
    draws: &mut Stream,
    topic: &TopicParams,
) -> Result<(), Trouble> {
    let after = Duration::from_micros(draws.between(0, 20_000));
    let waits = draws.u64();
    let known = client.topics().await?;
    let found = known.iter().find(|known| known.name == topic.name);
    let mut fetches = Vec::new();
    for watched in known.iter().filter(|known| known.name != topic.name) {
        let partition = PartitionId { topic: watched.id, index: 0 };
        let place = Place { topic: watched.name.clone(), partition };
        let end = client.end_of(&place, LATEST).await?;
        let mut waits = stream(waits, &watched.name, 0, 0);
        for _ in 0..3 {
            let wait_ms = i32::try_from(waits.between(1, 20)).expect("below 20");
            fetches.push(fetch_request(&place, end, FetchSize { wait_ms, bytes: 1 }));
        }
    }
    client.desert_next(Desertion { fetches, after });
    let left = match found {
        Some(found) => client.delete_topic(&topic.name, found.id).await,
        None => client.create_topic(topic).await.map(drop),
    };
    match left {
        Err(Trouble::NotSent(error)) => Err(Trouble::NotSent(error)),
        _ => Ok(()),
    }
}

pub(crate) async fn delete_records(context: ClientContext, params: ClientParams) {
    let mut known = Known::new();
    let mut admin = Admin::new(context, params);
    while let Some(mut draws) = admin.turn().await {
        if delete_some(&mut admin, &mut known, &mut draws).await.is_err() {
            known.note_stale();
            admin.client.back_off().await;
        }
    }
}

/// Moves the log start of one partition up, by a quarter of what is there at most.
async fn delete_some(
    admin: &mut Admin,
    known: &mut Known,
    draws: &mut Stream,
) -> Result<(), Trouble> {
    if !known.refresh(&mut admin.client, &admin.params).await {
        admin.client.back_off().await;
        return Ok(());
    }
    let place = known.draw(draws);
    let low = admin.client.end_of(&place, EARLIEST).await?;
    let high = admin.client.end_of(&place, LATEST).await?;
    let quarter = u64::try_from(high - low).unwrap_or(0) / 4;
    let step = i64::try_from(draws.below(quarter + 1)).expect("a quarter of an i64");
    match admin.client.delete_records(&place, low + step).await {
        Err(trouble) if trouble.code().is_some_and(is_gone) => Err(trouble),
        // Retention may have moved the log start past it in the meantime.
        Err(Trouble::Refused { code: ErrorCode::OFFSET_OUT_OF_RANGE, .. }) => Ok(()),
        moved => moved.map(drop),
    }
}

/// Changes configurations of topics, and defaults of the broker, while others work with them (G1).
pub(crate) async fn alter_configs(context: ClientContext, params: ClientParams) {
    let (history, node) = (context.history.clone(), CLIENTS + u64::from(params.client));
    let mut admin = Admin::new(context, params);
    let (topics, percent) = (admin.params.topics.clone(), admin.params.broker_changes_percent);
    while let Some(mut draws) = admin.turn().await {
        let before = reconfigured();
        let altered = if percent > 0 && draws.below(100) < percent {
            alter_broker(&mut admin.client, admin.params.broker, &mut draws).await
        } else {
            let Some(topic) = by_lot(&mut draws, &topics, |topic| (topic, 0)) else { return };
            let (key, values) = one_of(&HARMLESS, &mut draws);
            let value = one_of(values, &mut draws);
            admin.client.alter_topic(topic, (key, value)).await
        };
        if altered.is_err() {
            admin.client.back_off().await;
            continue;
        }
        history.injects(INJECTED);
        // It was answered, so that the broker did not start meanwhile: what counts up there is a
        // partition that served with its old configuration until now.
        let changed = reconfigured() - before;
        if changed > 0 {
            trace::fault(node, "G1", changed);
        }
    }
}

/// Sets a default of all brokers or of this one, or takes back what was set.
async fn alter_broker(client: &mut Client, id: u64, draws: &mut Stream) -> Result<(), Trouble> {
    // As `server::settings` numbers it.
    let broker = if draws.chance(0.5) { id.to_string() } else { String::new() };
    let (key, values) = one_of(&HARMLESS_OF_BROKERS, draws);
    let value = one_of(values, draws);
    let value = (!draws.chance(0.25)).then_some(value);
    client.alter_broker(&broker, (key, value)).await
}

/// How often a partition got another configuration.
fn reconfigured() -> u64 {
    rivven_io::probe::hits().get("partition_reconfigured").copied().unwrap_or_default()
}
