//! Retention, and the removal of what nobody may read any more.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rivven_io::disk::{Create, OpenOptions};
use tokio::sync::oneshot;

use crate::ids::{Offset, TimestampMs};
use crate::log::retention::RetentionRules;
use crate::log::segment::SegmentName;
use crate::metadata::image::MetadataImage;
use crate::storage::error::lacks_room;
use crate::storage::partition::Partition;
use crate::storage::shared::{Change, CondemnedFiles, Request, Shared};
use crate::storage::{folder, layout};

/// Moves the log start of every partition whose old segments have expired, and forgets producers
/// that were silent too long.
///
/// It does not wait for the moves: they may stand behind batches that wait for a checkpoint, which
/// only the caller makes.
pub(crate) fn apply_retention(shared: &Arc<Shared>) {
    let now = TimestampMs(shared.env.clock.wall_ms());
    let mut moves = Vec::new();
    for partition in shared.all_partitions() {
        let start = {
            let mut state = partition.lock();
            state.log.expire_producers(now, shared.options.producer_expiration_ms);
            let config = state.config.clone();
            let rules = RetentionRules {
                retention_ms: config.retention_ms,
                retention_bytes: config.retention_bytes,
            };
            if config.is_deleted { state.log.retention_start(rules, now) } else { None }
        };
        if let Some(to) = start {
            rivven_io::probe!("retention_moved_log_start");
            moves.push((partition, to));
        }
    }
    for (partition, to) in moves {
        let (done, _) = oneshot::channel();
        shared.submit(Request::Change { change: Change::LogStart { partition, to }, done });
    }
}

/// Removes files of deleted topics and of segments below the log start. The WAL or the checkpoint
/// remembers why, so a crash in between only leaves files behind that the next start removes.
pub(crate) async fn remove_condemned(shared: &Arc<Shared>) -> Result<(), String> {
    for condemned in shared.take_condemned() {
        let removed = match condemned {
            CondemnedFiles::Partition(partition) => remove_partition(shared, &partition).await,
            CondemnedFiles::Segments(partition, names) => {
                remove_segments(shared, &partition, &names).await
            }
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "removing deleted files; the next start tries again");
        }
    }
    Ok(())
}

async fn remove_partition(shared: &Arc<Shared>, partition: &Partition) -> io::Result<()> {
    for name in {
        let state = partition.lock();
        state.names().collect::<Vec<_>>()
    } {
        forget(shared, partition, name);
    }
    let mut sound = shared.folders.lock().await;
    if folder::is_own(shared, partition).await? {
        match folder::set_aside(&shared.env, &shared.layout, partition.folder()).await {
            // Deleting is what makes room: it must not need any. A crash leaves a part behind,
            // which is nobody's and removed by the next start.
            Err(error) if lacks_room(&error) => {
                shared.env.disk.remove_dir_all(partition.folder()).await?;
            }
            moved => moved?,
        }
        remove_set_aside(shared);
    }
    if let Some(topic) = partition.folder().parent() {
        let empty = shared.env.disk.read_dir(topic).await.is_ok_and(|entries| entries.is_empty());
        if empty {
            sound.remove(topic);
            shared.env.disk.remove_dir_all(topic).await?;
        }
    }
    Ok(())
}

/// Drops what is held of a segment's files in memory.
fn forget(shared: &Shared, partition: &Partition, name: SegmentName) {
    shared.files.forget((partition.id(), name));
    shared.indexes.forget((partition.id(), name));
}

/// Removes everything that was set aside, in the background: a file system may need milliseconds
/// for each file, and the next checkpoint must not wait for that. What is left when the broker ends
/// is removed after its next start.
fn remove_set_aside(shared: &Arc<Shared>) {
    if shared.is_remover_wanted.swap(true, Ordering::AcqRel) {
        return;
    }
    let (shared, tasks) = (shared.clone(), shared.env.tasks.clone());
    let offload = tasks.clone();
    drop(tasks.spawn("remover", async move {
        let work = async move {
            let _one = shared.remover.lock().await;
            shared.is_remover_wanted.store(false, Ordering::Release);
            match remove_within(&shared, &shared.layout.deleted()).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "removing deleted files; the next start tries again");
                }
                _ => {}
            }
        };
        offload.offload(work).await;
    }));
}

/// Removes what stands in a folder, file by file, until the broker ends. What cannot be removed is
/// passed over; the first error is told. Links are removed, not followed.
async fn remove_within(shared: &Shared, folder: &Path) -> io::Result<()> {
    let disk = &shared.env.disk;
    let mut outcome = Ok(());
    for entry in disk.read_dir(folder).await? {
        let path = folder.join(&entry.name);
        let is_folder = entry.is_dir && !entry.is_link;
        if is_folder && let Err(error) = Box::pin(remove_within(shared, &path)).await {
            // A name that cannot be read, for one: it goes with its folder.
            tracing::debug!(%error, "removing a folder as a whole");
        }
        if shared.is_closing() || shared.failure().is_some() {
            return Ok(());
        }
        let removed = match is_folder {
            true => disk.remove_dir_all(&path).await,
            false => disk.remove_file(&path).await,
        };
        if outcome.is_ok() && !removed.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            outcome = removed;
        }
    }
    outcome
}

pub(crate) async fn remove_segments(
    shared: &Shared,
    partition: &Partition,
    names: &[SegmentName],
) -> io::Result<()> {
    // The topic may be gone meanwhile, and the folder that of its successor.
    let _folders = shared.folders.lock().await;
    if !folder::is_own(shared, partition).await? {
        return Ok(());
    }
    remove_files(shared, partition, names).await
}

/// Removes files of segments from a folder that is the partition's own while the caller holds the
/// lock of all folders.
pub(crate) async fn remove_files(
    shared: &Shared,
    partition: &Partition,
    names: &[SegmentName],
) -> io::Result<()> {
    for name in names {
        forget(shared, partition, *name);
        let folder = partition.folder();
        remove_if_there(shared, &folder.join(layout::segment_file_name(*name))).await?;
        remove_if_there(shared, &layout::index_path(folder, *name)).await?;
        remove_if_there(shared, &layout::time_index_path(folder, *name)).await?;
    }
    Ok(())
}

async fn remove_if_there(shared: &Shared, path: &Path) -> io::Result<()> {
    match shared.env.disk.remove_file(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes folders of topics that no longer exist, which a crash left behind.
pub(crate) async fn remove_strays(shared: &Arc<Shared>) -> io::Result<()> {
    let topics = shared.layout.topics();
    if shared.env.disk.file_len(&topics).await?.is_none() {
        return Ok(());
    }
    for entry in shared.env.disk.read_dir(&topics).await? {
        let _folders = shared.folders.lock().await;
        if shared.image().0.topic(&entry.name).is_none() {
            folder::set_aside(&shared.env, &shared.layout, &topics.join(&entry.name)).await?;
        }
    }
    for partition in shared.all_partitions() {
        remove_stray_segments(shared, &partition).await?;
    }
    remove_set_aside(shared);
    Ok(())
}

/// Removes segments that are not the log's, which a crash or a stop left behind: those before it,
/// those that the cleaner replaced, and what it had not finished.
async fn remove_stray_segments(shared: &Shared, partition: &Partition) -> io::Result<()> {
    // From the look to the removal: the cleaner may want the name of a stray for its own file.
    let _folders = shared.folders.lock().await;
    let has_more = partition.lock().log.active().base > Offset::ZERO;
    if !has_more || !folder::is_own(shared, partition).await? {
        return Ok(());
    }
    let entries = shared.env.disk.read_dir(partition.folder()).await?;
    let strays: BTreeSet<SegmentName> = {
        let state = partition.lock();
        let found = entries.iter().filter_map(|entry| layout::segment_name(&entry.name));
        found.filter(|name| state.is_stray(*name)).collect()
    };
    if strays.is_empty() {
        return Ok(());
    }
    rivven_io::probe!("stray_segments_removed");
    remove_files(shared, partition, &strays.into_iter().collect::<Vec<_>>()).await
}

/// Writes the list of topics for people to read, as the reference's `topic_metadata.json`.
pub(crate) async fn export_topics(shared: &Shared, image: &MetadataImage) -> Result<(), String> {
    let path = shared.layout.topic_export();
    let text = topics_json(image);
    let written = async {
        let file = shared.env.disk.open(&path, OpenOptions::write(Create::IfMissing)).await?;
        let len = text.len() as u64;
        file.write_all_at(0, vec![Bytes::from(text)]).await?;
        file.set_len(len).await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, path = %path.display(), "writing the list of topics");
    }
    Ok(())
}

/// The list of topics as the reference draws it.
fn topics_json(image: &MetadataImage) -> String {
    #[derive(serde::Serialize)]
    struct Exported<'a> {
        name: &'a str,
        num_partitions: u32,
        created_at: i64,
    }
    let topics: Vec<_> = image
        .topics()
        .map(|topic| Exported {
            name: &topic.name,
            num_partitions: topic.partitions,
            created_at: topic.created_ms.0 / 1000,
        })
        .collect();
    serde_json::to_string_pretty(&topics).expect("plain data has a JSON form")
}

#[cfg(test)]
mod tests;
