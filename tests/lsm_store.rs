//! The engine of `examples/lsm_store`: what it promises while it lives, and when it is opened again.

#![cfg(all(feature = "std", unix, target_pointer_width = "64", not(any(loom, shuttle, old_compiler))))]

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/lsm_store/engine/mod.rs"]
mod engine;
#[allow(unreachable_pub)]
#[path = "../examples/lsm_store/load.rs"]
mod load;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use engine::{Batch, Durability, Error, Front, Options, Order, Snapshot, Store};
use itertools::Itertools;
use memskip::WriteError;
use tempfile::{TempDir, tempdir};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn light() -> bool {
    std::env::var_os("MEMSKIP_LIGHT").is_some()
}

/// Small tables, so that a test sees many flushes.
fn small() -> Options {
    Options { memtable_bytes: 32 << 10, queued_memtables: 2, durability: Durability::None, ..Options::default() }
}

/// In memory where that can be had: what is tested does not depend on how long a sync takes, but for groups.
fn dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempdir()).expect("a temporary directory")
}

fn open(dir: &TempDir, options: Options) -> Store {
    Store::open(dir.path(), options).expect("opens")
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn all(store: &Store) -> Map {
    all_of(&store.snapshot().expect("snapshot"))
}

fn all_of(snapshot: &Snapshot) -> Map {
    snapshot.range(.., Order::Ascending).expect("scans").map(|item| item.expect("reads")).collect()
}

/// Scans give what the model gives, both ways.
fn check_range(snapshot: &Snapshot, model: &Map, bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>)) {
    let read = |order| {
        let scan = snapshot.range(bounds.clone(), order).expect("scans");
        scan.map(|item| item.expect("reads")).collect::<Vec<_>>()
    };
    let expected = || model.range(bounds.clone()).map(|(key, value)| (key.clone(), value.clone()));
    assert_eq!(read(Order::Ascending), expected().collect::<Vec<_>>());
    assert_eq!(read(Order::Descending), expected().rev().collect::<Vec<_>>());
}

/// Random puts, deletes, batches, flushes, reopens and compactions do what they do to a map; snapshots that were
/// taken on the way still show the map of that moment.
#[test]
fn a_map_with_snapshots() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let dir = dir();
    let mut store = open(&dir, small());
    let mut model = Map::new();
    let mut snapshots: Vec<(Snapshot, Map)> = Vec::new();
    let key = |random: &mut Random| format!("{:04}", random.below(600)).into_bytes();
    let steps = if light() { 2_000 } else { 6_000 };
    for step in 0..steps {
        match random.below(1000) {
            0..600 => {
                let (key, value) = (key(&mut random), vec![b'a' + random.below(26) as u8; random.below(120) as usize]);
                store.put(&key, &value).expect("puts");
                model.insert(key, value);
            }
            600..800 => {
                let key = key(&mut random);
                store.delete(&key).expect("deletes");
                model.remove(&key);
            }
            800..900 => {
                let mut batch = Batch::new();
                for _ in 0..random.below(20) {
                    let key = key(&mut random);
                    if random.below(3) == 0 {
                        batch.delete(&key);
                        model.remove(&key);
                    } else {
                        let value = step.to_string().into_bytes();
                        batch.put(&key, &value);
                        model.insert(key, value);
                    }
                }
                store.write(batch).expect("writes");
            }
            900..975 => {
                let key = key(&mut random);
                assert_eq!(store.get(&key).expect("gets"), model.get(&key).cloned());
            }
            975..985 => {
                let (low, high) = (key(&mut random), key(&mut random));
                let (low, high) = (low.clone().min(high.clone()), low.max(high));
                let snapshot = store.snapshot().expect("snapshot");
                check_range(&snapshot, &model, (Bound::Included(low.clone()), Bound::Excluded(high.clone())));
                check_range(&snapshot, &model, (Bound::Excluded(low), Bound::Unbounded));
                check_range(&snapshot, &model, (Bound::Unbounded, Bound::Included(high)));
            }
            985..992 => snapshots.push((store.snapshot().expect("snapshot"), model.clone())),
            992..996 => {
                let (snapshot, then) = match snapshots.len() {
                    0 => continue,
                    len => snapshots.swap_remove(random.below(len as u64) as usize),
                };
                assert_eq!(all_of(&snapshot), then, "step {step}");
                for key in then.keys().take(50) {
                    assert_eq!(snapshot.get(key).expect("gets").as_ref(), then.get(key));
                }
            }
            996..998 => store.flush().expect("flushes"),
            _ => {
                for (snapshot, then) in snapshots.drain(..) {
                    assert_eq!(all_of(&snapshot), then, "step {step}");
                }
                store.close().expect("closes");
                store = open(&dir, small());
                assert_eq!(all(&store), model, "step {step}, opened again");
            }
        }
    }
    assert_eq!(all(&store), model);
    for prefix in [&b""[..], b"0", b"01", b"012", b"0123", b"9", &[0xff, 0xff]] {
        let snapshot = store.snapshot().expect("snapshot");
        let read = |order| {
            let scan = snapshot.prefix(prefix, order).expect("scans");
            scan.map(|item| item.expect("reads")).collect::<Vec<_>>()
        };
        let mut wanted: Vec<_> = model.clone().into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        assert_eq!(read(Order::Ascending), wanted);
        wanted.reverse();
        assert_eq!(read(Order::Descending), wanted);
    }
}

/// Writers change two keys in one batch each, while tables are flushed and compacted below them. No read sees one
/// without the other, none sees a number go back, and snapshots do not change.
#[test]
fn batches_are_seen_whole_while_tables_move_to_disk() {
    let dir = dir();
    let store = open(&dir, small());
    let pairs: u32 = 40;
    let write = |store: &Store, pair: u32, number: u64| {
        let mut batch = Batch::new();
        let mut value = number.to_be_bytes().to_vec();
        value.resize(100, 0);
        batch.put(format!("a{pair:03}").as_bytes(), &value);
        batch.put(format!("z{pair:03}").as_bytes(), &value);
        store.write(batch).expect("writes");
    };
    for pair in 0..pairs {
        write(&store, pair, 0);
    }
    let number = |value: &[u8]| u64::from_be_bytes(value[..8].try_into().expect("eight bytes"));
    let done = AtomicBool::new(false);
    let rounds: u64 = if light() { 60 } else { 200 };
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=rounds {
                (0..pairs).for_each(|pair| write(&store, pair, round));
            }
            done.store(true, SeqCst);
        });
        for reader in 0..2 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut random = Random(77 + reader);
                let mut seen = vec![0; pairs as usize];
                while !done.load(SeqCst) {
                    let pair = random.below(u64::from(pairs)) as usize;
                    let snapshot = store.snapshot().expect("snapshot");
                    let get = |side: char| {
                        let value = snapshot.get(format!("{side}{pair:03}").as_bytes()).expect("gets");
                        number(&value.expect("was never deleted"))
                    };
                    let (a, z) = (get('a'), get('z'));
                    assert_eq!(a, z, "half a batch");
                    assert!(a >= seen[pair], "pair {pair} went back from {} to {a}", seen[pair]);
                    seen[pair] = a;
                    if random.below(8) == 0 {
                        let before = all_of(&snapshot);
                        assert_eq!(before.len(), 2 * pairs as usize);
                        for pair in 0..pairs {
                            let of = |side: char| &before[format!("{side}{pair:03}").as_bytes()];
                            assert_eq!(of('a'), of('z'), "half a batch in a scan");
                        }
                        assert_eq!(all_of(&snapshot), before);
                    }
                }
            });
        }
        writer.join().expect("writes");
    });
    let stats = store.stats();
    assert!(stats.memory.flushes > 10, "{stats:?}");
    assert_eq!(all(&store).len(), 2 * pairs as usize);
}

/// Two keys are written together and flushed, and one of them once more, with the same value. Readers are slow in taking what they
/// read; but memory and disk are of one moment: they miss no key, see none go back, and both have the same value.
#[test]
fn a_view_is_taken_at_one_moment() {
    let dir = dir();
    let store = open(&dir, small());
    let write = |number: u64| {
        let mut batch = Batch::new();
        batch.put(b"a", &number.to_be_bytes());
        batch.put(b"k", &number.to_be_bytes());
        store.write(batch).expect("writes");
    };
    write(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while !done.load(SeqCst) {
                    let snapshot = store.snapshot().expect("snapshot");
                    let read = |key: &[u8]| {
                        let value = snapshot.get(key).expect("gets").expect("is never deleted");
                        u64::from_be_bytes(value[..8].try_into().expect("eight bytes"))
                    };
                    let (a, k) = (read(b"a"), read(b"k"));
                    assert_eq!(a, k, "of two moments");
                    assert!(a >= seen, "went back from {seen} to {a}");
                    thread::sleep(Duration::from_micros(300));
                    assert_eq!((read(b"a"), read(b"k")), (a, k), "a snapshot changed");
                    seen = a;
                }
            });
        }
        for number in 1..=if light() { 100u64 } else { 300 } {
            write(number);
            store.flush().expect("flushes");
            store.put(b"a", &number.to_be_bytes()).expect("puts");
            // Otherwise views are seldom taken here.
            thread::sleep(Duration::from_micros(300));
        }
        done.store(true, SeqCst);
    });
}

#[test]
fn nobody_else_may_open_it() {
    let dir = dir();
    let store = open(&dir, small());
    store.put(b"k", b"v").expect("puts");
    let error = Store::open(dir.path(), small()).err().expect("taken");
    assert!(matches!(error, Error::InUse(_)), "{error}");
    assert!(error.to_string().contains("another store has it open"), "{error}");
    // Files that a snapshot reads must not be somebody else's to remove.
    let snapshot = store.snapshot().expect("snapshot");
    let clone = store.clone();
    store.close().expect("closes");
    assert!(matches!(clone.put(b"k", b"w"), Err(Error::Memory(WriteError::ShutDown))));
    assert!(matches!(clone.get(b"k"), Err(Error::Memory(WriteError::ShutDown))));
    drop(clone);
    assert!(matches!(Store::open(dir.path(), small()), Err(Error::InUse(_))));
    assert_eq!(snapshot.get(b"k").expect("gets"), Some(b"v".to_vec()));
    drop(snapshot);
    let store = open(&dir, small());
    assert_eq!(store.get(b"k").expect("gets"), Some(b"v".to_vec()));
}

#[test]
fn what_is_out_of_bounds_is_refused_and_leaves_nothing() {
    let dir = dir();
    assert!(matches!(Store::open(dir.path(), Options { queued_memtables: 0, ..small() }), Err(Error::Invalid(_))));
    let at_once = Options { durability: Durability::Interval(Duration::ZERO), ..small() };
    assert!(matches!(Store::open(dir.path(), at_once), Err(Error::Invalid(_))));
    let store = open(&dir, small());
    let longest = vec![b'k'; 65_535];
    let too_long = vec![b'k'; 65_536];
    assert!(matches!(store.put(b"", b"v"), Err(Error::Invalid(_))));
    assert!(matches!(store.put(&too_long, b"v"), Err(Error::Invalid(_))));
    let mut batch = Batch::new();
    batch.put(b"good", b"v");
    batch.delete(b"");
    assert!(matches!(store.write(batch), Err(Error::Invalid(_))));
    assert_eq!(all(&store), Map::new());
    store.write(Batch::new()).expect("nothing to do");
    assert_eq!(fs::metadata(&segments(dir.path())[0]).expect("is there").len(), 0, "nothing is in the log");
    store.put(&longest, b"v").expect("puts");
    store.flush().expect("flushes");
    assert_eq!(store.get(&longest).expect("gets"), Some(b"v".to_vec()));
    assert_eq!(store.get(&too_long).expect("gets"), None);
    assert_eq!(store.get(b"").expect("gets"), None);
    let snapshot = store.snapshot().expect("snapshot");
    assert!(matches!(snapshot.range(too_long.clone().., Order::Ascending), Err(Error::Invalid(_))));
    assert!(matches!(snapshot.range(vec![]..=too_long, Order::Ascending), Err(Error::Invalid(_))));
    for order in [Order::Ascending, Order::Descending] {
        let count = |bounds| snapshot.range(bounds, order).expect("scans").count();
        assert_eq!(count((Bound::Included(vec![]), Bound::Included(longest.clone()))), 1);
        assert_eq!(count((Bound::Excluded(longest.clone()), Bound::Excluded(longest.clone()))), 0);
        assert_eq!(count((Bound::Included(vec![b'z']), Bound::Excluded(vec![b'a']))), 0);
    }
}

/// Where the tables should go, there is a file: all flushes fail until it is gone. Writers wait, readers see
/// everything, and nothing is lost.
#[test]
fn a_failed_flush_is_tried_again_and_holds_writers_back() {
    let dir = dir();
    let store = open(&dir, small());
    store.put(b"before", b"flush").expect("puts");
    store.flush().expect("flushes");
    let (tables, away) = (dir.path().join("tree/tables"), dir.path().join("tables"));
    fs::rename(&tables, &away).expect("renames");
    fs::write(&tables, b"in the way").expect("writes");

    store.put(b"first", b"1").expect("puts");
    let error = store.flush().expect_err("cannot");
    assert!(matches!(error, Error::Flush(_)), "{error}");
    assert_eq!(store.get(b"first").expect("gets"), Some(b"1".to_vec()));
    let stats = store.stats();
    assert!(stats.memory.failed_flushes > 0 && stats.last_error.is_some(), "{stats:?}");

    let count = 2_000;
    let is_done = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (store, is_done) = (store.clone(), Arc::clone(&is_done));
        move || {
            for i in 0..count {
                store.put(format!("k{i:05}").as_bytes(), &[7; 100]).expect("waits, and puts");
            }
            is_done.store(true, SeqCst);
        }
    });
    // It comes to a halt with two tables queued, each of them tried several times.
    while store.stats().memory.tables.len() <= 2 || store.stats().memory.failed_flushes < 4 {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!is_done.load(SeqCst), "was not held back");
    fs::remove_file(&tables).expect("removes");
    fs::rename(&away, &tables).expect("renames");
    writer.join().expect("writes");
    store.flush().expect("flushes");
    let stats = store.stats();
    assert!(stats.last_error.is_none() && stats.memory.stalls > 0 && stats.memory.tables.len() == 1, "{stats:?}");
    let keys = all(&store);
    assert_eq!(keys.len(), count + 2);
    store.close().expect("closes");
    assert_eq!(all(&open(&dir, small())), keys);
}

/// Where flushes of the tree below a path panic, but for so many that come first.
static PANICS: Mutex<Vec<(PathBuf, usize)>> = Mutex::new(Vec::new());

/// The tree says when a flush begins.
struct Panicking;

impl log::Log for Panicking {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        let mut panics = PANICS.lock().expect("is not poisoned");
        let is_it = |(below, _): &&mut (PathBuf, usize)| text.contains(&*below.to_string_lossy());
        let Some((_, left)) = panics.iter_mut().find(is_it).filter(|_| text.starts_with("Ingesting")) else { return };
        let pass = left.checked_sub(1);
        *left = pass.unwrap_or(0);
        drop(panics);
        assert!(pass.is_some(), "a test says so");
    }

    fn flush(&self) {}
}

/// From now on all flushes panic, but for the first.
fn panic_after(dir: &TempDir, flushes: usize) {
    // Another test may have done it.
    let _ = log::set_logger(&Panicking);
    log::set_max_level(log::LevelFilter::Debug);
    let mut panics = PANICS.lock().expect("is not poisoned");
    panics.retain(|(below, _)| below != dir.path());
    panics.push((dir.path().to_owned(), flushes));
}

/// Of two tables that wait, one reaches the tree. The log of the other one is still needed.
#[test]
fn segments_of_tables_that_wait_are_kept() {
    let dir = dir();
    let store = open(&dir, small());
    panic_after(&dir, 0);
    for key in [b"a", b"b"] {
        store.put(key, b"v").expect("puts");
        assert!(store.flush().is_err());
    }
    assert_eq!(store.stats().memory.tables.len(), 3);
    panic_after(&dir, 1);
    while store.stats().memory.flushes == 0 || segments(dir.path()).len() == 3 {
        thread::sleep(Duration::from_millis(1));
    }
    // Once more it has been tried, after what there was to remove.
    let failed = store.stats().memory.failed_flushes;
    while store.stats().memory.failed_flushes == failed {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(segments(dir.path()).len(), 2);
    drop(store);
    assert_eq!(all(&open(&dir, small())).len(), 2);
}

/// A flush that panics is reported like one that fails; it is tried again, and nothing is lost.
#[test]
fn a_panicking_flush_is_reported_and_tried_again() {
    let dir = dir();
    let store = open(&dir, small());
    store.put(b"k", b"v").expect("puts");
    panic_after(&dir, 0);
    let error = store.flush().expect_err("panics");
    assert!(matches!(&error, Error::Flush(reason) if reason.contains("panicked")), "{error}");
    assert_eq!(store.get(b"k").expect("gets"), Some(b"v".to_vec()));
    panic_after(&dir, usize::MAX);
    while store.stats().memory.tables.len() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(store.stats().memory.failed_flushes > 0);
    store.close().expect("closes");
    fs::remove_dir_all(dir.path().join("wal")).expect("removes");
    assert_eq!(all(&open(&dir, small())).len(), 1, "is in the tree");
}

/// Files are loaded in pieces, lines as pairs; of the store's own files none, wherever the loading begins.
#[test]
fn a_store_does_not_load_itself() {
    let dir = dir();
    let own = dir.path().join("store");
    let store = Store::open(&own, small()).expect("opens");
    fs::write(dir.path().join("file"), vec![b'f'; 20_000]).expect("writes");
    fs::write(dir.path().join("pairs.tsv"), b"k\tv\nl\tw").expect("writes");
    load::run(&store, dir.path(), &own).expect("loads");
    let keys = || all(&store).into_keys().collect::<Vec<_>>();
    assert_eq!(keys(), [&b"file#00000000"[..], b"file#00000001", b"k", b"l"]);
    // Not `wal`: if it were loaded, there would be no end.
    for path in ["", "tree", "tree/tables", "LOCK"] {
        load::run(&store, &own.join(path), &own).expect("loads nothing");
        assert_eq!(keys().len(), 4, "store/{path}");
    }
}

/// Values that repeat themselves take a fraction of their size on disk.
#[test]
fn tables_are_compressed() {
    let dir = dir();
    let store = open(&dir, small());
    let value = b"again and again; ".repeat(60);
    for i in 0..1_000u32 {
        store.put(&i.to_be_bytes(), &value).expect("puts");
    }
    store.flush().expect("flushes");
    let on_disk = store.stats().disk_bytes;
    assert!(on_disk > 0 && on_disk < 1_000 * value.len() as u64 / 5, "{on_disk} bytes");
    assert_eq!(store.get(&7u32.to_be_bytes()).expect("gets"), Some(value));
}

/// With the tree's own memtables, too, nothing is lost on the way to disk; and a flush is where they end up.
#[test]
fn the_memtables_of_the_tree_can_be_used_instead() {
    let dir = dir();
    let options = || Options { front: Front::Tree, ..small() };
    let store = open(&dir, options());
    let mut model = Map::new();
    let mut random = Random(7);
    for step in 0..3_000u32 {
        let key = random.below(500).to_be_bytes();
        if random.below(4) == 0 {
            store.delete(&key).expect("deletes");
            model.remove(&key[..]);
        } else {
            store.put(&key, &step.to_be_bytes().repeat(20)).expect("puts");
            model.insert(key.to_vec(), step.to_be_bytes().repeat(20));
        }
    }
    assert_eq!(all(&store), model);
    assert!(store.stats().memory.flushes > 2 && store.stats().disk_bytes > 0, "{:?}", store.stats());
    store.close().expect("closes");
    let store = open(&dir, options());
    assert_eq!(all(&store), model, "opened again");
    store.flush().expect("flushes");
    store.close().expect("closes");
    fs::remove_dir_all(dir.path().join("wal")).expect("removes");
    assert_eq!(all(&open(&dir, small())), model, "is all in the tree");
}

/// Files of flushes that failed half way do not pile up.
#[test]
fn failed_flushes_leave_no_files_behind() {
    let dir = dir();
    let store = open(&dir, small());
    store.put(b"k", b"v").expect("puts");
    // The version of the tree cannot be written: the table has been written by then.
    let next = (0..10).map(|version| dir.path().join(format!("tree/v{version}"))).find(|path| !path.exists());
    let next = next.expect("a free name");
    fs::create_dir(&next).expect("creates");
    assert!(store.flush().is_err());
    while store.stats().memory.failed_flushes < 5 {
        thread::sleep(Duration::from_millis(1));
    }
    let files = fs::read_dir(dir.path().join("tree/tables")).expect("reads").count();
    assert!(files <= 3, "{files} files of failed flushes");
    fs::remove_dir(&next).expect("removes");
    while store.stats().memory.tables.len() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(store.get(b"k").expect("gets"), Some(b"v".to_vec()));
}

/// Where a test wants syncs of the last segment to fail: the one thing it cannot bring about from outside.
fn broken(dir: &TempDir) -> PathBuf {
    segments(dir.path()).pop().expect("a segment").with_extension("broken")
}

/// After a sync that failed nothing is taken any more, and nothing of it was shown.
#[test]
fn a_failed_sync_poisons() {
    let dir = dir();
    let store = open(&dir, Options { durability: Durability::Always, ..small() });
    store.put(b"a", b"1").expect("puts");
    fs::write(broken(&dir), b"").expect("creates");
    assert!(matches!(store.put(b"b", b"2"), Err(Error::Poisoned(_))));
    fs::remove_file(broken(&dir)).expect("removes");
    let error = store.put(b"c", b"3").expect_err("poisoned");
    assert!(error.to_string().contains("opened again"), "{error}");
    assert!(store.flush().is_err());
    assert_eq!(all(&store).len(), 1);
    assert!(store.close().is_err());
    // Of what was not acknowledged, it may be there or not.
    let store = open(&dir, small());
    let keys = all(&store);
    assert_eq!((keys.get(&b"a"[..]), keys.get(&b"c"[..])), (Some(&b"1".to_vec()), None));
    store.put(b"c", b"3").expect("takes writes again");
}

/// The folder of a store is on disk when it opens, as are those above that had to be made: the name of each is synced. Where
/// one is not, the next attempt tries again.
#[test]
fn folders_that_are_made_are_synced() {
    let dir = dir();
    let base = dir.path().join("base");
    fs::create_dir(&base).expect("creates");
    for folder in ["base", "base/above", "base/above/store"] {
        let broken = dir.path().join(folder).with_extension("broken");
        fs::create_dir_all(broken.parent().expect("is below")).expect("creates");
        fs::write(&broken, b"").expect("creates");
        let _ = fs::remove_dir_all(base.join("above/store"));
        if folder == "base" {
            let _ = fs::remove_dir(base.join("above"));
        }
        for _ in 0..2 {
            assert!(matches!(Store::open(base.join("above/store"), small()), Err(Error::Io(_))), "{folder}");
        }
        fs::remove_file(broken).expect("removes");
        Store::open(base.join("above/store"), small()).expect("opens").put(b"k", b"v").expect("puts");
    }
    // Nothing is made, and what is above is not the store's to read.
    fs::write(base.join("above.broken"), b"").expect("creates");
    assert_eq!(all(&Store::open(base.join("above/store"), small()).expect("opens")).len(), 1);
}

/// Synced in the background: without a write there is nothing to sync, and a failure comes to the next writer.
#[test]
fn the_log_is_synced_at_intervals() {
    let dir = dir();
    let store = open(&dir, Options { durability: Durability::Interval(Duration::from_millis(1)), ..small() });
    store.put(b"a", b"1").expect("puts");
    while store.stats().wal_syncs == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    fs::write(broken(&dir), b"").expect("creates");
    while store.put(b"b", b"2").is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(store.put(b"b", b"2"), Err(Error::Poisoned(_))));
}

/// Writers that wait at the same time share one append and one sync: tasks, and threads.
#[test]
fn writers_are_committed_in_groups() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempdir().expect("a temporary directory");
    let options = Options { durability: Durability::Always, ..Options::default() };
    let count = 1000u64;
    runtime.block_on(async {
        let store = open(&dir, options.clone());
        let put = |i: u64| {
            let store = store.clone();
            tokio::spawn(async move { store.run_async(move |store| store.put(&i.to_be_bytes(), b"v")).await })
        };
        for writer in (0..count).map(put).collect::<Vec<_>>() {
            writer.await.expect("runs").expect("puts");
        }
        let syncs = store.stats().wal_syncs;
        assert!(syncs < count / 4, "{syncs} syncs of {count} writes");
        store.run_async(|store| store.delete(&0u64.to_be_bytes())).await.expect("deletes");
        assert_eq!(store.run_async(|store| store.get(&0u64.to_be_bytes())).await.expect("gets"), None);
        assert_eq!(store.run_async(|store| store.get(&1u64.to_be_bytes())).await.expect("gets"), Some(b"v".to_vec()));
        let scan =
            store.run_async(|store| store.snapshot()?.range(.., Order::Ascending)?.collect::<Result<Vec<_>, _>>());
        assert_eq!(scan.await.expect("scans").len() as u64, count - 1);
        assert!(matches!(store.run_async(|store| store.put(b"", b"v")).await, Err(Error::Invalid(_))));
    });
    drop(runtime);

    let store = open(&dir, options);
    assert_eq!(all(&store).len() as u64, count - 1);
    let (writers, each) = (8u64, 40);
    thread::scope(|scope| {
        for writer in 0..writers {
            let store = &store;
            scope.spawn(move || {
                for i in 0..each {
                    store.put(&(writer << 32 | i).to_le_bytes(), b"w").expect("puts");
                }
            });
        }
    });
    assert!(store.stats().wal_syncs <= writers * each, "{:?}", store.stats());
    assert_eq!(all(&store).values().filter(|value| *value == b"w").count() as u64, writers * each);
}

/// The log's segments, oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("wal")).expect("reads");
    let mut files: Vec<_> = files.map(|file| file.expect("reads").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files
}

/// Every write is synced before the next.
fn always() -> Options {
    Options { durability: Durability::Always, ..Options::default() }
}

/// A store with one segment: the log, where its records end, and what is in it after each.
fn one_segment() -> (TempDir, PathBuf, Vec<u64>, Vec<Map>) {
    let dir = dir();
    let store = open(&dir, always());
    let path = segments(dir.path()).remove(0);
    let (mut ends, mut maps) = (vec![fs::metadata(&path).expect("is there").len()], vec![Map::new()]);
    for i in 0..6u8 {
        let mut batch = Batch::new();
        if i > 2 {
            batch.delete(&[i - 1]);
        }
        batch.put(&[i + 1], &vec![i; 10 + usize::from(i)]);
        // Not a zero: a filler of a torn tail would replace it.
        batch.put(b"same", &[i + 1]);
        store.write(batch).expect("writes");
        maps.push(all(&store));
        ends.push(fs::metadata(&path).expect("is there").len());
    }
    store.close().expect("closes");
    (dir, path, ends, maps)
}

/// Wherever an append was cut off: what came before it is there, nothing of it is, and writing goes on.
#[test]
fn a_torn_tail_is_cut_off_at_every_length() {
    let (dir, path, ends, maps) = one_segment();
    let whole = fs::read(&path).expect("reads");
    let last_but_one = ends[ends.len() - 2];
    for len in last_but_one..whole.len() as u64 {
        for filler in [&[][..], &[0; 9], &[0xff; 40]] {
            let mut bytes = whole[..len as usize].to_vec();
            bytes.extend_from_slice(filler);
            fs::write(&path, &bytes).expect("writes");
            let store = open(&dir, Options::default());
            assert_eq!(all(&store), maps[maps.len() - 2], "cut at {len}");
            assert_eq!(fs::metadata(&path).expect("is there").len(), last_but_one);
            store.put(b"later", b"l").expect("puts");
            store.close().expect("closes");
            let store = open(&dir, Options::default());
            assert_eq!(store.get(b"later").expect("gets"), Some(b"l".to_vec()));
            assert_eq!(all(&store).len(), maps[maps.len() - 2].len() + 1);
        }
    }
}

/// A flipped byte in a record that was synced before another was written is reported with file and offset of the record
/// it is in. In the last record it is what a crash may leave, and costs that record.
#[test]
fn flipped_bytes_are_reported_or_cut_off() {
    let (dir, path, ends, maps) = one_segment();
    let whole = fs::read(&path).expect("reads");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).expect("writes");
        let record = ends.partition_point(|end| *end <= at as u64);
        match Store::open(dir.path(), Options::default()) {
            Err(Error::Corrupt { file, offset, .. }) => {
                assert_eq!(file, path);
                assert_eq!(offset, ends[record - 1], "byte {at}");
                assert!(record < ends.len() - 1, "byte {at} is in the last record");
                assert!(fs::read(&path).expect("reads") == bytes, "the evidence was changed");
            }
            Err(error) => panic!("byte {at}: {error}"),
            Ok(store) => {
                assert_eq!(record, ends.len() - 1, "byte {at} was not noticed");
                assert_eq!(all(&store), maps[maps.len() - 2], "byte {at}");
            }
        }
    }
}

/// A log as a power failure may leave it: of what is behind `synced` any page can be missing. Of the eight records that are
/// there, those in front of the hole are found, as is all in front of them. A flipped byte in what was synced is
/// damage.
fn check_holes(dir: &TempDir, path: &Path, bytes: &[u8], synced: usize) {
    const PAGE: usize = 4096;
    let record = (bytes.len() - synced) / 8;
    fs::write(path, bytes).expect("writes");
    let whole = all(&open(dir, always()));
    for page in (synced / PAGE * PAGE..bytes.len()).step_by(PAGE) {
        let hole = page.max(synced)..(page + PAGE).min(bytes.len());
        let mut left = bytes.to_vec();
        left[hole.clone()].fill(0);
        fs::write(path, left).expect("writes");
        let store = open(dir, always());
        let lost = 8 - (hole.start - synced) / record;
        let found = all(&store);
        assert_eq!(found.len(), whole.len() - lost, "a hole at {hole:?}");
        assert!(found.contains_key(&b"acknowledged"[..]));
        assert!(found.iter().all(|(key, value)| whole.get(key) == Some(value)), "a hole at {hole:?}");
        // What was behind the hole does not come back.
        store.put(b"later", b"l").expect("puts");
        store.close().expect("closes");
        assert_eq!(all(&open(dir, always())).len(), found.len() + 1);
    }
    for at in 0..synced {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1;
        fs::write(path, damaged).expect("writes");
        match Store::open(dir.path(), always()) {
            Err(Error::Corrupt { file, offset: 0, .. }) => assert_eq!(file, path),
            other => panic!("byte {at}: {:?}", other.err()),
        }
    }
}

/// Synced when the log is opened, or its segment begun, and then no more.
#[test]
fn holes_in_what_was_not_synced_are_no_damage() {
    let hour = Durability::Interval(Duration::from_secs(3600));
    for (durability, is_rotated) in [Durability::None, hour].into_iter().cartesian_product([false, true]) {
        let dir = dir();
        let store = open(&dir, always());
        store.put(b"acknowledged", b"v").expect("puts");
        store.close().expect("closes");
        let store = open(&dir, Options { durability, ..Options::default() });
        // The thread of an interval begins with a sync.
        while store.stats().wal_syncs == 0 && durability == hour {
            thread::sleep(Duration::from_millis(1));
        }
        if is_rotated {
            store.flush().expect("flushes");
        }
        let path = segments(dir.path()).pop().expect("a segment");
        let synced = fs::read(&path).expect("reads").len();
        for i in 0..8u8 {
            store.put(&[i + 1], &[i + 1; 5000]).expect("puts");
        }
        let bytes = fs::read(&path).expect("reads");
        store.close().expect("closes");
        check_holes(&dir, &path, &bytes, synced);
    }
}

/// Of a group nothing is acknowledged before all of it is synced.
#[test]
fn holes_in_a_group_are_no_damage() {
    for attempt in 0.. {
        assert!(attempt < 20, "it never became one group");
        let dir = dir();
        let store = open(&dir, Options { queued_memtables: 1, ..always() });
        let tables = dir.path().join("tree/tables");
        fs::remove_dir(&tables).expect("removes");
        store.put(b"flushed", b"v").expect("puts");
        assert!(store.flush().is_err());
        let path = segments(dir.path()).pop().expect("a segment");
        let syncs = store.stats().wal_syncs;
        // The first waits for the flush, and the others for the first.
        let put = |key: &[u8], len: usize| {
            let (store, key) = (store.clone(), key.to_vec());
            let writer = thread::spawn(move || store.put(&key, &vec![7; len]).expect("puts"));
            thread::sleep(Duration::from_millis(20));
            writer
        };
        let first = put(b"acknowledged", 1);
        let others: Vec<_> = (0..8u8).map(|i| put(&[i + 1], 5000)).collect();
        fs::create_dir(&tables).expect("creates");
        others.into_iter().chain([first]).for_each(|writer| writer.join().expect("puts"));
        if store.stats().wal_syncs == syncs + 2 {
            let bytes = fs::read(&path).expect("reads");
            store.put(&[9], &[7; 5000]).expect("puts");
            let record = fs::read(&path).expect("reads").len() - bytes.len();
            store.close().expect("closes");
            return check_holes(&dir, &path, &bytes, bytes.len() - 8 * record);
        }
    }
}

/// Records that were written after a sync in the background say so: in front of them nothing may be damaged.
#[test]
fn damage_to_what_was_synced_in_the_background_is_reported() {
    let dir = dir();
    let store = open(&dir, Options { durability: Durability::Interval(Duration::from_millis(1)), ..small() });
    store.put(b"a", b"1").expect("puts");
    // One that may have begun before, one more, and one that begins when that is done.
    let syncs = store.stats().wal_syncs + 3;
    while store.stats().wal_syncs < syncs {
        store.put(b"b", b"2").expect("puts");
        thread::sleep(Duration::from_millis(1));
    }
    store.put(b"c", b"3").expect("puts");
    store.close().expect("closes");
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).expect("reads");
    bytes[0] ^= 1;
    fs::write(&path, &bytes).expect("writes");
    let outcome = Store::open(dir.path(), small());
    assert!(matches!(outcome, Err(Error::Corrupt { offset: 0, .. })), "{:?}", outcome.err());
}

/// In a segment that is not the last, there is no tail to be forgiven; and none may be missing.
#[test]
fn older_segments_must_be_whole() {
    let dir = dir();
    let store = open(&dir, Options { queued_memtables: 8, ..small() });
    let tables = dir.path().join("tree/tables");
    fs::remove_dir(&tables).expect("removes");
    for i in 0..3u8 {
        store.put(&[i + 1], b"v").expect("puts");
        assert!(store.flush().is_err());
    }
    drop(store);
    fs::create_dir(&tables).expect("creates");
    let files = segments(dir.path());
    assert_eq!(files.len(), 4, "{files:?}");
    let bytes = fs::read(&files[1]).expect("reads");

    fs::write(&files[1], &bytes[..bytes.len() - 1]).expect("writes");
    let corrupt = |file: &Path| match Store::open(dir.path(), small()) {
        Err(Error::Corrupt { file: found, offset, .. }) => {
            assert_eq!(found, file);
            offset
        }
        other => panic!("{:?}", other.err()),
    };
    assert_eq!(corrupt(&files[1]), 0);
    // Cut between two records: only the next segment tells.
    fs::write(&files[1], b"").expect("writes");
    assert_eq!(corrupt(&files[2]), 0);
    fs::remove_file(&files[1]).expect("removes");
    assert_eq!(corrupt(&files[2]), 0);
    fs::write(&files[1], &bytes).expect("writes");
    // What a crash leaves of the making of a segment.
    for rest in [&b""[..], b"msk-wal", &[0; 32]] {
        fs::write(&files[3], rest).expect("writes");
        let store = open(&dir, small());
        assert_eq!(all(&store).len(), 3);
    }
}

/// Names that are only like those of segments are nobody's, and stay.
#[test]
fn other_files_beside_the_log_are_left_alone() {
    let dir = dir();
    let store = open(&dir, small());
    store.put(b"k", b"v").expect("puts");
    store.close().expect("closes");
    let zeros = "0".repeat(19);
    let names =
        ["2.log", "+2.log", "x.log", &format!("+{zeros}.log"), &format!("00{zeros}2.log"), &format!("{zeros}1.old")];
    for name in names {
        fs::write(dir.path().join("wal").join(name), b"not a record").expect("writes");
    }
    let store = open(&dir, small());
    assert_eq!(all(&store).len(), 1);
    store.flush().expect("flushes");
    store.put(b"l", b"v").expect("puts");
    store.close().expect("closes");
    assert_eq!(all(&open(&dir, small())).len(), 2);
    assert!(names.iter().all(|name| dir.path().join("wal").join(name).exists()), "removed with the segments");
}

/// A segment is there as long as its table is not in the tree, and gone afterwards. What is in the tree is found
/// without it.
#[test]
fn segments_are_removed_when_their_table_is_durable() {
    let dir = dir();
    let store = open(&dir, small());
    let first = segments(dir.path());
    let tables = dir.path().join("tree/tables");
    fs::remove_dir(&tables).expect("removes");
    store.put(b"k", b"v").expect("puts");
    assert!(store.flush().is_err());
    assert!(first[0].exists(), "removed before its table was durable");
    assert_eq!(segments(dir.path()).len(), 2);
    fs::create_dir(&tables).expect("creates");
    store.flush().expect("flushes");
    while segments(dir.path()).len() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!first[0].exists());
    // The sequence numbers go on, though no record is left to tell.
    let last = segments(dir.path()).remove(0);
    store.close().expect("closes");
    assert_eq!(last.file_stem().and_then(|name| name.to_str()).map(str::parse), Some(Ok(2)));
    let store = open(&dir, small());
    assert_eq!(store.get(b"k").expect("gets"), Some(b"v".to_vec()));
    store.delete(b"k").expect("deletes");
    store.close().expect("closes");
    assert_eq!(all(&open(&dir, small())), Map::new());
}
