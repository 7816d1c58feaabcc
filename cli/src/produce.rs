//! `rivven produce`: values become records, and it says how many went where.

mod input;
mod limits;
mod report;

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rivven_client::producer::Delivery;
use rivven_client::{Error, Producer, ProducerConfig, ProducerRecord};
use rivven_io::Env;

use self::input::{Input, Line};
use self::limits::Limits;
use self::report::Report;
use crate::arguments::produce::{AcksArgument, ProduceArguments};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::session::Session;
use crate::{CommandError, Outcome};

/// Deliveries that are remembered; more of them are waited for.
const UNSETTLED_MAX: usize = 200_000;
const LINGER: Duration = Duration::from_millis(5);

pub(crate) async fn run(
    env: &Env,
    (arguments, interrupt): (&ProduceArguments, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let mut input = Input::open(env, arguments).await?;
    let session = Session::open(env, &arguments.connection).await?;
    let limits = Limits::find(&session, &arguments.topic).await;
    let defaults = ProducerConfig::default();
    let request_bytes_max = limits.request_bytes();
    let config = ProducerConfig {
        acks: arguments.acks.into(),
        enable_idempotence: arguments.acks == AcksArgument::All,
        compression: arguments.compression.into(),
        linger: LINGER.min(arguments.connection.timeout),
        delivery_timeout: arguments.connection.timeout,
        create_topics: !arguments.no_create,
        batch_bytes: limits.batch_bytes(defaults.batch_bytes),
        request_bytes_max,
        buffer_bytes: defaults.buffer_bytes.max(2 * request_bytes_max),
        ..defaults
    };
    let mut sending = Sending {
        producer: Producer::new(session.client.clone(), config)?,
        pattern: pattern(arguments),
        limits,
        unsettled: VecDeque::new(),
        report: Report::default(),
        failed: Failed::default(),
        bar: bar(arguments),
    };
    interrupt.hold();
    let sent = sending.send_all(&mut input, interrupt).await;
    // What was sent before a failure is in the log all the same, and is told.
    sending.producer.flush().await;
    sending.settle(0).await;
    sending.bar.finish_and_clear();
    sending.report.failed = sending.failed.count;
    sending.report.print(&arguments.topic, output)?;
    let topic = &arguments.topic;
    match (sending.failed.first.take(), sent) {
        (Some(failure), _) => {
            let text = failure.text(&session, topic).await;
            Err(CommandError::Failed(sending.failed.said(&failure, &text)))
        }
        (None, Err(failure)) => {
            Err(CommandError::Failed(failure.said(&failure.text(&session, topic).await)))
        }
        (None, Ok(())) => Ok(interrupt.outcome()),
    }
}

/// What all records have in common.
fn pattern(arguments: &ProduceArguments) -> ProducerRecord {
    let headers = arguments.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), Some(value.clone().into())));
    ProducerRecord {
        topic: Arc::from(arguments.topic.as_str()),
        partition: arguments.partition,
        key: arguments.key.clone().map(Into::into),
        headers: headers.collect(),
        ..ProducerRecord::default()
    }
}

/// It draws on stderr, and nothing where that is no terminal or a person types.
fn bar(arguments: &ProduceArguments) -> ProgressBar {
    let is_one = arguments.value.is_some() || arguments.tombstone;
    if is_one || (arguments.file.is_none() && std::io::stdin().is_terminal()) {
        return ProgressBar::hidden();
    }
    let template = "{human_pos} records sent, {per_sec}, {elapsed}";
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::no_length().with_style(style)
}

struct Sending {
    producer: Producer,
    pattern: ProducerRecord,
    limits: Limits,
    /// In the order of sending.
    unsettled: VecDeque<Unsettled>,
    report: Report,
    failed: Failed,
    bar: ProgressBar,
}

/// A record on its way.
struct Unsettled {
    delivery: Delivery,
    bytes: usize,
    line: Option<u64>,
}

/// Why a record was not written, and its line.
struct Failure {
    line: Option<u64>,
    error: Error,
}

impl Failure {
    async fn text(&self, session: &Session, topic: &str) -> String {
        match &self.error {
            Error::Invalid(text) => text.clone(),
            error => session.about_topic(topic, error).await,
        }
    }

    fn said(&self, text: &str) -> String {
        match self.line {
            Some(line) => format!("line {line}: {text}"),
            None => text.to_owned(),
        }
    }
}

/// Records that were sent and not, or not surely, written.
#[derive(Default)]
struct Failed {
    count: u64,
    first: Option<Failure>,
    last_line: Option<u64>,
}

impl Failed {
    fn add(&mut self, failure: Failure) {
        self.count += 1;
        self.last_line = failure.line;
        self.first.get_or_insert(failure);
    }

    fn said(&self, first: &Failure, text: &str) -> String {
        match (self.count, first.line, self.last_line) {
            (2.., Some(line), Some(last)) => {
                let count = self.count;
                format!(
                    "{count} records failed, between lines {line} and {last}; the first: {text}"
                )
            }
            _ => first.said(text),
        }
    }
}

impl Sending {
    async fn send_all(&mut self, input: &mut Input, interrupt: &Interrupt) -> Result<(), Failure> {
        while self.failed.count == 0 {
            let next = tokio::select! {
                biased;
                () = interrupt.raised() => None,
                next = input.next() => next,
                // A failure is told though nothing more comes.
                () = settled(self.unsettled.front()) => {
                    self.settle(UNSETTLED_MAX).await;
                    continue;
                }
            };
            let Some(line) = next else { return Ok(()) };
            let line = line.map_err(|(line, text)| Failure {
                line: Some(line),
                error: Error::Invalid(text),
            })?;
            tokio::select! {
                biased;
                sent = self.send(line) => sent?,
                () = interrupt.raised() => return Ok(()),
            }
            self.settle(UNSETTLED_MAX).await;
        }
        Ok(())
    }

    async fn send(&mut self, line: Line) -> Result<(), Failure> {
        let bytes = line.value.as_ref().map_or(0, bytes::Bytes::len);
        let number = line.number;
        let record = ProducerRecord {
            key: line.key.or_else(|| self.pattern.key.clone()),
            value: line.value,
            ..self.pattern.clone()
        };
        let failed = |error| Failure { line: number, error };
        self.limits.check(&record, &self.pattern.topic).map_err(Error::Invalid).map_err(failed)?;
        let delivery = self.producer.send(record).await.map_err(failed)?;
        self.unsettled.push_back(Unsettled { delivery, bytes, line: number });
        self.bar.inc(1);
        Ok(())
    }

    /// Takes the ends of deliveries that have come, and waits while there are more than so many.
    async fn settle(&mut self, count_max: usize) {
        while let Some(Unsettled { delivery, bytes, line }) = self.unsettled.front() {
            let result = match delivery.result() {
                None if self.unsettled.len() <= count_max => return,
                None => delivery.wait().await,
                Some(result) => result,
            };
            match result {
                Ok(delivered) => self.report.count(delivered, *bytes),
                Err(error) => self.failed.add(Failure { line: *line, error }),
            }
            self.unsettled.pop_front();
        }
    }
}

/// Returns when it has ended, and never without one.
async fn settled(first: Option<&Unsettled>) {
    match first {
        // The result is taken from the queue.
        Some(first) => drop(first.delivery.wait().await),
        None => std::future::pending().await,
    }
}
