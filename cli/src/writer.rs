//! Writes stdout beside the command, so that a reader who stops does not stop the command.

use std::io;

use rivven_io::Env;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

/// A thread that writes one piece after the other.
pub(crate) struct Writer {
    pieces: mpsc::Sender<Vec<u8>>,
    written: mpsc::Receiver<io::Result<()>>,
}

impl Writer {
    pub(crate) fn start(env: &Env) -> Writer {
        let (pieces, mut given) = mpsc::channel::<Vec<u8>>(1);
        let (told, written) = mpsc::channel(1);
        let writing = async move {
            while let Some(piece) = given.recv().await {
                let result = write(&piece);
                let is_last = result.is_err();
                if told.send(result).await.is_err() || is_last {
                    return;
                }
            }
        };
        // It ends with the process: nobody can end a write into a full pipe.
        drop(env.tasks.spawn_dedicated("write-stdout", writing));
        Writer { pieces, written }
    }

    /// Begins to write a piece; the one before must be written.
    pub(crate) fn begin(&self, piece: Vec<u8>) {
        // A thread that has ended is found out by `written`.
        let _ = self.pieces.try_send(piece);
    }

    /// Waits until the piece is written. Dropping the future loses nothing.
    pub(crate) async fn written(&mut self) -> io::Result<()> {
        let ended = || Err(io::Error::from(io::ErrorKind::BrokenPipe));
        self.written.recv().await.unwrap_or_else(ended)
    }

    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] if nobody reads any more; writes alone would tell it with the
    /// next record.
    pub(crate) fn check(&self) -> io::Result<()> {
        let stdout = rustix::stdio::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = poll(&mut polled, Some(&at_once)).unwrap_or(0);
        match count > 0 && polled[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL) {
            true => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            false => Ok(()),
        }
    }
}

/// Not through `io::stdout`, whose lock would be held as long as nobody reads.
fn write(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
