//! What can go wrong. Clonable, as a group of writers shares the outcome of one append.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use memskip::WriteError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Another process, or another `Store` in this one, has it open; or a snapshot of a closed one is still alive.
    #[error("{} is in use: another store has it open", .0.display())]
    InUse(PathBuf),
    /// Bytes that were acknowledged are damaged or missing.
    #[error("{} at offset {offset}: {reason}", file.display())]
    Corrupt { file: PathBuf, offset: u64, reason: &'static str },
    #[error(transparent)]
    Io(Arc<io::Error>),
    #[error(transparent)]
    Tree(#[from] Arc<lsm_tree::Error>),
    /// The memtables refused: flushes fall behind (`Stalled`), no memory, or the store is closed (`ShutDown`).
    #[error(transparent)]
    Memory(#[from] WriteError),
    /// Options, a key, a value or a batch are out of bounds.
    #[error("{0}")]
    Invalid(&'static str),
    #[error("flush failed, and will be tried again: {0}")]
    Flush(String),
    /// A failure after which the log cannot be trusted to take more. Reads go on.
    #[error("no further writes before the store is opened again: {0}")]
    Poisoned(Arc<Error>),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
