//! Where a consumer reads on, and how far behind it is.

use std::collections::BTreeMap;

use super::Consumer;
use super::partitions::{At, EARLIEST, LATEST, Position, Start};
use crate::assignor::TopicPartition;
use crate::config::ClientConfig;
use crate::error::Error;

impl Consumer {
    /// Reads a partition from `offset` on.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the offset is negative, or the partition is not read.
    pub fn seek(&mut self, of: &TopicPartition, offset: i64) -> Result<(), Error> {
        if offset < 0 {
            return Err(Error::Invalid(format!("offset {offset} of {of} is below 0")));
        }
        self.move_to([of], Position::At(At { offset, leader_epoch: -1 }))
    }

    /// Reads partitions from their first record on.
    ///
    /// # Errors
    /// [`Error::Invalid`]: one is not read.
    pub fn seek_to_beginning(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.move_to(partitions, Position::Unknown(Start::Timestamp(EARLIEST)))
    }

    /// Reads what is written to partitions from now on, where now is the time of the next fetch.
    ///
    /// # Errors
    /// [`Error::Invalid`]: one is not read.
    pub fn seek_to_end(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.move_to(partitions, Position::Unknown(Start::Timestamp(LATEST)))
    }

    /// Reads partitions from the first record on whose timestamp is `timestamp_ms` (since 1970) or
    /// later; from the end if there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the time is negative, or a partition is not read.
    pub fn seek_to_timestamp(
        &mut self,
        partitions: &[TopicPartition],
        timestamp_ms: i64,
    ) -> Result<(), Error> {
        if timestamp_ms < 0 {
            return Err(Error::Invalid(format!("timestamp {timestamp_ms} is before 1970")));
        }
        self.move_to(partitions, Position::Unknown(Start::Timestamp(timestamp_ms)))
    }

    fn move_to<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition> + Clone,
        position: Position,
    ) -> Result<(), Error> {
        self.are_read(partitions.clone())?;
        let mut state = self.shared.lock();
        for of in partitions {
            let is_read = state.partitions.set(of, position);
            assert!(is_read, "it was just there");
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    fn are_read<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), Error> {
        let state = self.shared.lock();
        for of in partitions {
            if !state.partitions.rows.contains_key(of) {
                return Err(Error::Invalid(format!("{of} is not among what this consumer reads")));
            }
        }
        Ok(())
    }

    /// Gives nothing more out of these until [`Consumer::resume`]. What was fetched of them is
    /// fetched again then.
    ///
    /// # Errors
    /// [`Error::Invalid`]: one is not read.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.set_paused(partitions, true)
    }

    /// # Errors
    /// [`Error::Invalid`]: one is not read.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.set_paused(partitions, false)
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], pauses: bool) -> Result<(), Error> {
        self.are_read(partitions)?;
        let mut state = self.shared.lock();
        for of in partitions {
            let row = state.partitions.rows.get_mut(of).expect("it was just there");
            if pauses && !row.is_paused && matches!(row.position, Position::At(_)) {
                // Unread it would keep others from being fetched.
                row.set(row.position);
                row.trouble = None;
            }
            row.is_paused = pauses;
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// The offset of the next record that is given out; waits until it is known.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the partition is not read, or has no place to begin;
    /// [`Error::TimedOut`].
    pub async fn position(&mut self, of: &TopicPartition) -> Result<i64, Error> {
        let ClientConfig { api_timeout: limit, .. } = *self.shared.client.config();
        let clock = self.shared.client.env().clock.clone();
        let deadline = clock.now().after(limit);
        loop {
            {
                let state = self.shared.lock();
                match state.partitions.rows.get(of) {
                    None => break,
                    Some(row) => match (row.position, &row.trouble) {
                        (Position::At(at), _) => return Ok(at.offset),
                        (Position::Unknown(_), Some(trouble)) => return Err(trouble.clone()),
                        (Position::Unknown(_), None) => {}
                    },
                }
            }
            let left = deadline.since(clock.now());
            if left.is_zero() {
                let (what, last) = (format!("finding the position of {of}"), "none".to_owned());
                return Err(Error::TimedOut { what, after: limit, last });
            }
            tokio::select! {
                biased;
                () = self.shared.arrived.notified() => {}
                () = clock.sleep(left) => {}
            }
        }
        Err(Error::Invalid(format!("{of} is not among what this consumer reads")))
    }

    /// How many offsets each partition is behind the high watermark, or behind the last stable
    /// offset if only committed records are read; nothing for one that was not fetched yet.
    #[must_use]
    pub fn lag(&self) -> BTreeMap<TopicPartition, Option<u64>> {
        let is_committed_only = self.shared.config.isolation() > 0;
        let state = self.shared.lock();
        let rows = state.partitions.rows.iter().filter(|(_, row)| !row.is_revoked);
        rows.map(|(of, row)| (of.clone(), row.lag(is_committed_only))).collect()
    }
}
