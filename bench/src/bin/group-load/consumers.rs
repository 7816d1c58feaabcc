//! Members of one group as applications have them: whole consumers of the client library, each with
//! its own client, that read what they are given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rivven_client::{Client, ClientConfig, Consumer, ConsumerConfig};
use rivven_io::Env;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{Outcome, SettleArguments};

const POLL: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// One consumer, and how many partitions it has.
struct Member {
    assigned: Arc<AtomicUsize>,
    leaves: Arc<AtomicBool>,
    task: JoinHandle<Outcome<()>>,
}

pub(crate) async fn run(arguments: &SettleArguments, heartbeat: Duration) -> Outcome<Value> {
    let new = || Member::begin(arguments.broker, &arguments.topic, heartbeat);
    let partitions = usize::try_from(arguments.partitions)?;
    let begun = Instant::now();
    let mut members = (0..arguments.members).map(|_| new()).collect::<Outcome<Vec<_>>>()?;
    let first_ms = settled(&members, partitions, begun).await?;

    tokio::time::sleep(heartbeat).await;
    let begun = Instant::now();
    members.push(new()?);
    let join_ms = settled(&members, partitions, begun).await?;

    tokio::time::sleep(heartbeat).await;
    let begun = Instant::now();
    let gone = members.pop().expect("it was pushed above");
    gone.leaves.store(true, Ordering::Relaxed);
    let leave_ms = settled(&members, partitions, begun).await?;
    gone.task.await??;
    Ok(json!({ "first_ms": first_ms, "join_ms": join_ms, "leave_ms": leave_ms }))
}

/// Milliseconds until each member has something, and all have everything.
async fn settled(members: &[Member], partitions: usize, begun: Instant) -> Outcome<f64> {
    loop {
        let mut counts = members.iter().map(|member| member.assigned.load(Ordering::Relaxed));
        let sum: usize = counts.clone().sum();
        if sum == partitions && counts.all(|count| count > 0) {
            return Ok(begun.elapsed().as_secs_f64() * 1000.0);
        }
        if let Some(ended) = members.iter().position(|member| member.task.is_finished()) {
            return Err(format!("member {ended} ended").into());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("not settled in {PATIENCE:?}: {sum} of {partitions}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Member {
    fn begin(broker: SocketAddr, topic: &str, heartbeat: Duration) -> Outcome<Member> {
        let client = Client::new(Env::real(), ClientConfig::to(&broker.to_string()))?;
        let config = ConsumerConfig {
            group: Some("settling".to_owned()),
            heartbeat_interval: heartbeat,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(client, config)?;
        consumer.subscribe(&[topic])?;
        let (assigned, leaves) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, leaving) = (assigned.clone(), leaves.clone());
        let task = tokio::spawn(async move {
            while !leaving.load(Ordering::Relaxed) {
                consumer.poll(POLL).await?;
                count.store(consumer.assignment().len(), Ordering::Relaxed);
            }
            Ok(consumer.close_and_leave().await?)
        });
        Ok(Member { assigned, leaves, task })
    }
}
