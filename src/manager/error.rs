//! Why a manager refuses.

use std::fmt;
use std::time::Duration;

use super::TableId;
use crate::error::InsertError;

/// Why a write was refused. Nothing was written.
///
/// ```
/// use memskip::{InsertError, ManagerConfig, MemtableManager, WriteError};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.put(b"k", b"v")?;
/// manager.rotate();
/// assert_eq!(manager.try_insert(b"k", b"w"), Err(WriteError::Insert(InsertError::DuplicateKey)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The table refused: the key is there already, something is too large, or there is no memory even for a fresh table.
    /// Never because of a rotation.
    Insert(InsertError),
    /// Too many frozen tables, or too many bytes in them, wait to be flushed, and no flush completed in time (none, on a
    /// background flusher's own thread).
    Stalled {
        /// How long the write waited.
        waited: Duration,
        /// The frozen tables.
        frozen_tables: usize,
        /// The bytes in them.
        frozen_bytes: usize,
    },
    /// The manager has been shut down.
    ShutDown,
}

impl From<InsertError> for WriteError {
    fn from(error: InsertError) -> Self {
        Self::Insert(error)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert(error) => error.fmt(f),
            Self::Stalled { waited, frozen_tables, frozen_bytes } => write!(
                f,
                "write stalled for {} ms: {frozen_tables} frozen tables with {frozen_bytes} bytes wait to be flushed",
                waited.as_millis()
            ),
            Self::ShutDown => f.write_str("memtable manager is shut down"),
        }
    }
}

impl core::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Insert(error) => Some(error),
            _ => None,
        }
    }
}

/// No flush of this table is under way: it was never handed out, or has been given back, or is completed.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager, TableId, UnknownFlush};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// assert_eq!(manager.complete(TableId(7)), Err(UnknownFlush(TableId(7))));
/// # Ok::<(), memskip::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFlush(pub TableId);

impl fmt::Display for UnknownFlush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no flush of table {} is under way", self.0)
    }
}

impl core::error::Error for UnknownFlush {}
