//! Opening a data directory whose last batches stand in the WAL only, as after a kill.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use rivven_bench::batches::batch;
use rivven_bench::engine::{Home, options};
use rivven_core::storage::options::StorageOptions;

const MIB: u64 = 1 << 20;

/// No checkpoint but one that the ring asks for when it is half full, which it never is here.
fn small_ring(root: &Path) -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 64 * MIB,
        wal_files: 3,
        checkpoint_interval: Duration::from_secs(3600),
        retention_interval: Duration::from_secs(3600),
        ..options(root)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listable") {
        let entry = entry.expect("listable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

/// Makes a directory with `appends` batches of 64 KiB that no checkpoint covers.
fn make(home: &Home, name: &str, appends: u64) {
    let work = home.directory("work");
    let engine = home.open(small_ring(&work));
    let prepared = engine.prepare(batch(64, 1024));
    home.runtime.block_on(engine.append_times(&prepared, appends));
    copy(&work, &home.directory(name));
    home.close(&engine);
    fs::remove_dir_all(&work).expect("removed");
}

/// Opens a fresh copy of a directory; the time that took.
fn open_copy(home: &Home, name: &str, appends: u64) -> Duration {
    let (from, to) = (home.directory(name), home.directory("copy"));
    copy(&from, &to);
    let begin = Instant::now();
    let engine = home.open(small_ring(&to));
    let took = begin.elapsed();
    assert_eq!(engine.storage.recovered_batches(), appends, "everything was in the WAL");
    home.close(&engine);
    fs::remove_dir_all(&to).expect("removed");
    took
}

fn recovery(criterion: &mut Criterion) {
    let home = Home::new();
    let mut group = criterion.benchmark_group("recovery_of_wal");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, appends) in [("0MiB", 0), ("1MiB", 16), ("32MiB", 512)] {
        make(&home, name, appends);
        group.throughput(Throughput::Bytes(appends.max(1) * 65_536));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| open_copy(&home, name, appends)).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, recovery);
criterion_main!(benches);
