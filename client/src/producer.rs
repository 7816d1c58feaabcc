//! A producer: collects records into batches by partition and delivers each batch once.

mod accumulator;
mod batch;
mod config;
mod queue;
mod record;
mod request;
mod sender;
mod split;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivven_io::task::Task;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::client::Client;
use crate::connection::Connection;
use crate::error::Error;
use crate::image::ClusterImage;
use accumulator::Accumulator;
pub use batch::{Delivered, Delivery};
pub use config::{Acks, Compression, ProducerConfig};
pub use record::ProducerRecord;

/// Sends records to topics. Dropping it gives up what is not delivered: close it instead.
pub struct Producer {
    shared: Arc<Shared>,
    sender: Task<()>,
}

/// What callers and the sending task share.
struct Shared {
    client: Client,
    config: ProducerConfig,
    /// Bytes that may still be buffered.
    room: Arc<Semaphore>,
    accumulator: Mutex<Accumulator>,
    /// There may be something to send.
    wake: Notify,
    /// What requests went out on that are never answered, since the last flush, and how many.
    unanswered: Mutex<Vec<(Arc<Connection>, u64)>>,
}

impl Producer {
    /// A producer that connects when there is something to send. To be called on the runtime of
    /// the client's Env.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub fn new(client: Client, config: ProducerConfig) -> Result<Producer, Error> {
        config.check()?;
        let backoff = (client.config().retry_backoff, client.config().retry_backoff_max);
        let accumulator = Accumulator::new(&config, backoff, client.env().rng.u64());
        let shared = Arc::new(Shared {
            room: Arc::new(Semaphore::new(config.buffer_bytes)),
            accumulator: Mutex::new(accumulator),
            wake: Notify::new(),
            unanswered: Mutex::default(),
            client,
            config,
        });
        let tasks = &shared.client.env().tasks;
        let sender = tasks.spawn("producer", sender::run(shared.clone()));
        Ok(Producer { shared, sender })
    }

    /// Puts a record into its partition's batch, after waiting for room in the buffer. The
    /// delivery says what becomes of it; it need not be awaited. Records of one partition keep the
    /// order of these calls. Dropping this future before it is ready sends nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a record that no broker would take; the topic's own errors.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        let bytes = self.shared.config.admit(&record)?;
        let image = self.image(&record.topic).await?;
        let permit = self.take_room(bytes).await?;
        let now = self.shared.client.env().clock.now();
        let wall_ms = self.shared.client.env().clock.wall_ms();
        let (delivery, wakes) =
            self.shared.lock().append((now, wall_ms), &image, (record, permit))?;
        if wakes {
            self.shared.wake.notify_one();
        }
        Ok(delivery)
    }

    /// Waits until every record that was sent before is delivered or has failed; with acks 0, until
    /// the brokers have taken it, or their connections have ended.
    pub async fn flush(&self) {
        let open = self.shared.lock().flush();
        self.shared.wake.notify_one();
        for batch in open {
            // Each record's own delivery says how it ended.
            batch.done().await;
        }
        let unanswered = self.shared.unanswered().clone();
        let timeout = self.shared.client.config().request_timeout;
        for (connection, sent) in unanswered {
            if let Err(error) = connection.settle(timeout).await {
                tracing::warn!(%error, "what was sent without acks may be lost");
            }
            // What was sent on it meanwhile is the next flush's.
            let is_settled = |(other, now): &(Arc<Connection>, u64)| {
                Arc::ptr_eq(other, &connection) && *now == sent
            };
            self.shared.unanswered().retain(|other| !is_settled(other));
        }
    }

    /// Delivers what is there, and ends.
    pub async fn close(self) {
        self.flush().await;
    }

    /// Bytes of records that wait for their delivery.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.shared.config.buffer_bytes - self.shared.room.available_permits()
    }

    async fn image(&self, topic: &str) -> Result<Arc<ClusterImage>, Error> {
        if let Some(image) = self.shared.client.known(topic) {
            return Ok(image);
        }
        self.shared.client.topic(topic, self.shared.config.create_topics).await?;
        Ok(self.shared.client.image())
    }

    async fn take_room(&self, bytes: u32) -> Result<OwnedSemaphorePermit, Error> {
        let room = &self.shared.room;
        if let Ok(permit) = room.clone().try_acquire_many_owned(bytes) {
            return Ok(permit);
        }
        // Batches that wait for company would wait for room that they hold themselves.
        self.shared.lock().hasten();
        self.shared.wake.notify_one();
        room.clone().acquire_many_owned(bytes).await.map_err(|_| Error::Closed)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.sender.abort();
        self.shared.end();
    }
}

impl Shared {
    /// Nothing is sent any more: whoever waits, or comes later, is told.
    fn end(&self) {
        self.room.close();
        self.lock().fail_all(&Error::Closed);
    }

    fn lock(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> MutexGuard<'_, Vec<(Arc<Connection>, u64)>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent_unanswered(&self, connection: &Arc<Connection>) {
        let mut unanswered = self.unanswered();
        unanswered.retain(|(connection, _)| match connection.end() {
            None => true,
            Some(error) => {
                tracing::warn!(%error, "what was sent without acks may be lost");
                false
            }
        });
        match unanswered.iter_mut().find(|(known, _)| Arc::ptr_eq(known, connection)) {
            Some((_, sent)) => *sent += 1,
            None => unanswered.push((connection.clone(), 1)),
        }
    }
}
