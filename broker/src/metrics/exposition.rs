//! `/metrics`: every metric in one table, as Prometheus text.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use rivven_core::ids::PartitionId;
use rivven_core::metadata::image::Topic;
use rivven_core::storage::stats::{SYNC_BUCKETS_US, StorageStats};
use rivven_core::wire::request::Request;

use super::Metrics;
use super::histogram::{BOUNDS_US, Histogram as Durations};
use super::lag::{Lag, Lags, lags};
use crate::node::Node;
use rivven_core::kafka::codec::api::SERVED;

type Labels<'a> = &'a [(&'static str, &'a str)];

/// The text of all metrics.
pub(crate) async fn exposition(node: &Node) -> String {
    let lags = lags(node).await;
    let mut families = of_requests(node);
    families.extend(of_topics(node));
    families.extend(of_connections(node));
    families.extend(of_storage(&node.storage.stats()));
    let mut text = encode(&families);
    // There may be thousands of them: beside the executor, which others need.
    text += &node.env.tasks.offload(async move { encode(&of_groups(&lags)) }).await;
    text
}

fn encode(families: &[MetricFamily]) -> String {
    TextEncoder::new().encode_to_string(families).expect("every family here has a metric")
}

/// The name of each request, with its times: Kafka's by their own names, native ones behind theirs.
fn named_requests(metrics: &Metrics) -> Vec<(String, &Durations)> {
    let kafka = SERVED.iter().map(|api| format!("{:?}", api.key)).zip(&metrics.requests);
    let native = Request::NAMES.iter().map(|name| native_name(name)).zip(&metrics.native_requests);
    // A broker that no native client speaks to has no row for each thing that one could ask.
    let native = native.filter(|(_, histogram)| histogram.read().0.iter().any(|count| *count > 0));
    kafka.chain(native).collect()
}

/// What stands for the name of a request that could not be read.
const NO_REQUEST: &str = "Unreadable";

fn native_name(name: &str) -> String {
    format!("Native{name}")
}

fn of_requests(node: &Node) -> Vec<MetricFamily> {
    let metrics = &node.metrics;
    let named = named_requests(metrics);
    let durations = named.iter().map(|(name, histogram)| {
        let (counts, sum) = histogram.read();
        durations((&BOUNDS_US, &counts), sum, &[("api", name)])
    });
    let requests = named.iter().map(|(name, histogram)| {
        let count = histogram.read().0.iter().sum();
        counter(count, &[("api", name)])
    });
    let errors = metrics.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let native = metrics.native_errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let kafka = errors.iter().map(|((api, code), count)| (format!("{api:?}"), *code, *count));
    let native = native.iter().map(|((index, code), count)| {
        let name = index.map_or(NO_REQUEST, |index| Request::NAMES[index]);
        (native_name(name), *code, *count)
    });
    let errors = kafka.chain(native).map(|(name, code, count)| {
        let error = code.name().unwrap_or("unknown");
        counter(count, &[("api", &name), ("error", error)])
    });
    let mut families = vec![
        family(
            ("rivven_request_duration_seconds", MetricType::HISTOGRAM),
            "Time from a whole request to its answer.",
            durations.collect(),
        ),
        family(
            ("rivven_requests_total", MetricType::COUNTER),
            "Requests answered.",
            requests.collect(),
        ),
    ];
    let errors: Vec<Metric> = errors.collect();
    if !errors.is_empty() {
        families.push(family(
            ("rivven_request_errors_total", MetricType::COUNTER),
            "Errors in answers, one for each row.",
            errors,
        ));
    }
    families
}

fn of_topics(node: &Node) -> Vec<MetricFamily> {
    let image = node.storage.image();
    let metrics = &node.metrics;
    metrics.retain_topics(&image);
    let per_topic = |value: &dyn Fn(&Topic) -> Metric| -> Vec<Metric> {
        image.topics().map(|topic| value(topic)).collect()
    };
    let records = per_topic(&|topic| {
        let records = metrics.topic(topic).records.load(Ordering::Relaxed);
        counter(records, &[("topic", &topic.name)])
    });
    let bytes = per_topic(&|topic| {
        let bytes = metrics.topic(topic).bytes.load(Ordering::Relaxed);
        counter(bytes, &[("topic", &topic.name)])
    });
    let sizes = per_topic(&|topic| {
        let partitions = (0..topic.partitions)
            .filter_map(|index| node.storage.partition(PartitionId { topic: topic.id, index }));
        let bytes = partitions.map(|partition| partition.bytes()).sum::<u64>();
        gauge(bytes as f64, &[("topic", &topic.name)])
    });
    let mut families = vec![
        single(
            "rivven_log_partitions",
            "Partitions of all topics.",
            gauge(image.partitions() as f64, &[]),
        ),
        counted(
            "rivven_fetched_bytes_total",
            "Bytes of record batches sent to consumers.",
            metrics.fetched_bytes.load(Ordering::Relaxed),
        ),
    ];
    if !records.is_empty() {
        let counter = MetricType::COUNTER;
        families.extend([
            family(
                ("rivven_messages_total", counter),
                "Records published by clients, and acknowledged by the log.",
                records,
            ),
            family(
                ("rivven_bytes_total", counter),
                "Bytes of the batches of these records.",
                bytes,
            ),
            family(
                ("rivven_log_size_bytes", MetricType::GAUGE),
                "Bytes of the logs of a topic.",
                sizes,
            ),
        ]);
    }
    families
}

fn of_groups(lags: &Lags) -> Vec<MetricFamily> {
    let row = |lag: &Lag, value: f64| {
        let partition = lag.partition.to_string();
        let labels =
            [("group", &*lag.group), ("topic", &*lag.topic), ("partition", partition.as_str())];
        gauge(value, &labels)
    };
    let aged = lags.rows.iter().filter_map(|lag| Some(row(lag, lag.age?.as_secs_f64())));
    let records = lags.rows.iter().map(|lag| row(lag, lag.records as f64));
    let gauge = MetricType::GAUGE;
    let of_rows = [
        family(
            ("rivven_consumer_lag_seconds", gauge),
            "Age of the oldest record that a group has not committed, by its timestamp.",
            aged.collect(),
        ),
        family(
            ("rivven_consumer_lag_records", gauge),
            "Offsets between what a group has committed and the high watermark.",
            records.collect(),
        ),
    ];
    let mut families = vec![gauged(
        "rivven_consumer_lag_incomplete",
        "1 if a lag is missing here: too many, not read yet, or not readable in time.",
        u64::from(lags.is_incomplete),
    )];
    families.extend(of_rows.into_iter().filter(|family| !family.get_metric().is_empty()));
    families
}

fn of_connections(node: &Node) -> Vec<MetricFamily> {
    let metrics = &node.metrics;
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    vec![
        gauged(
            "rivven_connections_active",
            "Connections of clients.",
            get(&metrics.connections_active),
        ),
        counted(
            "rivven_connections_accepted_total",
            "Connections accepted.",
            get(&metrics.connections_accepted),
        ),
        counted(
            "rivven_connections_refused_total",
            "Connections closed because there were too many.",
            get(&metrics.connections_refused),
        ),
        gauged(
            "rivven_memory_used_bytes",
            "Memory of requests and answers, beyond what each connection has of its own.",
            node.budget.used() as u64,
        ),
        gauged(
            "rivven_groups_memory_bytes",
            "Memory of consumer groups, which is part of rivven_memory_used_bytes.",
            node.groups.memory_used() as u64,
        ),
        gauged(
            "rivven_memory_limit_bytes",
            "Most memory that requests and answers share.",
            node.budget.bytes_max() as u64,
        ),
    ]
}

fn of_storage(stats: &StorageStats) -> Vec<MetricFamily> {
    let syncs = durations((&SYNC_BUCKETS_US, &stats.sync_buckets), stats.sync_time, &[]);
    vec![
        family(
            ("rivven_wal_sync_duration_seconds", MetricType::HISTOGRAM),
            "Time of each sync of the WAL.",
            vec![syncs],
        ),
        counted("rivven_wal_commits_total", "Commits written to the WAL.", stats.commits),
        counted("rivven_wal_commit_bytes_total", "Bytes of these commits.", stats.commit_bytes),
        gauged(
            "rivven_wal_backlog_bytes",
            "Bytes of the WAL that no checkpoint covers.",
            stats.wal_used_bytes,
        ),
        gauged("rivven_wal_size_bytes", "Bytes of the WAL's files.", stats.wal_bytes),
        gauged(
            "rivven_wal_direct_io",
            "1 if the WAL bypasses the page cache.",
            u64::from(stats.direct_io),
        ),
        gauged(
            "rivven_tail_bytes",
            "Bytes of batches that are not in their segments yet.",
            stats.tail_bytes,
        ),
        gauged(
            "rivven_tail_memory_bytes",
            "Memory held for commits and the tail.",
            stats.arena_bytes,
        ),
        counted("rivven_checkpoints_total", "Checkpoints written.", stats.checkpoints),
        counted("rivven_batches_appended_total", "Batches appended.", stats.batches_appended),
        counted(
            "rivven_batches_recovered_total",
            "Batches that the WAL gave back at the start.",
            stats.recovered_batches,
        ),
        counted(
            "rivven_log_corrupt_batches_total",
            "Damaged batches that reads met.",
            stats.corrupt_batches,
        ),
        family(
            ("rivven_log_read_pause_seconds_total", MetricType::COUNTER),
            "Time that reads left the disk to commits.",
            vec![seconds(stats.reads_waited)],
        ),
        counted(
            "rivven_log_refused_appends_total",
            "Appends refused for lack of disk space.",
            stats.appends_without_room,
        ),
        counted("rivven_log_compactions_total", "Runs of the cleaner.", stats.compactions),
        counted(
            "rivven_log_compactions_stopped_total",
            "Logs whose compaction stopped at a batch that cannot be read.",
            stats.compactions_stopped,
        ),
    ]
}

fn family((name, kind): (&str, MetricType), help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn single(name: &str, help: &str, metric: Metric) -> MetricFamily {
    family((name, MetricType::GAUGE), help, vec![metric])
}

fn gauged(name: &str, help: &str, value: u64) -> MetricFamily {
    single(name, help, gauge(value as f64, &[]))
}

fn counted(name: &str, help: &str, value: u64) -> MetricFamily {
    family((name, MetricType::COUNTER), help, vec![counter(value, &[])])
}

fn seconds(time: Duration) -> Metric {
    counter_of(time.as_secs_f64(), &[])
}

fn labelled(labels: Labels<'_>) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

fn counter(value: u64, labels: Labels<'_>) -> Metric {
    counter_of(value as f64, labels)
}

fn counter_of(value: f64, labels: Labels<'_>) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(value: f64, labels: Labels<'_>) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

/// A histogram from counts that are not cumulative; there is one more of them than bounds.
fn durations((bounds_us, counts): (&[u64], &[u64]), sum: Duration, labels: Labels<'_>) -> Metric {
    let mut below = 0;
    let buckets = bounds_us.iter().zip(counts).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(Duration::from_micros(*bound).as_secs_f64());
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum.as_secs_f64());
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}
