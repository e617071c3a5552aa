//! What there is to know about a manager.

use std::time::{Duration, Instant};
use std::vec::Vec;

use super::queue::TableStage;
use super::tables::{Generation, TableId, Tags, WHOLE};
use super::{MemtableManager, Shared, order};
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::error::Corruption;
use crate::list::Key;

/// A table of a manager. Exact for a frozen table; for the active one when nobody writes meanwhile.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.put(b"k", b"v")?;
/// manager.put(b"k", b"w")?;
/// manager.delete(b"l")?;
/// let active = &manager.stats().tables[0];
/// assert_eq!((active.live_keys, active.tombstones, active.versions), (1, 1, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TableStats {
    /// Which table it is.
    pub id: TableId,
    /// Where it is on its way.
    pub stage: TableStage,
    /// How often it was handed out to be flushed.
    pub attempts: u32,
    /// Keys whose newest version in this table is not a tombstone.
    pub live_keys: usize,
    /// Keys whose newest version in this table is one.
    pub tombstones: usize,
    /// Versions stored.
    pub versions: usize,
    /// Bytes of keys and values.
    pub data_bytes: usize,
    /// Bytes taken from the arena: those, nodes, lanes.
    pub memory_usage: usize,
    /// Bytes the arena holds.
    pub memory_reserved: usize,
    /// The least sequence number.
    pub min_seq: Option<SeqNo>,
    /// The greatest sequence number.
    pub max_seq: Option<SeqNo>,
    /// The tags of its writes.
    pub tags: Option<Tags>,
    /// Time since its first write.
    pub age: Option<Duration>,
    /// Time since it was frozen.
    pub frozen_for: Option<Duration>,
}

/// All figures of a manager.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.put(b"k", b"v")?;
/// manager.rotate();
/// let stats = manager.stats();
/// assert_eq!((stats.tables.len(), stats.rotations, stats.flushes, stats.stalls), (2, 1, 0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ManagerStats {
    /// The tables, newest first: the active one, then the frozen ones.
    pub tables: Vec<TableStats>,
    /// Tables rotated out.
    pub rotations: usize,
    /// Flushes completed.
    pub flushes: usize,
    /// Flushes that failed or were given up.
    pub failed_flushes: usize,
    /// Writes delayed above a soft limit.
    pub delays: usize,
    /// Writes that stalled at a hard limit, whether they went through or not.
    pub stalls: usize,
    /// The time they stalled, all together.
    pub stalled_time: Duration,
    /// Tables made in the memory of a flushed one.
    pub recycled_tables: usize,
    /// Flushed tables kept for that now, those included that readers still share.
    pub spare_tables: usize,
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> MemtableManager<K, C, S> {
    /// All figures at one moment.
    pub fn stats(&self) -> ManagerStats {
        let Shared { throttle, .. } = &*self.shared;
        let state = self.shared.lock();
        let active = table_stats(&state.active, TableStage::Active, 0);
        let frozen = state.frozen.iter().rev();
        let frozen = frozen.map(|queued| table_stats(&queued.generation, queued.stage, queued.attempts));
        ManagerStats {
            tables: core::iter::once(active).chain(frozen).collect(),
            rotations: state.rotations,
            flushes: state.flushes,
            failed_flushes: state.failed_flushes,
            delays: throttle.delays.load(order::PLAIN),
            stalls: throttle.stalls.load(order::PLAIN),
            stalled_time: Duration::from_nanos(throttle.stalled_nanos.load(order::PLAIN)),
            recycled_tables: state.recycling.recycled,
            spare_tables: state.recycling.kept(),
        }
    }

    /// The tables that are frozen and not retired yet. Not those that are flushed and only kept for what a late writer put there
    /// (see [`TableStage::Flushed`]); [`stats`](Self::stats) has them, too.
    pub fn frozen_tables(&self) -> usize {
        self.shared.current.load().frozen().iter().filter(|table| table.from == WHOLE).count()
    }

    /// Bytes taken from the arenas of all tables.
    pub fn memory_usage(&self) -> usize {
        self.shared.current.load().tables().map(|table| table.memory_usage()).sum()
    }

    /// Bytes taken from the arena of the active table. Takes no lock and no memory: for engines that say themselves when to
    /// [`rotate`](Self::rotate).
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new().max_table_bytes(usize::MAX))?;
    /// manager.put(b"k", &[0; 1000])?;
    /// // … at the end of a log segment:
    /// if manager.active_memory_usage() >= 1000 {
    ///     manager.rotate();
    /// }
    /// assert_eq!((manager.frozen_tables(), manager.active_memory_usage()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn active_memory_usage(&self) -> usize {
        self.shared.current.load().active().table.memory_usage()
    }

    /// Versions in all tables.
    pub fn version_count(&self) -> usize {
        self.shared.current.load().tables().map(|table| table.version_count()).sum()
    }

    /// Walks every table, the active one and those that are queued, as [`Table::validate`](crate::Table::validate) does, and
    /// reports the first broken invariant. For tests, and for engines' paranoid mode; exact when nobody writes meanwhile.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", b"v")?;
    /// manager.rotate();
    /// manager.delete(b"k")?;
    /// manager.validate()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn validate(&self) -> Result<(), Corruption> {
        self.shared.current.load().tables().try_for_each(|table| table.validate())
    }
}

fn table_stats<K, C, S>(generation: &Generation<K, C, S>, stage: TableStage, attempts: u32) -> TableStats
where
    K: Key + ?Sized,
    C: Comparator<K>,
    S: SeqClock,
{
    let stats = generation.table.stats();
    TableStats {
        id: generation.id,
        stage,
        attempts,
        live_keys: stats.live_keys,
        tombstones: stats.tombstones,
        versions: stats.versions,
        data_bytes: stats.key_bytes + stats.value_bytes,
        memory_usage: stats.memory_usage,
        memory_reserved: stats.memory_reserved,
        min_seq: stats.min_seq,
        max_seq: stats.max_seq,
        tags: generation.tags(),
        age: generation.first_write.get().map(Instant::elapsed),
        frozen_for: generation.rotated.get().map(Instant::elapsed),
    }
}
