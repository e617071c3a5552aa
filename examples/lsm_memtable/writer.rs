//! A writer thread: applies batches of the log, and makes sure that what was acknowledged can be read.

use std::iter::Sum;
use std::ops::Add;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::engine::Engine;
use crate::log::{Batch, Op};

/// How often a writer looks at the pressure. The figure is a sum over shards: cheap, but not free.
const WRITES_PER_LOOK: usize = 32;

/// One record in this many is read back.
const WRITES_PER_READ: usize = 8;

#[derive(Default)]
pub struct Tally {
    pub puts: u64,
    pub tombstones: u64,
    pub key_bytes: u64,
    pub value_bytes: u64,
    /// Thread time, rotations and stalls included.
    pub writing: Duration,
    pub reads: u64,
    pub read_hits: u64,
    pub reading: Duration,
    /// Most tables one read had to ask.
    pub most_tables: usize,
}

impl Tally {
    pub fn versions(&self) -> u64 {
        self.puts + self.tombstones
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            puts: self.puts + other.puts,
            tombstones: self.tombstones + other.tombstones,
            key_bytes: self.key_bytes + other.key_bytes,
            value_bytes: self.value_bytes + other.value_bytes,
            writing: self.writing + other.writing,
            reads: self.reads + other.reads,
            read_hits: self.read_hits + other.read_hits,
            reading: self.reading + other.reading,
            most_tables: self.most_tables.max(other.most_tables),
        }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Self::add)
    }
}

/// Takes batches from the log until it closes the channel.
pub fn run(engine: &Engine, batches: &Mutex<Receiver<Batch>>) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    loop {
        let received = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = received else {
            return Ok(tally);
        };
        apply(engine, &batch, &mut tally)?;
    }
}

fn apply(engine: &Engine, batch: &Batch, tally: &mut Tally) -> Result<(), Failure> {
    let before = engine.view();
    let mut table = Arc::clone(&before.active);
    let flushed_before = before.flushed;
    // A writer that kept the view would keep flushed tables in memory.
    drop(before);

    let started = Instant::now();
    for (nth, record) in batch.records().enumerate() {
        if nth % WRITES_PER_LOOK == 0 {
            engine.watch_pressure(&table);
        }
        engine.apply(&mut table, &record)?;
        tally.key_bytes += record.key.len() as u64;
        match record.op {
            Op::Put(value) => {
                tally.puts += 1;
                tally.value_bytes += value.len() as u64;
            }
            Op::Delete => tally.tombstones += 1,
        }
    }
    tally.writing += started.elapsed();

    // An acknowledged write is in memory, under its own number or covered by a later one, unless a table was flushed
    // since: then it may be in a file by now.
    let view = engine.view();
    let all_in_memory = view.flushed == flushed_before;
    let started = Instant::now();
    for record in batch.records().step_by(WRITES_PER_READ) {
        let found = view.newest(record.key).is_some_and(|newest| newest >= record.seq);
        if all_in_memory && !found {
            return Err(format!("write {} was acknowledged, but a read does not find it", record.seq.0).into());
        }
        tally.reads += 1;
        tally.read_hits += u64::from(found);
    }
    tally.reading += started.elapsed();
    tally.most_tables = tally.most_tables.max(view.tables());
    Ok(())
}
