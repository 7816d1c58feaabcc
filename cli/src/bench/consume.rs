//! `rivven bench consume`: how fast a topic is read, or how old its records are when they come.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use indicatif::ProgressBar;
use rivven_client::Consumer;
use rivven_client::admin::offsets::OffsetSpec;
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::config::ConsumerConfig;
use rivven_client::consumer::record::ConsumerRecord;
use rivven_io::Env;
use rivven_io::clock::Monotonic;

use super::produce::{VIEW_INTERVAL, described, view};
use super::report::Measured;
use crate::arguments::bench::BenchConsumeArguments;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::session::Session;
use crate::watched::Watched;
use crate::{CommandError, Outcome};

const POLL_RECORDS_MAX: usize = 10_000;

pub(super) async fn run(
    env: &Env,
    (arguments, interrupt): (&BenchConsumeArguments, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let session = Session::open(env, &arguments.connection).await?;
    let topic = described(&session, &arguments.topic).await?;
    let mut watched = Watched::default();
    watched.add(&arguments.topic, topic.id);
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let partitions: Vec<TopicPartition> =
        (0..count).map(|index| TopicPartition::new(arguments.topic.as_str(), index)).collect();
    let open = ends(&session, &partitions).await?;
    let config = ConsumerConfig { max_poll_records: POLL_RECORDS_MAX, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(session.client.clone(), config)?;
    consumer.assign(&partitions)?;
    match arguments.latest {
        true => consumer.seek_to_end(&partitions)?,
        false => consumer.seek_to_beginning(&partitions)?,
    }
    let begun = env.clock.now();
    let mut reading = Reading {
        env,
        session: &session,
        consumer,
        watched,
        open,
        measured: Measured::default(),
        begun,
        last_at: begun,
        look_due: begun.after(VIEW_INTERVAL),
    };
    let view = view();
    interrupt.hold();
    let read = reading.read((arguments, interrupt), &view).await;
    view.finish_and_clear();
    let Reading { consumer, measured, last_at, .. } = reading;
    let closed = consumer.close().await;
    let ended = if arguments.latest { env.clock.now() } else { last_at };
    measured.print((ended.since(begun), 0), output)?;
    read?;
    closed?;
    Ok(interrupt.outcome())
}

struct Reading<'a> {
    env: &'a Env,
    session: &'a Session,
    consumer: Consumer,
    watched: Watched,
    /// Where partitions ended that are not read to there.
    open: BTreeMap<TopicPartition, i64>,
    measured: Measured,
    begun: Monotonic,
    /// When the last record came.
    last_at: Monotonic,
    look_due: Monotonic,
}

impl Reading<'_> {
    async fn read(
        &mut self,
        (arguments, interrupt): (&BenchConsumeArguments, &Interrupt),
        view: &ProgressBar,
    ) -> Result<(), CommandError> {
        loop {
            let elapsed = self.env.clock.now().since(self.begun);
            let left = arguments.duration.saturating_sub(elapsed);
            let has_all = self.open.is_empty() && !arguments.latest;
            if left.is_zero() || has_all || interrupt.is_raised() {
                return Ok(());
            }
            view.set_message(self.measured.line(elapsed));
            let polled = self.consumer.poll(left.min(VIEW_INTERVAL)).await?;
            let now_ms = arguments.latest.then(|| self.env.clock.wall_ms());
            for record in &polled {
                count_in(&mut self.measured, record, now_ms);
            }
            let now = self.env.clock.now();
            if !polled.is_empty() {
                self.last_at = now;
            }
            if !arguments.latest && now >= self.look_due {
                self.look_due = now.after(VIEW_INTERVAL);
                self.look(polled.is_empty()).await?;
            }
            for record in polled {
                let of = TopicPartition::new(record.topic, record.partition);
                if self.open.get(&of).is_some_and(|end| record.offset + 1 >= *end) {
                    self.open.remove(&of);
                }
            }
        }
    }

    /// Positions also move over what is never given out, such as compacted offsets.
    async fn look(&mut self, is_idle: bool) -> Result<(), CommandError> {
        for of in self.open.keys().cloned().collect::<Vec<_>>() {
            let position = self.consumer.position(&of);
            if let Ok(Ok(offset)) = self.env.clock.timeout(Duration::ZERO, position).await
                && offset >= self.open[&of]
            {
                self.open.remove(&of);
            }
        }
        self.watched.look(self.session)?;
        let asked = self.watched.ask(self.session);
        if is_idle && let Ok(asked) = self.env.clock.timeout(VIEW_INTERVAL, asked).await {
            asked?;
        }
        Ok(())
    }
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
        let age_ms = now_ms.saturating_sub(record.timestamp);
        measured.from_the_future += u64::from(age_ms < 0);
        measured.latency.add(Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)));
    }
}
