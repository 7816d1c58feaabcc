//! The one committer: takes everything that queued while the last commit ran, writes it as one
//! commit, syncs once, makes it visible and answers.
//!
//! ```text
//!  queue ──► stage (plan, reserve room, encode) ──► write ──► sync ──► publish ──► answer
//!              │ refused: answered with the rest        any error: storage failed for good
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::ids::TimestampMs;
use crate::storage::error::{AppendError, StorageFailed};
use crate::storage::options::SyncPolicy;
use crate::storage::shared::{AppendRequest, Appended, Change, EndGuard, Request, Shared};
use crate::storage::stage::{Staged, StagedChange};
use crate::storage::wal::arena::{Arena, Lease, unpooled};
use crate::storage::wal::commit::{COMMIT_HEADER_BYTES, CommitHeader, Lsn, padded, seal};
use crate::storage::wal::replay::WalPosition;
use crate::storage::wal::ring::Ring;

/// Requests after which a commit is closed.
pub(crate) const COMMIT_REQUESTS_MAX: usize = 1000;

pub(crate) type Done = oneshot::Sender<Result<WalPosition, StorageFailed>>;

/// The state that only the committer touches.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    ring: Ring,
    pub(crate) arena: Arena,
    /// Number of this start of the data directory.
    start: u64,
    synced: Lsn,
    writes_since_sync: u32,
    /// Number of the next metadata command.
    pub(crate) next_command: u64,
}

/// What recovery hands over.
pub(crate) struct CommitterParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ring: Ring,
    pub(crate) start: u64,
}

impl Committer {
    pub(crate) fn new(parts: CommitterParts) -> Committer {
        let arena = Arena::new(parts.shared.options.arena_bytes_max());
        let synced = parts.ring.position().lsn;
        parts.shared.stats.direct_io.store(parts.ring.is_direct(), Ordering::Relaxed);
        Committer {
            shared: parts.shared,
            ring: parts.ring,
            arena,
            start: parts.start,
            synced,
            writes_since_sync: 0,
            next_command: 0,
        }
    }

    /// Runs until `Request::Close`, or for ever refusing after a failure.
    pub(crate) async fn run(mut self, ended: EndGuard) {
        let bytes_max = self.shared.options.commit_bytes_max();
        let mut queue = Vec::new();
        loop {
            // Those that make room go first: one that waited behind batches would keep the writer
            // from emptying the tail, and the tail would keep the batches from going on.
            if let Err(reason) = self.commit_urgent().await {
                self.shared.fail(&reason);
            }
            self.shared.take_queue(&mut queue);
            if queue.is_empty() {
                self.shared.queue_filled.notified().await;
                continue;
            }
            let mut requests = std::mem::take(&mut queue).into_iter().peekable();
            while requests.peek().is_some() {
                let mut open = true;
                let batch = take_commit(&mut requests, bytes_max, &mut open);
                let shared = self.shared.clone();
                shared.pace.commit_begins(shared.env.clock.now());
                if let Err(reason) = self.commit(batch).await {
                    shared.fail(&reason);
                }
                shared.pace.commit_ends(shared.env.clock.now());
                if !open {
                    self.ring.close().await;
                    return ended.expected();
                }
            }
        }
    }

    /// One commit, from requests to answers. The error is the reason why storage has failed.
    async fn commit(&mut self, requests: Vec<Request>) -> Result<(), String> {
        if let Some(failure) = self.shared.failure().cloned() {
            refuse_all(requests, &failure);
            return Ok(());
        }
        let bytes = padded(COMMIT_HEADER_BYTES + requests.iter().map(request_bytes).sum::<usize>());
        let mut lease = match self.wait_for_room(bytes).await {
            Ok(lease) => lease,
            Err(failure) => {
                refuse_all(requests, &failure);
                return Ok(());
            }
        };
        let mut staged = Staged::new(std::mem::take(&mut lease.rest));
        for request in requests {
            match request {
                Request::Append(append) => self.stage_append(append, &mut staged).await,
                Request::Change { change, done } => self.stage_change(change, done, &mut staged),
                Request::Close => {}
            }
        }
        let ended = self.carry_out(&mut staged).await;
        lease.rest = std::mem::take(&mut staged.memory);
        lease.rest.clear();
        self.arena.put_back(lease, staged.commit_bytes);
        ended
    }

    /// Writes, syncs, publishes and answers what was staged.
    async fn carry_out(&mut self, staged: &mut Staged) -> Result<(), String> {
        if staged.records == 0 {
            self.finish(staged);
            return Ok(());
        }
        if let Err(reason) = self.write(staged).await {
            staged.refuse(&self.shared.fail(&reason));
            return Err(reason);
        }
        if rivven_io::planted!("B01") {
            self.publish(staged);
            self.finish(staged);
        }
        if rivven_io::planted!("B09") {
            self.publish(staged);
        }
        if let Err(reason) = self.sync(staged).await {
            staged.refuse(&self.shared.fail(&reason));
            return Err(reason);
        }
        self.publish(staged);
        self.finish(staged);
        Ok(())
    }

    /// Waits for memory, which the writer frees, and for a WAL file, which a checkpoint frees.
    /// Nothing is staged meanwhile, so that the checkpoint sees only what is published.
    async fn wait_for_room(&mut self, bytes: usize) -> Result<Lease, StorageFailed> {
        let lease = self.take_memory(bytes).await?;
        while self.ring.place(bytes, self.reserved_files()).is_none() {
            if let Some(failure) = self.shared.failure() {
                return Err(failure.clone());
            }
            if self.shared.is_closing() {
                // The last checkpoint may be made already: nobody would make room any more.
                return Err(closing());
            }
            rivven_io::probe!("wal_ring_full");
            self.shared.ring_full.store(true, Ordering::Release);
            self.shared.checkpoint_wanted.notify_one();
            self.shared.urgent.notified().await;
            self.commit_urgent().await.map_err(|reason| self.shared.fail(&reason))?;
        }
        Ok(lease)
    }

    /// WAL files that are left free for page images.
    fn reserved_files(&self) -> u64 {
        self.shared.options.reserved_files(self.shared.partition_count() as u64)
    }

    async fn take_memory(&mut self, bytes: usize) -> Result<Lease, StorageFailed> {
        loop {
            if let Some(failure) = self.shared.failure() {
                return Err(failure.clone());
            }
            if let Some(lease) = self.arena.take(bytes) {
                let held = self.arena.held_bytes() as u64;
                self.shared.stats.arena_bytes.store(held, Ordering::Relaxed);
                return Ok(lease);
            }
            if self.shared.recent.make_room(bytes as u64) {
                continue;
            }
            if self.shared.is_closing() {
                // The writer may have ended already: nobody would make room any more.
                return Err(closing());
            }
            rivven_io::probe!("tail_full");
            self.shared.write_all.store(true, Ordering::Release);
            self.shared.write_wanted.notify_one();
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                () = shared.urgent.notified() => {
                    self.commit_urgent().await.map_err(|reason| shared.fail(&reason))?;
                }
                () = shared.written.notified() => {}
            }
        }
    }

    /// Commits the changes without which neither memory nor WAL files become free.
    async fn commit_urgent(&mut self) -> Result<(), String> {
        for request in self.shared.take_urgent() {
            if let Some(failure) = self.shared.failure().cloned() {
                refuse_all(vec![request], &failure);
                continue;
            }
            let bytes = padded(COMMIT_HEADER_BYTES + request_bytes(&request));
            let mut staged = Staged::new(unpooled(bytes));
            if let Request::Change { change, done } = request {
                self.stage_change(change, done, &mut staged);
            }
            Box::pin(self.carry_out(&mut staged)).await?;
        }
        Ok(())
    }

    /// Seals and writes the commit, of whose bytes the tail keeps slices.
    async fn write(&mut self, staged: &mut Staged) -> Result<(), String> {
        assert!(staged.memory.len() >= COMMIT_HEADER_BYTES, "room for the header is kept");
        assert_eq!(staged.commit_bytes, 0, "a commit is written once");
        // Whoever may not take what is kept for images has waited before.
        let place = self.ring.place(padded(staged.memory.len()), 0);
        let place = place.ok_or("the WAL has no file left for a checkpoint")?;
        let lsn = self.ring.position().lsn.next();
        let payload_bytes = u32::try_from(staged.memory.len() - COMMIT_HEADER_BYTES)
            .map_err(|_| "a commit of more than 4 GiB".to_owned())?;
        let header = CommitHeader {
            lsn,
            synced: self.synced,
            file_sequence: place.file_sequence,
            start: self.start,
            payload_bytes,
            records: staged.records,
        };
        seal(&mut staged.memory, &header);
        let commit = staged.memory.split().freeze();
        staged.commit_bytes = commit.len();
        self.ring
            .write(place, commit.clone(), (lsn, self.start))
            .await
            .map_err(|error| format!("writing the WAL: {error}"))?;
        staged.cut_batches(&commit);
        let stats = &self.shared.stats;
        stats.commits.fetch_add(1, Ordering::Relaxed);
        stats.commit_bytes.fetch_add(commit.len() as u64, Ordering::Relaxed);
        self.note_ring();
        Ok(())
    }

    fn note_ring(&self) {
        let (used, all) = self.ring.used_bytes();
        self.shared.stats.wal_used_bytes.store(used, Ordering::Relaxed);
        self.shared.stats.wal_bytes.store(all, Ordering::Relaxed);
        if used * 2 > all {
            self.shared.checkpoint_wanted.notify_one();
        }
    }

    async fn sync(&mut self, staged: &Staged) -> Result<(), String> {
        self.writes_since_sync += staged.appends();
        let due = match self.shared.options.sync_policy {
            SyncPolicy::EveryWrite => true,
            SyncPolicy::EveryNWrites(n) => self.writes_since_sync >= n,
            SyncPolicy::None => false,
        };
        if !due && !staged.changes_state() {
            return Ok(());
        }
        let begun = self.shared.env.clock.now();
        let mut synced = self.ring.sync().await;
        if rivven_io::planted!("B44") && synced.is_err() {
            synced = self.ring.sync().await;
        }
        synced.map_err(|error| format!("syncing the WAL: {error}"))?;
        let took = self.shared.env.clock.now().since(begun);
        self.shared.stats.note_sync(took);
        self.writes_since_sync = 0;
        assert!(self.synced <= self.ring.position().lsn, "what is synced was written");
        self.synced = self.ring.position().lsn;
        Ok(())
    }

    /// Makes the commit's batches visible: first all of them, then their end, then the news.
    fn publish(&self, staged: &Staged) {
        for append in &staged.placed {
            assert!(self.ring.position().lsn > Lsn(0), "a batch is published after its commit");
            let mut state = append.request.partition.lock();
            let entry = append.entry.clone().expect("cut before it is published");
            state.note_published((entry.segment_base, entry.position));
            if state.tail.back().is_some_and(|last| last.end > entry.base_offset) {
                continue;
            }
            // The writer takes it off again as soon as it sees the batch.
            let bytes = entry.batch.len() as u64;
            self.shared.stats.tail_bytes.fetch_add(bytes, Ordering::Relaxed);
            state.tail.push_back(entry);
            if !state.queued {
                state.queued = true;
                self.shared.queue_write(append.request.partition.clone());
            }
        }
        for append in &staged.placed {
            let mut state = append.request.partition.lock();
            state.log.synced();
            state.check();
            state.wake();
            if !state.dirty {
                state.dirty = true;
                self.shared.note_dirty(append.request.partition.clone());
            }
        }
        let waiting = self.shared.stats.tail_bytes.load(Ordering::Relaxed);
        if waiting > self.shared.options.tail_bytes_max as u64 / 4 {
            self.shared.write_wanted.notify_one();
        }
    }

    /// Applies changes, answers everyone, and lets each sink write its answers at once.
    fn finish(&mut self, staged: &mut Staged) {
        let position = self.ring.position();
        for change in staged.changes.drain(..) {
            self.apply(change, position);
        }
        let stats = &self.shared.stats;
        let mut sinks: Vec<Arc<dyn super::shared::AppendSink>> = Vec::new();
        for append in staged.placed.drain(..) {
            let request = append.request;
            let base_offset = append.placement.base_offset;
            debug_assert!(
                request.partition.positions().high_watermark > base_offset
                    || request.partition.lock().deleted,
                "nothing is acknowledged that nobody may read"
            );
            let log_start = request.partition.positions().log_start;
            stats.batches.fetch_add(1, Ordering::Relaxed);
            stats.bytes.fetch_add(request.header.size as u64, Ordering::Relaxed);
            let records = u64::try_from(request.header.count).unwrap_or(0);
            stats.records.fetch_add(records, Ordering::Relaxed);
            let appended = Appended { base_offset, log_start, duplicate: false };
            request.sink.appended(request.token, Ok(appended));
            note_sink(&mut sinks, request.sink);
        }
        for (request, outcome) in staged.answered.drain(..) {
            request.sink.appended(request.token, outcome);
            note_sink(&mut sinks, request.sink);
        }
        for sink in sinks {
            sink.flush();
        }
    }

    fn apply(&mut self, change: StagedChange, position: WalPosition) {
        if let Change::Checkpointed(through) = &change.change {
            self.ring.free_through(through.lsn);
            self.note_ring();
        }
        super::apply::apply_change(&self.shared, change.change);
        let _ = change.done.send(Ok(position));
    }

    pub(crate) fn now(&self) -> TimestampMs {
        TimestampMs(self.shared.env.clock.wall_ms())
    }
}

fn note_sink(
    sinks: &mut Vec<Arc<dyn super::shared::AppendSink>>,
    sink: Arc<dyn super::shared::AppendSink>,
) {
    if !sinks.iter().rev().any(|known| Arc::ptr_eq(known, &sink)) {
        sinks.push(sink);
    }
}

/// The requests of the next commit. Sets `open` to false at the request to close.
fn take_commit(
    requests: &mut std::iter::Peekable<std::vec::IntoIter<Request>>,
    bytes_max: usize,
    open: &mut bool,
) -> Vec<Request> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    while let Some(next) = requests.peek() {
        let next_bytes = request_bytes(next);
        let full = taken.len() >= COMMIT_REQUESTS_MAX || bytes + next_bytes > bytes_max;
        if full && !taken.is_empty() {
            break;
        }
        bytes += next_bytes;
        let request = requests.next().expect("peeked");
        if matches!(request, Request::Close) {
            *open = false;
            break;
        }
        taken.push(request);
    }
    taken
}

/// Upper bound of what a request adds to a commit.
pub(crate) fn request_bytes(request: &Request) -> usize {
    match request {
        Request::Append(append) => super::wal::record::APPEND_OVERHEAD_BYTES + append.batch.len(),
        Request::Change { change, .. } => super::stage::change_bytes(change),
        Request::Close => 0,
    }
}

/// What is said of who comes too late.
pub(crate) fn closing() -> StorageFailed {
    StorageFailed { reason: "the broker is shutting down".to_owned() }
}

fn refuse_all(requests: Vec<Request>, failure: &StorageFailed) {
    for request in requests {
        match request {
            Request::Append(append) => refuse(append, AppendError::Failed(failure.clone())),
            Request::Change { done, .. } => {
                let _ = done.send(Err(failure.clone()));
            }
            Request::Close => {}
        }
    }
}

pub(crate) fn refuse(append: AppendRequest, error: AppendError) {
    append.sink.appended(append.token, Err(error));
    append.sink.flush();
}
