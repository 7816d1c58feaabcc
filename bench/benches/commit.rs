//! Appends that wait for the disk: one commit after another, and many tasks that share commits.

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use rivven_bench::batches::{batch, batch_of_bytes};
use rivven_bench::engine::{Engine, Home, Prepared, options};

/// One append at a time, so that each is a WAL commit of its own: a write and a sync.
fn wal_commit(criterion: &mut Criterion) {
    let home = Home::new();
    let engine = home.open(options(&home.directory("commit")));
    let mut group = criterion.benchmark_group("wal_commit");
    group.sample_size(20);
    for (name, bytes) in [("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)] {
        let prepared = engine.prepare(batch_of_bytes(bytes));
        group.throughput(Throughput::Bytes(prepared.bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let begin = Instant::now();
                home.runtime.block_on(engine.append_times(&prepared, times));
                begin.elapsed()
            });
        });
    }
    group.finish();
    assert!(engine.storage.stats().syncs > 0, "commits were synced");
    home.close(&engine);
}

/// `times` appends, dealt over tasks that each wait for one before the next.
async fn append_from_tasks(engine: &Engine, batch: &Prepared, (tasks, times): (u64, u64)) {
    let spawned: Vec<_> = (0..tasks)
        .map(|task| {
            let (engine, batch) = (engine.clone(), batch.clone());
            let share = times / tasks + u64::from(task < times % tasks);
            tokio::spawn(async move { engine.append_times(&batch, share).await })
        })
        .collect();
    for task in spawned {
        task.await.expect("appends succeed");
    }
}

/// Batches of 100 bytes from many tasks: what group commit brings.
fn append(criterion: &mut Criterion) {
    let home = Home::new();
    let engine = home.open(options(&home.directory("append")));
    let prepared = engine.prepare(batch(1, 100));
    let mut group = criterion.benchmark_group("append_100B");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for tasks in [1, 16, 64, 256] {
        group.bench_function(format!("{tasks}_tasks"), |bencher: &mut Bencher<'_>| {
            bencher.iter_custom(|times| -> Duration {
                let begin = Instant::now();
                let all = append_from_tasks(&engine, &prepared, (tasks, times));
                home.runtime.block_on(all);
                begin.elapsed()
            });
        });
    }
    group.finish();
    home.close(&engine);
}

criterion_group!(benches, wal_commit, append);
criterion_main!(benches);
