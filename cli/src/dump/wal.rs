//! Prints the commits of one file of the WAL, those of older laps too.

use bytes::Bytes;
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::header::{BatchHeader, compute_crc};
use rivven_core::storage::wal::commit::{COMMIT_ALIGN, COMMIT_HEADER_BYTES, CommitHeader};
use rivven_core::storage::wal::record::WalRecord;
use serde_json::{Value, json};

use crate::CommandError;
use crate::dump::{Printer, Source, batch};

pub(super) async fn print(
    source: &Source<'_>,
    printer: &mut Printer<'_, '_>,
) -> Result<(), CommandError> {
    printer.output.text(&format!("WAL file: {} bytes", source.len))?;
    let mut position = 0;
    let mut newest = None;
    while printer.left > 0 && position + COMMIT_HEADER_BYTES as u64 <= source.len {
        let head = source.file.read_full_at(position, COMMIT_HEADER_BYTES).await;
        let head = head.map_err(|error| source.unreadable(error))?;
        let Some(header) = CommitHeader::decode(&head) else {
            if head.iter().any(|byte| *byte != 0) && head.starts_with(b"RVCM") {
                printer.damaged(position, "the header of a commit is torn or damaged")?;
            }
            // What is left of an older, longer commit lies between two headers.
            position += COMMIT_ALIGN as u64;
            continue;
        };
        if newest.is_some_and(|newest| header.file_sequence < newest) {
            let older = format!("what follows is of an older lap, from commit {}", header.lsn.0);
            printer.output.text(&older)?;
        }
        newest = Some(header.file_sequence);
        let next = position + header.padded_bytes();
        let is_wanted = i64::try_from(header.lsn.0).is_ok_and(|lsn| lsn >= source.arguments.from);
        if next <= source.len && is_wanted && printer.take_one() {
            print_commit(source, printer, (position, &header)).await?;
        } else if next > source.len {
            printer.damaged(position, "a commit ends behind the end of the file")?;
        }
        position = next;
    }
    Ok(())
}

async fn print_commit(
    source: &Source<'_>,
    printer: &mut Printer<'_, '_>,
    (position, header): (u64, &CommitHeader),
) -> Result<(), CommandError> {
    let bytes = COMMIT_HEADER_BYTES + header.payload_bytes as usize;
    let commit = source.file.read_full_at(position, bytes).await;
    let commit = commit.map_err(|error| source.unreadable(error))?.freeze();
    let is_right = header.verify(&commit);
    let CommitHeader { lsn, synced, file_sequence, start, payload_bytes, records } = header;
    printer.output.item(
        || {
            json!({"kind": "commit", "position": position, "lsn": lsn.0, "synced": synced.0,
                   "file_sequence": file_sequence, "start": start, "records": records,
                   "payload_bytes": payload_bytes, "crc_ok": is_right})
        },
        || {
            let crc = if is_right { "ok" } else { "WRONG" };
            format!(
                "@{position} commit {} synced {} file {file_sequence} start {start} \
                 records {records} bytes {payload_bytes} crc {crc}",
                lsn.0, synced.0
            )
        },
    )?;
    if !is_right {
        // The newest commit may be torn by a crash, and the rest of an older lap is overwritten.
        printer.damaged(position, "the commit's payload is torn, overwritten or damaged")?;
        return Ok(());
    }
    let mut payload = commit.slice(COMMIT_HEADER_BYTES..);
    for _ in 0..*records {
        let Some(record) = WalRecord::decode(&mut payload) else {
            printer.damaged(position, "the commit holds a record that is unknown")?;
            break;
        };
        print_record(source, printer, (position, &record))?;
    }
    Ok(())
}

fn print_record(
    source: &Source<'_>,
    printer: &mut Printer<'_, '_>,
    (position, record): (u64, &WalRecord),
) -> Result<(), CommandError> {
    printer.output.item(|| record_json(record), || format!("    {}", record_text(record)))?;
    if let WalRecord::Append { batch, .. } = record
        && source.arguments.records
    {
        let printed = match whole(batch) {
            Some((header, _)) => batch::records(printer.output, &header, batch)?,
            None => Err("the batch has another length than its record".to_owned()),
        };
        if let Err(reason) = printed {
            printer.damaged(position, &reason)?;
        }
    }
    Ok(())
}

/// Header of a batch that is all there, and whether its CRC is right.
fn whole(batch: &Bytes) -> Option<(BatchHeader, bool)> {
    let header = BatchHeader::parse(batch).ok().filter(|header| header.size() == batch.len())?;
    Some((header, compute_crc(batch) == header.crc))
}

fn record_json(record: &WalRecord) -> Value {
    match record {
        WalRecord::Append { partition, placement, appended, batch } => {
            let header = whole(batch).map(|(header, right)| batch::header_json(&header, right));
            json!({"kind": "append", "topic_id": partition.topic.to_string(),
                   "partition": partition.index, "segment_base": placement.segment_base.0,
                   "position": placement.position, "appended_ms": appended.0, "batch": header})
        }
        WalRecord::Page { partition, segment_base, position, bytes } => {
            json!({"kind": "page", "topic_id": partition.topic.to_string(),
                   "partition": partition.index, "segment_base": segment_base.0,
                   "position": position, "bytes": bytes.len()})
        }
        WalRecord::LogStart { partition, log_start } => {
            json!({"kind": "log_start", "topic_id": partition.topic.to_string(),
                   "partition": partition.index, "log_start": log_start.0})
        }
        WalRecord::Metadata { number, command } => {
            json!({"kind": "metadata", "number": number, "command": command_text(command)})
        }
        WalRecord::Compacted { partition, segment, cleaned } => {
            json!({"kind": "compacted", "topic_id": partition.topic.to_string(),
                   "partition": partition.index, "base": segment.base.0, "end": segment.end.0,
                   "bytes": segment.bytes, "max_timestamp": segment.max_timestamp.0,
                   "created_ms": segment.created.0, "generation": segment.generation,
                   "cleaned": cleaned.0})
        }
        WalRecord::Rolled { partition, rolled } => {
            json!({"kind": "rolled", "topic_id": partition.topic.to_string(),
                   "partition": partition.index, "closed": rolled.closed.0,
                   "bytes": rolled.bytes, "base": rolled.base.0})
        }
    }
}

fn record_text(record: &WalRecord) -> String {
    match record {
        WalRecord::Append { partition, placement, appended, batch } => {
            let header = whole(batch).map_or_else(
                || "no whole batch".to_owned(),
                |(header, right)| batch::header_text(&header, right),
            );
            let (base, position) = (placement.segment_base, placement.position);
            format!("append {partition} segment {base} @{position} at {}: {header}", appended.0)
        }
        WalRecord::Page { partition, segment_base, position, bytes } => {
            format!("page {partition} segment {segment_base} @{position} {} bytes", bytes.len())
        }
        WalRecord::LogStart { partition, log_start } => {
            format!("log start {partition} to {log_start}")
        }
        WalRecord::Metadata { number, command } => {
            format!("metadata {number}: {}", command_text(command))
        }
        WalRecord::Compacted { partition, segment, cleaned } => {
            let (base, end, bytes) = (segment.base, segment.end, segment.bytes);
            let generation = segment.generation;
            format!(
                "compacted {partition} segment {base}..{end} generation {generation} bytes \
                 {bytes}, cleaned to {cleaned}"
            )
        }
        WalRecord::Rolled { partition, rolled } => {
            let (closed, bytes, base) = (rolled.closed, rolled.bytes, rolled.base);
            format!("rolled {partition} segment {closed} closed at {bytes} bytes, on in {base}")
        }
    }
}

fn command_text(command: &[u8]) -> String {
    MetadataCommand::decode(command)
        .map_or_else(|error| error.to_string(), |command| format!("{command:?}"))
}
