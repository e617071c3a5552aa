//! `bench`: the YCSB core workloads on this store and on `lsm-tree` alone, by turns.
//!
//! A closed loop: every thread sends its next operation when the last is answered, so a stall counts as one slow operation a thread,
//! not as many late ones. Making and checking records is not part of a latency, but of the throughput.

mod plain;
mod report;
mod ycsb;

use std::fs::File;
use std::io::{self, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Failure;
use crate::engine::{Options, Store};
use plain::Plain;
use ycsb::{CORE, Chooser, Distribution, KINDS, Kind, LOAD, Numbers, Random, Workload};

#[derive(clap::Args)]
pub struct Args {
    /// Some ten seconds: 20,000 records, memtables of 4 MiB, 0.1 s a workload
    #[arg(long, conflicts_with_all = ["records", "operations", "seconds", "window"])]
    quick: bool,
    /// Workloads to run, always in the order ABCFDE
    #[arg(long, default_value = "ABCDEF", value_name = "LETTERS")]
    workloads: String,
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    records: u64,
    /// Operations per workload
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    operations: u64,
    /// Ends a workload even if operations are left
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: u64,
    /// Bytes of a value: ten fields of a hundred
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(12..=1 << 20))]
    value_size: u64,
    /// Everything is run so often on each of the two, from an empty store; medians are printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How records are chosen, instead of the workload's own way
    #[arg(long)]
    distribution: Option<Distribution>,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Milliseconds that make a point of the picture
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// The picture of latency over time
    #[arg(long, default_value = "lsm_store_bench.svg", value_name = "PATH")]
    plot: PathBuf,
}

type Pair<B> = (B, B);

/// What is measured. A read hands out whatever the engine hands out.
trait Engine: Sync {
    type Bytes: AsRef<[u8]>;
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;
    fn get(&self, key: &[u8]) -> Result<Option<Self::Bytes>, Failure>;
    fn scan(&self, from: &[u8], limit: usize) -> Result<Vec<Pair<Self::Bytes>>, Failure>;
}

impl Engine for Store {
    type Bytes = Vec<u8>;

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Ok(self.put(key, value)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.get(key)?)
    }

    fn scan(&self, from: &[u8], limit: usize) -> Result<Vec<Pair<Vec<u8>>>, Failure> {
        let entries = self.range((Bound::Included(from.to_vec()), Bound::Unbounded))?;
        entries.take(limit).map(|entry| Ok(entry?)).collect()
    }
}

/// One workload on one engine: nanoseconds by kind of operation, and by window of time.
struct Measured {
    workload: Workload,
    throughput: f64,
    kinds: Vec<Histogram<u64>>,
    windows: Vec<Histogram<u64>>,
}

/// By engine, round and workload.
type Rounds = [Vec<Vec<Measured>>; 2];

pub fn run(mut args: Args, dir: &Path, mut options: Options) -> Result<(), Failure> {
    if args.quick {
        (args.records, args.operations, args.seconds, args.window) = (20_000, u64::MAX, 0.1, 10);
        options.memtable_bytes = 4 << 20;
    }
    if let Some(other) = args.workloads.chars().find(|letter| !('A'..='F').contains(letter)) {
        return Err(format!("there is no workload {other}; there are A to F").into());
    }
    File::create(&args.plot).map_err(|error| format!("{}: {error}", args.plot.display()))?;
    write!(io::stdout(), "{}", report::head(&args, &options))?;
    // Beside the store's folder: another file system would be another measurement.
    let beside = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut rounds = Rounds::default();
    for round in 1..=args.rounds {
        for (engine, runs) in rounds.iter_mut().enumerate() {
            eprintln!("round {round} of {}: {}", args.rounds, report::ENGINES[engine]);
            let folder = tempfile::Builder::new().prefix("lsm_store-bench-").tempdir_in(beside)?;
            if engine == 0 {
                let store = Store::open(folder.path(), options.clone())?;
                runs.push(all_workloads(&store, &args)?);
                store.close()?;
            } else {
                let plain = Plain::open(folder.path(), &options)?;
                runs.push(all_workloads(&plain, &args)?);
                plain.close()?;
            }
        }
    }
    write!(io::stdout(), "{}", report::table(&rounds))?;
    report::plot(&rounds, &args)
}

fn all_workloads(engine: &impl Engine, args: &Args) -> Result<Vec<Measured>, Failure> {
    let numbers = Mutex::default();
    let chosen = CORE.into_iter().filter(|workload| args.workloads.contains(workload.0));
    std::iter::once(LOAD).chain(chosen).map(|workload| measure(engine, workload, &numbers, args)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a throughput has a few digits")]
fn measure(
    engine: &impl Engine,
    workload: Workload,
    numbers: &Mutex<Numbers>,
    args: &Args,
) -> Result<Measured, Failure> {
    let started = Instant::now();
    let samples = thread::scope(|scope| {
        let client = |thread| move || Client::new(engine, workload, numbers, args, thread).run(started);
        let clients: Vec<_> = (0..args.threads).map(|thread| scope.spawn(client(thread))).collect();
        clients.into_iter().map(|client| client.join().expect("a client panicked")).collect::<Result<Vec<_>, Failure>>()
    })?;
    let took = started.elapsed();
    let throughput = samples.iter().map(Vec::len).sum::<usize>() as f64 / took.as_secs_f64();
    let empty = Histogram::new(3)?;
    let (mut kinds, mut windows) = (vec![empty.clone(); KINDS.len()], Vec::new());
    for (kind, window, nanos) in samples.into_iter().flatten() {
        let window = window as usize;
        windows.resize_with(windows.len().max(window + 1), || empty.clone());
        kinds[kind as usize].record(nanos)?;
        windows[window].record(nanos)?;
    }
    Ok(Measured { workload, throughput, kinds, windows })
}

/// What was done, in which window, and the nanoseconds it took.
type Sample = (Kind, u32, u64);

fn lock(numbers: &Mutex<Numbers>) -> MutexGuard<'_, Numbers> {
    numbers.lock().expect("nothing fails under this lock")
}

struct Client<'a, E> {
    engine: &'a E,
    workload: Workload,
    numbers: &'a Mutex<Numbers>,
    args: &'a Args,
    thread: u64,
    random: Random,
    chooser: Chooser,
}

impl<'a, E: Engine> Client<'a, E> {
    fn new(engine: &'a E, workload: Workload, numbers: &'a Mutex<Numbers>, args: &'a Args, thread: u64) -> Self {
        let distribution = args.distribution.unwrap_or(workload.2);
        let inserts = if workload.1.iter().any(|part| part.0 == Kind::Insert) { args.records / 10 } else { 0 };
        let chooser = Chooser::new(distribution, lock(numbers).acknowledged().max(1), inserts);
        let random = Random(args.seed ^ u64::from(workload.0.as_bytes()[0]) << 48 ^ thread << 32);
        Self { engine, workload, numbers, args, thread, random, chooser }
    }

    fn run(mut self, started: Instant) -> Result<Vec<Sample>, Failure> {
        let load = self.workload.0 == LOAD.0;
        let operations = if load { self.args.records } else { self.args.operations };
        let share = operations / self.args.threads + u64::from(self.thread < operations % self.args.threads);
        let mut samples = Vec::new();
        for _ in 0..share {
            let at = started.elapsed();
            let kind = ycsb::pick(self.workload.1, &mut self.random);
            let took = self.operate(kind)?;
            samples.push((kind, (at.as_millis() as u64 / self.args.window) as u32, took.as_nanos() as u64));
            if !load && at.as_secs_f64() > self.args.seconds {
                break;
            }
        }
        Ok(samples)
    }

    /// Does it, and checks the answer.
    fn operate(&mut self, kind: Kind) -> Result<Duration, Failure> {
        if kind == Kind::Insert {
            let number = lock(self.numbers).begin();
            let took = self.put(number)?;
            lock(self.numbers).acknowledge(number);
            return Ok(took);
        }
        let records = lock(self.numbers).acknowledged();
        let number = self.chooser.choose(&mut self.random, records);
        let key = ycsb::key(number);
        let is_right =
            |key: &[u8], value: &E::Bytes| ycsb::is_right(key, value.as_ref(), self.args.value_size as usize);
        let limit = 1 + self.random.below(100) as usize;
        let started = Instant::now();
        let (took, right) = match kind {
            Kind::Update | Kind::Insert => return self.put(number),
            Kind::Scan => {
                let entries = self.engine.scan(key.as_bytes(), limit)?;
                let took = started.elapsed();
                let sorted = entries.is_sorted_by(|a, b| a.0.as_ref() < b.0.as_ref()) && entries.len() <= limit;
                let starts = entries.first().is_some_and(|first| first.0.as_ref() == key.as_bytes());
                (took, sorted && starts && entries.iter().all(|(key, value)| is_right(key.as_ref(), value)))
            }
            Kind::Read | Kind::ReadModifyWrite => {
                let value = self.engine.get(key.as_bytes())?;
                (started.elapsed(), value.is_some_and(|value| is_right(key.as_bytes(), &value)))
            }
        };
        match kind {
            _ if !right => Err(format!("wrong answer to a {} at {key}", KINDS[kind as usize]).into()),
            Kind::ReadModifyWrite => Ok(took + self.put(number)?),
            _ => Ok(took),
        }
    }

    fn put(&mut self, number: u64) -> Result<Duration, Failure> {
        let (key, value) = (ycsb::key(number), ycsb::value(number, &mut self.random, self.args.value_size as usize));
        let started = Instant::now();
        self.engine.put(key.as_bytes(), &value)?;
        Ok(started.elapsed())
    }
}
