//! A shop: a worker reads orders from one topic and writes a receipt for each to another. It is an
//! example of an application that the simulator tests; `tests/receipts.rs` is the test.
//!
//! All that it does goes through an [`Env`]: on a real machine `Env::real()`, in the simulator one
//! whose disk, network, clock and randomness come from a seed.

use std::time::Duration;

use rivven_client::consumer::config::OffsetReset;
use rivven_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Error, Producer, ProducerConfig, ProducerRecord,
};
use rivven_io::Env;

pub const ORDERS: &str = "orders";
pub const RECEIPTS: &str = "receipts";

/// How long the worker waits after an error before it begins anew.
const PAUSE: Duration = Duration::from_millis(300);
/// Short, so that the work of one who died goes on soon.
const SESSION: Duration = Duration::from_secs(6);
/// How long an answer is waited for: a broker that lost its power does not say that it is gone.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two polls. As long may the others take to join: so long an answer to that is waited for.
const POLL: Duration = Duration::from_secs(15);

/// When the worker says how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// When the receipts are in the log. One who dies in between makes the next write some receipts
    /// twice; no order goes without.
    AfterReceipts,
    /// When the orders are read: the mistake that the test finds. One who dies in between leaves
    /// orders that nobody reads again.
    BeforeReceipts,
}

/// A client of the broker at `bootstrap`.
///
/// # Errors
/// [`Error::Invalid`] if `bootstrap` is no address.
pub fn client(env: Env, bootstrap: &str) -> Result<Client, Error> {
    let bootstrap = vec![bootstrap.to_owned()];
    let config = ClientConfig { bootstrap, request_timeout: ANSWER, ..ClientConfig::default() };
    Client::new(env, config)
}

/// Writes receipts for ever; after an error it begins anew where it has committed.
pub async fn work(env: Env, bootstrap: String, commits: Commits) {
    while let Err(error) = serve(&env, &bootstrap, commits).await {
        tracing::warn!(%error, "the worker begins anew");
        env.clock.sleep(PAUSE).await;
    }
}

async fn serve(env: &Env, bootstrap: &str, commits: Commits) -> Result<(), Error> {
    let client = client(env.clone(), bootstrap)?;
    let producer = Producer::new(client.clone(), ProducerConfig::default())?;
    let config = ConsumerConfig {
        group: Some("shop".to_owned()),
        session_timeout: SESSION,
        heartbeat_interval: SESSION / 3,
        max_poll_interval: POLL,
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(client, config)?;
    consumer.subscribe(&[ORDERS])?;
    loop {
        let orders = consumer.poll(Duration::from_secs(1)).await?;
        if commits == Commits::BeforeReceipts {
            consumer.commit().await?;
        }
        let mut deliveries = Vec::with_capacity(orders.len());
        for order in orders {
            let mut receipt = ProducerRecord::to(RECEIPTS);
            (receipt.key, receipt.value) = (order.key, order.value);
            deliveries.push(producer.send(receipt).await?);
        }
        for delivery in &deliveries {
            delivery.wait().await?;
        }
        if commits == Commits::AfterReceipts && !deliveries.is_empty() {
            consumer.commit().await?;
        }
    }
}
