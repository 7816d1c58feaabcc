//! Partition folders: made on the first append, tied to one creation of their topic, and set aside
//! before anything of a later creation takes their name.

use std::io;
use std::path::Path;

use bytes::Bytes;
use rivven_io::disk::{Create, OpenOptions};

use crate::ids::{Offset, PartitionId};
use crate::storage::layout;
use crate::storage::partition::Partition;
use crate::storage::shared::Shared;

const ID_BYTES_MAX: u64 = 256;

/// Makes sure that the partition's folder exists and is its own. What an earlier topic of the same
/// name left there is set aside. The names become durable with the next checkpoint; until then the
/// WAL has everything.
pub(crate) async fn ensure_folder(shared: &Shared, partition: &Partition) -> io::Result<()> {
    if partition.lock().folder_ready {
        return Ok(());
    }
    let _folders = shared.folders.lock().await;
    if !is_own(shared, partition).await? {
        set_aside(shared, partition.folder()).await?;
        shared.env.disk.create_dir_all(partition.folder()).await?;
        write_id(shared, partition).await?;
    }
    // A folder that was found may have been made by a process that was killed before any
    // checkpoint: its names are as unsynced as those of one that was made just now.
    note_names(shared, partition);
    partition.lock().folder_ready = true;
    Ok(())
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
    ensure_folder(shared, partition).await?;
    shared.files.forget((partition.id(), base));
    let path = partition.folder().join(layout::segment_file_name(base));
    match shared.env.disk.remove_file(&path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn note_names(shared: &Shared, partition: &Partition) {
    let topic = partition.folder().parent().expect("a partition's folder lies in its topic's");
    shared.note_file(layout::partition_id(partition.folder()));
    shared.note_folder(shared.layout.root.clone());
    shared.note_folder(shared.layout.topics());
    shared.note_folder(topic.to_owned());
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

/// Moves a folder, if it is there, to where it will be removed.
pub(crate) async fn set_aside(shared: &Shared, folder: &Path) -> io::Result<()> {
    if shared.env.disk.file_len(folder).await?.is_none() {
        return Ok(());
    }
    let deleted = shared.layout.deleted();
    shared.env.disk.create_dir_all(&deleted).await?;
    let aside = deleted.join(format!("{:016x}", shared.env.rng.u64()));
    match shared.env.disk.rename(folder, &aside).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What a partition's `partition.id` says.
pub(crate) fn id_text(id: PartitionId) -> String {
    format!("{id}\n")
}
