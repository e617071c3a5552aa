//! Threshold monitoring: events made of what can only be asked for.
//!
//! A table's pressure is a figure; nobody is told when it changes, because telling would cost every write. A
//! [`ThresholdMonitor`] looks now and then, or whenever it is told to, and makes events of the differences.
//!
//! 1. The gauge is read under no lock: what it runs, and what it drops, may ask the monitor. A look counts only if no other
//!    was taken while it read; else it reads again, unless what was taken began later than itself, which will do. So looks
//!    that are taken are in order, and each crossing is queued once, in the same step.
//! 2. Callbacks are run by one thread at a time, under no lock, in the order of the queue. A thread that queues events while
//!    another runs callbacks leaves them to it. A callback may itself look, or wait for nothing that needs a callback.
//! 3. Every level between two looks is an event: from `Normal` to `Full` two of them. What comes and goes between two looks
//!    is not seen; look after each write that must not be missed.

use core::mem;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

use crate::caught::caught;
use crate::gauge::{BACKPRESSURE_RATIO, Gauge, part_of, within_one};
use crate::manager::ConfigError;
use crate::memtable::Pressure;

/// Limits of a monitor, beside those that what it watches has by itself. None is set at first.
///
/// ```
/// use std::sync::Arc;
/// use memskip::{Memtable, MonitorLimits, ThresholdMonitor};
///
/// let table = Arc::new(Memtable::new());
/// let error = ThresholdMonitor::new(table, MonitorLimits::new().max_entries(0)).err().ok_or("taken")?;
/// assert_eq!(error.field(), "max_entries");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MonitorLimits {
    max_bytes: Option<usize>,
    max_entries: Option<usize>,
    max_age: Option<Duration>,
    backpressure_ratio: f64,
    interval: Duration,
}

impl Default for MonitorLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl MonitorLimits {
    /// No limits, backpressure from 90 % of a limit on, a look every 10 ms while somebody waits.
    pub const fn new() -> Self {
        Self {
            max_bytes: None,
            max_entries: None,
            max_age: None,
            backpressure_ratio: BACKPRESSURE_RATIO,
            interval: Duration::from_millis(10),
        }
    }

    /// The bytes that are the limit.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// The entries that are the limit.
    #[must_use]
    pub const fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// The age that is the limit: the time since a look first saw entries, until one sees none.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The part of a limit from which on there is backpressure; brought to 0.0-1.0.
    #[must_use]
    pub const fn backpressure_ratio(mut self, ratio: f64) -> Self {
        self.backpressure_ratio = ratio;
        self
    }

    /// How often [`wait_for`](ThresholdMonitor::wait_for) and [`watch`](ThresholdMonitor::watch) look.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    fn check(&self) -> Result<(), ConfigError> {
        let field = if self.max_bytes == Some(0) {
            "max_bytes"
        } else if self.max_entries == Some(0) {
            "max_entries"
        } else if self.max_age == Some(Duration::ZERO) {
            "max_age"
        } else if self.interval.is_zero() {
            "interval"
        } else {
            return Ok(());
        };
        Err(ConfigError::new(field, "must not be zero"))
    }

    fn pressure(&self, bytes: usize, entries: usize, age: Duration) -> Pressure {
        let of = |limit: Option<usize>, used: usize| match limit {
            Some(limit) if used >= limit => Pressure::Full,
            Some(limit) if used >= part_of(limit, self.backpressure_ratio) => Pressure::Backpressure,
            _ => Pressure::Normal,
        };
        let of_age = |limit: Duration| {
            let soft = limit.as_secs_f64() * within_one(self.backpressure_ratio);
            if age >= limit {
                Pressure::Full
            } else if !age.is_zero() && age.as_secs_f64() >= soft {
                Pressure::Backpressure
            } else {
                Pressure::Normal
            }
        };
        let by_age = self.max_age.map_or(Pressure::Normal, of_age);
        of(self.max_bytes, bytes).max(of(self.max_entries, entries)).max(by_age)
    }
}

/// A level that was crossed.
///
/// ```
/// use std::sync::Arc;
/// use memskip::{Memtable, MonitorLimits, PressureEvent, ThresholdMonitor};
///
/// let table = Arc::new(Memtable::new());
/// let monitor = ThresholdMonitor::new(Arc::clone(&table), MonitorLimits::new().max_entries(1))?;
/// let (sender, events) = std::sync::mpsc::channel();
/// monitor.on_event(move |event| drop(sender.send(event)));
/// table.put(b"k", b"v")?;
/// monitor.look();
/// monitor.look();
/// let events: Vec<_> = events.try_iter().collect();
/// assert_eq!(events, [PressureEvent::BackpressureReached, PressureEvent::LimitReached]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PressureEvent {
    /// From `Normal` to `Backpressure`.
    BackpressureReached,
    /// From `Backpressure` to `Full`.
    LimitReached,
    /// From `Full` to `Backpressure`.
    LimitRelieved,
    /// From `Backpressure` to `Normal`.
    Relieved,
}

/// The crossings from one level to another, one level at a time.
fn crossings(from: Pressure, to: Pressure) -> &'static [PressureEvent] {
    use Pressure::{Backpressure, Full, Normal};
    use PressureEvent::{BackpressureReached, LimitReached, LimitRelieved, Relieved};
    match (from, to) {
        (Normal, Backpressure) => &[BackpressureReached],
        (Normal, Full) => &[BackpressureReached, LimitReached],
        (Backpressure, Full) => &[LimitReached],
        (Full, Backpressure) => &[LimitRelieved],
        (Full, Normal) => &[LimitRelieved, Relieved],
        (Backpressure, Normal) => &[Relieved],
        _ => &[],
    }
}

type Callback = Arc<dyn Fn(PressureEvent) + Send + Sync>;

/// Turns a polled pressure into events: callbacks, and waits. Clones are the same monitor.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use memskip::{Memtable, MonitorLimits, Pressure, ThresholdMonitor};
///
/// let table = Arc::new(Memtable::new());
/// let monitor = ThresholdMonitor::new(Arc::clone(&table), MonitorLimits::new().max_bytes(1000))?;
/// let waiter = {
///     let monitor = monitor.clone();
///     std::thread::spawn(move || monitor.wait_for(Pressure::Full, Duration::from_secs(10)))
/// };
/// table.put(b"k", &[0; 1000])?;
/// assert!(waiter.join().map_err(|_| "panicked")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ThresholdMonitor<G: ?Sized> {
    shared: Arc<Shared<G>>,
}

struct Shared<G: ?Sized> {
    state: Mutex<State>,
    changed: Condvar,
    limits: MonitorLimits,
    gauge: Arc<G>,
}

struct State {
    level: Pressure,
    /// Looks begun, each with a number.
    begun: u64,
    /// The look that was taken last.
    taken: u64,
    /// Since when entries have been seen.
    occupied: Option<Instant>,
    /// How often each level was come to, by `Pressure`.
    arrivals: [u64; 3],
    queue: VecDeque<PressureEvent>,
    callbacks: Vec<Callback>,
    /// Somebody runs callbacks.
    is_delivering: bool,
}

impl<G: ?Sized> Clone for ThresholdMonitor<G> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<G: Gauge + ?Sized> ThresholdMonitor<G> {
    /// A monitor of `gauge`, by its own limits and by `limits`; the level is `Normal` until the first look.
    pub fn new(gauge: Arc<G>, limits: MonitorLimits) -> Result<Self, ConfigError> {
        limits.check()?;
        let state = State {
            level: Pressure::Normal,
            begun: 0,
            taken: 0,
            occupied: None,
            arrivals: [0; 3],
            queue: VecDeque::new(),
            callbacks: Vec::new(),
            is_delivering: false,
        };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new(), limits, gauge };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it watches.
    pub fn gauge(&self) -> &Arc<G> {
        &self.shared.gauge
    }

    /// Has `callback` called with each event from now on, by whichever thread looks, under no lock. It may use the monitor (one
    /// that keeps a clone of it keeps it alive for ever). If it panics, the other callbacks are told of the event all the same,
    /// the panic goes to that thread, and later events are delivered at the next look.
    pub fn on_event(&self, callback: impl Fn(PressureEvent) + Send + Sync + 'static) {
        self.lock().callbacks.push(Arc::new(callback));
    }

    /// Looks at the gauge, runs callbacks if a level was crossed, and returns the level.
    pub fn look(&self) -> Pressure {
        let level = self.observe();
        self.deliver();
        level
    }

    /// The level at the last look.
    pub fn level(&self) -> Pressure {
        self.lock().level
    }

    /// Waits until the level is `pressure` or above (for `Normal`: until it is `Normal`), for up to `timeout`; whether it came
    /// to that. Looks by itself. A level that is come to while waiting counts even if it is left again before the thread wakes.
    pub fn wait_for(&self, pressure: Pressure, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let before = self.lock().arrivals;
        loop {
            self.look();
            let state = self.lock();
            let is_there = match pressure {
                Pressure::Normal => state.level == Pressure::Normal,
                reached => state.level >= reached,
            };
            if is_there || state.arrivals[pressure as usize] != before[pressure as usize] {
                return true;
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            let wait = left.min(self.shared.limits.interval);
            drop(self.shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks and queues (1). Reads again at most once for each look that was under way when this one began.
    fn observe(&self) -> Pressure {
        let Shared { gauge, limits, .. } = &*self.shared;
        let mut state = self.lock();
        let earlier = state.begun;
        let (bytes, entries, own) = loop {
            state.begun += 1;
            let (this, taken) = (state.begun, state.taken);
            drop(state);
            let read = (gauge.bytes(), gauge.entries(), gauge.pressure());
            state = self.lock();
            if state.taken > earlier {
                return state.level;
            }
            if state.taken == taken {
                state.taken = this;
                break read;
            }
        };
        let now = Instant::now();
        state.occupied = if entries == 0 { None } else { state.occupied.or(Some(now)) };
        let age = state.occupied.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let level = own.max(limits.pressure(bytes, entries, age));
        let crossed = crossings(mem::replace(&mut state.level, level), level);
        for event in crossed {
            let arrived = match event {
                PressureEvent::BackpressureReached | PressureEvent::LimitRelieved => Pressure::Backpressure,
                PressureEvent::LimitReached => Pressure::Full,
                PressureEvent::Relieved => Pressure::Normal,
            };
            state.arrivals[arrived as usize] += 1;
        }
        if !state.callbacks.is_empty() {
            state.queue.extend(crossed);
        }
        drop(state);
        if !crossed.is_empty() {
            self.shared.changed.notify_all();
        }
        level
    }

    /// Runs callbacks for what is queued, unless somebody does already (2).
    fn deliver(&self) {
        /// Lets the next one deliver, also after a panic.
        struct Turn<'a>(&'a Mutex<State>);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).is_delivering = false;
            }
        }
        let mut turn = None;
        loop {
            let mut state = self.lock();
            if turn.is_none() && mem::replace(&mut state.is_delivering, true) {
                return;
            }
            let Some(event) = state.queue.pop_front() else {
                // In the same step in which the queue was seen empty: whoever queues next finds nobody delivering.
                state.is_delivering = false;
                drop(state);
                mem::forget(turn);
                return;
            };
            let callbacks = state.callbacks.clone();
            drop(state);
            turn.get_or_insert_with(|| Turn(&self.shared.state));
            // All of them are told, whichever panics; the first panic goes on.
            let mut panic = None;
            for callback in callbacks {
                if panic.is_some() {
                    caught(|| callback(event));
                } else {
                    panic = catch_unwind(AssertUnwindSafe(|| callback(event))).err();
                }
            }
            if let Some(payload) = panic {
                resume_unwind(payload);
            }
        }
    }
}

impl<G: Gauge + Send + Sync + ?Sized + 'static> ThresholdMonitor<G> {
    /// Starts a thread that looks every [`interval`](MonitorLimits::interval) until nobody else holds the monitor. It outlives
    /// panics of callbacks and of the gauge.
    ///
    /// ```
    /// use std::sync::{Arc, mpsc};
    /// use std::time::Duration;
    /// use memskip::{Memtable, MonitorLimits, PressureEvent, ThresholdMonitor};
    ///
    /// let table = Arc::new(Memtable::with_capacity_and_shards(4096, 1, 0, 10));
    /// let monitor = ThresholdMonitor::new(Arc::clone(&table), MonitorLimits::new())?;
    /// let (sender, events) = mpsc::channel();
    /// monitor.on_event(move |event| drop(sender.send(event)));
    /// monitor.watch()?;
    /// for i in 0..10u8 {
    ///     table.put(&[i], b"")?;
    /// }
    /// assert_eq!(events.recv_timeout(Duration::from_secs(10))?, PressureEvent::BackpressureReached);
    /// assert_eq!(events.recv_timeout(Duration::from_secs(10))?, PressureEvent::LimitReached);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self) -> std::io::Result<()> {
        let (shared, interval) = (Arc::downgrade(&self.shared), self.shared.limits.interval);
        let thread = std::thread::Builder::new().name("memskip-monitor".into());
        let look = move || {
            while let Some(shared) = shared.upgrade() {
                caught(|| Self { shared }.look());
                std::thread::sleep(interval);
            }
        };
        thread.spawn(look).map(drop)
    }
}

impl<G: ?Sized> fmt::Debug for ThresholdMonitor<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThresholdMonitor").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}
