//! The end of a group's work: nobody writes any more, and its members, which go on polling, must
//! give out what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rivven_core::ids::PartitionId;
use rivven_io::clock::Monotonic;

use super::ClientContext;
use super::read_back::{all_places, fresh_client};
use crate::client::reads::{EARLIEST, FetchSize, LATEST, Place};
use crate::client::{Client, Trouble};
use crate::history::SETTLE_CLIENT;
use crate::history::event::{ConsumerSaw, Event, EventKind, Mark};
use crate::history::value::ValueId;

/// Between two looks at what was given out.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The end of a partition, and the record before it; `None` in an empty log.
type End = (i64, Option<ValueId>);

/// See [`super::settle_groups`].
pub(crate) async fn run(context: &ClientContext, groups: &BTreeSet<String>, within: Duration) {
    if groups.is_empty() {
        return;
    }
    let deadline = context.env.clock.now().after(within);
    let mut client = fresh_client(context, SETTLE_CLIENT);
    let Some(places) = all_places(&mut client, context, within).await else { return };
    let mut ends: BTreeMap<PartitionId, End> = BTreeMap::new();
    for place in &places {
        let Some(end) = end_of(&mut client, place, deadline).await else { return };
        ends.insert(place.partition, end);
    }
    let mut given = Given::default();
    let mut waiting: Vec<(&String, PartitionId)> = groups
        .iter()
        .flat_map(|group| ends.keys().map(move |partition| (group, *partition)))
        .collect();
    loop {
        given.look(context);
        waiting.retain(|(group, partition)| {
            let (end, last) = ends[partition];
            let reached = last.is_none_or(|last| given.has(group, last));
            let is_over = reached || context.env.clock.now() >= deadline;
            if is_over {
                let (group, partition) = ((*group).clone(), *partition);
                let mark = Mark::GroupEnd { group, partition, end, reached };
                client.record(client.history.next_op(), EventKind::Mark(mark));
            }
            !is_over
        });
        if waiting.is_empty() {
            return;
        }
        context.env.clock.sleep(LOOK_INTERVAL).await;
    }
}

/// What each group has given out so far.
#[derive(Default)]
struct Given {
    all: BTreeMap<String, BTreeSet<ValueId>>,
    /// Events that it has seen.
    seen: usize,
}

impl Given {
    fn look(&mut self, context: &ClientContext) {
        let all = &mut self.all;
        self.seen = context.history.look(self.seen, |event: &Event| {
            let EventKind::Consumer(told) = &event.kind else { return };
            let ConsumerSaw::Given(records) = &told.what else { return };
            let of_group = all.entry(told.group.clone()).or_default();
            of_group.extend(records.iter().filter_map(|given| given.record.value));
        });
    }

    fn has(&self, group: &str, value: ValueId) -> bool {
        self.all.get(group).is_some_and(|given| given.contains(&value))
    }
}

/// Tries until `deadline`.
async fn end_of(client: &mut Client, place: &Place, deadline: Monotonic) -> Option<End> {
    loop {
        match try_end_of(client, place).await {
            Ok(end) => return Some(end),
            Err(_) if client.env.clock.now() >= deadline => return None,
            Err(_) => client.back_off().await,
        }
    }
}

async fn try_end_of(client: &mut Client, place: &Place) -> Result<End, Trouble> {
    let begin = client.end_of(place, EARLIEST).await?;
    let end = client.end_of(place, LATEST).await?;
    if begin == end {
        return Ok((end, None));
    }
    let fetched = client.fetch(place, end - 1, FetchSize { wait_ms: 0, bytes: 1 }).await?;
    let mut records = fetched.batches.iter().flat_map(|batch| &batch.records);
    let last = records.find(|record| record.offset == end - 1);
    Ok((end, last.and_then(|record| record.value)))
}
