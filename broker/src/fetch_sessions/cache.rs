//! All fetch sessions (KIP-227): opened by a full request, continued by incremental ones, given up
//! for others when there are too many.
//!
//! ```text
//!            epoch 0                    epoch = the session's: it goes up by one
//! (none) ──────────────▶ session ───────────────────────────────────────▶ session
//!                           │ epoch -1, another full request with its id, evicted, or left empty
//!                           ▼
//!                        (none)
//! ```
//!
//! A machine: it is given time and randomness, and awaits nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rivven_io::clock::Monotonic;

use super::session::{Answered, Session};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::fetch::{FetchRequest, FetchTopic};

/// First version that names topics by id (KIP-516).
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// Epoch of a full request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// Epoch of a full request that opens none, and of requests before version 7.
const FINAL_EPOCH: i32 = -1;

/// How a request is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Begun {
    /// What it asks for, and no session.
    Without,
    /// What it asks for; a session may be opened with the answer.
    Opens,
    /// What the session's client wants by now.
    Continues { at: SessionAt, topics: Vec<FetchTopic> },
    /// With an error and nothing else.
    Refused(ErrorCode),
}

/// A session as one request found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionAt {
    pub(crate) id: i32,
    /// The epoch that the next request must have; another one has come in between if it differs.
    epoch: i32,
}

/// When a session is opened, by a request of which version, and a random number for its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) now: Monotonic,
    pub(crate) api_version: i16,
    pub(crate) random: u64,
}

/// Bounds of the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheLimits {
    pub(crate) sessions_max: usize,
    /// Memory in bytes of all sessions together.
    pub(crate) bytes_max: usize,
    /// A session that was unused for so long, or is so old and smaller, gives way to a new one.
    pub(crate) evictable_after: Duration,
}

/// The sessions.
pub(crate) struct SessionCache {
    limits: CacheLimits,
    sessions: BTreeMap<i32, Session>,
    bytes: usize,
}

/// The epoch after `epoch`; after the last one comes 1, because 0 opens a session.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

impl SessionCache {
    pub(crate) fn new(limits: CacheLimits) -> SessionCache {
        SessionCache { limits, sessions: BTreeMap::new(), bytes: 0 }
    }

    /// Memory in bytes of all sessions, as an estimate from above.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in what a request says of its session.
    pub(crate) fn begin(
        &mut self,
        now: Monotonic,
        api_version: i16,
        request: &FetchRequest,
    ) -> Begun {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.close(id);
            return if epoch == FINAL_EPOCH { Begun::Without } else { Begun::Opens };
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return Begun::Refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        };
        if session.epoch != epoch {
            return Begun::Refused(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != (api_version >= TOPIC_ID_VERSION_MIN) {
            return Begun::Refused(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let before = session.bytes();
        for topic in &request.topics {
            for wish in &topic.partitions {
                session.want(&topic.topic, topic.topic_id, wish);
            }
        }
        request.forgotten_topics_data.iter().for_each(|forgotten| session.forget(forgotten));
        session.epoch = next_epoch(epoch);
        session.used = now;
        let at = SessionAt { id, epoch: session.epoch };
        let (is_empty, topics) = (session.len() == 0, session.topics());
        self.bytes = self.bytes - before + session.bytes();
        if is_empty {
            self.close(id);
            return Begun::Without;
        }
        if self.bytes > self.limits.bytes_max {
            // The client begins anew with all that it wants, and gets a session if there is room.
            self.close(id);
            return Begun::Refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        self.check();
        Begun::Continues { at, topics }
    }

    /// Opens a session for a full request that is about to be answered with `rows`; its id, or 0
    /// if there is no room for it, which tells the client to go on without.
    pub(crate) fn open<'a>(
        &mut self,
        opening: Opening,
        rows: impl Iterator<Item = Answered<'a>>,
    ) -> i32 {
        let by_id = opening.api_version >= TOPIC_ID_VERSION_MIN;
        let mut new = Session::new(opening.now, by_id);
        for row in rows {
            new.want(row.topic, row.topic_id, row.wish);
            let _opening_names_all = new.tell(&row);
        }
        if new.len() == 0 || !self.make_room(opening.now, &new) {
            return 0;
        }
        let mut id = i32::try_from(opening.random & 0x7fff_ffff).expect("31 bits").max(1);
        while self.sessions.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(1);
        }
        self.bytes += new.bytes();
        self.sessions.insert(id, new);
        self.check();
        id
    }

    /// Notes what a continued session is about to be answered with; for each row whether the
    /// answer must name it.
    ///
    /// # Errors
    /// The session is gone, or another request continued it in between.
    pub(crate) fn answer<'a>(
        &mut self,
        at: SessionAt,
        rows: impl Iterator<Item = Answered<'a>>,
    ) -> Result<Vec<bool>, ErrorCode> {
        let session = self.sessions.get_mut(&at.id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != at.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        Ok(rows.map(|row| session.tell(&row)).collect())
    }

    fn close(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.bytes -= session.bytes();
        }
    }

    /// Closes sessions until the new one fits; whether it does.
    fn make_room(&mut self, now: Monotonic, new: &Session) -> bool {
        loop {
            let bytes = self.bytes + new.bytes();
            if self.sessions.len() < self.limits.sessions_max && bytes <= self.limits.bytes_max {
                return true;
            }
            match self.victim(now, new) {
                Some(id) => self.close(id),
                None => return false,
            }
        }
    }

    /// The session that was not used for longest, if that is long; else the smallest of those that
    /// are old, if it is smaller than the new one: large ones save most.
    fn victim(&self, now: Monotonic, new: &Session) -> Option<i32> {
        let is_long = |since: Monotonic| now.since(since) >= self.limits.evictable_after;
        let unused = self.sessions.iter().min_by_key(|(_, session)| session.used);
        if let Some((id, _)) = unused.filter(|(_, session)| is_long(session.used)) {
            return Some(*id);
        }
        let old = self.sessions.iter().filter(|(_, session)| is_long(session.opened));
        let (id, smallest) = old.min_by_key(|(_, session)| session.len())?;
        (smallest.len() < new.len()).then_some(*id)
    }

    /// Asserts what can be seen at once.
    fn check(&self) {
        assert!(self.sessions.len() <= self.limits.sessions_max, "more sessions than allowed");
        assert!(self.bytes <= self.limits.bytes_max, "sessions take more memory than allowed");
        assert!(self.bytes > 0 || self.sessions.is_empty(), "every session takes memory");
    }

    /// Asserts what holds of every session, in O(n).
    #[cfg(test)]
    fn check_all(&self) {
        self.check();
        assert_eq!(self.sessions.values().map(Session::bytes).sum::<usize>(), self.bytes);
        assert!(self.sessions.keys().all(|id| *id > 0));
        for session in self.sessions.values() {
            session.check_all();
            assert!(session.epoch > 0 && session.len() > 0);
        }
    }
}

#[cfg(test)]
mod tests;
