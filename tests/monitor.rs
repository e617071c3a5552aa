//! Threshold monitoring, from outside: each crossing once, none lost, callbacks under no lock.

#![cfg(feature = "std")]
#![allow(missing_docs, clippy::needless_for_each, reason = "a test in few lines")]

use memskip::{
    FlushJob, Gauge, ManagerConfig, MemoryBudget, Memtable, MemtableManager, MonitorLimits, Pressure, PressureEvent,
    ThresholdMonitor,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use PressureEvent::{BackpressureReached, LimitReached, LimitRelieved, Relieved};

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(60);

/// A gauge that shows what it is told to.
#[derive(Default)]
struct Dial(AtomicUsize);

impl Dial {
    fn set(&self, entries: usize) {
        self.0.store(entries, SeqCst);
    }
}

impl Gauge for Dial {
    fn bytes(&self) -> usize {
        0
    }
    fn entries(&self) -> usize {
        self.0.load(SeqCst)
    }
    fn pressure(&self) -> Pressure {
        Pressure::Normal
    }
}

/// A monitor of a dial with backpressure from 5 and the limit at 10, and the events it has told of.
fn dial() -> (Arc<Dial>, ThresholdMonitor<Dial>, Arc<Mutex<Vec<PressureEvent>>>) {
    let dial = Arc::new(Dial::default());
    let limits = MonitorLimits::new().max_entries(10).backpressure_ratio(0.5).interval(Duration::from_millis(1));
    let monitor = ThresholdMonitor::new(Arc::clone(&dial), limits).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    monitor.on_event(move |event| sink.lock().unwrap().push(event));
    (dial, monitor, events)
}

#[test]
fn each_crossing_is_told_once_and_in_order() {
    let (dial, monitor, events) = dial();
    let steps = |entries, level, expected: &[PressureEvent]| {
        dial.set(entries);
        for _ in 0..3 {
            assert_eq!(monitor.look(), level);
        }
        assert_eq!(std::mem::take(&mut *events.lock().unwrap()), expected);
    };
    steps(0, Pressure::Normal, &[]);
    steps(4, Pressure::Normal, &[]);
    steps(5, Pressure::Backpressure, &[BackpressureReached]);
    steps(9, Pressure::Backpressure, &[]);
    steps(10, Pressure::Full, &[LimitReached]);
    steps(1000, Pressure::Full, &[]);
    steps(5, Pressure::Backpressure, &[LimitRelieved]);
    steps(10, Pressure::Full, &[LimitReached]);
    // Both levels at once are two crossings.
    steps(0, Pressure::Normal, &[LimitRelieved, Relieved]);
    steps(10, Pressure::Full, &[BackpressureReached, LimitReached]);
    steps(0, Pressure::Normal, &[LimitRelieved, Relieved]);
}

#[test]
fn many_who_look_at_once_tell_each_crossing_once() {
    let (dial, monitor, events) = dial();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    monitor.look();
                }
            });
        }
        for round in 0..500 {
            dial.set([10, 0, 5, 0, 10, 5][round % 6]);
            monitor.look();
        }
        done.store(true, SeqCst);
    });
    dial.set(0);
    monitor.look();
    let events = events.lock().unwrap();
    // As a walk: no event twice, none left out, whatever the order of looks was.
    let end = events.iter().fold(0, |level, event| match (level, event) {
        (0, BackpressureReached) | (2, LimitRelieved) => 1,
        (1, LimitReached) => 2,
        (1, Relieved) => 0,
        step => panic!("{step:?} in {events:?}"),
    });
    assert_eq!(end, 0);
    // Every setting was looked at at least once: 4 of 6 steps cross, all together 8 levels.
    assert!(events.len() >= 500 / 6 * 8, "{}", events.len());
}

#[test]
fn callbacks_run_under_no_lock() {
    let (dial, monitor, events) = dial();
    // A monitor that owned a callback that owned the monitor would never end, so it is taken back below.
    let (lent, inner) = (Arc::new(Mutex::new(Some(monitor.clone()))), Arc::clone(&dial));
    let borrowed = Arc::clone(&lent);
    monitor.on_event(move |event| {
        let again = borrowed.lock().unwrap().clone().expect("it is lent");
        // Looks, changes what it sees, registers another, waits: all from inside a callback.
        if event == LimitReached {
            inner.set(0);
            assert_eq!(again.look(), Pressure::Normal);
            again.on_event(|_| {});
            assert!(again.wait_for(Pressure::Normal, LONG));
        }
        thread::spawn(move || again.look()).join().unwrap();
    });
    dial.set(10);
    monitor.look();
    assert_eq!(*events.lock().unwrap(), [BackpressureReached, LimitReached, LimitRelieved, Relieved]);
    *lent.lock().unwrap() = None;
}

#[test]
fn a_callback_that_panics_loses_no_later_event() {
    let (dial, monitor, events) = dial();
    let panics = AtomicBool::new(true);
    monitor.on_event(move |_| {
        if panics.swap(false, SeqCst) {
            std::panic::resume_unwind(Box::new("a bug of the callback's"));
        }
    });
    // One that is told after it.
    let behind = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&behind);
    monitor.on_event(move |event| sink.lock().unwrap().push(event));
    dial.set(10);
    let looker = monitor.clone();
    assert!(thread::spawn(move || looker.look()).join().is_err());
    monitor.look();
    assert_eq!(*events.lock().unwrap(), [BackpressureReached, LimitReached]);
    assert_eq!(*behind.lock().unwrap(), [BackpressureReached, LimitReached]);
}

#[test]
fn a_watch_outlives_a_callback_that_panics() {
    let (dial, monitor, _) = dial();
    let (sender, told) = mpsc::channel();
    monitor.on_event(move |event| {
        let _ = sender.send(event);
        if event == BackpressureReached {
            std::panic::resume_unwind(Box::new("a bug of the callback's"));
        }
    });
    monitor.watch().unwrap();
    for (entries, event) in [(5, BackpressureReached), (10, LimitReached)] {
        dial.set(entries);
        assert_eq!(told.recv_timeout(LONG), Ok(event), "nobody looks any more");
    }
}

#[test]
fn waits_end_at_their_level_or_in_time() {
    let (dial, monitor, _) = dial();
    assert!(monitor.wait_for(Pressure::Normal, Duration::ZERO));
    assert!(!monitor.wait_for(Pressure::Backpressure, Duration::from_millis(3)));
    thread::scope(|scope| {
        let waiters: Vec<_> = [Pressure::Backpressure, Pressure::Full]
            .map(|level| {
                scope.spawn({
                    let monitor = &monitor;
                    move || monitor.wait_for(level, LONG)
                })
            })
            .into_iter()
            .collect();
        dial.set(10);
        waiters.into_iter().for_each(|waiter| assert!(waiter.join().unwrap()));
        let waiter = scope.spawn(|| monitor.wait_for(Pressure::Normal, LONG));
        dial.set(9);
        monitor.look();
        dial.set(0);
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a_wait_misses_no_level_that_was_left_again() {
    let (dial, monitor, _) = dial();
    let waiting = AtomicBool::new(true);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let reached = monitor.wait_for(Pressure::Full, LONG);
            waiting.store(false, SeqCst);
            reached
        });
        // Up and down again under one look each: the waiter seldom looks in between.
        while waiting.load(SeqCst) {
            dial.set(10);
            monitor.look();
            dial.set(0);
            monitor.look();
        }
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn limits_by_bytes_entries_and_age() {
    let table = || Arc::new(Memtable::with_shards(1));
    let full = |monitor: &ThresholdMonitor<Memtable>| monitor.look() == Pressure::Full;

    let bytes = ThresholdMonitor::new(table(), MonitorLimits::new().max_bytes(2000)).unwrap();
    bytes.gauge().put(b"k", &[0; 1000]).unwrap();
    assert!(!full(&bytes));
    bytes.gauge().put(b"l", &[0; 1000]).unwrap();
    assert!(full(&bytes));

    let entries = ThresholdMonitor::new(table(), MonitorLimits::new().max_entries(2)).unwrap();
    entries.gauge().put(b"k", b"").unwrap();
    assert!(!full(&entries));
    entries.gauge().put(b"k", b"again").unwrap();
    assert!(full(&entries));

    let age = ThresholdMonitor::new(table(), MonitorLimits::new().max_age(Duration::from_millis(5))).unwrap();
    assert!(!age.wait_for(Pressure::Full, Duration::from_millis(20)), "an empty table has no age");
    age.gauge().put(b"k", b"").unwrap();
    assert!(age.wait_for(Pressure::Full, LONG));

    let least = ThresholdMonitor::new(table(), MonitorLimits::new().max_age(Duration::from_nanos(1))).unwrap();
    assert_eq!(least.look(), Pressure::Normal, "nor has it one that counts by the least limit");
    least.gauge().put(b"k", b"").unwrap();
    assert!(least.wait_for(Pressure::Full, LONG));
    let longest = MonitorLimits::new().max_age(Duration::MAX).backpressure_ratio(0.0);
    let longest = ThresholdMonitor::new(table(), longest).unwrap();
    longest.gauge().put(b"k", b"").unwrap();
    assert!(longest.wait_for(Pressure::Backpressure, LONG));
    assert!(!full(&longest));

    // The table's own limits, without any of the monitor's.
    let own = Arc::new(Memtable::with_capacity_and_shards(4096, 1, 0, 2));
    let own = ThresholdMonitor::new(own, MonitorLimits::new()).unwrap();
    assert!(!full(&own));
    own.gauge().put(b"k", b"").unwrap();
    own.gauge().put(b"l", b"").unwrap();
    assert!(full(&own));

    for (limits, field) in [
        (MonitorLimits::new().max_bytes(0), "max_bytes"),
        (MonitorLimits::new().max_entries(0), "max_entries"),
        (MonitorLimits::new().max_age(Duration::ZERO), "max_age"),
        (MonitorLimits::new().interval(Duration::ZERO), "interval"),
    ] {
        assert_eq!(ThresholdMonitor::new(table(), limits).unwrap_err().field(), field);
    }
}

#[test]
fn a_budget_is_shared_and_can_be_watched() {
    assert_eq!(MemoryBudget::new(0).unwrap_err().field(), "max_bytes");
    let budget = Arc::new(MemoryBudget::new(10_000).unwrap());
    let tables: Vec<_> = (0..4).map(|_| Arc::new(Memtable::with_shards(1))).collect();
    tables.iter().for_each(|table| budget.add(table));
    let manager = Arc::new(MemtableManager::new(ManagerConfig::new()).unwrap());
    budget.add(&manager);
    let monitor = ThresholdMonitor::new(Arc::clone(&budget), MonitorLimits::new()).unwrap();
    for table in &tables {
        table.put(b"k", &[0; 2000]).unwrap();
        assert_eq!(monitor.look(), Pressure::Normal);
    }
    manager.put(b"k", &[0; 2000]).unwrap();
    manager.rotate();
    assert_eq!(monitor.look(), Pressure::Full, "frozen tables count");
    assert_eq!(budget.entries(), 5);
    manager.next_flush().unwrap().complete().unwrap();
    assert_eq!(monitor.look(), Pressure::Normal);
    drop(tables);
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn a_manager_can_be_watched() {
    let config = ManagerConfig::new().soft_frozen_tables(1).max_frozen_tables(2);
    let manager = Arc::new(MemtableManager::new(config).unwrap());
    let monitor = ThresholdMonitor::new(Arc::clone(&manager), MonitorLimits::new()).unwrap();
    let mut levels = Vec::new();
    for i in 0..2u8 {
        manager.put(&[i], b"").unwrap();
        manager.rotate();
        levels.push(monitor.look());
    }
    while let Some(job) = manager.next_flush() {
        job.complete().unwrap();
        levels.push(monitor.look());
    }
    let [normal, soft, hard] = [Pressure::Normal, Pressure::Backpressure, Pressure::Full];
    assert_eq!(levels, [soft, hard, soft, normal]);
}

/// A gauge that stops once, in the middle of a look, until it is let go.
struct Stopping(Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>);

impl Stopping {
    fn new() -> (Arc<Self>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((stops, stopped), (go, goes)) = (mpsc::channel(), mpsc::channel());
        (Arc::new(Self(Mutex::new(Some((stops, goes))))), stopped, go)
    }
}

impl Gauge for Stopping {
    fn bytes(&self) -> usize {
        let first = self.0.lock().unwrap().take();
        if let Some((stops, goes)) = first {
            stops.send(()).unwrap();
            goes.recv_timeout(LONG).unwrap();
        }
        0
    }
    fn entries(&self) -> usize {
        0
    }
    fn pressure(&self) -> Pressure {
        Pressure::Normal
    }
}

#[test]
fn a_look_that_drops_the_last_share_of_a_manager_waits_under_no_lock() {
    let budget = Arc::new(MemoryBudget::new(1 << 20).unwrap());
    let monitor = ThresholdMonitor::new(Arc::clone(&budget), MonitorLimits::new()).unwrap();
    let manager = Arc::new(MemtableManager::new(ManagerConfig::new()).unwrap());
    budget.add(&manager);
    let (gauge, gauge_stopped, gauge_go) = Stopping::new();
    budget.add(&gauge);
    let ((flushes, flush_begun), (flush_go, goes)) = (mpsc::channel(), mpsc::channel());
    let (goes, asked) = (Mutex::new(goes), monitor.clone());
    let flush = move |_: &FlushJob| {
        flushes.send(())?;
        goes.lock().unwrap().recv_timeout(LONG)?;
        asked.level();
        asked.look();
        Ok(())
    };
    manager.start_flushers(1, flush).unwrap();
    manager.put(b"k", b"v").unwrap();
    manager.rotate();
    flush_begun.recv_timeout(LONG).unwrap();
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || done.send(monitor.look()));
    gauge_stopped.recv_timeout(LONG).unwrap();
    // The look has a share of the manager now, and the last one; at its end it waits for the flush, which asks the monitor.
    drop(manager);
    gauge_go.send(()).unwrap();
    flush_go.send(()).unwrap();
    assert_eq!(is_done.recv_timeout(LONG), Ok(Pressure::Normal), "they wait for each other");
}

#[test]
fn a_look_that_was_overtaken_tells_nothing_old() {
    let (gauge, stopped, go) = Stopping::new();
    let budget = Arc::new(MemoryBudget::new(10_000).unwrap());
    let table = Arc::new(Memtable::with_shards(1));
    budget.add(&table);
    budget.add(&gauge);
    let monitor = ThresholdMonitor::new(budget, MonitorLimits::new()).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    monitor.on_event(move |event| sink.lock().unwrap().push(event));
    thread::scope(|scope| {
        // Has read the table when it was empty.
        let slow = scope.spawn(|| monitor.look());
        stopped.recv_timeout(LONG).unwrap();
        table.put(b"k", &[0; 10_000]).unwrap();
        assert_eq!(monitor.look(), Pressure::Full);
        go.send(()).unwrap();
        assert_eq!(slow.join().unwrap(), Pressure::Full);
    });
    assert_eq!((monitor.level(), events.lock().unwrap().len()), (Pressure::Full, 2));
}
