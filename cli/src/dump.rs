//! `rivven log dump`: tells what a file is by its content, and prints it.

mod batch;
mod checkpoint;
mod index;
mod segment;
mod wal;

use std::io;

use bytes::BytesMut;
use rivven_io::Env;
use rivven_io::disk::{File, OpenOptions};

use crate::arguments::DumpArguments;
use crate::output::Output;
use crate::table::printable;
use crate::{CommandError, Outcome};

/// Bytes that are enough to tell what a file is.
const HEAD_BYTES: usize = 4096;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    Index,
    Wal,
    Checkpoint,
    /// Nothing, or only zeros: a file that is reserved.
    Empty,
}

/// The file that is dumped.
struct Source<'a> {
    arguments: &'a DumpArguments,
    file: File,
    len: u64,
}

/// What was printed so far.
struct Printer<'a, 'b> {
    output: &'a mut Output<'b>,
    /// Items that may still be printed.
    left: u64,
    is_damaged: bool,
}

impl Source<'_> {
    fn unreadable(&self, error: impl std::fmt::Display) -> CommandError {
        CommandError::CannotOpen(format!("{}: {error}", self.arguments.file.display()))
    }

    /// The whole file, if it is no longer than `bytes_max`.
    async fn whole(&self, bytes_max: u64) -> Result<bytes::Bytes, CommandError> {
        if self.len > bytes_max {
            return Err(self.unreadable(format!("{} bytes are too many", self.len)));
        }
        let len = usize::try_from(self.len).map_err(|error| self.unreadable(error))?;
        let bytes = self.file.read_full_at(0, len).await;
        Ok(bytes.map_err(|error| self.unreadable(error))?.freeze())
    }
}

impl Printer<'_, '_> {
    /// Whether one more item may be printed.
    fn take_one(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// Says that a part of the file is not what it should be.
    fn damaged(&mut self, position: u64, what: &str) -> io::Result<()> {
        self.is_damaged = true;
        self.output.item(
            || serde_json::json!({"kind": "damage", "position": position, "what": what}),
            || {
                let damaged = console::style("DAMAGED").red().bold();
                format!("@{position} {damaged}: {}", printable(what))
            },
        )
    }
}

pub(crate) async fn run(
    env: &Env,
    arguments: &DumpArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let path = arguments.file.display();
    let cannot = |error| CommandError::CannotOpen(format!("{path}: {error}"));
    let file = env.disk.open(&arguments.file, OpenOptions::read()).await.map_err(cannot)?;
    let len = file.len().await.map_err(cannot)?;
    let head = file.read_at(0, HEAD_BYTES, BytesMut::with_capacity(HEAD_BYTES)).await;
    let head = head.map_err(cannot)?;
    let Some(kind) = recognise(&head, arguments) else {
        let what = "it is no segment, index, WAL file or checkpoint";
        return Err(CommandError::CannotOpen(format!("{path}: {what}")));
    };
    let source = Source { arguments, file, len };
    let mut printer = Printer { output, left: arguments.max, is_damaged: false };
    match kind {
        Kind::Segment => segment::print(&source, &mut printer).await?,
        Kind::Index => index::print(&source, &mut printer).await?,
        Kind::Wal => wal::print(&source, &mut printer).await?,
        Kind::Checkpoint => checkpoint::print(&source, &mut printer).await?,
        Kind::Empty => printer.output.item(
            || serde_json::json!({"kind": "empty", "bytes": len}),
            || format!("empty: {len} bytes, all zero"),
        )?,
    }
    Ok(if printer.is_damaged { Outcome::Findings } else { Outcome::Clean })
}

/// The content decides; the name only where the front of a file is damaged.
fn recognise(head: &[u8], arguments: &DumpArguments) -> Option<Kind> {
    let by_content = match head.get(..4) {
        Some(b"RVCM") => Some(Kind::Wal),
        Some(b"RVCP") => Some(Kind::Checkpoint),
        Some(b"RVIX" | b"RVTX") => Some(Kind::Index),
        _ if rivven_core::record::header::BatchHeader::parse(head).is_ok() => Some(Kind::Segment),
        _ if head.iter().all(|byte| *byte == 0) => Some(Kind::Empty),
        _ => None,
    };
    let name = arguments.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    by_content.or(match name.rsplit_once('.').map(|(_, kind)| kind) {
        Some("log") => Some(Kind::Segment),
        Some("idx" | "timeindex") => Some(Kind::Index),
        Some("wal") => Some(Kind::Wal),
        _ if name.starts_with("checkpoint.") => Some(Kind::Checkpoint),
        _ => None,
    })
}
