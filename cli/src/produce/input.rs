//! Where records come from: an argument, the lines of a file, or those of stdin.

use std::io;
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};
use rivven_io::Env;
use rivven_io::disk::{File, OpenOptions};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::CommandError;
use crate::arguments::produce::ProduceArguments;

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that are read ahead.
const CHUNKS_MAX: usize = 4;
/// Bytes of the longest line; no broker takes a larger record.
const LINE_BYTES_MAX: usize = 32 << 20;

/// One record to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1; none for an argument.
    pub(super) number: Option<u64>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
}

/// What is wrong with the line of this number.
type BadLine = (u64, String);

pub(super) enum Input {
    /// The one record of an argument, until it is taken.
    One(Option<Line>),
    Lines {
        chunks: mpsc::Receiver<io::Result<Bytes>>,
        cutter: Cutter,
        has_ended: bool,
    },
}

impl Input {
    pub(super) async fn open(
        env: &Env,
        arguments: &ProduceArguments,
    ) -> Result<Input, CommandError> {
        if arguments.value.is_some() || arguments.tombstone {
            let value = arguments.value.clone().map(Bytes::from);
            return Ok(Input::One(Some(Line { value, ..Line::default() })));
        }
        let (given, chunks) = mpsc::channel(CHUNKS_MAX);
        match arguments.file.as_ref().filter(|path| path.as_os_str() != "-") {
            Some(path) => {
                let cannot = |error: io::Error| {
                    CommandError::Usage(format!("cannot open {}: {error}", path.display()))
                };
                let file = env.disk.open(path, OpenOptions::read()).await.map_err(cannot)?;
                match file.read_at(0, 1, BytesMut::new()).await {
                    // A pipe, such as `<(zcat lines.gz)`, has no places to read at.
                    Err(error) if error.kind() == io::ErrorKind::NotSeekable => {
                        let pipe =
                            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                        let pipe = pipe.map_err(|error| cannot(error.into()))?;
                        drop(env.tasks.spawn_dedicated("read-pipe", read_pipe(pipe, given)));
                    }
                    Err(error) => return Err(cannot(error)),
                    Ok(_) => drop(env.tasks.spawn("read-file", read_file(file, given))),
                }
            }
            None => {
                let stdin = rustix::stdio::stdin().try_clone_to_owned();
                let stdin = stdin.map_err(|error| {
                    CommandError::Usage(format!("stdin cannot be read: {error}"))
                })?;
                drop(env.tasks.spawn_dedicated("read-stdin", read_pipe(stdin, given)));
            }
        }
        let separator = arguments.key_separator.as_ref().map(|text| text.clone().into_bytes());
        let cutter = Cutter { separator, ..Cutter::default() };
        Ok(Input::Lines { chunks, cutter, has_ended: false })
    }

    /// The next record. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Line, BadLine>> {
        let (chunks, cutter, has_ended) = match self {
            Input::One(line) => return line.take().map(Ok),
            Input::Lines { chunks, cutter, has_ended } => (chunks, cutter, has_ended),
        };
        loop {
            if let Some(line) = cutter.next(*has_ended) {
                return Some(line);
            }
            if *has_ended {
                return None;
            }
            match chunks.recv().await {
                Some(Ok(chunk)) => cutter.received.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    *has_ended = true;
                    return Some(Err((cutter.number + 1, format!("it cannot be read: {error}"))));
                }
                None => *has_ended = true,
            }
        }
    }
}

/// It ends with the process: nobody can end a read of a terminal.
async fn read_pipe(pipe: OwnedFd, chunks: mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let chunk = match rustix::io::read(&pipe, &mut buffer[..]) {
            Ok(0) => return,
            Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
        let is_last = chunk.is_err();
        if chunks.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}

async fn read_file(file: File, chunks: mpsc::Sender<io::Result<Bytes>>) {
    let mut position = 0;
    loop {
        let read = file.read_at(position, CHUNK_BYTES, BytesMut::new()).await;
        let chunk = match read {
            Ok(chunk) if chunk.is_empty() => return,
            Ok(chunk) => Ok(chunk.freeze()),
            Err(error) => Err(error),
        };
        position += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let is_last = chunk.is_err();
        if chunks.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}

/// Cuts what was received into lines and keys from values.
#[derive(Default)]
pub(super) struct Cutter {
    received: BytesMut,
    /// Bytes of `received` that hold no end of line.
    searched: usize,
    /// Of the last line that was given out.
    number: u64,
    separator: Option<Vec<u8>>,
}

impl Cutter {
    /// The next whole line, or at the end of the input also what stands behind the last one.
    fn next(&mut self, is_end: bool) -> Option<Result<Line, BadLine>> {
        let rest = &self.received[self.searched..];
        let end = rest.iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
        let line = match end {
            Some(end) => {
                let line = self.received.split_to(end + 1);
                line.freeze().slice(..end)
            }
            None if is_end && !self.received.is_empty() => self.received.split().freeze(),
            None => {
                self.searched = self.received.len();
                let too_long = self.searched > LINE_BYTES_MAX;
                return too_long.then(|| {
                    Err((self.number + 1, format!("it has more than {LINE_BYTES_MAX} bytes")))
                });
            }
        };
        self.searched = 0;
        self.number += 1;
        Some(self.part(line))
    }

    fn part(&self, line: Bytes) -> Result<Line, BadLine> {
        let number = Some(self.number);
        let Some(separator) = &self.separator else {
            return Ok(Line { number, key: None, value: Some(line) });
        };
        let at = line.windows(separator.len()).position(|part| part == separator.as_slice());
        let Some(at) = at else {
            let separator = String::from_utf8_lossy(separator).into_owned();
            return Err((self.number, format!("no {separator:?} parts a key from a value")));
        };
        let (key, value) = (line.slice(..at), line.slice(at + separator.len()..));
        Ok(Line { number, key: Some(key), value: Some(value) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]], separator: Option<&str>) -> Vec<Result<Line, BadLine>> {
        let separator = separator.map(|text| text.as_bytes().to_vec());
        let mut cutter = Cutter { separator, ..Cutter::default() };
        let mut lines = Vec::new();
        for chunk in chunks {
            cutter.received.extend_from_slice(chunk);
            lines.extend(std::iter::from_fn(|| cutter.next(false)));
        }
        lines.extend(std::iter::from_fn(|| cutter.next(true)));
        lines
    }

    fn values(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let value = |line: Result<Line, BadLine>| line.expect("a line").value.expect("a value");
        lines(chunks, None).into_iter().map(|line| value(line).to_vec()).collect()
    }

    #[test]
    fn an_end_of_line_ends_a_record_and_the_last_needs_none() {
        for (chunks, wanted) in [
            (&[b"a\nb".as_slice(), b"c\n"][..], vec![&b"a"[..], b"bc"]),
            (&[b"a\n\nb"], vec![b"a", b"", b"b"]),
            (&[b"\n"], vec![b""]),
            (&[b""], vec![]),
            (&[b"\xff\r", b"\n"], vec![b"\xff\r"]),
        ] {
            assert_eq!(values(chunks), wanted, "{chunks:?}");
        }
    }

    #[test]
    fn the_first_separator_parts_key_and_value() {
        let parted = lines(&[b"a::b::c\n::\nnone\n"], Some("::"));
        let pairs: Vec<_> = parted[..2]
            .iter()
            .map(|line| line.clone().map(|line| (line.number, line.key, line.value)))
            .collect();
        let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        assert_eq!(pairs[0], Ok((Some(1), bytes("a"), bytes("b::c"))));
        assert_eq!(pairs[1], Ok((Some(2), bytes(""), bytes(""))));
        let (number, text) = parted[2].clone().expect_err("no separator");
        assert_eq!((number, text.as_str()), (3, "no \"::\" parts a key from a value"));
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut cutter = Cutter::default();
        cutter.received.resize(LINE_BYTES_MAX + 1, b'x');
        assert!(cutter.next(false).is_some_and(|line| line.is_err()));
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60),
            at in 0usize..60,
        ) {
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(values(&[first, second]), values(&[&bytes]));
        }
    }
}
