//! What can go wrong. Clonable, as a group of writers shares the outcome of one append.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use memskip::WriteError;

#[derive(Clone, Debug)]
pub enum Error {
    /// Another process, or another `Store` in this one, has it open; or a snapshot of a closed one is still alive.
    InUse(PathBuf),
    /// Bytes that were acknowledged are damaged or missing.
    Corrupt {
        file: PathBuf,
        offset: u64,
        reason: &'static str,
    },
    /// A file operation failed.
    Io(PathBuf, Arc<io::Error>),
    /// The tree on disk refused.
    Tree(Arc<lsm_tree::Error>),
    /// The memtables refused: flushes fall behind (`Stalled`), or no memory.
    Memory(WriteError),
    /// Options, a key, a value or a batch are out of bounds.
    Invalid(&'static str),
    /// A flush failed. Nothing is lost, and it is tried again in the background.
    Flush(String),
    /// A failure after which the log cannot be trusted to take more. Reads go on; writes do when the store is opened
    /// again.
    Poisoned(Arc<Error>),
    Closed,
}

impl Error {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io(path.to_owned(), Arc::new(error))
    }
}

impl From<lsm_tree::Error> for Error {
    fn from(error: lsm_tree::Error) -> Self {
        Self::Tree(Arc::new(error))
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        if error == WriteError::ShutDown { Self::Closed } else { Self::Memory(error) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(dir) => write!(f, "{} is in use: another store has it open", dir.display()),
            Self::Corrupt { file, offset, reason } => write!(f, "{} at offset {offset}: {reason}", file.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Tree(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::Invalid(what) => f.write_str(what),
            Self::Flush(error) => write!(f, "flush failed, and will be tried again: {error}"),
            Self::Poisoned(error) => write!(f, "no further writes before the store is opened again: {error}"),
            Self::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for Error {}
