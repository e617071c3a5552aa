//! A small storage engine around `MemtableManager`: writers, readers, and a flusher whose disk fails now and then.
//!
//! ```text
//! cargo run --release --example manager
//! ```
//!
//! What an engine does itself is here in its shortest form: the log is a counter, a file is a sorted list in memory. What it does
//! not have to do: rotate, keep frozen tables readable, retry, hold writers back, know how much of its log is still needed.

use memskip::{
    Flush, FlushJob, ManagerConfig, MemtableManager, MonitorLimits, Pressure, SeqNo, ThresholdMonitor, WriteBatch,
};
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A key of the file, its newest version in it: a value, or `None` where it is deleted.
type Row = (Vec<u8>, SeqNo, Option<Vec<u8>>);

/// Sorted files, newest first.
#[derive(Default)]
struct Disk {
    files: RwLock<Vec<(u64, Vec<Row>)>>,
    attempts: AtomicU64,
}

impl Disk {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let files = self.files.read().ok()?;
        let found = files.iter().rev().filter_map(|(_, rows)| {
            let at = rows.binary_search_by(|row| row.0.as_slice().cmp(key)).ok()?;
            Some(&rows[at])
        });
        // A writer that was inside a table when it was rotated out may have a greater number than one in the next file.
        found.max_by_key(|row| row.1)?.2.clone()
    }
}

/// What the background threads call.
struct ToDisk(Arc<Disk>);

impl Flush for ToDisk {
    fn flush(&self, job: &FlushJob) -> Outcome<()> {
        if self.0.attempts.fetch_add(1, Ordering::Relaxed) % 4 == 1 {
            return Err("no space left on device".into());
        }
        let rows = job
            .table()
            .iter()
            .map(|entry| (entry.key.to_vec(), entry.seq, (!entry.is_tombstone).then(|| entry.value.to_vec())));
        let rows: Vec<Row> = rows.collect();
        // Readers look into the memtables first and then here: when this returns, the table may go.
        let mut files = self.0.files.write().map_err(|_| "the disk is broken")?;
        let at = files.partition_point(|(id, _)| *id > job.id().0);
        files.insert(at, (job.id().0, rows));
        Ok(())
    }
}

struct Engine {
    tables: Arc<MemtableManager>,
    disk: Arc<Disk>,
    log: AtomicU64,
}

impl Engine {
    fn open() -> Outcome<Self> {
        let config = ManagerConfig::new()
            .max_table_bytes(256 << 10)
            .max_table_age(Duration::from_millis(50))
            .soft_frozen_tables(4)
            .max_frozen_tables(8)
            .flush_retry(Duration::from_millis(1));
        let (tables, disk) = (Arc::new(MemtableManager::new(config)?), Arc::<Disk>::default());
        tables.start_flushers(2, ToDisk(Arc::clone(&disk)))?;
        Ok(Self { tables, disk, log: AtomicU64::new(0) })
    }

    /// The position of a record in the log.
    fn log(&self) -> u64 {
        self.log.fetch_add(1, Ordering::Relaxed)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.tables.tagged(self.log()).put(key, value)?;
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Outcome<()> {
        self.tables.tagged(self.log()).delete(key)?;
        Ok(())
    }

    fn transfer(&self, from: (&[u8], u64), to: (&[u8], u64)) -> Outcome<()> {
        let mut batch = WriteBatch::new();
        batch.put(from.0, &from.1.to_be_bytes());
        batch.put(to.0, &to.1.to_be_bytes());
        self.tables.tagged(self.log()).apply(&batch)?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        // Numbers come from the clock: if memory has a version, no file has a newer one.
        match self.tables.get_entry(key) {
            Some(entry) if entry.is_tombstone => None,
            Some(entry) => Some(entry.value),
            None => self.disk.get(key),
        }
    }
}

fn key(writer: u32, number: u32) -> Vec<u8> {
    format!("writer {writer} key {number:06}").into_bytes()
}

fn main() -> Outcome<()> {
    const WRITERS: u32 = 3;
    const KEYS: u32 = 10_000;

    let engine = Engine::open()?;
    let monitor = ThresholdMonitor::new(Arc::clone(&engine.tables), MonitorLimits::new())?;
    monitor.on_event(|event| println!("pressure: {event:?}"));
    monitor.watch()?;

    thread::scope(|scope| -> Outcome<()> {
        let write = |writer| -> Outcome<()> {
            for number in 0..KEYS {
                engine.put(&key(writer, number), &number.to_be_bytes())?;
                if number % 10 == 9 {
                    engine.delete(&key(writer, number - 5))?;
                }
            }
            Ok(())
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let reader = scope.spawn(|| {
            // Both accounts together always hold 100: a batch is seen as a whole, in whatever tables it is by now.
            for round in 0..1000u64 {
                engine.transfer((b"account a", round % 100), (b"account b", 100 - round % 100))?;
                let snapshot = engine.tables.snapshot();
                let amounts = snapshot.range(&b"account"[..]..&b"accounu"[..]).map(|entry| entry.value.to_vec());
                let amounts: Vec<u64> =
                    amounts.filter_map(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?))).collect();
                // Flushed meanwhile, they are not in memory any more; never is one of them alone.
                if !amounts.is_empty() && amounts.iter().sum::<u64>() != 100 {
                    return Err(format!("{amounts:?} in one snapshot").into());
                }
            }
            Ok(())
        });
        for thread in writers.into_iter().chain([reader]) {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })?;

    for writer in 0..WRITERS {
        for number in 0..KEYS {
            let expected = (number % 10 != 4).then(|| number.to_be_bytes().to_vec());
            if engine.get(&key(writer, number)) != expected {
                return Err(format!("{writer}/{number}: not what was written").into());
            }
        }
    }
    println!("everything that was written is read, from memory and from files");
    println!("log: {} records, needed from {:?} on", engine.log(), engine.tables.first_unflushed_tag());

    let left = engine.tables.shutdown(Duration::from_secs(60));
    let stats = engine.tables.stats();
    println!(
        "{} rotations, {} flushes ({} failed attempts), {} tables in recycled memory, {} writes delayed, {} stalled for {:?}",
        stats.rotations,
        stats.flushes,
        stats.failed_flushes,
        stats.recycled_tables,
        stats.delays,
        stats.stalls,
        stats.stalled_time
    );
    println!("{} tables left over; pressure now {:?} (shut down)", left.len(), engine.tables.pressure());
    if !left.is_empty() || engine.tables.first_unflushed_tag().is_some() || engine.tables.pressure() != Pressure::Full {
        return Err("shutdown left something".into());
    }
    Ok(())
}
