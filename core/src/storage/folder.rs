//! Partition folders: made on the first append, tied to one creation of their topic, and removed
//! before anything of a later creation takes their name.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rivven_io::Env;
use rivven_io::disk::{Create, OpenOptions};

use crate::ids::{Offset, PartitionId};
use crate::log::segment::SegmentName;
use crate::storage::layout::{self, Layout};
use crate::storage::partition::Partition;
use crate::storage::shared::Shared;

const ID_BYTES_MAX: u64 = 256;
/// With so much room on the disk, folders are removed in the background: more than the WAL holds.
const SPARE_BYTES: u64 = 1 << 30;

/// Makes sure that the partition's folder exists and is its own. What an earlier topic of the same
/// name left there is removed, and so is what an earlier life made that no checkpoint counts. The
/// names become durable with the next checkpoint; until then the WAL has everything.
pub(crate) async fn ensure_folder(shared: &Shared, partition: &Partition) -> io::Result<()> {
    if partition.lock().folder_ready {
        return Ok(());
    }
    let mut sound = shared.folders.lock().await;
    // Somebody else may have made it meanwhile; what he made is not to be set aside.
    if partition.lock().folder_ready {
        return Ok(());
    }
    if !has_counted_folder(shared, partition).await? {
        ensure_topic_folder(shared, partition, &mut sound).await?;
        clear(&shared.env, &shared.layout, partition.folder()).await?;
        shared.env.disk.create_dir_all(partition.folder()).await?;
        write_id(shared, partition).await?;
    }
    note_names(shared, partition);
    partition.lock().folder_ready = true;
    Ok(())
}

/// Removes a topic's folder unless this life has made it or it holds a partition that a
/// checkpoint counts: one that was made and removed and made again is as unsynced as any other.
async fn ensure_topic_folder(
    shared: &Shared,
    partition: &Partition,
    sound: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    let folder = topic_folder(partition);
    if sound.contains(folder) {
        return Ok(());
    }
    let image = shared.image().0;
    let topic = image.topic(partition.topic());
    let ids = topic.map(|topic| (0..topic.partitions).map(|index| (topic.id, index)));
    for (topic, index) in ids.into_iter().flatten() {
        if let Some(other) = shared.partition(PartitionId { topic, index })
            && has_counted_folder(shared, &other).await?
        {
            sound.insert(folder.to_owned());
            return Ok(());
        }
    }
    clear(&shared.env, &shared.layout, folder).await?;
    sound.insert(folder.to_owned());
    Ok(())
}

/// Whether the partition has the folder that a checkpoint counts. What stands in it is not thrown
/// away even if it is damaged; recovery has looked.
async fn has_counted_folder(shared: &Shared, partition: &Partition) -> io::Result<bool> {
    let counted = partition.lock().counted;
    Ok(counted && shared.env.disk.file_len(partition.folder()).await?.is_some())
}

/// Takes a folder away whose contents the WAL has or nobody may read: aside, from where it is
/// removed in the background, or at once if its room may be the last.
pub(crate) async fn clear(env: &Env, layout: &Layout, folder: &Path) -> io::Result<()> {
    assert!(folder.starts_with(layout.topics()), "only topics are cleared");
    if env.disk.file_len(folder).await?.is_none() {
        return Ok(());
    }
    if env.disk.space(&layout.root).await?.available_bytes >= SPARE_BYTES {
        set_aside(env, layout, folder).await
    } else {
        remove_folder(env, folder).await
    }
}

fn topic_folder(partition: &Partition) -> &Path {
    partition.folder().parent().expect("a partition's folder lies in its topic's")
}

/// Removes a segment's file that an earlier life of the broker left. Nothing in it is trusted, and
/// if a sync of the folder failed in that life, its name may be one that no later sync makes
/// durable; the file that is made in its place has a name of its own.
pub(crate) async fn remove_leftover(
    shared: &Shared,
    partition: &Partition,
    base: Offset,
) -> io::Result<()> {
    assert!(partition.lock().room.0 < base, "this life has not made the file yet");
    if !partition.lock().counted {
        // Its folder will be made anew, or was.
        return Ok(());
    }
    ensure_folder(shared, partition).await?;
    let name = SegmentName::appended(base);
    shared.files.forget((partition.id(), name));
    let path = partition.folder().join(layout::segment_file_name(name));
    match shared.env.disk.remove_file(&path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn note_names(shared: &Shared, partition: &Partition) {
    shared.note_file(layout::partition_id(partition.folder()));
    shared.note_folder(shared.layout.root.clone());
    shared.note_folder(shared.layout.topics());
    shared.note_folder(topic_folder(partition).to_owned());
    shared.note_folder(partition.folder().clone());
}

/// Whether the folder exists and holds the partition's own id.
pub(crate) async fn is_own(shared: &Shared, partition: &Partition) -> io::Result<bool> {
    let path = layout::partition_id(partition.folder());
    let found = shared.env.read_file(&path, ID_BYTES_MAX).await?;
    Ok(found.is_some_and(|found| found == id_text(partition.id()).as_bytes()))
}

async fn write_id(shared: &Shared, partition: &Partition) -> io::Result<()> {
    let path = layout::partition_id(partition.folder());
    let file = shared.env.disk.open(&path, OpenOptions::write(Create::IfMissing)).await?;
    file.set_len(0).await?;
    file.write_all_at(0, vec![Bytes::from(id_text(partition.id()))]).await
}

/// Removes a folder, if it is there.
pub(crate) async fn remove_folder(env: &Env, folder: &Path) -> io::Result<()> {
    match env.disk.remove_dir_all(folder).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Moves a folder, if it is there, to where it will be removed.
pub(crate) async fn set_aside(env: &Env, layout: &Layout, folder: &Path) -> io::Result<()> {
    if env.disk.file_len(folder).await?.is_none() {
        return Ok(());
    }
    let deleted = layout.deleted();
    env.disk.create_dir_all(&deleted).await?;
    let aside = deleted.join(format!("{:016x}", env.rng.u64()));
    match env.disk.rename(folder, &aside).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What a partition's `partition.id` says.
pub(crate) fn id_text(id: PartitionId) -> String {
    format!("{id}\n")
}
