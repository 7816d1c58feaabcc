//! Timers of nanosecond grain over madsim's clock. madsim's own sleep waits at least 1 ms and
//! leaves a timer behind each time it is polled; these are exact, and gone when they are dropped.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use madsim::time::TimeHandle;

use crate::sim::core::Core;
use crate::sim::exclusive::Exclusive;
use crate::sim::incarnation::Incarnation;

/// What the world does at a moment: a delivery, a healing.
pub(crate) type Event = Box<dyn FnOnce(&Arc<Core>) + Send>;

/// All timers of a world, in the order (deadline, registration).
pub(crate) struct Timers {
    time: TimeHandle,
    heap: Exclusive<Heap>,
}

struct Heap {
    due: BTreeMap<(u64, u64), Due>,
    registered_count: u64,
    /// The earliest deadline for which madsim holds a timer, `u64::MAX` if for none.
    armed_ns: u64,
    driver: Option<Waker>,
}

enum Due {
    Wake(Waker, Arc<Incarnation>),
    Run(Event),
}

impl Timers {
    pub(crate) fn new(time: TimeHandle) -> Timers {
        let heap =
            Heap { due: BTreeMap::new(), registered_count: 0, armed_ns: u64::MAX, driver: None };
        Timers { time, heap: Exclusive::new(heap) }
    }

    /// Virtual time in nanoseconds since the start of the run.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.time.elapsed().as_nanos()).expect("a run is shorter than 500 years")
    }

    /// Runs `event` once `delay` has passed.
    pub(crate) fn after(&self, delay: Duration, event: Event) {
        let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.register(self.now_ns().saturating_add(delay_ns), Due::Run(event));
    }

    /// Drops every timer: they hold the world that holds them.
    pub(crate) fn clear(&self) {
        let due = std::mem::take(&mut self.heap.lock().due);
        drop(due);
    }

    /// Serves the timers; spawned once, on a node of the world's own.
    pub(crate) fn drive(core: Arc<Core>) -> impl Future<Output = ()> + Send {
        poll_fn(move |cx| {
            core.timers.heap.lock().driver = Some(cx.waker().clone());
            while let Some(due) = core.timers.pop() {
                match due {
                    Due::Wake(waker, owner) => {
                        owner.progress();
                        waker.wake();
                    }
                    Due::Run(event) => event(&core),
                }
            }
            core.timers.arm();
            Poll::Pending
        })
    }

    fn register(&self, deadline_ns: u64, due: Due) -> (u64, u64) {
        let mut heap = self.heap.lock();
        let key = (deadline_ns, heap.registered_count);
        heap.registered_count += 1;
        heap.due.insert(key, due);
        drop(heap);
        self.arm();
        key
    }

    fn pop(&self) -> Option<Due> {
        let now_ns = self.now_ns();
        let mut heap = self.heap.lock();
        if heap.armed_ns <= now_ns {
            heap.armed_ns = u64::MAX;
        }
        let first = heap.due.first_entry()?;
        (first.key().0 <= now_ns).then(|| first.remove())
    }

    /// Makes madsim wake the driver at the earliest deadline, unless it will do so already.
    fn arm(&self) {
        let mut heap = self.heap.lock();
        let Some(deadline_ns) = heap.due.first_key_value().map(|(key, _)| key.0) else { return };
        if deadline_ns >= heap.armed_ns {
            return;
        }
        let Some(driver) = heap.driver.clone() else { return };
        heap.armed_ns = deadline_ns;
        drop(heap);
        let delay = Duration::from_nanos(deadline_ns.saturating_sub(self.now_ns()));
        let mut sleep = self.time.sleep(delay);
        Pin::new(&mut sleep).reset(self.time.now_instant() + delay);
        // The poll leaves a timer with the driver's waker; the sleep itself is not needed any more.
        if Pin::new(&mut sleep).poll(&mut Context::from_waker(&driver)).is_ready() {
            driver.wake();
        }
    }
}

/// Waits until a moment, whether its incarnation lives to see it or not.
pub(crate) struct Sleep {
    owner: Arc<Incarnation>,
    deadline_ns: u64,
    registered: Option<((u64, u64), Waker)>,
}

impl Sleep {
    pub(crate) fn new(owner: Arc<Incarnation>, duration: Duration) -> Sleep {
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = owner.core.timers.now_ns().saturating_add(duration_ns);
        Sleep { owner, deadline_ns, registered: None }
    }

    fn unregister(&mut self) {
        if let Some((key, _)) = self.registered.take() {
            let due = self.owner.core.timers.heap.lock().due.remove(&key);
            drop(due);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.owner.core.timers.now_ns() >= self.deadline_ns {
            self.unregister();
            return Poll::Ready(());
        }
        if self.registered.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.unregister();
        let due = Due::Wake(cx.waker().clone(), self.owner.clone());
        let key = self.owner.core.timers.register(self.deadline_ns, due);
        self.registered = Some((key, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.unregister();
    }
}
