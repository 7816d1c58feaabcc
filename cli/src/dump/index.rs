//! Prints the entries of an `.idx` or `.timeindex`.

use rivven_core::log::index_file::{LoneEntries, LoneIndexFile, decode_alone};
use serde_json::json;

use crate::CommandError;
use crate::dump::{Printer, Source};

/// Largest index file that is read, in bytes; as a broker reads it.
const INDEX_BYTES_MAX: u64 = 16 << 20;

pub(super) async fn print(
    source: &Source<'_>,
    printer: &mut Printer<'_, '_>,
) -> Result<(), CommandError> {
    let Some(index) = decode_alone(&source.whole(INDEX_BYTES_MAX).await?) else {
        let what = "the index is damaged; readers rebuild it from the segment";
        printer.damaged(0, what)?;
        return Ok(());
    };
    let LoneIndexFile { base, covered, entries } = index;
    let (kind, count) = match &entries {
        LoneEntries::Offsets(entries) => ("offset_index", entries.len()),
        LoneEntries::Times(entries) => ("time_index", entries.len()),
    };
    printer.output.item(
        || json!({"kind": kind, "base_offset": base.0, "covered": covered, "entries": count}),
        || format!("{kind}: segment {base}, {covered} bytes covered, {count} entries"),
    )?;
    match entries {
        LoneEntries::Offsets(entries) => {
            let entries = entries.into_iter().map(|(delta, position)| {
                let offset = base.0.saturating_add(i64::from(delta));
                (offset, position)
            });
            let entries: Vec<(i64, _)> = entries.collect();
            // An entry counts for the offsets up to the next one.
            let from = source.arguments.from;
            let first = entries.partition_point(|(offset, _)| *offset <= from).saturating_sub(1);
            for (offset, position) in entries.into_iter().skip(first) {
                if printer.take_one() {
                    printer.output.item(
                        || json!({"kind": "entry", "offset": offset, "position": position}),
                        || format!("offset {offset} position {position}"),
                    )?;
                }
            }
        }
        LoneEntries::Times(entries) => {
            for (number, time) in entries.iter().enumerate() {
                if printer.take_one() {
                    let time = time.0;
                    printer.output.item(
                        || json!({"kind": "entry", "number": number, "max_timestamp_before": time}),
                        || format!("entry {number} max timestamp before {time}"),
                    )?;
                }
            }
        }
    }
    Ok(())
}
