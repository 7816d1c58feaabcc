//! `rivven bench produce`: an open load of records.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use rivven_client::image::Topic;
use rivven_client::producer::Delivery;
use rivven_client::{Producer, ProducerConfig, ProducerRecord};
use rivven_io::Env;
use rivven_io::clock::Monotonic;
use rivven_io::task::Task;
use tokio::sync::mpsc;

use super::report::Measured;
use crate::arguments::bench::BenchProduceArguments;
use crate::arguments::produce::AcksArgument;
use crate::failure::sentence;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::session::Session;
use crate::{CommandError, Outcome};

/// Deliveries of a partition that wait to be measured; the producer's buffer holds fewer.
const UNMEASURED_MAX: usize = 1 << 20;
/// Unsent records that the histogram tells apart.
const UNSENT_STEPS: u64 = 1 << 16;
pub(super) const VIEW_INTERVAL: Duration = Duration::from_millis(250);
/// Values begin at one of so many places of the same random bytes.
const VARIANTS: usize = 4096;

type Sent = (Monotonic, Delivery);

pub(super) async fn run(
    env: &Env,
    (arguments, interrupt): (&BenchProduceArguments, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let session = Session::open(env, &arguments.connection).await?;
    let partitions = described(&session, &arguments.topic).await?.partitions.len();
    let config = ProducerConfig {
        acks: arguments.acks.into(),
        enable_idempotence: arguments.acks == AcksArgument::All,
        compression: arguments.compression.into(),
        linger: arguments.linger,
        delivery_timeout: arguments.connection.timeout.max(arguments.linger),
        create_topics: false,
        ..ProducerConfig::default()
    };
    let measured = Arc::new(Mutex::new(Measured::default()));
    let (queues, tasks): (Vec<_>, Vec<_>) =
        (0..partitions).map(|_| measure(env, arguments.size, measured.clone())).unzip();
    let load = Load {
        env,
        arguments,
        topic: Arc::from(arguments.topic.as_str()),
        producer: Producer::new(session.client.clone(), config)?,
        queues,
        values: values(env, arguments.size),
    };
    let view = view();
    load.warm_up().await?;
    interrupt.hold();
    let begun = env.clock.now();
    let show = || view.set_message(lock(&measured).line(env.clock.now().since(begun)));
    let generated = load.generate(begun, interrupt, &show).await;
    if let Ok(number) = &generated {
        load.count_unsent((begun, *number), &mut lock(&measured));
    }
    load.producer.flush().await;
    drop(load);
    for task in tasks {
        // A panic of one is a mistake of ours; the rest is still worth telling.
        let _ = task.await;
    }
    view.finish_and_clear();
    let elapsed = env.clock.now().since(begun);
    let measured = lock(&measured).clone();
    measured.print((elapsed, arguments.rate), output)?;
    generated?;
    match measured.first_failure {
        Some(failure) => Err(CommandError::Failed(failure)),
        None => Ok(interrupt.outcome()),
    }
}

pub(super) async fn described(session: &Session, name: &str) -> Result<Topic, CommandError> {
    match session.admin.describe_topics(&[name]).await?.remove(name) {
        Some(Ok(topic)) => Ok(topic),
        Some(Err(error)) => Err(CommandError::Failed(session.about_topic(name, &error).await)),
        None => Err(CommandError::Failed(format!("topic {name:?} was not described"))),
    }
}

fn lock(measured: &Mutex<Measured>) -> std::sync::MutexGuard<'_, Measured> {
    measured.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It draws on stderr, and nothing where that is no terminal.
pub(super) fn view() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").expect("the template is well formed");
    ProgressBar::no_length().with_style(style)
}

/// What takes the ends of a partition's deliveries: they come in the order of sending.
fn measure(
    env: &Env,
    value_bytes: u32,
    measured: Arc<Mutex<Measured>>,
) -> (mpsc::Sender<Sent>, Task<()>) {
    let (sent, mut deliveries) = mpsc::channel::<Sent>(UNMEASURED_MAX);
    let clock = env.clock.clone();
    let task = env.tasks.spawn("bench-measure", async move {
        while let Some((due, delivery)) = deliveries.recv().await {
            let result = delivery.wait().await;
            let latency = clock.now().since(due);
            let mut measured = lock(&measured);
            match result {
                Ok(_) => {
                    measured.records += 1;
                    measured.latency.add(latency);
                    measured.bytes += u64::from(value_bytes);
                }
                Err(error) => {
                    measured.failed += 1;
                    measured.first_failure.get_or_insert_with(|| sentence(&error));
                }
            }
        }
    });
    (sent, task)
}

/// Letters and digits without a pattern, so that compression has the work of real text.
fn values(env: &Env, size: u32) -> Vec<Bytes> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";
    let size = size as usize;
    let mut text = Vec::with_capacity(size + VARIANTS);
    while text.len() < size + VARIANTS {
        let random = env.rng.u64();
        text.extend((0..10).map(|index| LETTERS[(random >> (6 * index)) as usize & 63]));
    }
    let text = Bytes::from(text);
    (0..VARIANTS).map(|at| text.slice(at..at + size)).collect()
}

struct Load<'a> {
    env: &'a Env,
    arguments: &'a BenchProduceArguments,
    topic: Arc<str>,
    producer: Producer,
    queues: Vec<mpsc::Sender<Sent>>,
    values: Vec<Bytes>,
}

impl Load<'_> {
    /// One record to each partition: connections and a producer id are not what is measured.
    async fn warm_up(&self) -> Result<(), CommandError> {
        let mut deliveries = Vec::new();
        for number in 0..self.queues.len() as u64 {
            deliveries.push(self.producer.send(self.record(number)).await?);
        }
        self.producer.flush().await;
        for delivery in deliveries {
            delivery.await?;
        }
        Ok(())
    }

    /// Sends records when they are due, until the time is over. How many it has sent.
    async fn generate(
        &self,
        begun: Monotonic,
        interrupt: &Interrupt,
        show: &impl Fn(),
    ) -> Result<u64, CommandError> {
        let clock = &self.env.clock;
        let end = begun.after(self.arguments.duration);
        let (rate, mut number, mut shown_at) = (u64::from(self.arguments.rate), 0_u64, begun);
        loop {
            let now = clock.now();
            if now >= end || interrupt.is_raised() {
                return Ok(number);
            }
            if now.since(shown_at) >= VIEW_INTERVAL {
                shown_at = now;
                show();
            }
            let due = match rate {
                0 => now,
                _ => begun.after(Duration::from_nanos(due_at_ns(number, rate))),
            };
            if due > now {
                // Timers tick once a millisecond: what is due by then goes out together.
                let wait = due.since(now).min(end.since(now)).min(VIEW_INTERVAL);
                clock.sleep(wait).await;
                continue;
            }
            let sent = tokio::select! {
                biased;
                sent = self.producer.send(self.record(number)) => sent?,
                () = interrupt.raised() => return Ok(number),
                // A buffer that stays full is not waited for: what is due then counts as unsent.
                () = clock.sleep(end.since(now)) => return Ok(number),
            };
            // Its task ends after this queue.
            let _ = self.queues[Load::at(number, self.queues.len())].send((due, sent)).await;
            number += 1;
        }
    }

    /// What was due and is not sent is as late as the end, at least: without it a load that cannot
    /// be carried would look fast.
    fn count_unsent(&self, (begun, sent): (Monotonic, u64), measured: &mut Measured) {
        let rate = u64::from(self.arguments.rate);
        if rate == 0 {
            return;
        }
        let elapsed = self.env.clock.now().since(begun).min(self.arguments.duration);
        let unsent = due_count(elapsed, rate).saturating_sub(sent);
        let step = unsent.div_ceil(UNSENT_STEPS).max(1);
        for first in (0..unsent).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let due = Duration::from_nanos(due_at_ns(sent + first, rate));
            measured.latency.add_times(elapsed.saturating_sub(due), step.min(unsent - first));
        }
        measured.unsent = unsent;
    }

    fn record(&self, number: u64) -> ProducerRecord {
        let partition = Load::at(number, self.queues.len());
        ProducerRecord {
            topic: self.topic.clone(),
            partition: Some(i32::try_from(partition).expect("partitions are counted by i32")),
            value: Some(self.values[Load::at(number, VARIANTS)].clone()),
            ..ProducerRecord::default()
        }
    }

    fn at(number: u64, count: usize) -> usize {
        usize::try_from(number % count as u64).expect("below a length")
    }
}

/// Records that are due by then.
fn due_count(elapsed: Duration, rate: u64) -> u64 {
    u64::try_from(elapsed.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

fn due_at_ns(number: u64, rate: u64) -> u64 {
    let ns = u128::from(number) * 1_000_000_000 / u128::from(rate);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_the_rate() {
        for (elapsed_ms, rate, wanted) in
            [(0, 1000, 0), (1, 1000, 1), (1500, 3, 4), (1000, 10_000_000, 10_000_000)]
        {
            assert_eq!(due_count(Duration::from_millis(elapsed_ms), rate), wanted);
        }
        assert_eq!(due_at_ns(3, 2), 1_500_000_000);
        for number in 0..1000 {
            let due = Duration::from_nanos(due_at_ns(number, 7));
            assert!(due_count(due, 7) <= number && due_count(due, 7) + 1 >= number);
        }
    }
}
