//! Claims about time.

use std::time::Duration;

use rivven_io::clock::Elapsed;

use crate::world::World;

pub(crate) fn monotonic_time_never_goes_back(world: &impl World) {
    world.run(async move |place| {
        let mut last = place.env.clock.now();
        for round in 0..1000 {
            if round % 100 == 0 {
                place.env.clock.sleep(Duration::from_micros(10)).await;
            }
            let now = place.env.clock.now();
            assert!(now >= last);
            last = now;
        }
    });
}

pub(crate) fn sleep_lasts_at_least_its_duration_everywhere(world: &impl World) {
    world.run(async move |place| {
        let measured = |env: rivven_io::Env, ms: u64| async move {
            let before = env.clock.now();
            env.clock.sleep(Duration::from_millis(ms)).await;
            let slept = env.clock.now().since(before);
            assert!(slept >= Duration::from_millis(ms), "{slept:?} of {ms} ms");
        };
        for ms in [0, 1, 5] {
            let (env, tasks) = (place.env.clone(), &place.env.tasks);
            measured(env.clone(), ms).await;
            tasks.spawn("sleeper", measured(env.clone(), ms)).await.unwrap();
            tasks.spawn_dedicated("sleeper", measured(env.clone(), ms)).await.unwrap();
            tasks.offload(measured(env, ms)).await;
        }
    });
}

pub(crate) fn a_timeout_drops_what_is_late_and_passes_what_is_ready(world: &impl World) {
    world.run(async move |place| {
        let clock = &place.env.clock;
        let never = std::future::pending::<()>();
        assert_eq!(clock.timeout(Duration::from_millis(2), never).await, Err(Elapsed));
        assert_eq!(clock.timeout(Duration::ZERO, std::future::ready(7)).await, Ok(7));
        let soon = clock.sleep(Duration::from_millis(1));
        assert_eq!(clock.timeout(Duration::from_secs(60), soon).await, Ok(()));
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let late = async move {
            std::future::pending::<()>().await;
            drop(held);
        };
        assert_eq!(clock.timeout(Duration::from_millis(1), late).await, Err(Elapsed));
        assert!(dropped.await.is_err());
    });
}

pub(crate) fn wall_time_is_of_this_age(world: &impl World) {
    world.run(async move |place| {
        const Y2025_MS: i64 = 1_735_689_600_000;
        const Y2100_MS: i64 = 4_102_444_800_000;
        assert!((Y2025_MS..Y2100_MS).contains(&place.env.clock.wall_ms()));
    });
}
