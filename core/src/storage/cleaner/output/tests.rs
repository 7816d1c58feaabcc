//! A segment takes the place of others only if its file is there.

use super::*;
use crate::record::builder::{BatchBuilder, NewRecord};
use crate::storage::real_world::run;
use crate::storage::sample::Sample;

#[test]
fn a_segment_whose_file_is_gone_is_not_finished() {
    run(async |env| {
        let sample = Sample::new(&env, &["a", "b", "c"]).await;
        let sources = sample.partition.lock().log.sealed().to_vec();
        assert_eq!(sources.len(), 2, "each value fills a segment");
        for is_lost in [false, true] {
            let place = (&sample.storage.shared, &sample.partition);
            let Ok(mut output) = Output::create(place, &sources).await else {
                panic!("the folder is there");
            };
            let record = NewRecord::keyed(b"a", b"v");
            let batch = BatchBuilder::new(TimestampMs(1)).push(record).build();
            output.push(batch.into()).await.expect("written");
            if is_lost {
                let name = layout::segment_file_name(output.segment.name());
                let path = sample.partition.folder().join(name);
                env.disk.remove_file(&path).await.expect("it was there");
            }
            match output.finish().await {
                Ok(segment) => assert!(!is_lost && segment.end == sources[1].end),
                Err(stop) => {
                    assert!(is_lost && matches!(stop, Stop::Disk(_)));
                    assert!(sample.partition.lock().written.is_none(), "it is given up");
                }
            }
        }
        sample.storage.shutdown().await.expect("shuts down");
    });
}
