//! The task that keeps a consumer supplied: it begins what the plan says, each job as a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivven_io::task::Task;

use super::plan::{Job, Plan};
use super::shared::Shared;
use super::{fetch, lookup, metadata};

/// The last job of each kind; those under way end with the driver.
#[derive(Default)]
struct Jobs(BTreeMap<Job, Task<()>>);

impl Drop for Jobs {
    fn drop(&mut self) {
        self.0.values().for_each(Task::abort);
    }
}

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut jobs = Jobs::default();
    loop {
        let plan = shared.plan();
        let next = plan.next;
        if plan.has_trouble {
            shared.arrived.notify_one();
        }
        jobs.begin(plan, &shared);
        match next {
            None => shared.work.notified().await,
            Some(next) => {
                let wait = next.since(shared.now());
                tokio::select! {
                    biased;
                    () = shared.work.notified() => {}
                    () = shared.client.env().clock.sleep(wait) => {}
                }
            }
        }
    }
}

impl Jobs {
    fn begin(&mut self, plan: Plan, shared: &Arc<Shared>) {
        if plan.needs_metadata {
            self.spawn(Job::Metadata, shared, metadata::refresh(shared.clone()));
        }
        if !plan.committed.is_empty() {
            let job = lookup::committed(shared.clone(), plan.committed);
            self.spawn(Job::Committed, shared, job);
        }
        for (leader, lookups) in plan.offsets {
            let job = lookup::offsets(shared.clone(), leader, lookups);
            self.spawn(Job::Offsets(leader), shared, job);
        }
        for plan in plan.fetches {
            let job = Job::Fetch(plan.leader);
            self.spawn(job, shared, fetch::run(shared.clone(), plan));
        }
    }

    fn spawn(
        &mut self,
        job: Job,
        shared: &Arc<Shared>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let under_way = UnderWay { job, shared: shared.clone(), has_begun: false };
        let task = shared.client.env().tasks.spawn("consumer-job", async move {
            let mut under_way = under_way;
            under_way.has_begun = true;
            work.await;
        });
        self.0.insert(job, task);
    }
}

/// Ends a job's time when it is dropped, however the job ended.
struct UnderWay {
    job: Job,
    shared: Arc<Shared>,
    has_begun: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.has_begun {
            // A runtime that ends drops what it is given. It waits for the driver to rest, which
            // would begin the same job again and again.
            return;
        }
        self.shared.lock().under_way.remove(&self.job);
        self.shared.work.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rivven_io::Env;

    use super::*;
    use crate::assignor::TopicPartition;
    use crate::client::Client;
    use crate::config::ClientConfig;
    use crate::consumer::config::ConsumerConfig;
    use crate::consumer::partitions::Start;

    #[test]
    fn a_driver_rests_when_nothing_is_begun_any_more() {
        let ended = tokio::runtime::Runtime::new().expect("a runtime");
        let shared = ended.block_on(async {
            let config = ClientConfig::to("127.0.0.1:1");
            let client = Client::new(Env::real(), config).expect("a client");
            Arc::new(Shared::new(client, ConsumerConfig::default()))
        });
        drop(ended);
        shared.add([TopicPartition::new("t", 0)], Start::Committed);
        tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let env = Env::real();
            let clock = env.clock.clone();
            let driver = env.tasks.spawn_dedicated("driver", async move {
                clock.timeout(Duration::from_millis(50), run(shared)).await.is_err()
            });
            let rested = env.clock.timeout(Duration::from_secs(10), driver).await;
            assert!(matches!(rested, Ok(Ok(true))), "it never waits");
        });
    }
}
