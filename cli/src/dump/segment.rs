//! Prints the batches of a segment.

use rivven_core::record::header::BatchHeader;
use rivven_core::storage::layout;
use rivven_core::storage::segment_walk::{Damage, SegmentWalk, Step, Stretch};

use crate::CommandError;
use crate::dump::{Printer, Source, batch};

/// A segment that is not closed is a multiple of this long.
const PAGE_BYTES: u64 = 4096;

pub(super) async fn print(
    source: &Source<'_>,
    printer: &mut Printer<'_, '_>,
) -> Result<(), CommandError> {
    printer.output.text(&format!("segment: {} bytes", source.len))?;
    // A file that has its own name says which offset must stand first.
    let name = source.arguments.file.file_name().and_then(|name| name.to_str());
    let name = name.and_then(layout::segment_name);
    let stretch = Stretch {
        base: name.map(|name| name.base),
        has_gaps: name.is_some_and(|name| name.generation > 0),
        bytes: source.len,
        page: None,
    };
    let walk = SegmentWalk::new(&source.file, stretch).await;
    let mut walk = walk.map_err(|error| source.unreadable(error))?;
    while printer.left > 0 {
        match walk.next().await.map_err(|error| source.unreadable(error))? {
            None => break,
            Some(Step::Batch { position, header }) => {
                if header.last_offset().0 >= source.arguments.from {
                    printer.take_one();
                    print_batch((source, &mut walk), printer, (position, &header)).await?;
                }
            }
            Some(Step::Damage(damage)) => match padding(source, &damage).await? {
                Some(bytes) => printer.output.text(&format!("{bytes} zeros fill the last page"))?,
                None => print_damage(printer, &damage)?,
            },
        }
    }
    Ok(())
}

/// The zeros that fill up the last page of a segment that is not closed, if that is all that
/// stands there.
async fn padding(source: &Source<'_>, damage: &Damage) -> Result<Option<usize>, CommandError> {
    let is_page =
        source.len.is_multiple_of(PAGE_BYTES) && source.len - damage.position < PAGE_BYTES;
    if !is_page || damage.header.is_some() {
        return Ok(None);
    }
    let bytes = usize::try_from(source.len - damage.position).expect("less than a page");
    let rest = source.file.read_full_at(damage.position, bytes).await;
    let rest = rest.map_err(|error| source.unreadable(error))?;
    Ok(rest.iter().all(|byte| *byte == 0).then_some(bytes))
}

async fn print_batch(
    (source, walk): (&Source<'_>, &mut SegmentWalk<'_>),
    printer: &mut Printer<'_, '_>,
    (position, header): (u64, &BatchHeader),
) -> Result<(), CommandError> {
    printer.output.item(
        || {
            let mut json = batch::header_json(header, true);
            json["kind"] = "batch".into();
            json["position"] = position.into();
            json
        },
        || format!("@{position} {}", batch::header_text(header, true)),
    )?;
    if source.arguments.records {
        let bytes = walk.batch(position, header).await;
        let bytes = bytes.map_err(|error| source.unreadable(error))?;
        if let Err(reason) = batch::records(printer.output, header, &bytes)? {
            printer.damaged(position, &reason)?;
        }
    }
    Ok(())
}

fn print_damage(printer: &mut Printer<'_, '_>, damage: &Damage) -> Result<(), CommandError> {
    let mut what = damage.reason.clone();
    if let Some(header) = &damage.header {
        what += &format!(" [{}]", batch::header_text(header, damage.passed));
    }
    if let Some((next, offset)) = damage.next {
        what += &format!("; the next whole batch is at position {next}, offset {offset}");
    }
    printer.damaged(damage.position, &what)?;
    Ok(())
}
