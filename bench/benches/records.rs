//! What the broker does with each produced batch: all checks, and the CRC alone.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rivven_bench::batches::{batch, rules};
use rivven_core::metadata::topic_config::TopicConfig;
use rivven_core::record::header::compute_crc;
use rivven_core::record::validate::validate_produced;

fn records(criterion: &mut Criterion) {
    let config = TopicConfig::default();
    let rules = rules(&config);
    for (name, batch) in [("1KiB_x64", batch(64, 1024)), ("100B_x1", batch(1, 100))] {
        let mut group = criterion.benchmark_group("records");
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(format!("validate/{name}"), |bencher| {
            bencher.iter(|| validate_produced(&batch, &rules).expect("valid"));
        });
        group.bench_function(format!("crc/{name}"), |bencher| {
            bencher.iter(|| compute_crc(&batch));
        });
    }
}

criterion_group!(benches, records);
criterion_main!(benches);
