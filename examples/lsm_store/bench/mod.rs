//! `bench`: the YCSB core workloads on this store, with memtables of memskip and with those of `lsm-tree`.
//! The engine around them is the same: log, groups of writers, syncs, flushes, tree, cache, compaction, size of memtables.
//! But with the tree's memtables a read takes no snapshot, and a scan needs no merge of memory and disk in the engine.
//!
//! A closed loop: every thread sends its next operation when the last is answered, so a stall counts as one slow operation
//! a thread. Making records is part of the throughput, but of no latency.

mod report;
mod ycsb;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::value_parser;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::engine::{Front, Options, Order, Store};
use ycsb::Kind::{self, Insert, Read, ReadModifyWrite, Scan, Update};
use ycsb::{Distribution, WORKLOADS, Workload};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u64).range(1..1 << 32))]
    records: u64,
    /// Of each workload
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u64).range(1..1 << 32))]
    operations: u64,
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u64).range(1..1 << 10))]
    threads: u64,
    /// How records are chosen, instead of the workload's own way
    #[arg(long)]
    distribution: Option<Distribution>,
    /// Where the picture goes: latencies over time
    #[arg(long, default_value = "lsm_store_bench.svg")]
    output: PathBuf,
}

/// What was done, when, and how long it took.
type Sample = (Kind, Duration, Duration);
/// A workload: how long it took, and what was done.
type Run = (Duration, Vec<Sample>);

pub fn run(args: &Args, dir: &Path, options: &Options) -> Result<()> {
    // Beside the store's folder: another file system would be another measurement.
    let beside = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut fronts = Vec::new();
    for front in [Front::Memskip, Front::Tree] {
        let folder = tempfile::Builder::new().prefix("lsm_store-bench-").tempdir_in(beside)?;
        let store = Store::open(folder.path(), Options { front, ..options.clone() })?;
        fronts.push(WORKLOADS.iter().map(|workload| measure(&store, workload, args)).collect::<Result<Vec<_>>>()?);
        store.close()?;
    }
    println!("{args:?}\n{options:?}\n");
    report::print(&fronts);
    report::plot(&args.output, &fronts)
}

fn measure(store: &Store, workload: &Workload, args: &Args) -> Result<Run> {
    let started = Instant::now();
    let samples = thread::scope(|scope| {
        let client = |thread| move || client(store, workload, args, thread, started);
        let clients: Vec<_> = (0..args.threads).map(|thread| scope.spawn(client(thread))).collect();
        clients.into_iter().map(|client| client.join().expect("a client panicked")).collect::<Result<Vec<_>>>()
    })?;
    Ok((started.elapsed(), samples.concat()))
}

/// One thread's share of a workload. Whatever is read has to be there.
fn client(store: &Store, workload: &Workload, args: &Args, thread: u64, started: Instant) -> Result<Vec<Sample>> {
    let &(name, kinds, percent, distribution) = workload;
    let (loaded, operations) = if name == "load" { (0, args.records) } else { (args.records, args.operations) };
    let share = operations / args.threads + u64::from(thread < operations % args.threads);
    let space = if kinds.contains(&Insert) { loaded + share } else { loaded };
    let (mut random, mut records, mut samples) = (SmallRng::seed_from_u64(thread), loaded, Vec::new());
    for _ in 0..share {
        let kind = kinds[usize::from(!random.random_ratio(percent, 100))];
        records += u64::from(kind == Insert);
        let distribution = args.distribution.unwrap_or(distribution);
        let nth = if kind == Insert { records - 1 } else { ycsb::choose(distribution, &mut random, records, space) };
        // A thread knows all that were loaded, and its own.
        let number = if nth < loaded { nth } else { loaded + (nth - loaded) * args.threads + thread };
        let (key, limit) = (ycsb::key(number), random.random_range(1..=100));
        let value = (!matches!(kind, Read | Scan)).then(|| ycsb::value(number, &mut random));
        let (at, begun) = (started.elapsed(), Instant::now());
        let found = match kind {
            Read | ReadModifyWrite => store.get(&key)?,
            Scan => {
                let entries = store.snapshot()?.range(key.clone().., Order::Ascending)?.take(limit);
                entries.collect::<Result<Vec<_>, _>>()?.into_iter().next().map(|(_, value)| value)
            }
            Update | Insert => None,
        };
        if let Some(value) = &value {
            store.put(&key, value)?;
        }
        samples.push((kind, at, begun.elapsed()));
        let is_right = |found: Vec<u8>| found.starts_with(&number.to_le_bytes());
        ensure!(found.map_or(matches!(kind, Update | Insert), is_right), "wrong answer to {kind:?} of {number}");
    }
    Ok(samples)
}
