//! The writing half: what waits goes out together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rivven_io::net::StreamWriter;
use tokio::sync::mpsc;

use super::{ConnectionError, Outgoing, Shared, said};

/// Pieces that one system call takes.
const PIECES_MAX: usize = 64;

pub(super) async fn run(
    writer: StreamWriter,
    mut requests: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
) {
    let mut pieces = VecDeque::new();
    while let Some(first) = requests.recv().await {
        take(first, &mut pieces, &shared);
        while pieces.len() < PIECES_MAX
            && let Ok(next) = requests.try_recv()
        {
            take(next, &mut pieces, &shared);
        }
        if let Err(error) = write(&writer, &mut pieces).await {
            return shared.fail(ConnectionError::Closed(said(&error)));
        }
        if shared.lock().end.is_some() {
            return;
        }
    }
}

/// Whoever waits for the answer is known before the broker can give it.
fn take(request: Outgoing, pieces: &mut VecDeque<Bytes>, shared: &Shared) {
    pieces.extend(request.frame.0);
    let Some(waiting) = request.waiting else { return };
    let mut state = shared.lock();
    match state.end.clone() {
        None => state.waiting.push_back(waiting),
        Some(why) => drop(waiting.answer.send(Err(why))),
    }
}

async fn write(writer: &StreamWriter, pieces: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> =
            pieces.iter().take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
        match writer.try_write_vectored(&slices) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(written) => advance(pieces, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => writer.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if written < first.len() {
            return first.advance(written);
        }
        written -= first.len();
        pieces.pop_front();
    }
    assert!(written == 0, "no more is written than was given");
}
