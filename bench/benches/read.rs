//! Reads of 1 MiB: from memory right after the append, and from a segment in the page cache.

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use rivven_bench::batches::batch;
use rivven_bench::engine::{Engine, Home, options};
use rivven_core::ids::Offset;
use rivven_core::storage::read::{ReadRequest, batches};

const READ_BYTES: usize = 1 << 20;
/// Records of one batch, each of 1 KiB.
const BATCH_RECORDS: i64 = 64;

/// Reads from `from`, beside the executor if the disk must be waited for; bytes that came.
async fn read(engine: &Engine, from: Offset) -> usize {
    let mut request = ReadRequest { from, bytes_max: READ_BYTES, at_least_one: true, cold: false };
    let answer = engine.storage.read(&engine.partition, request).await.expect("readable");
    if !answer.would_wait {
        return answer.data.iter().map(|piece| piece.len()).sum();
    }
    request.cold = true;
    let answer = engine.storage.read(&engine.partition, request).await.expect("readable");
    answer.data.iter().map(|piece| piece.len()).sum()
}

/// Reads round and round the first `mib` MiB of the log.
fn bench_reads(bencher: &mut Bencher<'_>, home: &Home, (engine, mib): (&Engine, i64)) {
    let mut turn = 0;
    bencher.iter(|| {
        // 15 batches are less than 1 MiB with their headers, so a read never gives fewer.
        let from = Offset(turn % mib * 15 * BATCH_RECORDS);
        turn += 1;
        let bytes = home.runtime.block_on(read(engine, from));
        assert!(bytes > READ_BYTES * 9 / 10, "a read gave {bytes} bytes");
        bytes
    });
}

/// Appends `mib` times 16 batches, which is a little more than as many MiB.
fn fill(home: &Home, engine: &Engine, mib: i64) {
    let prepared = engine.prepare(batch(BATCH_RECORDS.unsigned_abs() as usize, 1024));
    let count = mib.unsigned_abs() * 16;
    home.runtime.block_on(engine.append_times(&prepared, count));
}

fn reads(criterion: &mut Criterion) {
    let home = Home::new();
    let mut group = criterion.benchmark_group("read_1MiB");
    group.throughput(Throughput::Bytes(READ_BYTES as u64));

    let directory = home.directory("tail");
    let engine = home.open(options(&directory));
    fill(&home, &engine, 4);
    assert!(engine.storage.stats().tail_bytes > 4 << 20, "so little is not copied yet");
    group.bench_function("tail", |bencher| bench_reads(bencher, &home, (&engine, 4)));
    home.close(&engine);

    let directory = home.directory("segment");
    let engine = home.open(options(&directory));
    fill(&home, &engine, 128);
    home.close(&engine);
    let engine = home.open(options(&directory));
    assert_eq!(engine.storage.stats().tail_bytes, 0, "a clean stop leaves it all in segments");
    let everything = home.runtime.block_on(read(&engine, Offset(0)));
    assert!(everything > 0, "the log was not deleted");
    group.bench_function("segment", |bencher| bench_reads(bencher, &home, (&engine, 128)));
    home.close(&engine);
    group.finish();
}

/// A consumer also splits what it read; the broker does so in recovery.
fn split(criterion: &mut Criterion) {
    let mut data = batch(BATCH_RECORDS.unsigned_abs() as usize, 1024);
    data = data.repeat(15);
    let data = [bytes::Bytes::from(data)];
    criterion.bench_function("split_1MiB_of_batches", |bencher| {
        bencher.iter(|| batches(&data).count());
    });
}

criterion_group!(benches, reads, split);
criterion_main!(benches);
