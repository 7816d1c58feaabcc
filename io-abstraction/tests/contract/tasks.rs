//! Claims about tasks: how they end, and what abort and dropping do.

use std::future::pending;
use std::time::Duration;

use rivven_io::task::TaskEnd;
use tokio::sync::oneshot;

use crate::world::{World, poll_once};

pub(crate) fn results_come_back_from_every_kind(world: &impl World) {
    world.run(async move |place| {
        let tasks = &place.env.tasks;
        assert_eq!(tasks.spawn("one", async { 1 }).await, Ok(1));
        assert_eq!(
            tasks.spawn_dedicated("a name longer than a thread's", async { 2 }).await,
            Ok(2)
        );
        assert_eq!(tasks.offload(async { 3 }).await, 3);
        let inner = place.env.clone();
        let nested = tasks.spawn_dedicated("outer", async move {
            let spawned = inner.tasks.spawn("inner", async { 4 }).await.unwrap();
            spawned + inner.tasks.offload(async { 5 }).await
        });
        assert_eq!(nested.await, Ok(9));
    });
}

pub(crate) fn panics_come_back_as_task_ends(world: &impl World) {
    let fail = |text: &'static str, formatted: bool| async move {
        if formatted {
            panic!("{text} with a number: {}", 7);
        }
        std::panic::panic_any(text);
    };
    world.run(async move |place| {
        let tasks = &place.env.tasks;
        for (formatted, expected) in [(false, "planned"), (true, "planned with a number: 7")] {
            let end: Result<(), TaskEnd> = Err(TaskEnd::Panicked(expected.to_owned()));
            assert_eq!(tasks.spawn("fails", fail("planned", formatted)).await, end);
            assert_eq!(tasks.spawn_dedicated("fails", fail("planned", formatted)).await, end);
        }
    });
}

pub(crate) fn a_panic_in_offloaded_work_reaches_its_caller(world: &impl World) {
    world.run(async move |place| {
        let env = place.env.clone();
        let caller = place
            .env
            .tasks
            .spawn("caller", async move { env.tasks.offload(async { panic!("planned") }).await });
        assert_eq!(caller.await, Err::<(), _>(TaskEnd::Panicked("planned".to_owned())));
    });
}

pub(crate) fn an_aborted_task_ends_cancelled(world: &impl World) {
    world.run(async move |place| {
        let (held, dropped) = oneshot::channel::<()>();
        let task = place.env.tasks.spawn("endless", async move {
            pending::<()>().await;
            drop(held);
        });
        task.abort();
        assert_eq!(task.await, Err(TaskEnd::Cancelled));
        assert!(dropped.await.is_err(), "what it held is dropped");
    });
}

pub(crate) fn a_dedicated_task_is_not_aborted(world: &impl World) {
    world.run(async move |place| {
        let (go, gone) = oneshot::channel();
        let task = place.env.tasks.spawn_dedicated("steady", async move { gone.await.unwrap() });
        task.abort();
        go.send(7).unwrap();
        assert_eq!(task.await, Ok(7));
    });
}

pub(crate) fn a_task_runs_on_without_its_handle(world: &impl World) {
    world.run(async move |place| {
        for dedicated in [false, true] {
            let (go, gone) = oneshot::channel::<u32>();
            let (answer, answered) = oneshot::channel();
            let body = async move { answer.send(gone.await.unwrap() + 1).unwrap() };
            if dedicated {
                drop(place.env.tasks.spawn_dedicated("detached", body));
            } else {
                drop(place.env.tasks.spawn("detached", body));
            }
            go.send(1).unwrap();
            assert_eq!(answered.await.unwrap(), 2);
        }
    });
}

pub(crate) fn offloaded_work_may_wait(world: &impl World) {
    world.run(async move |place| {
        let (go, gone) = oneshot::channel::<u32>();
        let env = place.env.clone();
        let sender = place.env.tasks.spawn("sender", async move {
            env.clock.sleep(Duration::from_millis(2)).await;
            go.send(7).unwrap();
        });
        assert_eq!(place.env.tasks.offload(async move { gone.await.unwrap() }).await, 7);
        sender.await.unwrap();
    });
}

pub(crate) fn offloaded_work_whose_caller_left_is_done_whole_or_not_begun(world: &impl World) {
    world.run(async move |place| {
        for _ in 0..5 {
            let (begun, began) = oneshot::channel();
            let (ended, end) = oneshot::channel();
            let clock = place.env.clock.clone();
            let work = async move {
                begun.send(()).unwrap();
                clock.sleep(Duration::from_millis(1)).await;
                ended.send(()).unwrap();
            };
            poll_once(place.env.tasks.offload(work));
            assert_eq!(began.await.is_ok(), end.await.is_ok());
        }
    });
}
