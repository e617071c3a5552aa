//! What can be watched: a table, a manager, a budget that many of them share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::vec::Vec;

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;
use crate::list::{Frozen, Key};
use crate::manager::{ConfigError, MemtableManager};
use crate::memtable::{Memtable, Pressure, Table};

/// What a monitor watches: tables, managers, budgets.
///
/// Monitors and budgets call these methods on whichever thread looks, on several at once, and hold no lock of theirs
/// meanwhile: a gauge may ask the monitor for its [`level`](crate::ThresholdMonitor::level). (Not for a
/// [`look`](crate::ThresholdMonitor::look), which would ask the gauge again, and so on.)
///
/// ```
/// use memskip::{Gauge, Memtable};
///
/// let table = Memtable::new();
/// table.put(b"k", b"v")?;
/// assert_eq!(Gauge::entries(&table), 1);
/// # Ok::<(), memskip::InsertError>(())
/// ```
pub trait Gauge {
    /// Bytes used.
    fn bytes(&self) -> usize;

    /// Entries (versions) stored.
    fn entries(&self) -> usize;

    /// How close it is to limits of its own.
    fn pressure(&self) -> Pressure;
}

impl<K, C, A, S, const H: usize> Gauge for Table<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    fn bytes(&self) -> usize {
        self.memory_usage()
    }

    fn entries(&self) -> usize {
        self.version_count()
    }

    fn pressure(&self) -> Pressure {
        self.pressure()
    }
}

/// For what dereferences to a [`Table`].
macro_rules! gauge_of_table {
    ($table:ty) => {
        impl<K, C, A, S, const H: usize> Gauge for $table
        where
            K: Key + ?Sized,
            C: Comparator<K>,
            A: Arena,
            S: SeqClock,
        {
            fn bytes(&self) -> usize {
                self.memory_usage()
            }

            fn entries(&self) -> usize {
                self.version_count()
            }

            fn pressure(&self) -> Pressure {
                Table::pressure(self)
            }
        }
    };
}

gauge_of_table!(Memtable<K, C, A, S, H>);
gauge_of_table!(Frozen<Memtable<K, C, A, S, H>>);

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Gauge for MemtableManager<K, C, S> {
    fn bytes(&self) -> usize {
        self.memory_usage()
    }

    fn entries(&self) -> usize {
        self.version_count()
    }

    fn pressure(&self) -> Pressure {
        self.pressure()
    }
}

/// A number of bytes that many tables share, as a write-buffer manager has it. Keeps no table alive, and refuses no write:
/// it says when together they are close to it, or above.
///
/// While it is asked it has a share of each table. So whoever asks may come to drop the last one; of a manager, that waits
/// for the flushes under way.
///
/// ```
/// use std::sync::Arc;
/// use memskip::{Gauge, Memtable, MemoryBudget, Pressure};
///
/// let budget = MemoryBudget::new(1 << 20)?;
/// let tables: Vec<_> = (0..3).map(|_| Arc::new(Memtable::new())).collect();
/// tables.iter().for_each(|table| budget.add(table));
/// tables[0].put(b"k", &[0; 1 << 19])?;
/// assert_eq!(budget.pressure(), Pressure::Normal);
/// tables[1].put(b"k", &[0; 1 << 19])?;
/// assert_eq!(budget.pressure(), Pressure::Full);
/// drop(tables);
/// assert_eq!(budget.bytes(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryBudget {
    max_bytes: usize,
    backpressure_bytes: usize,
    gauges: Mutex<Vec<Weak<dyn Gauge + Send + Sync>>>,
}

/// Where backpressure begins if nothing else is said.
pub(crate) const BACKPRESSURE_RATIO: f64 = 0.9;

impl MemoryBudget {
    /// A budget of `max_bytes`, with backpressure from 90 % on.
    pub fn new(max_bytes: usize) -> Result<Self, ConfigError> {
        if max_bytes == 0 {
            return Err(ConfigError::new("max_bytes", "must not be zero"));
        }
        let backpressure_bytes = part_of(max_bytes, BACKPRESSURE_RATIO);
        Ok(Self { max_bytes, backpressure_bytes, gauges: Mutex::new(Vec::new()) })
    }

    /// Counts a table, a manager, another budget in, as long as it lives. Not this budget itself, nor one that it is counted
    /// in: there would be no end to the sum, until the stack overflows.
    pub fn add<G: Gauge + Send + Sync + 'static>(&self, gauge: &Arc<G>) {
        let weak: Weak<G> = Arc::downgrade(gauge);
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.retain(|gauge| gauge.strong_count() > 0);
        gauges.push(weak);
    }

    /// The limit.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// What is counted in and still lives. Not summed under the lock, so that gauges may be budgets too.
    fn living(&self) -> Vec<Arc<dyn Gauge + Send + Sync>> {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Gauge for MemoryBudget {
    fn bytes(&self) -> usize {
        self.living().iter().fold(0, |sum, gauge| sum.saturating_add(gauge.bytes()))
    }

    fn entries(&self) -> usize {
        self.living().iter().fold(0, |sum, gauge| sum.saturating_add(gauge.entries()))
    }

    fn pressure(&self) -> Pressure {
        match self.bytes() {
            bytes if bytes >= self.max_bytes => Pressure::Full,
            bytes if bytes >= self.backpressure_bytes => Pressure::Backpressure,
            _ => Pressure::Normal,
        }
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

/// A ratio brought to 0.0-1.0; NaN counts as no backpressure before the limit itself.
pub(crate) fn within_one(ratio: f64) -> f64 {
    if ratio.is_nan() { 1.0 } else { ratio.clamp(0.0, 1.0) }
}

/// A part of a limit, at least 1.
pub(crate) fn part_of(limit: usize, ratio: f64) -> usize {
    let ratio = within_one(ratio);
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a ratio of a size, not a size")]
    let part = (limit as f64 * ratio) as usize;
    part.max(1)
}
