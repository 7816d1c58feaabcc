//! Shows an application the requests of a client, for logs, figures, or the histories of the
//! simulator. It never changes them.

use std::any::Any;
use std::sync::Arc;

use crate::error::Error;

/// What happens to a request.
#[derive(Clone, Copy)]
pub enum Watched<'a> {
    /// It is sent now: a message of `rivven_core::kafka::messages`.
    Asked(&'a dyn Any),
    /// Its answer came, which may hold errors.
    Answered(&'a dyn Any),
    /// No answer will come; it may have taken effect.
    Failed(&'a Error),
}

/// Is told of each request that a client sends, all but those of a producer, by a number of its
/// own. The request waits for it. Of one whose future is dropped no end is told.
pub type Watch = Arc<dyn Fn(u64, Watched<'_>) + Send + Sync>;
