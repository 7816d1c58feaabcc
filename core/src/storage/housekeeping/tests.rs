//! What is removed is what nobody wants, also while the cleaner writes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::storage::real_world::run;
use crate::storage::sample::Sample;

#[test]
fn a_stray_s_name_is_not_taken_from_a_file_that_the_cleaner_begins() {
    run(async |env| {
        let sample = Sample::new(&env, &["a", "b", "c"]).await;
        let (shared, partition) = (&sample.storage.shared, &sample.partition);
        let name = SegmentName { base: Offset::ZERO, generation: 1 };
        let path = partition.folder().join(layout::segment_file_name(name));
        let folders = shared.folders.lock().await;
        let options = OpenOptions::write(Create::New);
        env.disk.open(&path, options).await.expect("left by a crash");
        let mut removing = pin!(remove_stray_segments(shared, partition));
        let is_waiting = poll_fn(|cx| Poll::Ready(removing.as_mut().poll(cx).is_pending()));
        assert!(is_waiting.await, "somebody has the folders");
        partition.lock().written = Some(name);
        drop(folders);
        removing.await.expect("looked");
        assert!(env.disk.file_len(&path).await.expect("known").is_some(), "it is being written");
        partition.lock().written = None;
        remove_stray_segments(shared, partition).await.expect("removed");
        assert!(env.disk.file_len(&path).await.expect("known").is_none(), "nobody wants it");
        sample.storage.shutdown().await.expect("shuts down");
    });
}
