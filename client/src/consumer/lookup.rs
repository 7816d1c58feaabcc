//! Positions that have to be asked for: committed offsets at the coordinator, ends and times at the
//! leaders.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic,
};

use super::commits;
use super::config::millis;
use super::partitions::{At, LATEST, Position, Start, Stored};
use super::plan::Lookup;
use super::shared::Shared;
use crate::assignor::TopicPartition;
use crate::client::{Lane, Target};
use crate::error::Error;

/// What a lookup found out.
enum Found {
    At(At),
    /// No record is as young as what was asked for.
    TooYoung,
    /// Nothing; look there instead.
    Else(Start),
    /// Ask again later.
    Nothing,
    Trouble(Error),
}

/// Asks once for committed offsets.
pub(super) async fn committed(shared: Arc<Shared>, lookups: Vec<Lookup>) {
    let partitions = lookups.iter().map(|lookup| lookup.of.clone()).collect();
    let answer = commits::fetch(&shared, &partitions).await;
    if let Err(error) = &answer {
        tracing::debug!(%error, "no committed offsets");
    }
    for lookup in lookups {
        let found = match &answer {
            Ok(offsets) => match offsets.get(&lookup.of) {
                Some(committed) => {
                    let (offset, leader_epoch) = (committed.offset, committed.leader_epoch);
                    Found::At(At { offset, leader_epoch })
                }
                None => Found::Else(Start::Reset),
            },
            Err(_) if rivven_io::planted!("B74") => Found::Else(Start::Reset),
            Err(error) if error.is_retriable() => Found::Nothing,
            Err(error) => Found::Trouble(error.clone()),
        };
        settle(&shared, &lookup, found);
    }
    shared.arrived.notify_one();
}

/// Asks a leader once; for a time twice.
pub(super) async fn offsets(shared: Arc<Shared>, leader: i32, lookups: Vec<Lookup>) {
    let (times, mut ends): (Vec<Lookup>, Vec<Lookup>) =
        lookups.into_iter().partition(|lookup| lookup.timestamp >= 0);
    // The end comes first: what is written between both requests must not be passed over.
    ends.extend(times.iter().map(|lookup| Lookup { timestamp: LATEST, ..lookup.clone() }));
    let mut known = BTreeMap::new();
    let first = ask(&shared, leader, &ends).await;
    for (lookup, found) in ends.into_iter().zip(first) {
        match (lookup.start, found) {
            (Start::Timestamp(0..), Found::At(end)) => {
                known.insert(lookup.of, end);
            }
            (_, found) => settle(&shared, &lookup, found),
        }
    }
    let times: Vec<Lookup> =
        times.into_iter().filter(|lookup| known.contains_key(&lookup.of)).collect();
    if !times.is_empty() {
        let second = ask(&shared, leader, &times).await;
        for (lookup, found) in times.into_iter().zip(second) {
            let found = match found {
                Found::TooYoung => Found::At(known[&lookup.of]),
                other => other,
            };
            settle(&shared, &lookup, found);
        }
    }
    shared.arrived.notify_one();
}

/// What came of each.
async fn ask(shared: &Shared, leader: i32, lookups: &[Lookup]) -> Vec<Found> {
    let request = request(shared, lookups);
    let answer = shared.client.call(Target::Broker(leader), Lane::Admin, &request).await;
    let rows = match &answer {
        Ok(answer) => rows(answer),
        Err(error) => {
            tracing::debug!(leader, %error, "no offsets");
            BTreeMap::new()
        }
    };
    let found = lookups.iter().map(|lookup| match (&answer, rows.get(&lookup.of)) {
        (Ok(_), Some(row)) => found(lookup, row),
        (Err(error), _) if !error.is_retriable() => Found::Trouble(error.clone()),
        _ => Found::Nothing,
    });
    let found: Vec<Found> = found.collect();
    if answer.is_err() || found.iter().any(|found| matches!(found, Found::Nothing)) {
        shared.distrust_metadata();
    }
    found
}

fn request(shared: &Shared, lookups: &[Lookup]) -> ListOffsetsRequest {
    let mut topics: BTreeMap<Arc<str>, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for lookup in lookups {
        topics.entry(lookup.of.topic.clone()).or_default().push(ListOffsetsPartition {
            partition_index: lookup.of.partition,
            current_leader_epoch: lookup.leader_epoch,
            timestamp: lookup.timestamp,
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        let name = WireStr::from(&*name);
        ListOffsetsTopic { name, partitions }
    });
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: shared.config.isolation(),
        topics: topics.collect(),
        timeout_ms: millis(shared.client.config().request_timeout),
    }
}

fn rows(answer: &ListOffsetsResponse) -> BTreeMap<TopicPartition, &ListOffsetsPartitionResponse> {
    let rows = answer.topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        let row = move |row| (TopicPartition::new(name.clone(), partition_of(row)), row);
        topic.partitions.iter().map(row)
    });
    rows.collect()
}

fn partition_of(row: &ListOffsetsPartitionResponse) -> i32 {
    row.partition_index
}

fn found(lookup: &Lookup, row: &ListOffsetsPartitionResponse) -> Found {
    let code = row.error_code;
    match code {
        ErrorCode::NONE if row.offset >= 0 => {
            Found::At(At { offset: row.offset, leader_epoch: -1 })
        }
        ErrorCode::NONE if lookup.timestamp >= 0 => Found::TooYoung,
        ErrorCode::NONE => Found::Nothing,
        code if code.is_retriable() => Found::Nothing,
        code => Found::Trouble(Error::refused(format!("offsets of {}", lookup.of), code, None)),
    }
}

fn settle(shared: &Shared, lookup: &Lookup, found: Found) {
    let mut state = shared.lock();
    let Some(row) = state.partitions.rows.get_mut(&lookup.of) else { return };
    // It was sought or assigned anew meanwhile.
    if row.incarnation != lookup.incarnation || row.position != Position::Unknown(lookup.start) {
        return;
    }
    row.is_looked_up = false;
    match found {
        Found::At(at) => {
            row.backoff.reset();
            row.set(Position::At(at));
            if lookup.start == Start::Committed {
                row.committed = Some(Stored { offset: at.offset, noted_at: shared.now() });
            }
        }
        Found::Else(start) => row.set(Position::Unknown(start)),
        Found::Nothing | Found::TooYoung => row.wait(shared),
        Found::Trouble(error) => {
            row.wait(shared);
            row.trouble = Some(error);
        }
    }
}
