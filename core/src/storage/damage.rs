//! What a checkpoint counts and the disk does not have: found at a start, and remembered.
//!
//! It is looked for before the writer runs: what the WAL still has for such a partition is written
//! behind the gap, and the file is long enough again. For the same reason a mark, the file
//! `damaged` in the partition's folder, is durable before. Its first line names the lost segment;
//! the rest is the reason, for people. It goes with the topic, or with the first start whose log
//! has none of the segments that were lost: they are below it, or were compacted in time.
//!
//! A folder that is lost, or that holds another one's `partition.id`, needs no mark: nobody writes
//! that file again for a partition that a checkpoint counts.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rivven_io::Env;

use crate::ids::Offset;
use crate::log::segment::SegmentName;
use crate::storage::directory::replace_file;
use crate::storage::error::{OpenError, lacks_room};
use crate::storage::partition::Partition;
use crate::storage::shared::Shared;
use crate::storage::{folder, layout};

const MARK_BYTES_MAX: u64 = 4096;

/// A part of a partition that is lost.
pub(crate) struct Damage {
    partition: Arc<Partition>,
    /// The segments; none if it is the whole folder.
    segments: Vec<SegmentName>,
    reason: String,
}

/// Looks whether every segment is there with at least the bytes that a checkpoint trusts.
///
/// # Errors
/// `Io` for the disk's errors.
pub(crate) async fn find(shared: &Shared) -> Result<Vec<Damage>, OpenError> {
    let mut damages = Vec::new();
    for partition in shared.all_partitions() {
        let found = look_at(shared, &partition, &mut damages).await;
        found.map_err(|error| OpenError::Io {
            doing: format!("looking at partition {}", partition.id()),
            error,
        })?;
    }
    Ok(damages)
}

async fn look_at(
    shared: &Shared,
    partition: &Arc<Partition>,
    damages: &mut Vec<Damage>,
) -> io::Result<()> {
    let (segments, trusted, counted) = {
        let state = partition.lock();
        let segments: Vec<_> =
            state.log.sealed().iter().chain([state.log.active()]).copied().collect();
        (segments, state.durable.end, state.counted)
    };
    let is_trusted = trusted.1 > 0 || segments.len() > 1;
    let damage = |segments, reason| Damage { partition: partition.clone(), segments, reason };
    if !counted || !is_trusted {
        return Ok(());
    }
    if !folder::is_own(shared, partition).await? {
        shared.env.disk.create_dir_all(partition.folder()).await?;
        let reason = "its folder is missing, or partition.id in it says something else";
        damages.push(damage(Vec::new(), reason.to_owned()));
        return Ok(());
    }
    let marked = read_mark(&shared.env, partition.folder()).await?;
    let mut lost: Vec<(SegmentName, String)> = marked.clone().into_iter().collect();
    for segment in segments {
        let (base, name) = (segment.base, segment.name());
        let needed = match base.cmp(&trusted.0) {
            std::cmp::Ordering::Less => segment.bytes,
            std::cmp::Ordering::Equal => trusted.1,
            std::cmp::Ordering::Greater => 0,
        };
        if needed == 0 {
            continue;
        }
        let path = partition.folder().join(layout::segment_file_name(name));
        let found = shared.env.disk.file_len(&path).await?.unwrap_or(0);
        assert!(needed <= segment.bytes, "a checkpoint trusts no more than the segment holds");
        if found < needed {
            let reason =
                format!("segment {base} has {found} bytes, the checkpoint counts {needed}");
            lost.push((name, reason));
        }
    }
    // The mark names the last one: only that may be long enough again when the next start looks.
    let Some((last, reason)) = lost.iter().max_by_key(|(name, _)| *name).cloned() else {
        return Ok(());
    };
    if marked.is_none_or(|(marked, _)| marked < last) {
        write_mark(&shared.env, partition, (last, &reason)).await?;
    }
    damages.push(damage(lost.into_iter().map(|(name, _)| name).collect(), reason));
    Ok(())
}

/// Takes damaged partitions out of service for appends: continuing them would bury the damage. What
/// the WAL has deleted or compacted since is not missed.
pub(crate) async fn quarantine(shared: &Shared, damages: Vec<Damage>) {
    for Damage { partition, segments, reason } in damages {
        let is_missed = {
            let state = partition.lock();
            let is_held = segments.iter().any(|name| state.log.holds(*name));
            !state.deleted && (segments.is_empty() || is_held)
        };
        if !is_missed {
            let removed = shared.env.disk.remove_file(&layout::damaged(partition.folder())).await;
            tracing::info!(partition = %partition.id(), reason, ?removed, "nobody misses it");
            continue;
        }
        rivven_io::probe!("partition_quarantined");
        tracing::error!(partition = %partition.id(), topic = partition.topic(), reason,
            "partition is damaged and takes no more batches; what is left is served");
        shared.stats.corrupt.fetch_add(1, Ordering::Relaxed);
        partition.lock().quarantine = Some(reason);
    }
}

/// The lost segment and the reason in a folder's mark, if there is one.
///
/// # Errors
/// The disk's; one that is no mark of ours counts as none.
pub(crate) async fn read_mark(
    env: &Env,
    folder: &Path,
) -> io::Result<Option<(SegmentName, String)>> {
    let bytes = match env.read_file(&layout::damaged(folder), MARK_BYTES_MAX).await {
        // Too long.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        read => read?,
    };
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    Ok(text.and_then(|text| {
        let (name, reason) = text.split_once('\n')?;
        let (base, generation) = name.split_once('.').unwrap_or((name, "0"));
        let base = Offset(base.parse().ok()?);
        let name = SegmentName { base, generation: generation.parse().ok()? };
        Some((name, reason.trim_end().to_owned()))
    }))
}

async fn write_mark(
    env: &Env,
    partition: &Partition,
    (name, reason): (SegmentName, &str),
) -> io::Result<()> {
    let path = layout::damaged(partition.folder());
    let temporary = path.with_extension("new");
    let text = Bytes::from(match name {
        SegmentName { base, generation: 0 } => format!("{}\n{reason}\n", base.0),
        SegmentName { base, generation } => format!("{}.{generation}\n{reason}\n", base.0),
    });
    match replace_file(env, (&temporary, &path), text).await {
        Err(error) if lacks_room(&error) => {
            tracing::warn!(path = %path.display(), %error,
                "the damage is not marked; the next start may not see it");
            Ok(())
        }
        // A sync that failed may have been for names that others rely on.
        written => written,
    }
}
