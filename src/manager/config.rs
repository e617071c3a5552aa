//! Configuration, checked before anything is made of it.

use std::fmt;
use std::time::Duration;

/// Limits of a [`MemtableManager`](super::MemtableManager). Checked when a manager is made of it: a limit of zero, or a soft
/// limit above its hard one, is an error that names the field.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let config = ManagerConfig::new().max_table_bytes(1 << 20).max_frozen_tables(3);
/// let manager = MemtableManager::new(config)?;
/// manager.put(b"k", b"v")?;
///
/// let error = MemtableManager::new(ManagerConfig::new().max_table_entries(0)).err().ok_or("taken")?;
/// assert_eq!(error.field(), "max_table_entries");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    pub(super) max_table_bytes: Option<usize>,
    pub(super) max_table_entries: Option<usize>,
    pub(super) max_table_age: Option<Duration>,
    pub(super) soft_frozen_tables: Option<usize>,
    pub(super) max_frozen_tables: Option<usize>,
    pub(super) soft_frozen_bytes: Option<usize>,
    pub(super) max_frozen_bytes: Option<usize>,
    pub(super) soft_delay: Duration,
    pub(super) stall_timeout: Duration,
    pub(super) flush_retry: Duration,
    pub(super) recycled_tables: usize,
    pub(super) recycle_idle: Duration,
    pub(super) shards: Option<usize>,
    pub(super) first_chunk: Option<usize>,
}

impl Default for ManagerConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl ManagerConfig {
    /// Tables of 64 MiB, writers stalled at 8 frozen tables for up to 10 seconds, nothing else limited.
    pub const fn new() -> Self {
        Self {
            max_table_bytes: Some(64 << 20),
            max_table_entries: None,
            max_table_age: None,
            soft_frozen_tables: None,
            max_frozen_tables: Some(8),
            soft_frozen_bytes: None,
            max_frozen_bytes: None,
            soft_delay: Duration::from_millis(1),
            stall_timeout: Duration::from_secs(10),
            flush_retry: Duration::from_millis(10),
            recycled_tables: 1,
            recycle_idle: Duration::from_secs(60),
            shards: None,
            first_chunk: None,
        }
    }

    /// The size in bytes ([`memory_usage`](crate::Table::memory_usage)) at which a table is rotated: the write that reaches
    /// it is still in. Concurrent writers may exceed it by a sixteenth, and a batch by its own size.
    ///
    /// `usize::MAX` is no limit: for engines that rotate themselves, between two records of their log. A table that can grow no
    /// further (no memory, or the reach of 32 GiB is used up) is rotated all the same.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new().max_table_bytes(usize::MAX))?;
    /// manager.put(b"k", &[0; 10_000])?;
    /// assert_eq!(manager.frozen_tables(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn max_table_bytes(mut self, bytes: usize) -> Self {
        self.max_table_bytes = Some(bytes);
        self
    }

    /// The number of versions at which a table is rotated; none by default.
    #[must_use]
    pub const fn max_table_entries(mut self, entries: usize) -> Self {
        self.max_table_entries = Some(entries);
        self
    }

    /// The age, counted from its first write, at which a table is rotated; none by default. Also of an idle table, as long as
    /// a flusher waits for work or somebody calls [`tick`](super::MemtableManager::tick).
    #[must_use]
    pub const fn max_table_age(mut self, age: Duration) -> Self {
        self.max_table_age = Some(age);
        self
    }

    /// The number of frozen tables from which on each write is delayed by [`soft_delay`](Self::soft_delay); none by default.
    #[must_use]
    pub const fn soft_frozen_tables(mut self, tables: usize) -> Self {
        self.soft_frozen_tables = Some(tables);
        self
    }

    /// The number of frozen tables from which on writes stall until a flush completes; 8 by default, `usize::MAX` is no limit.
    ///
    /// Here, and for the other limits of what is frozen, those count that [`frozen_tables`](super::MemtableManager::frozen_tables)
    /// counts: tables that are kept for late versions take memory besides, as a rule that of one table.
    #[must_use]
    pub const fn max_frozen_tables(mut self, tables: usize) -> Self {
        self.max_frozen_tables = Some(tables);
        self
    }

    /// The bytes in frozen tables from which on each write is delayed; none by default.
    #[must_use]
    pub const fn soft_frozen_bytes(mut self, bytes: usize) -> Self {
        self.soft_frozen_bytes = Some(bytes);
        self
    }

    /// The bytes in frozen tables from which on writes stall until a flush completes; none by default.
    #[must_use]
    pub const fn max_frozen_bytes(mut self, bytes: usize) -> Self {
        self.max_frozen_bytes = Some(bytes);
        self
    }

    /// How long a write is delayed above a soft limit; 1 ms by default.
    #[must_use]
    pub const fn soft_delay(mut self, delay: Duration) -> Self {
        self.soft_delay = delay;
        self
    }

    /// How long a write stalls above a hard limit before it fails with [`WriteError::Stalled`](super::WriteError::Stalled);
    /// 10 seconds by default. Zero fails at once, `Duration::MAX` waits for as long as it takes.
    #[must_use]
    pub const fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
        self
    }

    /// How long a background flusher waits after a failure or a panic; doubled with each failure of the same table, up to 64
    /// times. 10 ms by default.
    #[must_use]
    pub const fn flush_retry(mut self, delay: Duration) -> Self {
        self.flush_retry = delay;
        self
    }

    /// How many flushed tables are kept at most, with their memory, to be used again; 1 by default, 0 keeps none.
    ///
    /// One that holds more than about twice what it was used for, and than twice [`max_table_bytes`](Self::max_table_bytes)
    /// (if that is a limit), is not kept: values of more than 2 MiB, each of another size, leave chunks that none of the
    /// next ones fits.
    #[must_use]
    pub const fn recycled_tables(mut self, tables: usize) -> Self {
        self.recycled_tables = tables;
        self
    }

    /// How long after the last rotation memory that was kept is given back; a minute by default. Noticed by waiting flushers
    /// and by [`tick`](super::MemtableManager::tick).
    #[must_use]
    pub const fn recycle_idle(mut self, idle: Duration) -> Self {
        self.recycle_idle = idle;
        self
    }

    /// The arena shards of each table; by default as many as CPUs.
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// The first chunk of each arena shard, in bytes; at most 8 MiB.
    #[must_use]
    pub const fn first_chunk(mut self, bytes: usize) -> Self {
        self.first_chunk = Some(bytes);
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("max_table_bytes", self.max_table_bytes),
            ("max_table_entries", self.max_table_entries),
            ("soft_frozen_tables", self.soft_frozen_tables),
            ("max_frozen_tables", self.max_frozen_tables),
            ("soft_frozen_bytes", self.soft_frozen_bytes),
            ("max_frozen_bytes", self.max_frozen_bytes),
            ("shards", self.shards),
            ("first_chunk", self.first_chunk),
        ];
        if let Some((field, _)) = limits.into_iter().find(|(_, limit)| *limit == Some(0)) {
            return Err(ConfigError::new(field, "must not be zero"));
        }
        if self.max_table_age == Some(Duration::ZERO) {
            return Err(ConfigError::new("max_table_age", "must not be zero"));
        }
        let exceeds = |soft: Option<usize>, hard: Option<usize>| soft.zip(hard).is_some_and(|(soft, hard)| soft > hard);
        if exceeds(self.soft_frozen_tables, self.max_frozen_tables) {
            return Err(ConfigError::new("soft_frozen_tables", "must not exceed `max_frozen_tables`"));
        }
        if exceeds(self.soft_frozen_bytes, self.max_frozen_bytes) {
            return Err(ConfigError::new("soft_frozen_bytes", "must not exceed `max_frozen_bytes`"));
        }
        Ok(())
    }
}

/// A configuration that cannot work, and the field that is wrong.
///
/// ```
/// use memskip::MemoryBudget;
///
/// let error = MemoryBudget::new(0).err().ok_or("taken")?;
/// assert_eq!(error.to_string(), "`max_bytes` must not be zero");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    reason: &'static str,
}

impl ConfigError {
    pub(crate) const fn new(field: &'static str, reason: &'static str) -> Self {
        Self { field, reason }
    }

    /// The name of the field.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.reason)
    }
}

impl core::error::Error for ConfigError {}
