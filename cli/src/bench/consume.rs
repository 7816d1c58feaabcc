//! `rivven bench consume`: how fast a topic is read, or how old its records are when they come.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rivven_client::Consumer;
use rivven_client::admin::offsets::OffsetSpec;
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::config::ConsumerConfig;
use rivven_client::consumer::record::ConsumerRecord;
use rivven_io::Env;

use super::produce::{VIEW_INTERVAL, partition_count, view};
use super::report::Measured;
use crate::arguments::bench::BenchConsumeArguments;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::session::Session;
use crate::{CommandError, Outcome};

const POLL_RECORDS_MAX: usize = 10_000;

pub(super) async fn run(
    env: &Env,
    (arguments, interrupt): (&BenchConsumeArguments, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let session = Session::open(env, &arguments.connection).await?;
    let count = partition_count(&session, &arguments.topic).await?;
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let partitions: Vec<TopicPartition> =
        (0..count).map(|index| TopicPartition::new(arguments.topic.as_str(), index)).collect();
    let mut open = ends(&session, &partitions).await?;
    let config = ConsumerConfig { max_poll_records: POLL_RECORDS_MAX, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(session.client.clone(), config)?;
    consumer.assign(&partitions)?;
    match arguments.latest {
        true => consumer.seek_to_end(&partitions)?,
        false => consumer.seek_to_beginning(&partitions)?,
    }
    let (mut measured, view, begun) = (Measured::default(), view(), env.clock.now());
    let mut last_at = begun;
    loop {
        let elapsed = env.clock.now().since(begun);
        let left = arguments.duration.saturating_sub(elapsed);
        let has_all = open.is_empty() && !arguments.latest;
        if left.is_zero() || has_all || interrupt.is_raised() {
            break;
        }
        view.set_message(measured.line(elapsed));
        let polled = consumer.poll(left.min(VIEW_INTERVAL)).await?;
        if !polled.is_empty() {
            last_at = env.clock.now();
        }
        let now_ms = arguments.latest.then(|| env.clock.wall_ms());
        for record in &polled {
            count_in(&mut measured, record, now_ms);
        }
        if polled.is_empty() && !arguments.latest {
            // Positions also move over what is never given out, such as compacted offsets.
            for of in open.keys().cloned().collect::<Vec<_>>() {
                if consumer.position(&of).await? >= open[&of] {
                    open.remove(&of);
                }
            }
        }
        for record in polled {
            let of = TopicPartition::new(record.topic, record.partition);
            if open.get(&of).is_some_and(|end| record.offset + 1 >= *end) {
                open.remove(&of);
            }
        }
    }
    view.finish_and_clear();
    consumer.close().await?;
    let ended = if arguments.latest { env.clock.now() } else { last_at };
    measured.print((ended.since(begun), 0), output)?;
    Ok(interrupt.outcome())
}

/// Where the log of each partition ends, of those that hold something.
async fn ends(
    session: &Session,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>, CommandError> {
    let wanted = partitions.iter().map(|of| (of.clone(), OffsetSpec::Latest)).collect();
    let mut ends = BTreeMap::new();
    for (of, listed) in session.admin.list_offsets(&wanted).await? {
        let end = listed?.offset.unwrap_or(0);
        if end > 0 {
            ends.insert(of, end);
        }
    }
    Ok(ends)
}

fn count_in(measured: &mut Measured, record: &ConsumerRecord, now_ms: Option<i64>) {
    let len = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    measured.records += 1;
    measured.bytes += (len(&record.key) + len(&record.value)) as u64;
    if let Some(now_ms) = now_ms {
        let age_ms = u64::try_from(now_ms - record.timestamp).unwrap_or(0);
        measured.latency.add(Duration::from_millis(age_ms));
    }
}
