//! Backpressure: what a write meets before it looks at a table.
//!
//! The level is one word that writes only read; it changes when a table is frozen or flushed. Only frozen tables count that are
//! not flushed or wait for an older one, so that whoever stalls waits for a flush that can happen.

use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::error::WriteError;
use super::{ManagerConfig, MemtableManager, Shared, order};
use crate::clock::SeqClock;
use crate::comparator::Comparator;
use crate::list::Key;
use crate::memtable::Pressure;

const OPEN: u8 = 0;
const SLOW: u8 = 1;
const STALLED: u8 = 2;
const CLOSED: u8 = 3;

/// The level, set under the manager's lock, and what it has cost.
#[derive(Default)]
pub(super) struct Throttle {
    level: AtomicU8,
    pub(super) delays: AtomicUsize,
    pub(super) stalls: AtomicUsize,
    pub(super) stalled_nanos: AtomicU64,
}

impl Throttle {
    pub(super) fn close(&self) {
        self.level.store(CLOSED, order::PLAIN);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.level.load(order::PLAIN) == CLOSED
    }

    /// Sets the level by what is frozen.
    pub(super) fn set(&self, config: &ManagerConfig, frozen_tables: usize, frozen_bytes: usize) {
        let reaches = |tables: Option<usize>, bytes: Option<usize>| {
            // An empty queue never stalls anybody: no flush would end it.
            frozen_tables > 0
                && (tables.is_some_and(|limit| frozen_tables >= limit)
                    || bytes.is_some_and(|limit| frozen_bytes >= limit))
        };
        let level = if reaches(config.max_frozen_tables, config.max_frozen_bytes) {
            STALLED
        } else if reaches(config.soft_frozen_tables, config.soft_frozen_bytes) {
            SLOW
        } else {
            OPEN
        };
        if !self.is_closed() {
            self.level.store(level, order::PLAIN);
        }
    }

    pub(super) fn pressure(&self) -> Pressure {
        match self.level.load(order::PLAIN) {
            OPEN => Pressure::Normal,
            SLOW => Pressure::Backpressure,
            _ => Pressure::Full,
        }
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Shared<K, C, S> {
    /// Lets a write through, at once, after a delay, when a flush completes, or not at all.
    #[inline]
    pub(super) fn admit(&self) -> Result<(), WriteError> {
        match self.throttle.level.load(order::PLAIN) {
            OPEN => Ok(()),
            level => self.admit_slowly(level),
        }
    }

    #[cold]
    fn admit_slowly(&self, level: u8) -> Result<(), WriteError> {
        if level == SLOW {
            self.throttle.delays.fetch_add(1, order::PLAIN);
            std::thread::sleep(self.config.soft_delay);
            return Ok(());
        }
        let begun = Instant::now();
        // A flush that waited for a flush could be waiting for itself.
        let patience = if self.is_own_flusher() { Duration::ZERO } else { self.config.stall_timeout };
        let mut state = self.lock();
        let mut stalled = false;
        let admitted = loop {
            match self.throttle.level.load(order::PLAIN) {
                OPEN | SLOW => break Ok(()),
                CLOSED => break Err(WriteError::ShutDown),
                _ => {}
            }
            stalled = true;
            let waited = begun.elapsed();
            let Some(left) = patience.checked_sub(waited).filter(|left| !left.is_zero()) else {
                let (frozen_tables, frozen_bytes) = state.backlog();
                break Err(WriteError::Stalled { waited, frozen_tables, frozen_bytes });
            };
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        if stalled {
            self.throttle.stalls.fetch_add(1, order::PLAIN);
            self.throttle.stalled_nanos.fetch_add(nanos(begun.elapsed()), order::PLAIN);
        }
        admitted
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> MemtableManager<K, C, S> {
    /// Waits as a write waits, with the same delays and errors, and writes nothing. For engines that have a log: what is in the
    /// log must not be refused afterwards.
    ///
    /// The room can be gone again when the write comes, if somebody has rotated the active table meanwhile: another writer that
    /// filled it, its age, [`rotate`](Self::rotate). An engine with one writer at a time, no
    /// [`max_table_age`](ManagerConfig::max_table_age) and no other callers of `rotate` keeps it. Others give
    /// [`stall_timeout`](ManagerConfig::stall_timeout) `Duration::MAX`: then a write may wait, and is never
    /// [`Stalled`](WriteError::Stalled). Above a soft limit this and the write are delayed once each.
    ///
    /// ```
    /// use std::time::Duration;
    /// use memskip::{ManagerConfig, MemtableManager, WriteError};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new().max_frozen_tables(1).stall_timeout(Duration::ZERO))?;
    /// let mut log = Vec::new();
    /// manager.wait_for_room()?;
    /// log.push((b"k", b"v"));
    /// manager.put(b"k", b"v")?;
    /// manager.rotate();
    /// assert!(matches!(manager.wait_for_room(), Err(WriteError::Stalled { frozen_tables: 1, .. })));
    /// assert_eq!(log.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for_room(&self) -> Result<(), WriteError> {
        self.shared.admit()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
