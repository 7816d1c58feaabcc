//! `rivven produce`: values become records, and it says how many went where.

mod input;
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
use self::report::Report;
use crate::arguments::produce::{AcksArgument, ProduceArguments};
use crate::failure::sentence;
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
    let config = ProducerConfig {
        acks: arguments.acks.into(),
        enable_idempotence: arguments.acks == AcksArgument::All,
        compression: arguments.compression.into(),
        linger: LINGER.min(arguments.connection.timeout),
        delivery_timeout: arguments.connection.timeout,
        create_topics: !arguments.no_create,
        ..ProducerConfig::default()
    };
    let mut sending = Sending {
        producer: Producer::new(session.client.clone(), config)?,
        pattern: pattern(arguments),
        unsettled: VecDeque::new(),
        report: Report::default(),
        bar: bar(arguments),
    };
    let sent = sending.send_all(&mut input, interrupt).await;
    // What was sent before a failure is in the log all the same, and is told.
    sending.producer.flush().await;
    let settled = sending.settle(0).await;
    sending.bar.finish_and_clear();
    sending.report.print(&arguments.topic, output)?;
    match sent.and(settled) {
        Ok(()) => Ok(interrupt.outcome()),
        Err(failure) => {
            let text = match &failure.error {
                Error::Invalid(_) => failure.error.to_string(),
                error if error.code().is_some() => {
                    session.about_topic(&arguments.topic, error).await
                }
                error => sentence(error),
            };
            Err(failure.said(&text))
        }
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
    /// In the order of sending.
    unsettled: VecDeque<(Delivery, usize)>,
    report: Report,
    bar: ProgressBar,
}

/// Why sending ended early, and at which line.
struct Failure {
    line: Option<u64>,
    error: Error,
}

impl Failure {
    fn said(&self, text: &str) -> CommandError {
        CommandError::Failed(match self.line {
            Some(line) => format!("line {line}: {text}"),
            None => text.to_owned(),
        })
    }
}

impl Sending {
    async fn send_all(&mut self, input: &mut Input, interrupt: &Interrupt) -> Result<(), Failure> {
        loop {
            let next = tokio::select! {
                biased;
                () = interrupt.raised() => None,
                next = input.next() => next,
            };
            let Some(line) = next else { return Ok(()) };
            let line = line.map_err(|(line, text)| Failure {
                line: Some(line),
                error: Error::Invalid(text),
            })?;
            self.send(line).await?;
            self.settle(UNSETTLED_MAX).await?;
        }
    }

    async fn send(&mut self, line: Line) -> Result<(), Failure> {
        let bytes = line.value.as_ref().map_or(0, bytes::Bytes::len);
        let record = ProducerRecord {
            key: line.key.or_else(|| self.pattern.key.clone()),
            value: line.value,
            ..self.pattern.clone()
        };
        let sent = self.producer.send(record).await;
        let delivery = sent.map_err(|error| Failure { line: line.number, error })?;
        self.unsettled.push_back((delivery, bytes));
        self.bar.inc(1);
        Ok(())
    }

    /// Takes the ends of deliveries that have come, and waits while there are more than so many.
    async fn settle(&mut self, count_max: usize) -> Result<(), Failure> {
        let mut failure = None;
        while let Some((delivery, bytes)) = self.unsettled.front() {
            let result = match delivery.result() {
                None if self.unsettled.len() <= count_max => break,
                None => delivery.wait().await,
                Some(result) => result,
            };
            match result {
                Ok(delivered) => self.report.count(delivered, *bytes),
                Err(error) => {
                    self.report.failed += 1;
                    failure.get_or_insert(Failure { line: None, error });
                }
            }
            self.unsettled.pop_front();
        }
        failure.map_or(Ok(()), Err)
    }
}
