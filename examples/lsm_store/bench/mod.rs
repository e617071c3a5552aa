//! `bench`: the YCSB core workloads on this store and on `lsm-tree` alone, by turns.
//!
//! A closed loop: every thread sends its next operation when the last is answered, so a stall counts as one slow operation
//! a thread. Making and checking records is part of the throughput, but of no latency.

mod plain;
mod report;
mod ycsb;

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::value_parser;
use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::engine::{Options, Store};
use ycsb::{Distribution, Kind, WORKLOADS, Workload};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Some ten seconds: 20,000 records, 5,000 operations, 3 rounds, memtables of 4 MiB
    #[arg(long)]
    quick: bool,
    #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u64).range(1..1 << 32))]
    records: u64,
    /// Of each workload
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u64).range(1..1 << 32))]
    operations: u64,
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u64).range(1..1 << 10))]
    threads: u64,
    /// All is run so often on each of the two, from an empty store
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..))]
    rounds: u64,
    /// How records are chosen, instead of the workload's own way
    #[arg(long)]
    distribution: Option<Distribution>,
}

/// What is measured. A read hands out whatever the engine hands out.
trait Engine: Sync {
    type Bytes: AsRef<[u8]>;
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;
    fn get(&self, key: &[u8]) -> Result<Option<Self::Bytes>>;
    fn scan(&self, from: &[u8], limit: usize) -> Result<Vec<(Self::Bytes, Self::Bytes)>>;
}

impl Engine for Store {
    type Bytes = Vec<u8>;

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.put(key, value)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.get(key)?)
    }

    fn scan(&self, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.range((Included(from.to_vec()), Unbounded))?.take(limit).map(|entry| Ok(entry?)).collect()
    }
}

/// What was done, when, and the nanoseconds it took.
type Sample = (Kind, Duration, u64);

/// Points of a curve in the picture.
const WINDOWS: u32 = 50;

/// Of one workload on one engine.
#[derive(Default)]
struct Figures {
    /// By round.
    throughputs: Vec<f64>,
    /// Nanoseconds, of all rounds.
    latencies: BTreeMap<Kind, Histogram<u64>>,
    /// Of the last round: the end of a window in seconds, and its latencies.
    windows: Vec<(f64, Histogram<u64>)>,
}

/// By workload.
type AllFigures = [Figures; WORKLOADS.len()];

pub fn run(mut args: Args, dir: &Path, mut options: Options) -> Result<()> {
    if args.quick {
        (args.records, args.operations, args.rounds, options.memtable_bytes) = (20_000, 5_000, 3, 4 << 20);
    }
    // Beside the store's folder: another file system would be another measurement.
    let beside = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mut ours, mut plain) = (AllFigures::default(), AllFigures::default());
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        let folder = || tempfile::Builder::new().prefix("lsm_store-bench-").tempdir_in(beside);
        let (ours_dir, plain_dir) = (folder()?, folder()?);
        let store = Store::open(ours_dir.path(), options.clone())?;
        measure(&store, &args, &mut ours)?;
        store.close()?;
        plain::with(plain_dir.path(), &options, |tree| measure(tree, &args, &mut plain))?;
    }
    report::print(&format!("{args:?}\n{options:?}"), &[&ours, &plain])?;
    report::plot(Path::new("lsm_store_bench.svg"), &[&ours, &plain])
}

#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a throughput has a few digits")]
fn measure(engine: &impl Engine, args: &Args, figures: &mut AllFigures) -> Result<()> {
    for (workload, figures) in WORKLOADS.iter().zip(figures) {
        let started = Instant::now();
        let samples = thread::scope(|scope| {
            let client = |thread| move || client(engine, workload, args, thread, started);
            let clients: Vec<_> = (0..args.threads).map(|thread| scope.spawn(client(thread))).collect();
            clients.into_iter().map(|client| client.join().expect("a client panicked")).collect::<Result<Vec<_>>>()
        })?;
        let (took, samples) = (started.elapsed().as_secs_f64(), samples.concat());
        figures.throughputs.push(samples.len() as f64 / took);
        let end = |window: u32| took * f64::from(window) / f64::from(WINDOWS);
        let windows = (1..=WINDOWS).map(|window| Ok((end(window), Histogram::new(3)?)));
        figures.windows = windows.collect::<Result<_>>()?;
        for (kind, at, latency) in samples {
            let window = (at.as_secs_f64() / took * f64::from(WINDOWS)) as usize;
            figures.windows[window.min(WINDOWS as usize - 1)].1.record(latency)?;
            figures.latencies.entry(kind).or_insert(Histogram::new(3)?).record(latency)?;
        }
    }
    Ok(())
}

/// One thread's share of a workload. Checks every answer.
fn client<E: Engine>(
    engine: &E,
    &(name, kinds, percent, distribution): &Workload,
    args: &Args,
    thread: u64,
    started: Instant,
) -> Result<Vec<Sample>> {
    let (loaded, operations) = if name == "load" { (0, args.records) } else { (args.records, args.operations) };
    let share = operations / args.threads + u64::from(thread < operations % args.threads);
    let space = if kinds.contains(&Kind::Insert) { loaded + share } else { loaded };
    // The i-th record that this thread knows: all that were loaded, and its own.
    let number = |i| if i < loaded { i } else { loaded + (i - loaded) * args.threads + thread };
    let (mut random, mut records, mut samples) = (SmallRng::seed_from_u64(thread), loaded, Vec::new());
    for _ in 0..share {
        let kind = kinds[usize::from(!random.random_ratio(percent, 100))];
        let number = if kind == Kind::Insert {
            records += 1;
            number(records - 1)
        } else {
            number(ycsb::choose(args.distribution.unwrap_or(distribution), &mut random, records, space))
        };
        let (key, limit) = (ycsb::key(number), random.random_range(1..=100));
        let put = !matches!(kind, Kind::Read | Kind::Scan);
        let value = if put { ycsb::value(number, &mut random) } else { Vec::new() };
        let (at, begun) = (started.elapsed(), Instant::now());
        let found = matches!(kind, Kind::Read | Kind::ReadModifyWrite).then(|| engine.get(&key)).transpose()?;
        let scanned = (kind == Kind::Scan).then(|| engine.scan(&key, limit)).transpose()?;
        if put {
            engine.put(&key, &value)?;
        }
        samples.push((kind, at, begun.elapsed().as_nanos() as u64));
        let is_right = |key: &[u8], value: &E::Bytes| ycsb::is_right(key, value.as_ref());
        let is_found = found.is_none_or(|value| value.is_some_and(|value| is_right(&key, &value)));
        let is_scanned = scanned.is_none_or(|entries| {
            entries.first().is_some_and(|first| first.0.as_ref() == key)
                && entries.len() <= limit
                && entries.is_sorted_by(|a, b| a.0.as_ref() < b.0.as_ref())
                && entries.iter().all(|(key, value)| is_right(key.as_ref(), value))
        });
        ensure!(is_found && is_scanned, "wrong answer to {kind:?} at {}", key.escape_ascii());
    }
    Ok(samples)
}
