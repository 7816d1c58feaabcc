//! What stands in a broker before it is measured: groups with offsets, and keyed records.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rivven_core::ids::TimestampMs;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rivven_core::kafka::messages::offset_fetch::OffsetFetchRequest;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use serde_json::{Value, json};

use crate::acks::produce;
use crate::peer::Peer;
use crate::{GroupsArguments, KeyedArguments, Outcome};

const COMMIT_VERSION: i16 = 9;
/// The last version that asks for one group by the fields of the request itself.
const FETCH_VERSION: i16 = 7;
const CONNECTIONS: u32 = 4;
const VALUE_BYTES: u64 = 1024;
const RECORDS_PER_BATCH: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn groups(arguments: &GroupsArguments) -> Outcome<Value> {
    let begun = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CONNECTIONS).map(|line| scope.spawn(move || commit_all(arguments, line))).collect();
        let all = threads.into_iter().map(|thread| thread.join().expect("it returns errors"));
        all.collect::<Outcome<()>>()
    })?;
    Ok(json!({ "groups": arguments.groups, "seconds": begun.elapsed().as_secs_f64() }))
}

fn name(group: u32) -> WireStr {
    WireStr::from(format!("idle-group-{group:06}"))
}

fn commit_all(arguments: &GroupsArguments, line: u32) -> Outcome<()> {
    let mut peer = Peer::connect(arguments.broker)?;
    let row = |index| OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: i64::from(index) + 1,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: WireStr::from(arguments.topic.as_str()),
        partitions: (0..arguments.partitions).map(row).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    for group in (0..arguments.groups).filter(|group| group % CONNECTIONS == line) {
        let request = OffsetCommitRequest {
            group_id: name(group),
            topics: vec![topic.clone()],
            ..OffsetCommitRequest::default()
        };
        let answer = peer.call(COMMIT_VERSION, &request)?;
        let rows = answer.topics.iter().flat_map(|topic| &topic.partitions);
        if let Some(code) = rows.map(|row| row.error_code).find(|code| code.is_error()) {
            return Err(format!("commit: {code}").into());
        }
    }
    Ok(())
}

/// Asks for every group once, each until its coordinator knows it.
pub(crate) fn ask(arguments: &GroupsArguments) -> Outcome<Value> {
    let begun = Instant::now();
    let mut peer = Peer::connect(arguments.broker)?;
    for group in 0..arguments.groups {
        let request = OffsetFetchRequest {
            group_id: name(group),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        loop {
            let answer = peer.call(FETCH_VERSION, &request)?;
            if !answer.error_code.is_error() {
                let rows: usize = answer.topics.iter().map(|topic| topic.partitions.len()).sum();
                if rows != usize::try_from(arguments.partitions)? {
                    return Err(format!("group {group} has {rows} offsets").into());
                }
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("group {group}: {}", answer.error_code).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(json!({ "groups": arguments.groups, "seconds": begun.elapsed().as_secs_f64() }))
}

/// Keys come in no order, so that many batches hold both what is live and what is not.
pub(crate) fn keyed(arguments: &KeyedArguments) -> Outcome<Value> {
    let begun = Instant::now();
    let records = arguments.mib * (1 << 20) / VALUE_BYTES;
    let keys = (records * arguments.live_percent / 100).max(1);
    let mut peer = Peer::connect(arguments.broker)?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = TimestampMs(i64::try_from(since_epoch.as_millis())?);
    let value = vec![b'v'; usize::try_from(VALUE_BYTES)?];
    let (mut number, mut state) = (0, 0x9E37_79B9_7F4A_7C15_u64);
    while number < records {
        let until = (number + RECORDS_PER_BATCH).min(records);
        let mut builder = BatchBuilder::new(now);
        for _ in number..until {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let key = format!("key-{:012}", state % keys);
            builder.append(NewRecord::keyed(key.as_bytes(), &value));
        }
        produce(&mut peer, (&arguments.topic, 0), &Bytes::from(builder.build()))?;
        number = until;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({ "records": records, "keys": keys, "seconds": seconds }))
}
