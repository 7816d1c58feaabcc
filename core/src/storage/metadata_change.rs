//! Changes of topics, one at a time, and blocks of producer ids.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::ids::ProducerId;
use crate::metadata::command::MetadataCommand;
use crate::metadata::image::MetadataImage;
use crate::storage::error::StorageFailed;
use crate::storage::shared::{Change, Shared};

/// Producer ids made durable at once; a crash skips the rest of a block.
const PRODUCER_ID_BLOCK: i64 = 1000;

/// Lets one change in at a time.
pub(crate) struct MetadataLock {
    shared: Arc<Shared>,
    turn: Arc<Mutex<()>>,
    producer_ids: Mutex<std::ops::Range<i64>>,
}

/// Held by whoever plans a change, and by each change that is on its way: a planner may go away
/// before what it has queued is applied.
pub(crate) type MetadataTurn = Arc<OwnedMutexGuard<()>>;

/// The right to change topics. Others get it when this is dropped and all it committed is applied.
pub struct MetadataChange {
    shared: Arc<Shared>,
    turn: MetadataTurn,
}

impl MetadataLock {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<MetadataLock> {
        Arc::new(MetadataLock {
            shared,
            turn: Arc::new(Mutex::new(())),
            producer_ids: Mutex::new(0..0),
        })
    }

    pub(crate) async fn enter(&self) -> MetadataChange {
        let turn = Arc::new(self.turn.clone().lock_owned().await);
        MetadataChange { shared: self.shared.clone(), turn }
    }

    pub(crate) async fn allocate_producer_id(&self) -> Result<ProducerId, StorageFailed> {
        let mut block = self.producer_ids.lock().await;
        if block.is_empty() {
            let mut change = self.enter().await;
            let begin = change.image().producer_id_end().0;
            let end = begin + PRODUCER_ID_BLOCK;
            change
                .commit(vec![MetadataCommand::AllocateProducerIds { end: ProducerId(end) }])
                .await?;
            *block = begin..end;
        }
        let id = block.start;
        assert!(id < self.shared.image().0.producer_id_end().0, "only durable ids are given out");
        block.start += 1;
        Ok(ProducerId(id))
    }
}

impl MetadataChange {
    /// Topics as of now; nobody else changes them while this guard lives.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.shared.image().0
    }

    /// Makes commands, planned against `image`, durable and applies them all or none. When it
    /// returns, new partitions take batches and deleted ones are gone.
    ///
    /// A future that is dropped after its first poll leaves the commands on their way: they count,
    /// but what the caller meant to do next is not done.
    ///
    /// # Errors
    /// Storage has failed; whether the commands survive is open until the next start.
    pub async fn commit(&mut self, commands: Vec<MetadataCommand>) -> Result<(), StorageFailed> {
        if commands.is_empty() {
            return Ok(());
        }
        let mut turn = self.turn.clone();
        if rivven_io::planted!("B45") {
            turn = Arc::new(Arc::new(Mutex::new(())).try_lock_owned().expect("it is new"));
        }
        self.shared.change(Change::Metadata { commands, turn }).await.map(|_| ())
    }
}
