//! What a read says of bytes that are not what they were when it looked for them.

use super::*;
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
