//! Tests of the simulated world as a whole: repeatability, lives of nodes, time, tasks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::Env;
use crate::disk::{Create, OpenOptions};
use crate::sim::disk::DiskFaults;
use crate::sim::net::LinkConfig;
use crate::sim::node::EXIT_PANICKED;
use crate::sim::{Resources, World, trace};
use crate::task::TaskEnd;

/// Appends what it reads from its connections to a file, syncs it, and answers a byte.
async fn serve(env: Env, addr: SocketAddr) -> std::io::Result<()> {
    let disk = env.disk.clone();
    disk.create_dir_all(Path::new("/data")).await?;
    disk.sync_dir(Path::new("/")).await?;
    let listener = env.net.listen(addr).await?;
    loop {
        let mut stream = listener.accept().await?;
        let file = disk.open(Path::new("/data/log"), OpenOptions::write(Create::IfMissing)).await?;
        disk.sync_dir(Path::new("/data")).await?;
        env.tasks.spawn("connection", async move {
            let mut buf = BytesMut::with_capacity(256);
            while stream.reader.read(&mut buf).await? > 0 {
                let data = buf.split().freeze();
                file.write_all_at(file.len().await?, vec![data]).await?;
                file.sync_data().await?;
                stream.writer.write_all(b".").await?;
                buf.reserve(256);
            }
            std::io::Result::Ok(())
        });
    }
}

async fn request(env: &Env, addr: SocketAddr, number: u64) -> std::io::Result<()> {
    let mut stream = env.net.connect(addr).await?;
    stream.writer.write_all(&number.to_le_bytes()).await?;
    stream.reader.read(&mut BytesMut::with_capacity(8)).await?;
    env.clock.sleep(Duration::from_millis(env.rng.u64() % 20)).await;
    Ok(())
}

/// A run with a client, a server that crashes, a slow network and disk faults; its world.
fn busy_run(seed: u64, faults: &DiskFaults) -> World {
    let world = World::new(seed);
    world.net().set_all(&LinkConfig { tail: 0.1, ..LinkConfig::default() });
    world.run(async {
        let (client, server) = (world.node(1), world.node(2));
        server.disk().set_faults(faults.clone());
        let addr = SocketAddr::new(server.ip(), 9092);
        for round in 0..5 {
            let env = server.env();
            drop(server.spawn(async move { serve(env, addr).await }));
            let env = client.env();
            let requests = client.spawn(async move {
                for number in 0..20 {
                    let request = request(&env, addr, number);
                    let _ = env.clock.timeout(Duration::from_millis(50), request).await;
                    env.clock.sleep(Duration::from_millis(1)).await;
                }
            });
            world.sleep(Duration::from_millis(100)).await;
            if round % 2 == 0 {
                server.power_cut()
            } else {
                server.kill()
            }
            server.restart();
            requests.await.unwrap();
        }
    });
    world
}

fn faulty() -> DiskFaults {
    DiskFaults { sync_error: 0.02, short_write: 0.1, short_read: 0.1, ..DiskFaults::default() }
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_seed_a_different_one() {
    // One thread per run: what libraries keep per thread starts anew, as in a fresh process.
    let run = |seed| {
        std::thread::spawn(move || {
            let world = busy_run(seed, &faulty());
            (world.trace_hash(), world.trace_records(), world.now())
        })
        .join()
        .unwrap()
    };
    let (first, second, other) = (run(1), run(1), run(2));
    let differing = first.1.iter().zip(&second.1).find(|(left, right)| left != right);
    assert_eq!(differing, None);
    assert_eq!((first.0, first.2), (second.0, second.2));
    assert!(first.1.len() > 100, "{} events", first.1.len());
    assert_ne!(first.0, other.0);
}

#[test]
fn removing_one_fault_leaves_the_draws_of_the_others_as_they_were() {
    // The lengths of single reads of a file by a lone task: they depend on `short_read` only.
    let lengths = |faults: DiskFaults| {
        let world = World::new(9);
        world.run(async {
            let node = world.node(1);
            let disk = node.env().disk;
            let file = disk.open(Path::new("/f"), OpenOptions::write(Create::New)).await.unwrap();
            file.write_all_at(0, vec![Bytes::from(vec![1; 1000])]).await.unwrap();
            node.disk().set_faults(faults);
            let mut lengths = Vec::new();
            for _ in 0..100 {
                let _ = file.sync_data().await;
                let _ = file.write_all_at(0, vec![Bytes::from(vec![2; 10])]).await;
                lengths.push(file.read_at(0, 1000, BytesMut::new()).await.unwrap().len());
            }
            lengths
        })
    };
    let alone = DiskFaults { short_read: 0.5, ..DiskFaults::default() };
    let stall_max = Duration::from_millis(20);
    let others =
        DiskFaults { sync_error: 0.3, write_error: 0.3, stall: 0.1, stall_max, ..alone.clone() };
    assert_eq!(lengths(alone), lengths(others));
}

#[test]
fn events_are_traced_in_order_and_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let world = World::new(1);
    world.trace_to(&path).unwrap();
    world.run(async {
        trace::event(3, "test.first", 1, 2);
        world.sleep(Duration::from_millis(5)).await;
        trace::event(3, "test.second", 3, 4);
    });
    world.flush_trace().unwrap();
    let records = world.trace_records();
    assert_eq!(records.iter().map(|r| r.kind).collect::<Vec<_>>(), ["test.first", "test.second"]);
    assert!(records[1].at_ns - records[0].at_ns >= 5_000_000);
    let lines = std::fs::read_to_string(&path).unwrap();
    assert_eq!(lines, format!("{}\n{}\n", records[0], records[1]));
    drop(world);
    trace::event(3, "test.outside", 0, 0);
}

#[test]
fn a_task_ends_by_value_abort_kill_or_panic_and_its_owner_learns_which() {
    let world = World::new(1);
    world.run(async {
        let node = world.node(1);
        let forever = std::future::pending::<u64>;
        assert_eq!(node.spawn(async { 7 }).await, Ok(7));
        let aborted = node.spawn(forever());
        aborted.abort();
        assert_eq!(aborted.await, Err(TaskEnd::Cancelled));
        let clock = node.env().clock;
        let dedicated = node.env().tasks.spawn_dedicated("committer", async move {
            clock.sleep(Duration::from_secs(1)).await;
            8
        });
        dedicated.abort();
        assert_eq!(dedicated.await, Ok(8), "a dedicated task is not aborted");
        let panicked = node.spawn(async { panic!("at {}", 9) });
        assert_eq!(panicked.await, Err::<u64, _>(TaskEnd::Panicked("at 9".into())));
        let panics = world.take_panics();
        assert_eq!((panics.len(), panics[0].node, panics[0].message.as_str()), (1, 1, "at 9"));
        assert_eq!(node.resources(), Resources::default());
        let killed = node.spawn(forever());
        node.kill();
        assert_eq!(killed.await, Err(TaskEnd::Cancelled));
        assert_eq!(node.spawn(async { 1 }).await, Err(TaskEnd::Cancelled));
    });
}

#[test]
fn destructors_that_run_in_a_kill_are_refused_and_their_panics_are_reports() {
    struct Late(Arc<AtomicU64>, Env);
    impl Drop for Late {
        fn drop(&mut self) {
            let late = self.0.clone();
            drop(self.1.tasks.spawn("late", async move { late.fetch_add(1, Relaxed) }));
            panic!("in a destructor");
        }
    }
    let world = World::new(1);
    world.run(async {
        let node = world.node(1);
        let ran = Arc::new(AtomicU64::new(0));
        let late = Late(ran.clone(), node.env());
        let task = node.spawn(async move {
            let _late = late;
            std::future::pending::<()>().await;
        });
        world.sleep(Duration::from_millis(1)).await;
        node.kill();
        node.restart();
        assert_eq!(task.await, Err(TaskEnd::Cancelled));
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(ran.load(Relaxed), 0);
        assert_eq!(world.take_panics()[0].message, "in a destructor");
        assert_eq!((node.incarnation(), node.is_up()), (2, true));
    });
}

#[test]
fn offloaded_work_is_done_whole_even_if_nobody_waits_for_it() {
    let world = World::new(1);
    world.run(async {
        let env = world.node(1).env();
        let done = Arc::new(AtomicU64::new(0));
        let (clock, count) = (env.clock.clone(), done.clone());
        let work = env.tasks.offload(async move {
            clock.sleep(Duration::from_secs(5)).await;
            count.fetch_add(1, Relaxed)
        });
        assert!(env.clock.timeout(Duration::from_secs(1), work).await.is_err());
        world.sleep(Duration::from_secs(10)).await;
        assert_eq!(done.load(Relaxed), 1);
    });
}

#[test]
fn a_process_exits_with_the_code_of_its_main_future() {
    type Main = fn(Env) -> futures_of::Main;
    let cases: [(&str, Main, Option<i32>); 3] = [
        ("returns", |_| Box::pin(async { 4 }), Some(4)),
        ("panics", |_| Box::pin(async { panic!("gone") }), Some(EXIT_PANICKED)),
        ("is killed", |_| Box::pin(std::future::pending()), None),
    ];
    for (name, main, expected) in cases {
        let world = World::new(1);
        world.run(async {
            let node = world.node(1);
            let other = node.spawn(std::future::pending::<()>());
            node.spawn_main(main(node.env()));
            if expected.is_none() {
                world.sleep(Duration::from_secs(1)).await;
                node.kill();
            }
            assert_eq!(node.ended().await, expected, "{name}");
            assert_eq!(other.await, Err(TaskEnd::Cancelled), "{name}");
            node.restart();
            assert_eq!((node.exit_code(), node.is_up()), (None, true), "{name}");
        });
    }
}

mod futures_of {
    pub(super) type Main = std::pin::Pin<Box<dyn Future<Output = i32> + Send>>;
}

#[test]
fn sleeps_are_exact_and_end_in_the_order_of_their_deadlines() {
    let world = World::new(1);
    world.run(async {
        let clock = world.node(1).env().clock;
        for nanos in [1_000, 250_000, 3_000_000, 60_000_000_000] {
            let before = clock.now();
            clock.sleep(Duration::from_nanos(nanos)).await;
            let slept = clock.now().since(before).as_nanos() as u64;
            assert!((nanos..nanos + 2_000).contains(&slept), "{nanos}: {slept}");
        }
        let short = clock.timeout(Duration::from_millis(1), clock.sleep(Duration::from_millis(2)));
        assert!(short.await.is_err());
    });
}

#[test]
fn wall_clocks_drift_and_step_while_monotonic_time_goes_on() {
    // Drift in ppm, step in ms, and the milliseconds that the wall clock gains in 1000 s.
    let cases = [(0, 0, 0), (50_000, 0, 50_000), (-50_000, 0, -50_000), (0, -7_000, -7_000)];
    for (drift_ppm, step_ms, gained_ms) in cases {
        let world = World::new(1);
        world.run(async {
            let node = world.node(1);
            let clock = node.env().clock;
            let (wall_ms, monotonic) = (clock.wall_ms(), clock.now());
            node.clock().set_drift(drift_ppm);
            world.sleep(Duration::from_secs(1000)).await;
            node.clock().step(step_ms);
            let passed_ms = clock.now().since(monotonic).as_millis() as i64;
            let gained = clock.wall_ms() - wall_ms - passed_ms;
            assert!((gained - gained_ms).abs() <= 1, "{gained} of {gained_ms}");
            assert_eq!(world.fault_counts().len(), usize::from(gained_ms != 0));
        });
    }
}

#[test]
fn a_fault_of_a_clock_is_its_nodes_own_and_counts_when_somebody_looks() {
    type Fault = fn(&World);
    let cases: [(&str, Fault); 3] = [
        ("C1", |world| world.node(1).clock().set_offset(-3_000)),
        ("C2", |world| world.node(1).clock().set_drift(50_000)),
        ("C3", |world| world.node(1).clock().step(600_000)),
    ];
    for (kind, fault) in cases {
        let world = World::new(1);
        world.run(async {
            let (clock, other) = (world.node(1).env().clock, world.node(2).env().clock);
            let (before, monotonic) = (world.now(), clock.now());
            fault(&world);
            world.sleep(Duration::from_secs(10)).await;
            assert!(world.fault_counts().is_empty(), "{kind}");
            assert_ne!(clock.wall_ms(), other.wall_ms(), "{kind}");
            assert_eq!(clock.now().since(monotonic), world.now() - before, "{kind}");
            assert_eq!(world.fault_counts().into_iter().collect::<Vec<_>>(), [(kind, 1)]);
        });
    }
}

#[test]
fn polls_of_a_slow_processor_take_time_one_after_the_other() {
    // Milliseconds until ten tasks of a node have been polled ten times each.
    let took = |cost: Duration| {
        let world = World::new(1);
        let millis = world.run(async {
            let (slow, other) = (world.node(1), world.node(2));
            slow.set_poll_cost(cost);
            let begin = world.now();
            let yields = || async {
                for _ in 0..9 {
                    tokio::task::yield_now().await;
                }
            };
            let tasks: Vec<_> = (0..10).map(|_| slow.spawn(yields())).collect();
            other.spawn(yields()).await.unwrap();
            assert!(world.now() - begin < Duration::from_millis(1));
            for task in tasks {
                task.await.unwrap();
            }
            (world.now() - begin).as_millis()
        });
        (millis, world.fault_counts().contains_key("P9"))
    };
    assert_eq!(took(Duration::ZERO), (0, false));
    let (millis, counted) = took(Duration::from_millis(2));
    assert!((170..230).contains(&millis) && counted, "{millis}");
}

#[test]
fn a_line_for_the_processor_outlives_the_tasks_in_it() {
    let world = World::new(1);
    world.run(async {
        let node = world.node(1);
        node.set_poll_cost(Duration::from_millis(10));
        let first = node.spawn(std::future::pending::<()>());
        let waiting: Vec<_> = (0..5).map(|_| node.spawn(async {})).collect();
        world.sleep(Duration::from_millis(1)).await;
        waiting[0].abort();
        waiting[1].abort();
        for task in waiting.into_iter().skip(2) {
            task.await.unwrap();
        }
        let in_line: Vec<_> = (0..5).map(|_| node.spawn(async {})).collect();
        world.sleep(Duration::from_millis(1)).await;
        node.kill();
        node.restart();
        drop((first, in_line));
        node.spawn(async {}).await.unwrap();
        let last: Vec<_> = (0..5).map(|_| node.spawn(async {})).collect();
        world.sleep(Duration::from_millis(1)).await;
        let before = world.now();
        node.set_poll_cost(Duration::ZERO);
        for task in last {
            task.await.unwrap();
        }
        assert!(world.now() - before < Duration::from_millis(1));
    });
}

#[test]
fn a_task_that_is_to_panic_does_so_alone_and_is_told_apart() {
    let world = World::new(1);
    world.run(async {
        let node = world.node(1);
        let (clock, tasks) = (node.env().clock, node.env().tasks);
        let sleeper = |seconds| {
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(seconds)).await }
        };
        let (chosen, other) = (tasks.spawn("chosen", sleeper(5)), tasks.spawn("other", sleeper(5)));
        world.sleep(Duration::from_secs(1)).await;
        node.panic_task("chosen");
        assert!(matches!(chosen.await, Err(TaskEnd::Panicked(_))));
        assert_eq!(other.await, Ok(()));
        assert_eq!(tasks.spawn("chosen", sleeper(1)).await, Ok(()));
        let panics = world.take_panics();
        assert_eq!(panics.len(), 1);
        assert!(panics[0].injected && panics[0].task == "chosen");
        assert_eq!(world.fault_counts()["P8"], 1);
    });
}

#[test]
fn a_paused_node_stands_still_while_the_world_goes_on() {
    let world = World::new(1);
    world.run(async {
        let node = world.node(1);
        let clock = node.env().clock;
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = ticks.clone();
        drop(node.spawn(async move {
            loop {
                clock.sleep(Duration::from_secs(1)).await;
                counted.fetch_add(1, Relaxed);
            }
        }));
        world.sleep(Duration::from_millis(2_500)).await;
        assert!(node.pause() && !node.pause());
        world.sleep(Duration::from_millis(100)).await;
        assert!(node.resume() && !node.resume());
        assert!(world.fault_counts().is_empty(), "nothing was missed");
        assert!(node.pause());
        world.sleep(Duration::from_secs(60)).await;
        assert_eq!(ticks.load(Relaxed), 2);
        assert!(node.resume());
        assert_eq!(world.fault_counts()["P4"], 1);
        world.sleep(Duration::from_millis(1_500)).await;
        assert_eq!(ticks.load(Relaxed), 4);
        assert!(node.pause());
        node.kill();
        assert!(!node.pause() && !node.resume());
        node.restart();
        node.spawn(async {}).await.unwrap();
    });
}

#[test]
fn a_spin_shows_as_polls_without_progress_and_work_does_not() {
    let polls_of = |spins: u64| {
        let world = World::new(1);
        world.run(async {
            let node = world.node(1);
            let disk = node.env().disk;
            node.spawn(async move {
                for _ in 0..spins {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .unwrap();
            node.spawn(async move {
                for _ in 0..1000 {
                    disk.create_dir_all(Path::new("/d")).await.unwrap();
                }
            })
            .await
            .unwrap();
        });
        world.max_polls_without_progress()
    };
    assert!(polls_of(0) < 10);
    assert!(polls_of(5_000) >= 5_000);
}

#[test]
fn a_quarter_of_the_sites_fires_a_quarter_of_the_times_unless_switched_off() {
    let sites = ["a", "b", "c", "d", "e"];
    let mut active = 0;
    for seed in 0..200 {
        let world = World::new(seed);
        let env = world.node(1).env();
        for site in sites {
            let fired = (0..100).filter(|_| env.buggify(site)).count();
            assert!(fired < 50, "{fired}");
            active += usize::from(fired > 0);
        }
        world.set_buggify(false);
        assert!(sites.iter().all(|site| (0..50).all(|_| !env.buggify(site))));
    }
    assert!((200..300).contains(&active), "{active} of 1000");
}

#[test]
fn randomness_differs_by_node_and_by_incarnation() {
    let world = World::new(1);
    let (first, other) = (world.node(1), world.node(2));
    let drawn = first.env().rng.u64();
    assert_ne!(drawn, other.env().rng.u64());
    let base = first.env().clock.now();
    first.restart();
    assert_ne!(drawn, first.env().rng.u64());
    assert_ne!(base, first.env().clock.now(), "monotonic clocks of two lives are strangers");
    assert_eq!(drawn, World::new(1).node(1).env().rng.u64());
}
