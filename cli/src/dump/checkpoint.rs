//! Prints a checkpoint: where replay begins, the topics, and the segments of each partition.

use rivven_core::ids::PartitionId;
use rivven_core::log::machine::PartitionLog;
use rivven_core::metadata::image::MetadataImage;
use rivven_core::storage::checkpoint_file::{CHECKPOINT_BYTES_MAX, Checkpoint, decode_log};
use serde_json::{Value, json};

use crate::CommandError;
use crate::dump::{Printer, Source};
use crate::table::printable;

pub(super) async fn print(
    source: &Source<'_>,
    printer: &mut Printer<'_, '_>,
) -> Result<(), CommandError> {
    let Some(checkpoint) = Checkpoint::decode(source.whole(CHECKPOINT_BYTES_MAX).await?) else {
        printer.damaged(0, "the checkpoint is torn or damaged")?;
        return Ok(());
    };
    let Checkpoint { sequence, wal, commands, .. } = &checkpoint;
    printer.output.item(
        || {
            json!({
                "kind": "checkpoint", "sequence": sequence, "commands": commands,
                "wal": {"lsn": wal.lsn.0, "file_sequence": wal.file_sequence,
                        "position": wal.position, "start": wal.start},
            })
        },
        || {
            format!(
                "checkpoint {sequence}: replay begins after commit {}, file {} position {} \
                 start {}; {commands} metadata commands",
                wal.lsn.0, wal.file_sequence, wal.position, wal.start
            )
        },
    )?;
    let image = match checkpoint.image.is_empty() {
        true => Ok(MetadataImage::default()),
        false => MetadataImage::restore(&checkpoint.image),
    };
    match &image {
        Ok(image) => topics(printer, image)?,
        Err(error) => printer.damaged(64, &format!("its topics cannot be read: {error}"))?,
    }
    for (id, bytes) in &checkpoint.partitions {
        let known = image.as_ref().ok().and_then(|image| image.topic_by_id(id.topic));
        let name = known.map_or_else(|| id.topic.to_string(), |topic| topic.name.to_string());
        match decode_log(bytes) {
            Ok(log) => partition(printer, (*id, &name), &log)?,
            Err(reason) => printer.damaged(64, &format!("partition {id}: {reason}"))?,
        }
    }
    Ok(())
}

fn topics(printer: &mut Printer<'_, '_>, image: &MetadataImage) -> Result<(), CommandError> {
    let end = image.producer_id_end().0;
    printer.output.text(&format!("producer ids below {end} are taken"))?;
    for topic in image.topics() {
        if !printer.take_one() {
            break;
        }
        printer.output.item(
            || {
                json!({"kind": "topic", "name": &*topic.name, "id": topic.id.to_string(),
                       "partitions": topic.partitions, "configs": topic.overrides,
                       "created_ms": topic.created_ms.0})
            },
            || {
                let (name, id, count) = (printable(&topic.name), topic.id, topic.partitions);
                format!("topic {name} id {id} partitions {count} {:?}", topic.overrides)
            },
        )?;
    }
    Ok(())
}

fn partition(
    printer: &mut Printer<'_, '_>,
    (id, name): (PartitionId, &str),
    log: &PartitionLog,
) -> Result<(), CommandError> {
    if !printer.take_one() {
        return Ok(());
    }
    let (positions, producers) = (log.positions(), log.producers().len());
    let segments = || log.sealed().iter().chain([log.active()]);
    printer.output.item(
        || {
            let segments: Vec<Value> = segments()
                .map(|segment| {
                    json!({"base": segment.base.0, "end": segment.end.0, "bytes": segment.bytes,
                           "max_timestamp": segment.max_timestamp.0,
                           "created_ms": segment.created.0,
                           "generation": segment.generation})
                })
                .collect();
            json!({"kind": "partition", "topic": name, "partition": id.index,
                   "log_start": positions.log_start.0, "log_end": positions.log_end.0,
                   "producers": producers, "cleaned": log.cleaned().0, "segments": segments})
        },
        || {
            let (start, end) = (positions.log_start, positions.log_end);
            let mut text = format!(
                "partition {}-{} offsets {start}..{end} producers {producers}",
                printable(name),
                id.index
            );
            for segment in segments() {
                let (base, end, bytes) = (segment.base, segment.end, segment.bytes);
                text += &format!("\n    segment {base}..{end} bytes {bytes}");
                if segment.has_gaps() {
                    text += &format!(" generation {}", segment.generation);
                }
            }
            text
        },
    )?;
    Ok(())
}
