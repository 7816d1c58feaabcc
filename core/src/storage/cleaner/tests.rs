//! Runs of the cleaner, begun and watched by the test.

use super::*;
use crate::metadata::command::MetadataCommand;
use crate::storage::real_world::run;
use crate::storage::sample::Sample;

/// Two values of a key, its tombstone, and an active segment.
async fn with_tombstone(env: &rivven_io::Env) -> (Sample, Cleaner, Job) {
    let mut sample = Sample::new(env, &["a", "a"]).await;
    sample.put("a", None).await;
    sample.put("b", Some(b"value")).await;
    sample.reopen(env).await;
    let mut cleaner = Cleaner::new(sample.storage.shared.clone());
    let job = cleaner.job(&sample.partition).expect("all of it is dirty");
    assert_eq!((job.cleaned, job.end()), (Offset(0), Offset(3)));
    (sample, cleaner, job)
}

#[test]
fn a_batch_for_which_there_is_no_room_stays_and_counts_as_not_compared() {
    run(async |env| {
        let (sample, mut cleaner, job) = with_tombstone(&env).await;
        // The two values go; the tombstone with its delete horizon is larger than without.
        cleaner.segment_bytes_max = 0;
        assert!(cleaner.clean(&job).await.is_ok(), "it is no trouble");
        let sealed = sample.partition.lock().log.sealed().to_vec();
        let bytes = job.cleanable.segments[2].bytes;
        assert_eq!(sealed.iter().map(|segment| segment.bytes).sum::<u64>(), bytes);
        assert_eq!(sample.partition.lock().log.cleaned(), Offset(2), "before the tombstone");
        assert!(cleaner.job(&sample.partition).is_none(), "not again before there is more");

        cleaner.left.clear();
        cleaner.segment_bytes_max = SEGMENT_BYTES_MAX;
        let job = cleaner.job(&sample.partition).expect("the tombstone is dirty");
        assert!(cleaner.clean(&job).await.is_ok());
        let sealed = sample.partition.lock().log.sealed().to_vec();
        assert!(sealed.iter().map(|segment| segment.bytes).sum::<u64>() > bytes);
        assert_eq!(sample.partition.lock().log.cleaned(), Offset(3));
        sample.storage.shutdown().await.expect("shuts down");
    });
}

#[test]
fn a_run_ends_when_the_topic_is_no_longer_compacted() {
    run(async |env| {
        let (sample, mut cleaner, job) = with_tombstone(&env).await;
        let before = sample.partition.lock().log.sealed().to_vec();
        sample.configure("cleanup.policy", "delete").await;
        assert!(matches!(cleaner.clean(&job).await, Err(Stop::Ended)));
        assert_eq!(sample.partition.lock().log.sealed(), before);
        sample.storage.shutdown().await.expect("shuts down");
    });
}

#[test]
fn nothing_is_remembered_of_a_deleted_partition() {
    run(async |env| {
        let sample = Sample::new(&env, &["a"]).await;
        let mut cleaner = Cleaner::new(sample.storage.shared.clone());
        let id = sample.partition.id();
        cleaner.stuck.insert(id, Offset(0));
        cleaner.left.insert(id, Offset(1));
        cleaner.turn().await;
        assert_eq!((cleaner.stuck.len(), cleaner.left.len()), (1, 1), "it is there");
        let command = MetadataCommand::DeleteTopic { id: id.topic };
        sample.storage.change_metadata().await.commit(vec![command]).await.expect("deleted");
        cleaner.turn().await;
        assert_eq!((cleaner.stuck.len(), cleaner.left.len()), (0, 0));
        sample.storage.shutdown().await.expect("shuts down");
    });
}
