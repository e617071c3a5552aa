//! The memtable manager, from outside: what published managers got wrong, one test each, and everything at once against a model.
//!
//! No test measures time. Timeouts are there so that a hang fails instead of hanging.

#![cfg(feature = "std")]
#![allow(missing_docs, clippy::needless_for_each, reason = "a test in few lines")]

use memskip::{
    BatchError, Bytewise, Comparator, CounterClock, FlushJob, InsertError, Kind, ManagerConfig, ManagerSnapshot,
    MemtableManager, Pressure, SeqClock, SeqNo, TableStage, Tags, UnknownFlush, WriteBatch, WriteError,
};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(60);

fn manager() -> MemtableManager {
    MemtableManager::new(config()).unwrap()
}

/// Small tables, and no stalls.
fn config() -> ManagerConfig {
    ManagerConfig::new().shards(2).first_chunk(1 << 12).max_frozen_tables(usize::MAX)
}

fn pairs(snapshot: &ManagerSnapshot) -> Vec<(Vec<u8>, Vec<u8>)> {
    snapshot.iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect()
}

fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

// What has been got wrong before.

#[test]
fn rotation_neither_loses_nor_revives_a_deleted_key() {
    let manager = manager();
    manager.put(b"k", b"v").unwrap();
    manager.rotate().unwrap();
    manager.delete(b"k").unwrap();
    let is_gone = || {
        assert_eq!(manager.get(b"k"), None);
        assert!(!manager.contains_key(b"k"));
        assert_eq!(manager.snapshot().get(b"k"), None);
        assert_eq!(manager.iter().count(), 0);
        assert_eq!(manager.range(&b"a"[..]..).rev().count(), 0);
        assert_eq!(manager.scan_prefix(b"k").count(), 0);
    };
    is_gone();
    assert!(manager.get_entry(b"k").unwrap().is_tombstone, "whoever looks into files next has to know");
    manager.rotate().unwrap();
    is_gone();
    manager.put(b"other", b"").unwrap();
    manager.delete(b"other").unwrap();
    manager.rotate().unwrap();
    is_gone();
    // The older table goes first, then the one with the tombstone; at no time is the value back.
    manager.next_flush().unwrap().complete().unwrap();
    is_gone();
    manager.next_flush().unwrap().complete().unwrap();
    is_gone();
    assert_eq!(manager.get_entry(b"k"), None);
}

#[test]
fn a_table_flushed_before_an_older_one_goes_on_hiding_it() {
    let manager = manager();
    manager.put(b"k", b"old").unwrap();
    manager.put(b"deleted", b"old").unwrap();
    manager.rotate().unwrap();
    manager.put(b"k", b"new").unwrap();
    manager.delete(b"deleted").unwrap();
    manager.rotate().unwrap();
    let (older, younger) = (manager.next_flush().unwrap(), manager.next_flush().unwrap());
    younger.complete().unwrap();
    assert_eq!(manager.frozen_tables(), 2, "still readable");
    assert_eq!(manager.get(b"k").as_deref(), Some(&b"new"[..]));
    assert_eq!(manager.get(b"deleted"), None);
    older.complete().unwrap();
    assert_eq!(manager.frozen_tables(), 0);
}

#[test]
fn a_buffered_write_is_not_overtaken_by_a_later_delete() {
    for kind in 0..4 {
        for rotate in [false, true] {
            let manager = manager();
            match kind {
                0 => drop(manager.put(b"k", b"v").unwrap()),
                1 => assert!(manager.insert(b"k", b"v")),
                2 => drop(manager.insert_batch(&[(b"k", b"v")]).unwrap()),
                _ => {
                    let mut batch = WriteBatch::new();
                    batch.put(b"k", b"v");
                    manager.apply(&batch).unwrap();
                }
            }
            if rotate {
                manager.rotate().unwrap();
            }
            manager.delete(b"k").unwrap();
            manager.rotate().unwrap();
            assert_eq!(manager.get(b"k"), None);
            // Nor in the order of a flush: by number, what is newest is the tombstone.
            let mut newest = None;
            while let Some(job) = manager.next_flush() {
                newest = newest.max(job.table().entry(b"k").map(|entry| (entry.seq, job.id(), entry.is_tombstone)));
                job.complete().unwrap();
            }
            assert!(newest.unwrap().2);
        }
    }
}

#[test]
fn the_table_being_flushed_is_readable() {
    let manager = manager();
    manager.put(b"a", b"1").unwrap();
    manager.rotate().unwrap();
    let snapshot = manager.snapshot();
    let is_there = || {
        assert_eq!(manager.get(b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!(manager.iter().count(), 1);
        assert!(!manager.insert(b"a", b"2"));
    };
    is_there();
    let job = manager.next_flush().unwrap();
    assert_eq!(manager.stats().tables[1].stage, TableStage::Flushing);
    is_there();
    job.fail().unwrap();
    is_there();
    let job = manager.next_flush().unwrap();
    is_there();
    let range = manager.range(..);
    let table_bytes = job.table().memory_usage();
    job.complete().unwrap();
    // Gone from the manager; not from those who had begun to read.
    assert_eq!(manager.get(b"a"), None);
    assert_eq!(snapshot.get(b"a"), Some(&b"1"[..]));
    assert_eq!(range.map(|entry| entry.value().to_vec()).collect::<Vec<_>>(), [b"1"]);
    assert!(table_bytes > 0);
}

#[test]
fn the_checkpoint_is_of_the_right_generation() {
    let manager = manager();
    assert_eq!(manager.first_unflushed_tag(), None);
    // Tags come out of order, as from several threads.
    for tag in [11, 10, 12] {
        manager.tagged(tag).put(&[tag as u8], b"").unwrap();
    }
    manager.rotate().unwrap();
    for tag in [20, 22, 21] {
        manager.tagged(tag).delete(&[tag as u8]).unwrap();
    }
    manager.rotate().unwrap();
    manager.tagged(30).put(b"active", b"").unwrap();
    let (first, second) = (manager.next_flush().unwrap(), manager.next_flush().unwrap());
    assert_eq!(first.tags(), Some(Tags { first: 10, last: 12 }));
    assert_eq!(second.tags(), Some(Tags { first: 20, last: 22 }));
    assert_eq!(manager.first_unflushed_tag(), Some(10));
    // The younger one is done first: the log is still needed from 10 on.
    second.complete().unwrap();
    assert_eq!(manager.first_unflushed_tag(), Some(10));
    first.fail().unwrap();
    assert_eq!(manager.first_unflushed_tag(), Some(10));
    let again = manager.next_flush().unwrap();
    assert_eq!(again.tags(), Some(Tags { first: 10, last: 12 }));
    again.complete().unwrap();
    assert_eq!(manager.first_unflushed_tag(), Some(30), "what is in the active table is not flushed");
    // A refused write leaves no tag.
    assert!(!manager.tagged(1).insert(b"active", b""));
    assert_eq!(manager.first_unflushed_tag(), Some(30));
}

/// A write that stores nothing leaves no tag: none of the tables that are flushed would ever take it away.
#[test]
fn a_write_that_stores_nothing_leaves_no_tag() {
    let manager = manager();
    manager.tagged(7).apply(&WriteBatch::new()).unwrap();
    assert_eq!(manager.tagged(7).insert_batch::<&[u8], &[u8]>(&[]), Ok(0));
    assert_eq!(manager.first_unflushed_tag(), None);
    manager.tagged(8).put(b"a", b"").unwrap();
    manager.rotate().unwrap();
    let duplicates = manager.tagged(9).insert_batch(&[(b"a", b""), (b"a", b"")]);
    assert_eq!(duplicates, Err(BatchError::PartialFailure { succeeded: 0, failed: 2 }));
    manager.next_flush().unwrap().complete().unwrap();
    assert_eq!(manager.first_unflushed_tag(), None);
    // A batch of which something went in leaves one.
    manager.tagged(10).put(b"a", b"").unwrap();
    manager.rotate().unwrap();
    let partial = manager.tagged(11).insert_batch(&[(b"a", b""), (b"b", b"")]);
    assert_eq!(partial, Err(BatchError::PartialFailure { succeeded: 1, failed: 1 }));
    manager.next_flush().unwrap().complete().unwrap();
    assert_eq!(manager.first_unflushed_tag(), Some(11));
    for job in manager.shutdown(Duration::ZERO) {
        job.complete().unwrap();
    }
    assert_eq!(manager.first_unflushed_tag(), None);
}

#[test]
fn a_limit_of_zero_is_an_error_that_names_the_field() {
    let new = ManagerConfig::new;
    let zeros = [
        (new().max_table_bytes(0), "max_table_bytes"),
        (new().max_table_entries(0), "max_table_entries"),
        (new().max_table_age(Duration::ZERO), "max_table_age"),
        (new().soft_frozen_tables(0), "soft_frozen_tables"),
        (new().max_frozen_tables(0), "max_frozen_tables"),
        (new().soft_frozen_bytes(0), "soft_frozen_bytes"),
        (new().max_frozen_bytes(0), "max_frozen_bytes"),
        (new().shards(0), "shards"),
        (new().first_chunk(0), "first_chunk"),
        (new().soft_frozen_tables(9).max_frozen_tables(8), "soft_frozen_tables"),
        (new().soft_frozen_bytes(9).max_frozen_bytes(8), "soft_frozen_bytes"),
    ];
    for (config, field) in zeros {
        let error = MemtableManager::new(config).unwrap_err();
        assert_eq!(error.field(), field);
        assert!(error.to_string().contains(field));
    }
}

#[test]
fn the_least_limits_rotate_once_per_write() {
    for config in [config().max_table_entries(1), config().max_table_bytes(1)] {
        let manager = MemtableManager::new(config).unwrap();
        for i in 0..20u8 {
            // Also one that no table of this size holds.
            manager.put(&[i], &[i; 1000]).unwrap();
        }
        assert_eq!(manager.stats().rotations, 20);
        assert_eq!(manager.frozen_tables(), 20);
        assert_eq!(manager.iter().count(), 20);
    }
}

#[test]
fn a_prefix_scan_misses_no_rows() {
    let manager = manager();
    let keys: [&[u8]; 9] = [&[], &[0], b"a", b"ab", b"b", &[0xfe, 0xff], &[0xff], &[0xff, 0], &[0xff, 0xff, 0xff]];
    for (i, key) in keys.iter().enumerate() {
        manager.put(key, b"").unwrap();
        if i % 2 == 0 {
            manager.rotate().unwrap();
        }
    }
    for prefix in keys.into_iter().chain([&b"c"[..], &[0xff, 0xff], &[0xfe]]) {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).map(|key| key.to_vec()).collect();
        let found: Vec<_> = manager.scan_prefix(prefix).map(|entry| entry.key().to_vec()).collect();
        assert_eq!(found, expected, "{prefix:?}");
        let mut backwards: Vec<_> = manager.scan_prefix(prefix).rev().map(|entry| entry.key().to_vec()).collect();
        backwards.reverse();
        assert_eq!(backwards, expected, "{prefix:?}, backwards");
    }
}

/// Bytewise, and counts.
#[derive(Clone)]
struct Counting(Arc<AtomicUsize>);

impl Comparator<[u8]> for Counting {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        self.0.fetch_add(1, SeqCst);
        a.cmp(b)
    }
    fn hint(&self, key: &[u8], skip: usize) -> usize {
        Bytewise.hint(key, skip)
    }
    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        Bytewise.common_prefix(a, b)
    }
}

#[test]
fn a_range_of_ten_rows_costs_no_scan_of_all() {
    let count = Arc::new(AtomicUsize::new(0));
    let config = config().max_table_entries(25_000);
    let manager = MemtableManager::with_parts(config, Counting(Arc::clone(&count)), CounterClock::new()).unwrap();
    for i in 0..100_000u32 {
        // Neighbours lie in different tables.
        manager.put(&i.wrapping_mul(0x9e37_79b1).to_be_bytes(), b"").unwrap();
    }
    assert_eq!(manager.frozen_tables(), 4);
    let start = 0x8000_0000u32.to_be_bytes();
    let steps = |act: &dyn Fn() -> usize| {
        let before = count.load(SeqCst);
        assert_eq!(act(), 10);
        count.load(SeqCst) - before
    };
    let owned = steps(&|| manager.range(&start[..]..).take(10).count());
    let borrowed = steps(&|| manager.snapshot().range(&start[..]..).take(10).count());
    let backwards = steps(&|| manager.range(..&start[..]).rev().take(10).count());
    assert!(owned < 1000 && borrowed < 1000 && backwards < 5000, "{owned} {borrowed} {backwards}");
}

#[test]
fn a_scan_rotates_nothing() {
    let manager = manager();
    for i in 0..100u8 {
        manager.put(&[i], b"").unwrap();
    }
    let before = manager.stats();
    let snapshot = manager.snapshot();
    assert_eq!(snapshot.iter().count() + manager.iter().count() + manager.scan_prefix(&[]).count(), 300);
    let after = manager.stats();
    assert_eq!((after.rotations, after.tables.len()), (before.rotations, 1));
    manager.put(b"also in the same table", b"").unwrap();
    assert_eq!(manager.stats().tables[0].versions, 101);
}

#[test]
fn figures_do_not_drift_on_overwrite() {
    let manager = manager();
    for round in 0..50u8 {
        manager.put(b"key", &[round; 10]).unwrap();
        manager.delete(b"key").unwrap();
        manager.put(b"key", &[round; 20]).unwrap();
    }
    let stats = manager.stats().tables[0];
    assert_eq!((stats.live_keys, stats.tombstones, stats.versions), (1, 0, 150));
    assert_eq!(stats.data_bytes, 3 + 50 * 30);
    manager.rotate().unwrap();
    let job = manager.next_flush().unwrap();
    assert_eq!((job.table().len(), job.table().version_count()), (1, 150));
    job.table().validate().unwrap();
    assert_eq!(manager.memory_usage(), job.table().memory_usage());
    job.complete().unwrap();
    assert_eq!((manager.memory_usage(), manager.version_count()), (0, 0));
}

/// Bytewise, until it is turned round.
#[derive(Clone)]
struct Turning(Arc<AtomicBool>);

impl Comparator<[u8]> for Turning {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        if self.0.load(SeqCst) { b.cmp(a) } else { a.cmp(b) }
    }
}

#[test]
fn validate_looks_at_every_table() {
    // With two keys a table is broken as soon as the order is turned round; with one it cannot be.
    for broken in 0..4 {
        let turned = Arc::new(AtomicBool::new(false));
        let manager = MemtableManager::with_parts(config(), Turning(Arc::clone(&turned)), CounterClock::new()).unwrap();
        for table in 0..3 {
            manager.put(b"a", b"").unwrap();
            if table == broken {
                manager.put(b"b", b"").unwrap();
            }
            if table < 2 {
                manager.rotate().unwrap();
            }
        }
        // Also of one that is being flushed.
        let _job = manager.next_flush().unwrap();
        manager.validate().unwrap();
        turned.store(true, SeqCst);
        assert_eq!(manager.validate().is_err(), broken < 3, "table {broken}");
    }
}

#[test]
fn the_size_of_the_active_table_is_that_table_s_alone() {
    let manager = manager();
    assert_eq!(manager.active_memory_usage(), 0);
    manager.put(b"k", &[0; 1000]).unwrap();
    let full = manager.active_memory_usage();
    assert!((1000..1500).contains(&full), "{full}");
    manager.rotate().unwrap();
    assert_eq!(manager.active_memory_usage(), 0);
    manager.put(b"k", b"").unwrap();
    assert_eq!(manager.active_memory_usage(), manager.stats().tables[0].memory_usage);
    assert_eq!(manager.memory_usage(), full + manager.active_memory_usage());
}

#[test]
fn the_greatest_limit_is_none() {
    // The default is 64 MiB.
    for (config, rotations) in [(config(), 1), (config().max_table_bytes(usize::MAX), 0)] {
        let manager = MemtableManager::new(config).unwrap();
        let value = vec![0; 1 << 20];
        for i in 0..66u8 {
            manager.put(&[i], &value).unwrap();
        }
        assert_eq!(manager.stats().rotations, rotations);
    }
}

thread_local! {
    /// Whether this thread stops in its next comparison.
    static STOPS: Cell<bool> = const { Cell::new(false) };
}

/// Bytewise; a thread that has asked for it stops in the middle of a search until it is let go.
#[derive(Clone)]
struct Stopping {
    stopped: mpsc::Sender<()>,
    go: Arc<AtomicBool>,
}

impl Comparator<[u8]> for Stopping {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        if STOPS.replace(false) {
            self.stopped.send(()).unwrap();
            while !self.go.load(SeqCst) {
                thread::yield_now();
            }
        }
        a.cmp(b)
    }
}

#[test]
fn a_writer_that_does_not_move_holds_up_no_other_and_no_rotation() {
    let (sender, stopped) = mpsc::channel();
    let go = Arc::new(AtomicBool::new(false));
    let order = Stopping { stopped: sender, go: Arc::clone(&go) };
    let manager = MemtableManager::with_parts(config(), order, CounterClock::new()).unwrap();
    manager.put(b"a", b"").unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            STOPS.set(true);
            manager.put(b"slow", b"value")
        });
        stopped.recv_timeout(LONG).unwrap();
        // It stands inside the active table now. Everybody else goes on, in it and past it.
        manager.put(b"b", b"").unwrap();
        let frozen = manager.rotate().unwrap();
        let mut batch = WriteBatch::new();
        batch.put(b"c", b"");
        batch.delete(b"a");
        manager.apply(&batch).unwrap();
        manager.rotate().unwrap();
        manager.put(b"d", b"").unwrap();
        let keys: Vec<_> = manager.iter().map(|entry| entry.key().to_vec()).collect();
        assert_eq!(keys, [b"b", b"c", b"d"]);
        assert_eq!(manager.get(b"a"), None);
        // Who flushes that table waits: what the writer will have been told is in must be in the file.
        let flusher = scope.spawn(|| {
            let job = manager.next_flush().unwrap();
            (job.id(), job.table().get_live(b"slow").map(<[u8]>::to_vec), job.table().max_seq())
        });
        go.store(true, SeqCst);
        let written = slow.join().unwrap().unwrap();
        let (id, value, max_seq) = flusher.join().unwrap();
        assert_eq!((id, value.as_deref(), max_seq), (frozen, Some(&b"value"[..]), Some(written)));
        assert_eq!(manager.get(b"slow").as_deref(), Some(&b"value"[..]));
    });
}

#[test]
fn an_insert_waits_for_one_that_is_under_way_in_an_older_table() {
    let (sender, stopped) = mpsc::channel();
    let go = Arc::new(AtomicBool::new(false));
    let order = Stopping { stopped: sender, go: Arc::clone(&go) };
    let manager = MemtableManager::with_parts(config(), order, CounterClock::new()).unwrap();
    manager.put(b"a", b"").unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            STOPS.set(true);
            manager.insert(b"k", b"first")
        });
        stopped.recv_timeout(LONG).unwrap();
        manager.rotate().unwrap();
        let second = scope.spawn(|| manager.insert(b"k", b"second"));
        // Time enough for one that does not wait.
        for _ in 0..2000 {
            if second.is_finished() {
                break;
            }
            thread::yield_now();
        }
        go.store(true, SeqCst);
        assert!(first.join().unwrap() ^ second.join().unwrap(), "the first value wins, and only one does");
    });
}

// The order of versions across tables.

#[test]
fn the_greatest_number_is_the_newest_whatever_table_it_is_in() {
    let manager = manager();
    manager.put_at(b"k", b"late", SeqNo(20)).unwrap();
    manager.put_at(b"gone", b"early", SeqNo(5)).unwrap();
    manager.rotate().unwrap();
    manager.put_at(b"k", b"early", SeqNo(10)).unwrap();
    manager.delete_at(b"gone", SeqNo(21)).unwrap();
    let snapshot = manager.snapshot();
    assert_eq!(manager.get(b"k").as_deref(), Some(&b"late"[..]));
    assert_eq!(pairs(&snapshot), [(b"k".to_vec(), b"late".to_vec())]);
    assert_eq!(manager.iter().rev().map(|entry| entry.value().to_vec()).collect::<Vec<_>>(), [b"late"]);
}

/// Counts. A thread that is named "slow" is held when it asks for a number.
#[derive(Clone, Default)]
struct HoldingClock(Arc<Held>);

#[derive(Default)]
struct Held {
    last: AtomicU64,
    hold: AtomicBool,
    inside: AtomicBool,
}

impl SeqClock for HoldingClock {
    fn stamp(&self) -> SeqNo {
        if thread::current().name() == Some("slow") {
            self.0.inside.store(true, SeqCst);
            while self.0.hold.load(SeqCst) {
                thread::yield_now();
            }
        }
        SeqNo(self.0.last.fetch_add(1, SeqCst) + 1)
    }
    fn snapshot(&self) -> SeqNo {
        SeqNo(self.0.last.load(SeqCst))
    }
    fn observe(&self, seq: SeqNo) {
        self.0.last.fetch_max(seq.0, SeqCst);
    }
}

type HeldManager = MemtableManager<[u8], Bytewise, HoldingClock>;

fn held_manager(config: ManagerConfig) -> (HeldManager, HoldingClock) {
    let clock = HoldingClock::default();
    (MemtableManager::with_parts(config, Bytewise, clock.clone()).unwrap(), clock)
}

/// Puts `key`; meanwhile its writer is in a table and has no number yet.
fn put_late(manager: &HeldManager, clock: &HoldingClock, key: &[u8], meanwhile: impl FnOnce()) -> SeqNo {
    clock.0.hold.store(true, SeqCst);
    clock.0.inside.store(false, SeqCst);
    thread::scope(|scope| {
        let slow = thread::Builder::new().name("slow".into());
        let slow = slow.spawn_scoped(scope, || manager.put(key, b"slow").unwrap()).unwrap();
        while !clock.0.inside.load(SeqCst) {
            thread::yield_now();
        }
        meanwhile();
        clock.0.hold.store(false, SeqCst);
        slow.join().unwrap()
    })
}

/// A writer was inside a table when it was rotated out, and is numbered after a write to the next table. When the first one is
/// flushed, memory does not answer with the lesser number. It holds up nobody, and ends with the next flush.
#[test]
fn a_late_version_is_read_until_the_next_table_is_flushed() {
    let (manager, clock) = held_manager(config().max_frozen_tables(2).stall_timeout(Duration::ZERO));
    assert_eq!(manager.tagged(7).put(b"other", b""), Ok(SeqNo(1)));
    put_late(&manager, &clock, b"k", || {
        manager.rotate().unwrap();
        assert_eq!(manager.tagged(8).delete(b"k"), Ok(SeqNo(2)));
        assert_eq!(manager.rotate().map(|id| id.0), Some(2));
        assert!(matches!(manager.put(b"l", b""), Err(WriteError::Stalled { frozen_tables: 2, .. })));
    });
    let is_slow = || {
        let found = manager.get_entry(b"k").unwrap();
        assert_eq!((found.seq, &found.value[..], found.is_tombstone), (SeqNo(3), &b"slow"[..], false));
        let snapshot = manager.snapshot();
        assert_eq!(snapshot.get(b"k"), Some(&b"slow"[..]));
        assert_eq!(
            snapshot.range_with_tombstones(&b"k"[..]..=b"k").map(|entry| entry.seq).collect::<Vec<_>>(),
            [SeqNo(3)]
        );
        assert_eq!(manager.range(&b"k"[..]..=b"k").rev().map(|entry| entry.seq()).collect::<Vec<_>>(), [SeqNo(3)]);
        assert!(manager.snapshot_at(SeqNo(2)).entry(b"k").is_none_or(|entry| entry.seq == SeqNo(2)));
    };
    is_slow();
    let before = manager.snapshot();
    let first = manager.next_flush().unwrap();
    assert_eq!(first.table().max_seq(), Some(SeqNo(3)));
    first.complete().unwrap();
    is_slow();
    // It is flushed: neither does it count, nor what is not late in it.
    let kept = manager.stats();
    assert_eq!(
        kept.tables.iter().map(|table| (table.id.0, table.stage)).collect::<Vec<_>>(),
        [(3, TableStage::Active), (2, TableStage::Frozen), (1, TableStage::Flushed)]
    );
    assert_eq!((manager.frozen_tables(), manager.first_unflushed_tag()), (1, Some(8)));
    assert_eq!(manager.flushed_max_seq(), Some(SeqNo(3)));
    assert_eq!((manager.get_entry(b"other"), manager.iter().count()), (None, 1));
    assert!(before.contains_key(b"other"), "who had begun to read goes on");
    assert!(manager.insert(b"other", b"") && !manager.insert(b"k", b""));
    assert_eq!(manager.pressure(), Pressure::Normal);
    // With the next flush it goes; and no flusher gets it again.
    let second = manager.next_flush().unwrap();
    assert_eq!(second.id().0, 2);
    assert!(manager.next_flush().is_none() && manager.wait_flush(Duration::ZERO).is_none());
    is_slow();
    second.complete().unwrap();
    assert_eq!(manager.get_entry(b"k"), None);
    let stats = manager.stats();
    assert_eq!((stats.tables.len(), stats.flushes, stats.spare_tables, stats.stalls), (1, 2, 1, 1));
}

/// Of equal numbers the later table's is newer: the first number behind a rotation hides nothing there.
#[test]
fn a_writer_that_nobody_overtook_is_not_late() {
    let (manager, clock) = held_manager(config());
    manager.put(b"other", b"").unwrap();
    put_late(&manager, &clock, b"k", || assert!(manager.rotate().is_some()));
    manager.next_flush().unwrap().complete().unwrap();
    assert_eq!((manager.get_entry(b"k"), manager.stats().tables.len()), (None, 1));
}

/// No flush would end a stall for a table that is flushed and kept for the active one.
#[test]
fn a_table_that_is_kept_for_late_versions_stalls_nobody() {
    let limits = config().stall_timeout(Duration::ZERO);
    let by_tables = limits.clone().max_frozen_tables(1);
    let by_bytes = limits.max_frozen_bytes(1);
    for limits in [by_tables, by_bytes] {
        let (manager, clock) = held_manager(limits);
        put_late(&manager, &clock, b"k", || {
            manager.rotate().unwrap();
            // Whoever was let through before the rotation draws numbers here.
            clock.stamp();
            clock.stamp();
        });
        manager.next_flush().unwrap().complete().unwrap();
        assert_eq!((manager.stats().tables.len(), manager.frozen_tables()), (2, 0));
        assert_eq!((manager.pressure(), manager.wait_for_room()), (Pressure::Normal, Ok(())));
        manager.put(b"l", b"").unwrap();
        assert_eq!(manager.get(b"k").as_deref(), Some(&b"slow"[..]));
        manager.rotate().unwrap();
        let Err(WriteError::Stalled { frozen_tables, frozen_bytes, .. }) = manager.put(b"m", b"") else {
            panic!("not stalled")
        };
        assert_eq!((frozen_tables, frozen_bytes), (1, manager.stats().tables[1].memory_usage));
        manager.next_flush().unwrap().complete().unwrap();
        assert_eq!((manager.stats().tables.len(), manager.put(b"m", b"")), (1, Ok(SeqNo(5))));
    }
}

/// The first table is late for the second, and that for the third. When the first is gone, the second does not show what was
/// older than something in it.
#[test]
fn of_a_kept_table_only_late_versions_are_shown() {
    let (manager, clock) = held_manager(config());
    let write_late = |key: &[u8]| {
        put_late(&manager, &clock, key, || {
            manager.rotate().unwrap();
            manager.delete(key).unwrap();
        });
    };
    manager.put(b"a", b"").unwrap();
    write_late(b"k");
    write_late(b"l");
    write_late(b"m");
    // Files, and a memory that never answers with less than they have.
    let mut files = BTreeMap::<Vec<u8>, SeqNo>::new();
    let mut lens = Vec::new();
    while let Some(job) = manager.next_flush() {
        for entry in job.table() {
            let newest = files.entry(entry.key.to_vec()).or_default();
            *newest = entry.seq.max(*newest);
        }
        job.complete().unwrap();
        for (key, newest) in &files {
            assert!(manager.get_entry(key).is_none_or(|found| found.seq >= *newest), "{key:?}");
            let snapshot = manager.snapshot();
            let mut range = snapshot.range_with_tombstones(&key[..]..=&key[..]);
            assert!(range.next().is_none_or(|found| found.seq >= *newest), "{key:?}");
        }
        lens.push(manager.stats().tables.len());
    }
    // Each time but the one that is kept goes.
    assert_eq!(lens, [4, 3, 2]);
    assert_eq!(["k", "l", "m"].map(|key| manager.get(key.as_bytes()).is_some()), [false, false, true]);
}

#[test]
fn a_shutdown_does_not_wait_for_a_table_that_is_kept() {
    for is_used in [false, true] {
        let (manager, clock) = held_manager(config());
        put_late(&manager, &clock, b"k", || {
            manager.rotate().unwrap();
            clock.stamp();
            clock.stamp();
        });
        manager.next_flush().unwrap().complete().unwrap();
        if is_used {
            manager.delete(b"l").unwrap();
        }
        assert_eq!(manager.stats().tables.len(), 2);
        let left = manager.shutdown(if is_used { Duration::ZERO } else { LONG });
        assert_eq!(left.len(), usize::from(is_used));
        left.into_iter().for_each(|job| job.complete().unwrap());
        assert_eq!(manager.stats().tables.len(), 1);
    }
}

/// A clock that does not `observe` lets every table look late for ever. It ends with the table that was active.
#[test]
fn no_table_is_kept_for_ever() {
    let manager = MemtableManager::with_parts(config(), Bytewise, LogClock::default()).unwrap();
    for seq in (1000..1020).rev() {
        manager.put_at(b"k", b"", SeqNo(seq)).unwrap();
        manager.rotate().unwrap();
        manager.next_flush().unwrap().complete().unwrap();
        assert!(manager.stats().tables.len() <= 2);
    }
    assert_eq!(manager.flushed_max_seq(), Some(SeqNo(1019)));
}

#[test]
fn a_flush_is_not_completed_before_its_table_is_handed_out() {
    let (manager, clock) = held_manager(config());
    thread::scope(|scope| {
        put_late(&manager, &clock, b"k", || {
            let id = manager.rotate().unwrap();
            scope.spawn(|| manager.next_flush().unwrap().complete().unwrap());
            while manager.stats().tables[1].stage != TableStage::Flushing {
                thread::yield_now();
            }
            assert_eq!(manager.complete(id), Err(UnknownFlush(id)));
        });
    });
    assert_eq!((manager.stats().flushes, manager.flushed_max_seq()), (1, Some(SeqNo(1))));
}

/// With writers that are late by any number of tables, and flushes that complete in any order: what memory answers is the
/// newest version; where it has none, files do.
#[test]
fn what_memory_answers_is_final() {
    let mut state = 0x2545_f491_4f6c_dd1d;
    for _ in 0..100 {
        let (manager, clock) = held_manager(config());
        let (mut all, mut files, mut jobs) = ([SeqNo(0); 4], [SeqNo(0); 4], Vec::new());
        for _ in 0..20 {
            let late = random(&mut state) % 4;
            let number = put_late(&manager, &clock, &[late as u8], || {
                for _ in 0..random(&mut state) % 6 {
                    let key = random(&mut state) % 4;
                    match random(&mut state) % 3 {
                        0 => drop(manager.rotate()),
                        1 => all[key] = manager.delete(&[key as u8]).unwrap(),
                        _ => all[key] = manager.put(&[key as u8], b"").unwrap(),
                    }
                }
            });
            // Less than what came meanwhile, if another write of the key met it in its table and drew a number for it.
            all[late] = number.max(all[late]);
            for _ in 0..random(&mut state) % 4 {
                jobs.extend(manager.next_flush());
                if jobs.is_empty() || random(&mut state) % 3 == 0 {
                    continue;
                }
                let job: FlushJob<_, _, _> = jobs.swap_remove(random(&mut state) % jobs.len());
                for entry in job.table() {
                    let newest = &mut files[usize::from(entry.key[0])];
                    *newest = entry.seq.max(*newest);
                }
                job.complete().unwrap();
                let snapshot = manager.snapshot();
                let mut range = snapshot.range_with_tombstones(..).peekable();
                for key in 0..4u8 {
                    let (all, files) = (all[usize::from(key)], files[usize::from(key)]);
                    let found = manager.get_entry(&[key]).map(|entry| entry.seq);
                    assert_eq!(found.unwrap_or(files), all);
                    assert_eq!(range.next_if(|entry| entry.key == [key]).map(|entry| entry.seq), found);
                }
            }
        }
        jobs.into_iter().for_each(|job| job.complete().unwrap());
        manager.shutdown(Duration::ZERO).into_iter().for_each(|job| job.complete().unwrap());
        assert_eq!(manager.stats().tables.len(), 1);
    }
}

/// Counts, and lets others go first now and then.
#[derive(Clone, Default)]
struct DawdlingClock(Arc<AtomicU64>);

impl SeqClock for DawdlingClock {
    fn stamp(&self) -> SeqNo {
        for _ in 0..self.0.load(SeqCst) % 5 {
            thread::yield_now();
        }
        SeqNo(self.0.fetch_add(1, SeqCst) + 1)
    }
    fn snapshot(&self) -> SeqNo {
        SeqNo(self.0.load(SeqCst))
    }
}

/// Whatever memory answers is at least as new as what was in files before, with writers that are late all the time.
#[test]
fn memory_is_never_older_than_files() {
    const KEYS: u8 = 4;
    let limits = config().max_table_entries(8).max_frozen_tables(3).stall_timeout(LONG).recycled_tables(2);
    let manager = MemtableManager::with_parts(limits, Bytewise, DawdlingClock::default()).unwrap();
    let files: [AtomicU64; KEYS as usize] = Default::default();
    let files = Arc::new(files);
    let flushed = Arc::clone(&files);
    let flush = move |job: &FlushJob<[u8], Bytewise, DawdlingClock>| {
        for entry in job.table() {
            flushed[usize::from(entry.key[0])].fetch_max(entry.seq.0, SeqCst);
        }
        Ok(())
    };
    manager.start_flushers(2, flush).unwrap();
    let (done, hits) = (AtomicBool::new(false), AtomicUsize::new(0));
    let write = |key: u8, is_delete: bool| {
        for _ in 0..1000 {
            if is_delete { manager.delete(&[key]) } else { manager.put(&[key], b"") }.unwrap();
        }
    };
    let write = &write;
    thread::scope(|scope| {
        let writers: Vec<_> =
            (0..2 * KEYS).map(|writer| scope.spawn(move || write(writer / 2, writer % 2 == 0))).collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                for key in 0..KEYS {
                    let at = [key];
                    let in_files = SeqNo(files[usize::from(key)].load(SeqCst));
                    let (found, snapshot) = (manager.get_entry(&at), manager.snapshot());
                    assert!(found.as_ref().is_none_or(|found| found.seq >= in_files), "{found:?}, {in_files}");
                    if let Some(entry) = snapshot.entry(&at) {
                        hits.fetch_add(1, SeqCst);
                        assert!(entry.seq >= in_files, "{entry:?}, {in_files}");
                        let range = snapshot.range_with_tombstones(&at[..]..=&at);
                        assert!(range.map(|entry| entry.seq).eq([entry.seq]));
                    }
                }
            }
        });
        let ends: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, SeqCst);
        ends.into_iter().for_each(Result::unwrap);
    });
    assert!(manager.shutdown(LONG).is_empty());
    assert_eq!(manager.stats().tables.len(), 1, "late or not, all is gone");
    assert!(hits.load(SeqCst) > 0);
    let last = manager.flushed_max_seq().unwrap();
    assert_eq!(files.iter().map(|seq| SeqNo(seq.load(SeqCst))).max(), Some(last));
}

#[test]
fn versions_of_any_kind_carry_the_engine_s_numbers() {
    let manager = manager();
    manager.tagged(3).put_kind_at(b"k", b"+3", Kind(7), SeqNo(20)).unwrap();
    assert_eq!(manager.first_unflushed_tag(), Some(3));
    manager.rotate().unwrap();
    manager.put_kind_at(b"k", b"why", Kind::TOMBSTONE, SeqNo(10)).unwrap();
    let found = manager.get_entry(b"k").unwrap();
    assert_eq!((found.kind, &found.value[..], found.seq), (Kind(7), &b"+3"[..], SeqNo(20)));
    let before = manager.snapshot_at(SeqNo(19));
    assert_eq!(before.entry(b"k").map(|entry| (entry.value, entry.is_tombstone)), Some((&b"why"[..], true)));
    let again = manager.put_kind_at(b"k", b"", Kind(7), SeqNo(10));
    assert_eq!(again, Err(WriteError::Insert(InsertError::DuplicateSeqNo)));
}

#[test]
fn numbers_of_consecutive_tables_do_not_overlap() {
    let manager = manager();
    for round in 0..5u8 {
        manager.put(b"k", &[round]).unwrap();
        manager.put(&[round], b"").unwrap();
        manager.rotate().unwrap();
    }
    let mut last = None;
    while let Some(job) = manager.next_flush() {
        assert!(job.table().min_seq() > last);
        last = job.table().max_seq();
        job.complete().unwrap();
    }
}

#[test]
fn a_snapshot_spans_tables_and_outlives_them() {
    let manager = manager();
    let mut snapshots = Vec::new();
    let mut model = BTreeMap::new();
    let mut state = 88_172_645_463_325_252;
    for step in 0..300usize {
        let key = vec![(random(&mut state) % 20) as u8];
        if random(&mut state) % 3 == 0 {
            manager.delete(&key).unwrap();
            model.remove(&key);
        } else {
            let value = vec![(step % 256) as u8; random(&mut state) % 5];
            manager.put(&key, &value).unwrap();
            model.insert(key, value);
        }
        match random(&mut state) % 12 {
            0 => drop(manager.rotate()),
            1 => drop(manager.next_flush()),
            2 => snapshots.push((manager.snapshot(), model.clone())),
            _ => {}
        }
    }
    while let Some(job) = manager.next_flush() {
        job.complete().unwrap();
    }
    for (snapshot, model) in &snapshots {
        assert!(pairs(snapshot).into_iter().eq(model.clone()));
        let backwards = snapshot.iter().rev().map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
        assert!(backwards.eq(model.clone().into_iter().rev()));
        for key in 0..20u8 {
            assert_eq!(snapshot.get(&[key]), model.get(&[key][..]).map(Vec::as_slice));
        }
        for (from, to) in [(3u8, 9u8), (9, 3), (0, 255), (7, 7)] {
            let (from, to) = (&[from][..], &[to][..]);
            let expected = model.iter().filter(|(key, _)| from <= key.as_slice() && key.as_slice() < to);
            assert!(snapshot.range(from..to).map(|entry| entry.key).eq(expected.map(|(key, _)| key.as_slice())));
        }
    }
}

#[test]
fn an_owned_range_can_show_what_is_deleted() {
    let manager = manager();
    manager.put(b"a", b"1").unwrap();
    manager.put(b"b", b"2").unwrap();
    manager.delete(b"d").unwrap();
    manager.rotate().unwrap();
    manager.delete(b"b").unwrap();
    manager.put(b"d", b"4").unwrap();
    manager.delete(b"e").unwrap();
    let snapshot = manager.snapshot();
    manager.delete(b"a").unwrap();
    let owned = |range: &mut dyn Iterator<Item = memskip::ManagerEntry>| {
        range.map(|entry| (entry.key()[0], entry.is_tombstone(), entry.seq())).collect::<Vec<_>>()
    };
    let all = owned(&mut snapshot.clone().into_range_with_tombstones(..));
    let shape: Vec<_> = all.iter().map(|(key, is_tombstone, _)| (*key, *is_tombstone)).collect();
    assert_eq!(shape, [(b'a', false), (b'b', true), (b'd', false), (b'e', true)]);
    let borrowed = snapshot.range_with_tombstones(..).map(|entry| (entry.key[0], entry.is_tombstone, entry.seq));
    assert!(borrowed.eq(all.iter().copied()));
    let mut backwards = owned(&mut snapshot.clone().into_range_with_tombstones(..).rev());
    backwards.reverse();
    assert_eq!(backwards, all);
    let bounds = &b"b"[..]..&b"e"[..];
    assert_eq!(owned(&mut snapshot.clone().into_range_with_tombstones(bounds)), all[1..3]);
    assert_eq!(owned(&mut snapshot.into_range(..)), [all[0], all[2]]);
}

#[test]
fn a_snapshot_at_a_number_shows_what_is_at_most_that_in_every_table() {
    let manager = manager();
    manager.put_at(b"k", b"20", SeqNo(20)).unwrap();
    manager.rotate().unwrap();
    manager.delete_at(b"k", SeqNo(30)).unwrap();
    manager.put_at(b"l", b"15", SeqNo(15)).unwrap();
    manager.rotate().unwrap();
    manager.put_at(b"k", b"10", SeqNo(10)).unwrap();
    let at = |seq| {
        let snapshot = manager.snapshot_at(SeqNo(seq));
        assert_eq!(snapshot.seq(), SeqNo(seq));
        let found = [&b"k"[..], b"l"].map(|key| snapshot.get(key).map(<[u8]>::to_vec));
        assert!(pairs(&snapshot).into_iter().map(|(_, value)| value).eq(found.iter().flatten().cloned()), "{seq}");
        found.map(|value| value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap()))
    };
    let expected = [(9, [0, 0]), (10, [10, 0]), (15, [10, 15]), (20, [20, 15]), (29, [20, 15]), (30, [0, 15])];
    expected.into_iter().for_each(|(seq, values)| assert_eq!(at(seq), values, "{seq}"));
    assert_eq!(at(u64::MAX), [0, 15]);
}

/// Gives what is written the number of the record that is being written; moved when all of the record is in.
#[derive(Clone, Default)]
struct LogClock(Arc<AtomicU64>);

impl SeqClock for LogClock {
    fn stamp(&self) -> SeqNo {
        SeqNo(self.0.load(SeqCst) + 1)
    }
    fn snapshot(&self) -> SeqNo {
        SeqNo(self.0.load(SeqCst))
    }
}

#[test]
fn batches_with_the_numbers_of_a_log_are_seen_whole_and_in_order() {
    const RECORDS: u64 = 1500;
    let clock = LogClock::default();
    let manager = MemtableManager::with_parts(config().max_table_entries(100), Bytewise, clock.clone()).unwrap();
    let check = |snapshot: &ManagerSnapshot<[u8], Bytewise, LogClock>| {
        let seq = snapshot.seq().0;
        let expected = (seq > 0).then(|| seq.to_be_bytes());
        for key in 0..3u8 {
            assert_eq!(snapshot.get(&[key]), expected.as_ref().map(|value| &value[..]), "{key} at {seq}");
        }
        assert!(snapshot.iter().all(|entry| entry.seq.0 == seq));
    };
    thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                let mut seen = 0;
                while seen < RECORDS {
                    let snapshot = manager.snapshot();
                    assert!(snapshot.seq().0 >= seen);
                    seen = snapshot.seq().0;
                    check(&snapshot);
                    check(&manager.snapshot_at(SeqNo(seen / 2)));
                }
            })
        });
        for number in 1..=RECORDS {
            let mut record = WriteBatch::new();
            (0..3u8).for_each(|key| record.put(&[key], &number.to_be_bytes()));
            assert_eq!(manager.apply(&record), Ok(SeqNo(number)));
            clock.0.store(number, SeqCst);
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert!(manager.frozen_tables() >= 10);
}

#[test]
fn forms_can_be_sent() {
    fn is_send<T: Send + 'static>(_: &T) {}
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let manager = manager();
    manager.put(b"k", b"v").unwrap();
    is_shared(&manager);
    is_send(&manager.range(..));
    is_shared(&manager.snapshot());
    manager.rotate().unwrap();
    is_shared(&manager.next_flush().unwrap());
    let other: MemtableManager<str, _, _> =
        MemtableManager::with_parts(config(), memskip::Reverse(Bytewise), CounterClock::new()).unwrap();
    other.put("k", b"v").unwrap();
    is_shared(&other);
    assert_eq!(other.iter().next().unwrap().key(), "k");
}

// Flushing.

#[test]
fn a_job_that_is_dropped_or_given_up_comes_back() {
    let manager = manager();
    manager.put(b"k", b"v").unwrap();
    let id = manager.rotate().unwrap();
    drop(manager.next_flush().unwrap());
    let job = manager.next_flush().unwrap();
    assert_eq!((job.id(), job.attempt()), (id, 2));
    assert!(manager.next_flush().is_none(), "handed out once at a time");
    manager.fail(id).unwrap();
    let third = manager.next_flush().unwrap();
    // The second attempt has been given back by id; what becomes of its job is of no consequence.
    assert_eq!(job.complete(), Err(UnknownFlush(id)));
    assert_eq!(manager.frozen_tables(), 1);
    manager.complete(id).unwrap();
    drop(third);
    assert_eq!((manager.frozen_tables(), manager.stats().failed_flushes), (0, 2));
    assert_eq!(manager.complete(id), Err(UnknownFlush(id)));
    assert_eq!(manager.fail(id), Err(UnknownFlush(id)));
}

#[test]
fn a_flusher_that_waits_is_woken_by_a_rotation() {
    let manager = manager();
    assert!(manager.wait_flush(Duration::ZERO).is_none());
    assert!(manager.wait_flush(Duration::from_millis(5)).is_none());
    thread::scope(|scope| {
        let flushers: Vec<_> = (0..3).map(|_| scope.spawn(|| manager.wait_flush(LONG).unwrap().complete())).collect();
        for i in 0..3u8 {
            manager.put(&[i], b"").unwrap();
            manager.rotate().unwrap();
        }
        flushers.into_iter().for_each(|flusher| flusher.join().unwrap().unwrap());
    });
    assert_eq!(manager.stats().flushes, 3);
}

#[test]
fn an_idle_table_is_rotated_when_it_is_old() {
    let manager = MemtableManager::new(config().max_table_age(Duration::from_millis(20))).unwrap();
    thread::scope(|scope| {
        // Waits before there is anything to wait for.
        let flusher = scope.spawn(|| manager.wait_flush(LONG).unwrap().table().len());
        thread::yield_now();
        manager.put(b"k", b"v").unwrap();
        assert_eq!(flusher.join().unwrap(), 1);
    });
    assert_eq!(manager.stats().rotations, 1);
    manager.next_flush().unwrap().complete().unwrap();
    // An empty table does not age.
    assert!(manager.wait_flush(Duration::from_millis(40)).is_none());
    assert_eq!(manager.stats().rotations, 1);
}

#[test]
fn a_write_that_stores_nothing_gives_a_table_no_age() {
    let manager = MemtableManager::new(config().max_table_age(Duration::from_millis(20))).unwrap();
    let has_age = || manager.stats().tables[0].age.is_some();
    manager.put(b"k", b"v").unwrap();
    assert!(has_age());
    manager.rotate().unwrap();
    // Of nothing, and of a duplicate of what is frozen.
    manager.apply(&WriteBatch::new()).unwrap();
    assert_eq!(manager.insert_batch::<&[u8], &[u8]>(&[]), Ok(0));
    assert!(manager.insert_batch(&[(b"k", b"w")]).is_err());
    assert!(!has_age());
    // The first write that stores something is noticed all the same, by this thread and by a flusher that waits.
    manager.next_flush().unwrap().complete().unwrap();
    thread::scope(|scope| {
        let flusher = scope.spawn(|| manager.wait_flush(LONG).unwrap().table().len());
        manager.put(b"l", b"v").unwrap();
        assert!(has_age() || manager.stats().rotations == 2);
        assert_eq!(flusher.join().unwrap(), 1);
    });
}

#[test]
fn background_flushers_try_again_after_errors_and_panics() {
    let manager = MemtableManager::new(config().max_table_entries(10).flush_retry(Duration::from_millis(1))).unwrap();
    let files = Arc::new(Mutex::new(BTreeMap::new()));
    let attempts = Arc::new(AtomicUsize::new(0));
    let flush = {
        let (files, attempts) = (Arc::clone(&files), Arc::clone(&attempts));
        move |job: &FlushJob| {
            match attempts.fetch_add(1, SeqCst) % 3 {
                0 => return Err("disk full".into()),
                1 => std::panic::resume_unwind(Box::new("a bug of the flusher's")),
                _ => {}
            }
            let entries = job.table().iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
            files.lock().unwrap().extend(entries);
            Ok(())
        }
    };
    manager.start_flushers(2, flush).unwrap();
    for i in 0..100u8 {
        manager.put(&[i], &[i]).unwrap();
    }
    assert!(manager.shutdown(LONG).is_empty());
    assert!(files.lock().unwrap().clone().into_iter().eq((0..100u8).map(|i| (vec![i], vec![i]))));
    let stats = manager.stats();
    assert_eq!(stats.flushes + stats.failed_flushes, attempts.load(SeqCst));
    assert!(stats.flushes >= 10 && stats.failed_flushes >= 2);
}

/// Panics a number of times, without a message.
#[derive(Default)]
struct Fuse(AtomicUsize);

impl Fuse {
    fn check(&self) {
        if self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            std::panic::resume_unwind(Box::new("a bug of the caller's"));
        }
    }
}

/// Bytewise; its clone may panic on a flusher's thread.
struct Fused(Arc<Fuse>);

impl Clone for Fused {
    fn clone(&self) -> Self {
        if is_flusher() {
            self.0.check();
        }
        Self(Arc::clone(&self.0))
    }
}

impl Comparator<[u8]> for Fused {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        a.cmp(b)
    }
}

/// Counts; panics where it is told to.
#[derive(Default)]
struct FusedClock {
    inner: CounterClock,
    stamp: Arc<Fuse>,
    flusher_snapshot: Arc<Fuse>,
}

impl SeqClock for FusedClock {
    fn stamp(&self) -> SeqNo {
        self.stamp.check();
        self.inner.stamp()
    }
    fn snapshot(&self) -> SeqNo {
        if is_flusher() {
            self.flusher_snapshot.check();
        }
        self.inner.snapshot()
    }
}

fn is_flusher() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("memskip-flush"))
}

#[test]
fn a_flusher_outlives_panics_of_what_it_runs_beside_the_flush() {
    for in_comparator in [false, true] {
        let (fuse, clock) = (Arc::new(Fuse::default()), FusedClock::default());
        let fuse_of_clock = Arc::clone(&clock.flusher_snapshot);
        let config = config().max_table_age(Duration::from_millis(1)).flush_retry(Duration::from_millis(1));
        let manager = MemtableManager::with_parts(config, Fused(Arc::clone(&fuse)), clock).unwrap();
        let armed = if in_comparator { fuse } else { fuse_of_clock };
        armed.0.store(1, SeqCst);
        manager.start_flushers(1, |_: &FlushJob<[u8], Fused, FusedClock>| Ok(())).unwrap();
        manager.put(b"k", b"v").unwrap();
        // The rotation by age.
        while armed.0.load(SeqCst) > 0 {
            thread::yield_now();
        }
        manager.put(b"l", b"v").unwrap();
        assert!(manager.shutdown(LONG).is_empty(), "nobody flushes any more");
    }
}

/// Its drop panics.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            // That payload is left alone, since its drop could panic, too; so it owns nothing.
            std::panic::resume_unwind(Box::new(()));
        }
    }
}

impl std::fmt::Display for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bomb")
    }
}

impl std::error::Error for Bomb {}

#[test]
fn a_flusher_outlives_payloads_and_errors_that_panic_when_they_are_dropped() {
    let manager = MemtableManager::new(config().flush_retry(Duration::from_millis(1))).unwrap();
    let flush = |job: &FlushJob| match job.attempt() {
        1 => std::panic::resume_unwind(Box::new(Bomb)),
        2 => Err(Bomb.into()),
        _ => Ok(()),
    };
    manager.start_flushers(1, flush).unwrap();
    manager.put(b"k", b"v").unwrap();
    assert!(manager.shutdown(LONG).is_empty(), "nobody flushes any more");
    assert_eq!((manager.stats().flushes, manager.stats().failed_flushes), (1, 2));
}

#[test]
fn a_rotation_that_panics_wakes_the_flusher_all_the_same() {
    let clock = FusedClock::default();
    let fuse = Arc::clone(&clock.stamp);
    let manager = MemtableManager::<[u8], _, _>::with_parts(config(), Bytewise, clock).unwrap();
    let (sender, flushed) = mpsc::channel();
    manager.start_flushers(1, move |job: &FlushJob<[u8], Bytewise, FusedClock>| Ok(sender.send(job.id())?)).unwrap();
    manager.put(b"k", b"v").unwrap();
    let first = manager.rotate().unwrap();
    assert_eq!(flushed.recv_timeout(LONG), Ok(first));
    // Time enough for the flusher to complete it, and to wait.
    while manager.frozen_tables() > 0 {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(5));
    manager.put(b"k", b"v").unwrap();
    // A write that has no number, so that whoever rotates asks for it.
    fuse.0.store(2, SeqCst);
    let panics = |act: &dyn Fn() -> bool| std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err();
    assert!(panics(&|| manager.put(b"l", b"v").is_ok()));
    // The rotation panics, or the flusher that was told by it, whichever asks first.
    panics(&|| manager.rotate().is_some());
    assert_eq!(fuse.0.load(SeqCst), 0);
    assert_eq!(flushed.recv_timeout(LONG), Ok(memskip::TableId(first.0 + 1)), "nobody was told");
}

#[test]
fn a_flush_that_writes_or_shuts_down_does_not_wait_for_itself() {
    for shuts_down in [false, true] {
        let limits = config().max_frozen_tables(1).stall_timeout(Duration::MAX);
        let manager = Arc::new(MemtableManager::new(limits).unwrap());
        let (sender, outcomes) = mpsc::channel();
        let own = Arc::downgrade(&manager);
        let flush = move |_: &FlushJob| {
            let Some(own) = own.upgrade() else { return Ok(()) };
            let outcome =
                if shuts_down { Ok(own.shutdown(Duration::MAX).len()) } else { own.put(b"checkpoint", b"").map(|_| 0) };
            Ok(sender.send(outcome)?)
        };
        manager.start_flushers(1, flush).unwrap();
        manager.put(b"k", b"v").unwrap();
        manager.rotate().unwrap();
        let outcome = outcomes.recv_timeout(LONG).expect("it waits for itself");
        match outcome {
            Ok(left) => assert!(shuts_down && left == 0),
            Err(error) => assert!(!shuts_down && matches!(error, WriteError::Stalled { .. })),
        }
        // It was completed all the same, and others are not concerned.
        while manager.frozen_tables() > 0 {
            thread::yield_now();
        }
        assert_eq!(manager.put(b"k", b"w").is_ok(), !shuts_down);
    }
}

#[test]
fn a_manager_that_is_dropped_stops_its_flushers() {
    for _ in 0..20 {
        let (sender, dropped) = mpsc::channel();
        thread::spawn(move || {
            let manager = manager();
            manager.start_flushers(2, |_: &FlushJob| Ok(())).unwrap();
            manager.put(b"k", b"v").unwrap();
            manager.rotate().unwrap();
            // Then it waits for more.
            while manager.stats().flushes == 0 {
                thread::yield_now();
            }
            drop(manager);
            sender.send(()).unwrap();
        });
        dropped.recv_timeout(LONG).expect("its threads wait for ever");
    }
}

// Backpressure.

#[test]
fn a_stall_ends_with_a_clear_error_or_with_a_flush() {
    let stalling = config().max_frozen_tables(1).stall_timeout(Duration::from_millis(5));
    let manager = MemtableManager::new(stalling).unwrap();
    manager.put(b"a", b"").unwrap();
    assert_eq!(manager.pressure(), Pressure::Normal);
    manager.rotate().unwrap();
    assert_eq!(manager.pressure(), Pressure::Full);
    let error = manager.put(b"b", b"").unwrap_err();
    assert!(matches!(error, WriteError::Stalled { frozen_tables: 1, frozen_bytes: 1.., .. }), "{error}");
    assert!(error.to_string().contains("1 frozen tables"), "{error}");
    assert!(manager.delete(b"b").is_err());
    assert_eq!(manager.insert_batch(&[(b"b", b"")]), Err(BatchError::PartialFailure { succeeded: 0, failed: 1 }));
    assert!(matches!(manager.try_insert_batch(&[(b"b", b"")]), Err(WriteError::Stalled { frozen_tables: 1, .. })));
    assert_eq!(manager.get_entry(b"b"), None, "nothing was written");
    manager.next_flush().unwrap().complete().unwrap();
    manager.put(b"b", b"").unwrap();
    let stats = manager.stats();
    assert_eq!(stats.stalls, 4);
    assert!(stats.stalled_time >= Duration::from_millis(20));
}

#[test]
fn a_stalled_writer_wakes_when_a_flush_completes() {
    let manager = MemtableManager::new(config().max_frozen_tables(1).stall_timeout(LONG)).unwrap();
    manager.put(b"a", b"").unwrap();
    manager.rotate().unwrap();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3u8)
            .map(|i| {
                (
                    i,
                    scope.spawn({
                        let manager = &manager;
                        move || manager.put(&[i], b"")
                    }),
                )
            })
            .collect();
        // A failed attempt lets nobody through.
        manager.next_flush().unwrap().fail().unwrap();
        manager.next_flush().unwrap().complete().unwrap();
        writers.into_iter().for_each(|(_, writer)| assert!(writer.join().unwrap().is_ok()));
    });
    assert_eq!(manager.stats().tables[0].versions, 3);
}

#[test]
fn waiting_for_room_is_what_a_write_does_first() {
    let limits = config().soft_frozen_tables(1).max_frozen_tables(2).soft_delay(Duration::from_micros(1));
    let manager = MemtableManager::new(limits.clone().stall_timeout(Duration::ZERO)).unwrap();
    assert_eq!(manager.wait_for_room(), Ok(()));
    for expected in [0, 1] {
        manager.put(b"k", b"").unwrap();
        manager.rotate().unwrap();
        assert_eq!(manager.stats().delays, expected);
    }
    assert!(matches!(manager.wait_for_room(), Err(WriteError::Stalled { frozen_tables: 2, .. })));
    manager.next_flush().unwrap().complete().unwrap();
    assert_eq!(manager.wait_for_room(), Ok(()));
    assert_eq!((manager.stats().delays, manager.stats().stalls), (2, 1));
    assert_eq!((manager.stats().tables[0].versions, manager.rotate()), (0, None), "nothing is written");
    manager.shutdown(Duration::ZERO);
    assert_eq!(manager.wait_for_room(), Err(WriteError::ShutDown));

    // For ever, if need be; whoever waits is woken.
    let manager = MemtableManager::new(limits.stall_timeout(Duration::MAX)).unwrap();
    for _ in 0..2 {
        manager.put(b"k", b"").unwrap();
        manager.rotate().unwrap();
    }
    thread::scope(|scope| {
        let waiting = scope.spawn(|| manager.wait_for_room());
        while manager.stats().flushes == 0 {
            manager.next_flush().unwrap().complete().unwrap();
        }
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
}

#[test]
fn stalls_and_delays_by_bytes() {
    let limits = config().soft_frozen_bytes(1000).max_frozen_bytes(3000).stall_timeout(Duration::ZERO);
    let manager = MemtableManager::new(limits.soft_delay(Duration::from_micros(1))).unwrap();
    let mut pressures = Vec::new();
    for i in 0..3u8 {
        pressures.push(manager.pressure());
        manager.put(&[i], &[0; 1200]).unwrap();
        manager.rotate().unwrap();
    }
    assert_eq!(pressures, [Pressure::Normal, Pressure::Backpressure, Pressure::Backpressure]);
    assert!(matches!(manager.put(b"k", b""), Err(WriteError::Stalled { frozen_tables: 3, frozen_bytes: 3600.., .. })));
    assert_eq!(manager.stats().delays, 2);
}

#[test]
fn a_stalled_writer_is_told_of_a_shutdown() {
    let manager = MemtableManager::new(config().max_frozen_tables(1).stall_timeout(LONG)).unwrap();
    manager.put(b"a", b"").unwrap();
    manager.rotate().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| manager.put(b"b", b""));
        let left = manager.shutdown(Duration::ZERO);
        assert_eq!(left.len(), 1);
        assert_eq!(writer.join().unwrap(), Err(WriteError::ShutDown));
    });
}

// Shutdown.

#[test]
fn shutdown_loses_no_write_that_was_acknowledged() {
    for _ in 0..20 {
        let manager = MemtableManager::new(config().max_table_entries(7)).unwrap();
        let written = thread::scope(|scope| {
            let writers: Vec<_> = (0..3u8)
                .map(|writer| {
                    let manager = &manager;
                    scope.spawn(move || {
                        let keys = (0..=u8::MAX).map(|i| vec![writer, i]);
                        keys.take_while(|key| manager.put(key, b"").is_ok()).collect::<Vec<_>>()
                    })
                })
                .collect();
            while manager.version_count() < 30 {
                thread::yield_now();
            }
            let left = manager.shutdown(Duration::ZERO);
            let found: BTreeSet<_> =
                left.iter().flat_map(|job| job.table().iter().map(|entry| entry.key.to_vec())).collect();
            let written: BTreeSet<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
            assert_eq!(found, written);
            assert_eq!(manager.iter().count(), written.len(), "still readable");
            written
        });
        assert!(written.len() >= 30);
        // The jobs were dropped: there they are again.
        assert_eq!(manager.rotate(), None);
        assert!(manager.next_flush().is_some());
    }
}

#[test]
fn a_flusher_that_asks_during_a_shutdown_waits_for_the_active_table() {
    let (sender, stopped) = mpsc::channel();
    let go = Arc::new(AtomicBool::new(false));
    let order = Stopping { stopped: sender, go: Arc::clone(&go) };
    let manager = MemtableManager::with_parts(config(), order, CounterClock::new()).unwrap();
    manager.put(b"a", b"").unwrap();
    manager.put(b"b", b"").unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            STOPS.set(true);
            manager.put(b"slow", b"")
        });
        stopped.recv_timeout(LONG).unwrap();
        // It waits for the slow one, who was let in.
        let shutdown = scope.spawn(|| manager.shutdown(LONG).len());
        while manager.pressure() != Pressure::Full {
            thread::yield_now();
        }
        let flusher = scope.spawn(|| {
            let job = manager.wait_flush(LONG)?;
            let len = job.table().len();
            job.complete().unwrap();
            Some(len)
        });
        // Time enough for one that does not wait.
        for _ in 0..2000 {
            if flusher.is_finished() {
                break;
            }
            thread::yield_now();
        }
        go.store(true, SeqCst);
        assert_eq!(flusher.join().unwrap(), Some(3));
        assert_eq!((slow.join().unwrap().is_ok(), shutdown.join().unwrap()), (true, 0));
        assert!(manager.wait_flush(LONG).is_none());
    });
}

#[test]
fn a_shutdown_that_does_not_wait_leaves_the_active_table_to_its_caller() {
    for _ in 0..30 {
        let manager = manager();
        let flushed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&flushed);
        let flush = move |_: &FlushJob| {
            counted.fetch_add(1, SeqCst);
            Ok(())
        };
        manager.start_flushers(2, flush).unwrap();
        manager.put(b"k", b"v").unwrap();
        let left = manager.shutdown(Duration::ZERO);
        assert_eq!(left.iter().map(|job| job.table().len()).collect::<Vec<_>>(), [1]);
        assert_eq!((flushed.load(SeqCst), manager.stats().flushes), (0, 0));
    }
}

// Memory.

#[test]
fn memory_of_flushed_tables_is_used_again_and_given_back() {
    let manager = MemtableManager::new(config().recycled_tables(1).recycle_idle(Duration::from_millis(1))).unwrap();
    for round in 0..5u8 {
        manager.put(b"k", &[round; 100]).unwrap();
        manager.rotate().unwrap();
        manager.next_flush().unwrap().complete().unwrap();
        assert_eq!(manager.get(b"k"), None, "a recycled table is empty");
    }
    assert!(manager.stats().recycled_tables >= 3);
    let old = manager.snapshot();
    manager.put(b"k", b"kept by a snapshot").unwrap();
    let reader = manager.snapshot();
    manager.rotate().unwrap();
    manager.next_flush().unwrap().complete().unwrap();
    for round in 0..5u8 {
        manager.put(b"k", &[round]).unwrap();
        manager.rotate().unwrap();
        manager.next_flush().unwrap().complete().unwrap();
    }
    assert_eq!((old.get(b"k"), reader.get(b"k")), (None, Some(&b"kept by a snapshot"[..])));
    // Idle.
    while manager.stats().spare_tables > 0 {
        thread::yield_now();
        manager.tick();
    }
    let none = MemtableManager::new(config().recycled_tables(0)).unwrap();
    for _ in 0..3 {
        none.put(b"k", b"").unwrap();
        none.rotate().unwrap();
        none.next_flush().unwrap().complete().unwrap();
    }
    assert_eq!((none.stats().recycled_tables, none.stats().spare_tables), (0, 0));
}

#[test]
fn no_more_tables_are_kept_than_were_asked_for() {
    const LIMIT: usize = 2;
    let manager = MemtableManager::new(config().recycled_tables(LIMIT)).unwrap();
    let rotate = |tables: usize| {
        for i in 0..tables {
            manager.put(&i.to_be_bytes(), b"").unwrap();
            manager.rotate().unwrap();
        }
    };
    let flush = |tables: usize| {
        for _ in 0..tables {
            manager.next_flush().unwrap().complete().unwrap();
            assert!(manager.stats().spare_tables <= LIMIT);
        }
    };
    for _ in 0..3 {
        rotate(2 * LIMIT);
        flush(LIMIT);
        // Empties those, and takes one of them.
        rotate(1);
        flush(LIMIT + 1);
        assert_eq!(manager.stats().spare_tables, LIMIT, "those that wait to be emptied are kept, too");
    }
}

/// Above 2 MiB a value has a chunk of its own, that no larger one can have afterwards.
#[test]
fn values_of_ever_other_sizes_do_not_pile_up_chunks() {
    const LIMIT: usize = 4 << 20;
    for limit in [LIMIT, usize::MAX] {
        let manager = MemtableManager::new(config().max_table_bytes(limit)).unwrap();
        for round in 0..12 {
            manager.put(b"k", &vec![0; (3 << 20) + round * 65536]).unwrap();
            let held = manager.stats().tables[0].memory_reserved;
            assert!(held <= 4 * LIMIT, "{held} in round {round}");
            manager.rotate().unwrap();
            manager.next_flush().unwrap().complete().unwrap();
        }
    }
    // Of one size they are used again.
    let manager = MemtableManager::new(config().max_table_bytes(LIMIT)).unwrap();
    for _ in 0..4 {
        manager.put(b"k", &vec![0; 3 << 20]).unwrap();
        manager.rotate().unwrap();
        manager.next_flush().unwrap().complete().unwrap();
    }
    assert_eq!(manager.stats().recycled_tables, 3);
}

#[test]
fn who_waits_for_work_gives_back_idle_memory_of_a_flush_that_ends_meanwhile() {
    let manager = MemtableManager::new(config().recycle_idle(Duration::from_millis(1))).unwrap();
    manager.put(b"k", b"v").unwrap();
    manager.rotate().unwrap();
    let job = manager.next_flush().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // There is no other work, and nobody else ticks.
        let waiter = scope.spawn(|| manager.wait_flush(LONG).map(|job| job.id()));
        // Time enough for it to wait.
        thread::sleep(Duration::from_millis(20));
        job.complete().unwrap();
        while !waiter.is_finished() && manager.stats().spare_tables > 0 {
            thread::yield_now();
        }
        done.store(!waiter.is_finished(), SeqCst);
        manager.put(b"l", b"v").unwrap();
        let next = manager.rotate();
        assert_eq!(waiter.join().unwrap(), next);
    });
    assert!(done.load(SeqCst), "nobody gave it back");
}

// Concurrency.

#[test]
fn of_racing_inserts_one_wins_across_rotations() {
    const KEYS: usize = 200;
    let manager = manager();
    let wins: Vec<AtomicUsize> = (0..KEYS).map(|_| AtomicUsize::new(0)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3u8)
            .map(|writer| {
                let (manager, wins) = (&manager, &wins);
                scope.spawn(move || {
                    for (key, wins) in wins.iter().enumerate() {
                        let key_bytes = key.to_be_bytes();
                        let inserted = if key % 2 == 0 {
                            manager.insert(&key_bytes, &[writer])
                        } else {
                            manager.insert_batch(&[(key_bytes, [writer])]).is_ok()
                        };
                        wins.fetch_add(usize::from(inserted), SeqCst);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                manager.rotate();
                thread::yield_now();
            }
        });
        let ends: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, SeqCst);
        ends.into_iter().for_each(Result::unwrap);
    });
    assert!(wins.iter().all(|wins| wins.load(SeqCst) == 1), "{wins:?}");
    assert_eq!(manager.version_count(), KEYS);
    assert!(!manager.insert(&0usize.to_be_bytes(), b""));
    assert_eq!(manager.try_insert(&1usize.to_be_bytes(), b""), Err(WriteError::Insert(InsertError::DuplicateKey)));
}

#[test]
fn a_batch_that_is_refused_as_a_whole_says_why() {
    let manager = manager();
    assert_eq!(manager.try_insert_batch(&[(b"a", b""), (b"b", b""), (b"a", b"")]), Ok(2));
    assert_eq!(manager.try_insert_batch(&[(b"a", b"")]), Ok(0));
    manager.shutdown(Duration::ZERO);
    assert_eq!(manager.try_insert_batch(&[(b"c", b"")]), Err(WriteError::ShutDown));
    let failure = BatchError::PartialFailure { succeeded: 0, failed: 1 };
    assert_eq!(manager.insert_batch(&[(b"c", b"")]), Err(failure));
}

#[test]
fn a_batch_lands_in_one_table() {
    const BATCHES: u8 = 100;
    const SIZE: u8 = 9;
    let manager = MemtableManager::new(config().max_table_entries(20)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2u8)
            .map(|writer| {
                let manager = &manager;
                scope.spawn(move || {
                    for batch in 0..BATCHES {
                        let keys = (0..SIZE).map(|i| [writer, batch, i]);
                        if batch % 2 == 0 {
                            let mut writes = WriteBatch::new();
                            keys.for_each(|key| writes.put(&key, b""));
                            manager.apply(&writes).unwrap();
                        } else {
                            let entries: Vec<_> = keys.map(|key| (key, b"")).collect();
                            assert_eq!(manager.insert_batch(&entries), Ok(SIZE.into()));
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                manager.rotate();
                thread::yield_now();
            }
        });
        let ends: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, SeqCst);
        ends.into_iter().for_each(Result::unwrap);
    });
    manager.rotate();
    let mut batches = 0;
    while let Some(job) = manager.next_flush() {
        let mut counts = BTreeMap::new();
        job.table().iter().for_each(|entry| *counts.entry([entry.key[0], entry.key[1]]).or_insert(0) += 1);
        assert!(counts.values().all(|count| *count == SIZE), "{counts:?}");
        batches += counts.len();
        job.complete().unwrap();
    }
    assert_eq!(batches, 2 * usize::from(BATCHES));
}

/// What is flushed: of each key the version with the greatest number.
type Files = Mutex<BTreeMap<Vec<u8>, (SeqNo, Option<u64>)>>;

/// Memtables first, files second, as an engine reads.
fn read(manager: &MemtableManager, files: &Files, key: &[u8]) -> Option<u64> {
    match manager.get_entry(key) {
        Some(entry) if entry.is_tombstone => None,
        Some(entry) => Some(number(&entry.value)),
        None => files.lock().unwrap().get(key).and_then(|(_, value)| *value),
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

#[test]
#[expect(clippy::too_many_lines, reason = "everything at once")]
fn writers_readers_a_rotator_and_failing_flushers_agree_with_a_model() {
    const WRITERS: usize = 3;
    const KEYS: usize = 16;
    const STEPS: usize = 1500;
    let limits = config().max_table_entries(100).max_frozen_tables(6).soft_frozen_tables(5).recycled_tables(2);
    let limits =
        limits.soft_delay(Duration::from_micros(10)).stall_timeout(LONG).flush_retry(Duration::from_micros(50));
    let manager = MemtableManager::new(limits).unwrap();
    let files: Arc<Files> = Arc::default();
    let flush = {
        let (files, attempts) = (Arc::clone(&files), AtomicUsize::new(0));
        move |job: &FlushJob| {
            if attempts.fetch_add(1, SeqCst) % 3 == 0 {
                return Err("now and then".into());
            }
            job.table().validate().map_err(|broken| broken.what())?;
            let mut files = files.lock().unwrap();
            for entry in job.table() {
                let value = (!entry.is_tombstone).then(|| number(entry.value));
                let newest = files.entry(entry.key.to_vec()).or_insert((entry.seq, value));
                if entry.seq >= newest.0 {
                    *newest = (entry.seq, value);
                }
            }
            Ok(())
        }
    };
    manager.start_flushers(2, flush).unwrap();
    let done = AtomicBool::new(false);
    let models: Vec<BTreeMap<Vec<u8>, u64>> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (manager, files) = (&manager, &files);
                scope.spawn(move || {
                    let mut model = BTreeMap::new();
                    let mut state = 0x2545_f491_4f6c_dd1d + writer as u64;
                    for step in 1..=STEPS {
                        let number = writer * KEYS + random(&mut state) % KEYS;
                        let key = vec![number as u8];
                        let value = (step as u64).to_be_bytes();
                        match random(&mut state) % 5 {
                            0 => {
                                manager.delete(&key).unwrap();
                                model.remove(&key);
                            }
                            1 => {
                                let mut batch = WriteBatch::new();
                                batch.put(&key, &value);
                                manager.apply(&batch).unwrap();
                                model.insert(key.clone(), step as u64);
                            }
                            _ => {
                                manager.put(&key, &value).unwrap();
                                model.insert(key.clone(), step as u64);
                            }
                        }
                        // Nobody else writes this key: what was written is what is read, wherever it is by now.
                        assert_eq!(read(manager, files, &key), model.get(&key).copied());
                    }
                    model
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                manager.rotate();
                thread::sleep(Duration::from_micros(500));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = vec![0; WRITERS * KEYS];
                while !done.load(SeqCst) {
                    for (number, seen) in seen.iter_mut().enumerate() {
                        // A value that is read is never older than one that was read before.
                        if let Some(value) = read(&manager, &files, &[number as u8]) {
                            assert!(value >= *seen, "went back from {seen} to {value}");
                            *seen = value;
                        }
                    }
                    let snapshot = manager.snapshot();
                    let once: Vec<_> = pairs(&snapshot);
                    assert!(once.is_sorted_by(|a, b| a.0 < b.0));
                    let mut again: Vec<_> = snapshot.clone().into_range(..).rev().collect();
                    again.reverse();
                    assert!(
                        once.iter()
                            .map(|(key, value)| (&key[..], &value[..]))
                            .eq(again.iter().map(|e| (e.key(), e.value())))
                    );
                    for (key, value) in &once {
                        assert_eq!(snapshot.get(key), Some(&value[..]));
                    }
                }
            });
        }
        let models = writers.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>();
        done.store(true, SeqCst);
        models.into_iter().map(Result::unwrap).collect()
    });
    assert!(manager.shutdown(LONG).is_empty());
    let files = files.lock().unwrap();
    let found: BTreeMap<_, _> = files.iter().filter_map(|(key, (_, value))| Some((key.clone(), (*value)?))).collect();
    let expected: BTreeMap<_, _> = models.into_iter().flatten().collect();
    assert_eq!(found, expected);
    let stats = manager.stats();
    assert_eq!(stats.flushes, stats.rotations);
    assert!(stats.failed_flushes > 0 && stats.recycled_tables > 0, "{stats:?}");
}
