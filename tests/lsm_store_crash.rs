//! The engine of `examples/lsm_store`, killed at random moments.
//!
//! A child process (this program, called for [`child`] alone) writes a pattern that both know and acknowledges each
//! write on stdout. The parent kills it, opens what is left, and finds every acknowledged write, and of the one that
//! was under way per writer all or nothing. Then, on copies, it cuts the end off the log and flips single bytes of
//! it.

#![cfg(all(feature = "std", unix, target_pointer_width = "64", not(any(loom, shuttle, old_compiler))))]

#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../examples/lsm_store/engine/mod.rs"]
mod engine;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use engine::{Batch, Durability, Error, Options, Order, Store};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const WRITERS: usize = 2;
const KEYS: u64 = 40;

/// In memory where that can be had: what the process has written survives its end there as well, and nothing here
/// asks for more.
fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// Set for the child: directory, round, and for each writer the number of the first write.
const TASK: &str = "MEMSKIP_LSM_STORE_CRASH";

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What a writer's write with this number does: some keys, each put or deleted.
fn write(writer: usize, number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut state = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (writer as u64 + 1);
    let count = if random(&mut state) % 4 == 0 { 1 + random(&mut state) % 6 } else { 1 };
    let one = |_| {
        let key = format!("{writer}/{:02}", random(&mut state) % KEYS).into_bytes();
        let mut value = number.to_string().into_bytes();
        value.resize(10 + (random(&mut state) % 150) as usize, b'.');
        (key, (random(&mut state) % 4 != 0).then_some(value))
    };
    (0..count).map(one).collect()
}

fn apply(model: &mut Map, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
    for (key, value) in writes {
        match value {
            Some(value) => drop(model.insert(key, value)),
            None => drop(model.remove(&key)),
        }
    }
}

fn options(round: u64) -> Options {
    let durability = [Durability::None, Durability::Interval(Duration::from_millis(1)), Durability::Always];
    let durability = durability[(round % 3) as usize];
    Options { memtable_bytes: 12 << 10, queued_memtables: 2, durability, ..Options::default() }
}

/// Not a test: what the parent calls.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let mut task = task.split(' ');
    let dir = task.next().expect("a directory");
    let mut numbers = task.map(|number| number.parse::<u64>().expect("a number"));
    let round = numbers.next().expect("a round");
    let store = Store::open(dir, options(round)).expect("opens");
    // Should the parent be gone, and so never kill it.
    let until = Instant::now() + Duration::from_secs(20);
    thread::scope(|scope| {
        for (writer, first) in numbers.enumerate() {
            let store = &store;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                for number in (first..).take_while(|_| Instant::now() < until) {
                    let mut batch = Batch::new();
                    for (key, value) in write(writer, number) {
                        match value {
                            Some(value) => batch.put(&key, &value),
                            None => batch.delete(&key),
                        }
                    }
                    let done = if round % 2 == 0 {
                        store.write(batch)
                    } else {
                        runtime.block_on(store.run_async(|store| store.write(batch)))
                    };
                    done.expect("writes");
                    // One line, one system call: whoever reads half of it has not been told.
                    let line = format!("\n{writer} {number};");
                    std::io::stdout().lock().write_all(line.as_bytes()).expect("parent is there");
                    std::io::stdout().flush().expect("parent is there");
                }
            });
        }
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(7));
            store.flush().expect("flushes");
        }
    });
}

/// Starts a child, kills it after a while, and says how many writes of each writer were acknowledged by then.
fn run_and_kill(dir: &Path, round: u64, first: &[u64; WRITERS], after: Duration) -> [u64; WRITERS] {
    let numbers: Vec<String> = first.iter().map(u64::to_string).collect();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(TASK, format!("{} {round} {}", dir.display(), numbers.join(" ")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let reader = thread::spawn(move || stdout.lines().map(|line| line.expect("reads")).collect::<Vec<_>>());
    thread::sleep(after);
    child.kill().expect("kills");
    let output = child.wait_with_output().expect("is waited for");
    assert!(output.stderr.is_empty(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
    let mut next = *first;
    for line in reader.join().expect("reads") {
        let Some((writer, number)) = line.strip_suffix(';').and_then(|line| line.split_once(' ')) else { continue };
        let (writer, number): (usize, u64) = (writer.parse().expect("a writer"), number.parse().expect("a number"));
        assert_eq!(number, next[writer], "acknowledged out of order");
        next[writer] = number + 1;
    }
    next
}

/// A writer's keys before its write `next`, of which some more may be acknowledged.
#[derive(Clone, Default)]
struct Known {
    model: Map,
    next: u64,
}

impl Known {
    fn advance(&mut self, writer: usize) {
        apply(&mut self.model, write(writer, self.next));
        self.next += 1;
    }
}

/// Goes on from what is known to the last moment before `limit` at which it is what is found. (A write that deletes
/// what is not there changes nothing; whether it is there does not matter.)
fn find(mut known: Known, writer: usize, found: &Map, limit: u64) -> Option<Known> {
    let mut last = None;
    loop {
        if known.model == *found {
            last = Some(known.clone());
        }
        if known.next >= limit {
            return last;
        }
        known.advance(writer);
    }
}

/// What a store holds, by writer, checked in all ways there are.
fn contents(store: &Store) -> [Map; WRITERS] {
    let read = |item: Result<_, Error>| item.expect("reads");
    let snapshot = store.snapshot().expect("snapshot");
    let all: Vec<_> = snapshot.range(.., Order::Ascending).expect("scans").map(read).collect();
    assert!(all.is_sorted_by(|a, b| a.0 < b.0));
    assert!(snapshot.range(.., Order::Descending).expect("scans").map(read).eq(all.iter().cloned().rev()));
    let of = |writer| {
        let found: Map =
            snapshot.prefix(format!("{writer}/").as_bytes(), Order::Ascending).expect("scans").map(read).collect();
        for key in (0..KEYS).map(|key| format!("{writer}/{key:02}").into_bytes()) {
            assert_eq!(store.get(&key).expect("gets"), found.get(&key).cloned());
        }
        found
    };
    let by_writer = std::array::from_fn(of);
    assert_eq!(by_writer.iter().map(Map::len).sum::<usize>(), all.len(), "keys of nobody");
    by_writer
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for file in fs::read_dir(from).expect("reads") {
        let path = file.expect("reads").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).expect("copies");
        }
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("wal")).expect("reads");
    let mut files: Vec<_> = files.map(|file| file.expect("reads").path()).collect();
    files.sort();
    files
}

/// How far each writer's writes are there: some prefix of them, up to `limits`.
fn prefixes(store: &Store, before: &[Known; WRITERS], limits: &[u64; WRITERS], what: &str) -> [Known; WRITERS] {
    let found = contents(store);
    std::array::from_fn(|writer| {
        let known = find(before[writer].clone(), writer, &found[writer], limits[writer]);
        known.unwrap_or_else(|| panic!("{what}: writer {writer} has what it has never written"))
    })
}

#[test]
fn killed_at_any_moment() {
    let is_light = std::env::var_os("MEMSKIP_LIGHT").is_some();
    let rounds = if is_light { 24 } else { 210 };
    let temporary = temporary();
    let (dir, other) = (temporary.path().join("store"), temporary.path().join("copy"));
    let mut state = 0x2545_f491_4f6c_dd1d;
    let mut known: [Known; WRITERS] = Default::default();
    let (mut acknowledged, mut cuts, mut flips, mut reported) = (0, 0, 0, 0);
    let mut lost_unacknowledged = 0;
    for round in 0..rounds {
        let before = known.clone();
        let first = std::array::from_fn(|writer| known[writer].next);
        let next = run_and_kill(&dir, round, &first, Duration::from_micros(random(&mut state) % 70_000));
        acknowledged += next.iter().zip(first).map(|(next, first)| next - first).sum::<u64>();
        for writer in 0..WRITERS {
            while known[writer].next < next[writer] {
                known[writer].advance(writer);
            }
        }
        let limits = next.map(|next| next + 1);
        // Of the log as it was left. It may have lost what came last, and nothing else.
        let is_written = segments_exist(&dir);
        for _ in 0..if is_written && round % 2 == 0 { 2 } else { 0 } {
            let _ = fs::remove_dir_all(&other);
            copy(&dir, &other);
            let file = segments(&other).pop().expect("a segment");
            let (bytes, cut) = (fs::read(&file).expect("reads"), cuts % 160 + 1);
            // Not into what had been acknowledged in rounds before.
            if bytes.len() > cut && next.iter().zip(first).all(|(next, first)| next - first > 12) {
                cuts += 1;
                fs::write(&file, &bytes[..bytes.len() - cut]).expect("writes");
                let store = Store::open(&other, options(round)).expect("a torn tail is no damage");
                let found = prefixes(&store, &before, &limits, "cut");
                let lost: u64 = (0..WRITERS).map(|writer| next[writer].saturating_sub(found[writer].next)).sum();
                assert!(lost <= 1 + (cut as u64 - 1) / 25, "{lost} writes lost with {cut} bytes");
            }
        }
        if is_written && round % 2 == 1 {
            let _ = fs::remove_dir_all(&other);
            copy(&dir, &other);
            let files = segments(&other);
            let file = &files[random(&mut state) as usize % files.len()];
            let mut bytes = fs::read(file).expect("reads");
            if !bytes.is_empty() {
                flips += 1;
                let at = random(&mut state) as usize % bytes.len();
                bytes[at] ^= 1 << (random(&mut state) % 8);
                fs::write(file, &bytes).expect("writes");
                match Store::open(&other, options(round)) {
                    Err(Error::Corrupt { file: damaged, offset, .. }) => {
                        assert_eq!(damaged, *file);
                        assert!(offset <= at as u64, "reported at {offset}, and is at {at}");
                        reported += 1;
                    }
                    Err(error) => panic!("byte {at} of {}: {error}", file.display()),
                    Ok(store) => {
                        assert_eq!(files.last(), Some(file), "older segments are synced");
                        let found = contents(&store);
                        for writer in 0..WRITERS {
                            let here = find(before[writer].clone(), writer, &found[writer], limits[writer]);
                            // What was there as the log was opened was synced, and any record of this round says so.
                            assert!(here.is_some() || next == first, "writes of rounds before are lost");
                            // With `Always`, one of the last group.
                            let lost = here.map_or(0, |here| next[writer].saturating_sub(here.next));
                            assert!(lost <= 1 || options(round).durability != Durability::Always, "{lost} writes lost");
                        }
                    }
                }
            }
        }
        let store = Store::open(&dir, options(round + 1)).expect("opens");
        let found = contents(&store);
        for writer in 0..WRITERS {
            let here = find(known[writer].clone(), writer, &found[writer], limits[writer]);
            let here = here.unwrap_or_else(|| panic!("round {round}: acknowledged writes of writer {writer} are lost"));
            lost_unacknowledged += u64::from(here.next == next[writer]);
            known[writer] = here;
        }
        store.close().expect("closes");
    }
    let last: u64 = segments(&dir).pop().and_then(|path| path.file_stem()?.to_str()?.parse().ok()).expect("a number");
    println!(
        "{rounds} kills, {acknowledged} writes acknowledged, {cuts} cuts, {flips} flips of which {reported} were reported, \
         record {last} begins the last segment, {lost_unacknowledged} times nothing of the write under way"
    );
    assert!(acknowledged > 5 * rounds && last > rounds && cuts > 0 && flips > 0 && reported > 0);
}

fn segments_exist(dir: &Path) -> bool {
    dir.join("wal").exists() && !segments(dir).is_empty()
}

/// An append that the system refuses half way leaves a log to which the next one is appended, or none at all.
#[test]
fn refused_appends_leave_a_readable_log() {
    let dir = temporary();
    // 40 blocks of 512 bytes per file; the signal that goes with it is ignored.
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "child_with_little_room", "--nocapture", "--test-threads=1"])
        .env(TASK, dir.path())
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).expect("text");
    let (mut written, mut refused) = (0, 0);
    let store = Store::open(dir.path(), Options::default()).expect("opens");
    for line in output.lines() {
        if let Some(key) = line.strip_prefix("put ") {
            assert!(store.get(key.as_bytes()).expect("gets").is_some(), "{key} was acknowledged");
            written += 1;
        } else if let Some(key) = line.strip_prefix("refused ") {
            assert_eq!(store.get(key.as_bytes()).expect("gets"), None, "{key} was refused");
            refused += 1;
        }
    }
    // Small ones were taken after large ones had been refused.
    assert!(refused > 3 && written > 10 && output.rfind("put ") > output.find("refused "), "{output}");
    assert_eq!(store.snapshot().expect("snapshot").range(.., Order::Ascending).expect("scans").count(), written);
}

/// Not a test: what the parent calls.
#[test]
fn child_with_little_room() {
    let Ok(dir) = std::env::var(TASK) else { return };
    let store = Store::open(dir, Options::default()).expect("opens");
    println!();
    for i in 0..60 {
        let (key, len) = (format!("k{i}"), if i % 3 == 0 { 3000 } else { 20 });
        match store.put(key.as_bytes(), &vec![b'v'; len]) {
            Ok(()) => println!("put {key}"),
            Err(Error::Io(..)) => println!("refused {key}"),
            Err(error) => panic!("{error}"),
        }
    }
}
