//! What a read says of bytes that are not what they were when it looked for them.

use rivven_io::disk::OpenOptions;

use super::*;
use crate::ids::TimestampMs;
use crate::record::builder::{BatchBuilder, NewRecord};
use crate::storage::real_world::run;
use crate::storage::sample::Sample;

#[test]
fn a_header_that_promises_more_than_the_segment_has_is_an_error_of_the_disk() {
    run(async |env| {
        let mut sample = Sample::new(&env, &["a", "b"]).await;
        sample.reopen(&env).await;
        let (shared, partition) = (&sample.storage.shared, &sample.partition);
        let segment = partition.lock().log.sealed()[0];
        let opened = shared.files.segment(partition, segment.name(), Create::Never).await;
        let file = opened.expect("it was copied");
        let request =
            ReadRequest { from: Offset::ZERO, bytes_max: 1 << 20, at_least_one: true, cold: true };
        for missing in [0, 1] {
            let span = SegmentSpan {
                name: segment.name(),
                start: None,
                end: segment.bytes - missing,
                active: false,
                limit: segment.end,
                behind: segment.end,
            };
            let mut reader = SegmentReader::new(&file, span.end, true);
            match take_batches(&mut reader, partition, (0, span, request)).await {
                Ok(Span::Batches(data)) => assert_eq!((missing, data.len() as u64), (0, span.end)),
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
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("segment");
        let file =
            Arc::new(env.disk.open(&path, OpenOptions::write(Create::New)).await.expect("made"));
        let mut bytes = Vec::new();
        let mut positions = Vec::new();
        for k in 0..6 {
            let builder = BatchBuilder::new(TimestampMs(1000 + k)).base_offset(Offset(70 + k));
            positions.push(u32::try_from(bytes.len()).expect("small"));
            bytes.extend(builder.push(NewRecord::value(&[b'v'; 500])).build());
        }
        let end = bytes.len() as u64;
        file.write_all_at(0, vec![Bytes::from(bytes)]).await.expect("written");
        let mut reader = SegmentReader::new(&file, end, true);
        let built = reader.build_index(Offset(70), 1000).await.expect("built");
        let found: Vec<_> = built
            .index
            .entries()
            .iter()
            .map(|entry| (entry.offset_delta, entry.position, entry.max_timestamp_before.0))
            .collect();
        assert!(built.is_whole);
        assert_eq!(found, [(2, positions[2], 1001), (4, positions[4], 1003)]);
    });
}
