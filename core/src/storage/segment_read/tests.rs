//! What a read says of bytes that are not what they were when it looked for them.

use rivven_io::Env;
use rivven_io::disk::OpenOptions;

use super::*;
use crate::ids::{LeaderEpoch, TimestampMs};
use crate::record::builder::{BatchBuilder, NewRecord};
use crate::record::header::patch;
use crate::storage::real_world::run;
use crate::storage::sample::Sample;

/// A file with that many batches, from the offset on, and where each begins.
async fn file_of(
    env: &Env,
    (base, batches): (i64, i64),
) -> (tempfile::TempDir, Arc<File>, Vec<u64>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("segment");
    let file = env.disk.open(&path, OpenOptions::write(Create::New)).await.expect("made");
    let mut bytes = Vec::new();
    let mut positions = Vec::new();
    for k in 0..batches {
        let builder = BatchBuilder::new(TimestampMs(1000 + k)).base_offset(Offset(base + k));
        let mut batch = builder.push(NewRecord::value(&[b'v'; 500])).build();
        patch(&mut batch, Offset(base + k), LeaderEpoch(0));
        positions.push(bytes.len() as u64);
        bytes.extend(batch);
    }
    positions.push(bytes.len() as u64);
    file.write_all_at(0, vec![Bytes::from(bytes)]).await.expect("written");
    (dir, Arc::new(file), positions)
}

#[test]
fn a_header_that_promises_more_than_the_segment_has_is_an_error_of_the_disk() {
    run(async |env| {
        let sample = Sample::new(&env, &[]).await;
        let (_dir, file, positions) = file_of(&env, (0, 2)).await;
        let request =
            ReadRequest { from: Offset(1), bytes_max: 1 << 20, at_least_one: true, cold: true };
        for missing in [0, 1] {
            let span = SegmentSpan {
                name: SegmentName::appended(Offset::ZERO),
                start: None,
                end: positions[2] - missing,
                active: false,
                limit: Offset(2),
                behind: Offset(2),
            };
            let mut reader = SegmentReader::new(&file, span.end, true);
            let from = (positions[1], span, request);
            match take_batches(&mut reader, &sample.partition, from).await {
                Ok(Span::Batches(data)) => {
                    assert_eq!((missing, data.len() as u64), (0, positions[2] - positions[1]));
                }
                Err(ReadError::Io { .. }) => assert_eq!(missing, 1),
                _ => panic!("neither whole nor misread, {missing} missing"),
            }
        }
        sample.storage.shutdown().await.expect("shuts down");
    });
}

#[test]
fn an_index_that_is_built_anew_has_an_entry_for_each_interval() {
    run(async |env| {
        let (_dir, file, positions) = file_of(&env, (70, 6)).await;
        let mut reader = SegmentReader::new(&file, positions[6], true);
        let built = reader.build_index(Offset(70), 1000).await.expect("built");
        let entries = built.index.entries().iter();
        let found: Vec<_> = entries
            .map(|entry| {
                let before = entry.max_timestamp_before.0;
                (entry.offset_delta, u64::from(entry.position), before)
            })
            .collect();
        assert!(built.is_whole);
        assert_eq!(found, [(2, positions[2], 1001), (4, positions[4], 1003)]);
    });
}
