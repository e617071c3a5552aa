//! memskip and its peers, side by side: one process, the same keys, alternating rounds, every answer verified.
//!
//! ```text
//! cargo run --release                                    # all libraries and workloads, under five minutes
//! cargo run --release -- --quick                         # some 15 seconds
//! cargo run --release -- -n 1000000 -k text24,long -w readrandom,seekrandom -r 9
//! cargo run --release -- --peers memskip fastskip -t 1 2 4    # lists with commas or spaces
//! cargo run --release -- --peers memskip --huge             # memskip on 2 MiB pages beside it
//! cargo run --release -- curve                              # counted cost over the size of the table, see `curve`
//! cargo run --release --no-default-features              # without memskip
//! ROCKSDB_DIR=path/to/rocksdb cargo run --release --features rocksdb    # with RocksDB's skip list, of a checkout of its source
//! ```
//!
//! The report goes to the standard output and, as `report.md`, `workloads.csv`, `probes.csv` and SVG plots, to the folder named by
//! `--out`. The exit status is 1 if any library gave a wrong answer.
//!
//! # What is measured
//!
//! - *Rounds.* In each round every library fills a table of its own; then all take turns at one workload after the other, beginning with
//!   another one each round. The figures are medians over the rounds; quote the ratios, not the nanoseconds.
//! - *Fill.* The table is made before the clock starts, first touches of its memory are part of the fill.
//! - *Answers.* Inside the timed part: length of the value and the tag in it; number and order of entries in scans. Outside, once per
//!   library: every byte of every entry.
//! - *Writes after the fill* (`overwrite`, `mixed`, `readwhilewriting`) are at most a quarter as many as the table has entries, so that it
//!   stays about the size its case names. They come after the reads, so the reads see a table that was only filled. `readwhilewriting`
//!   needs 30,000 entries, several threads 10,000: with fewer, the work is done before the second thread has started.
//! - *Processor time* is the process's, with several threads that of all of them together.
//! - *Latency and memory* come from one more round, single-threaded, in which the global allocator counts; in timed rounds it does not.
//! - *Two threads and more* are always new ones. An operation's time is then wall time by operations of all threads: half of what one takes.
//!
//! # The libraries
//!
//! | column | library | as it is used here |
//! | --- | --- | --- |
//! | memskip | memskip | `Memtable::new()` |
//! | memskip-huge | memskip | chunks of 2 to 8 MiB from an allocator that asks for 2 MiB pages; only with `--huge` |
//! | rocksdb | RocksDB | `InlineSkipList` over `ConcurrentArena`; compare-and-swap only beside other writers, hints in sorted batches, finger search for several keys; only with the feature `rocksdb` |
//! | fastskip | fastskip | one shard per writing thread; no overwrite (first value wins), no reverse scan |
//! | arenaskiplist | arenaskiplist | one buffer, made large enough; an overwrite is a higher version; `Inserter` in batches |
//! | skl | skl, `generic::unique` | one arena on the heap, made large enough |
//! | crossbeam | crossbeam-skiplist | `SkipMap<Box<[u8]>, Box<[u8]>>` |
//! | treeindex | scc | `TreeIndex<Arc<[u8]>, Arc<[u8]>>` |
//! | btreemap | std, parking_lot | `RwLock<BTreeMap<Box<[u8]>, Box<[u8]>>>` |
//! | hashbrown | hashbrown, parking_lot | `RwLock<HashMap<Box<[u8]>, Box<[u8]>>>`, a limit of point reads |
//! | append-sort | | a log, its index sorted once after the fill: a limit of writes |
//! | sorted-array | | the log rewritten in the order of its keys: a limit of scans and bisection |
//!
//! All of them build with Rust 1.95.

mod alloc;
mod args;
mod case;
mod contest;
#[cfg(feature = "memskip")]
mod curve;
mod drive;
mod keys;
mod measure;
mod peer;
mod peers;
mod probe;
mod report;
mod rng;
mod seat;
mod workload;

use args::Args;
#[cfg(feature = "memskip")]
use args::Command;
use case::{Case, CaseId};
use contest::{Limits, contest};
use report::{Sheet, csv, markdown, plot};
use seat::Seat;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use workload::Workload;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// The smallest table that several threads are let loose on: a smaller one is done before the second has started.
const SMALLEST_SHARED: usize = 10_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::from_command_line();
    #[cfg(feature = "memskip")]
    if let Some(Command::Curve(args)) = &args.command {
        return curve::run(args).map(|()| ExitCode::SUCCESS);
    }
    let workloads = args.rows();
    let mut seats = peers::all();
    let known: Vec<_> = seats.iter().map(|seat| seat.name()).collect();
    if let Some(unknown) = args.peers.iter().find(|peer| !known.contains(&peer.as_str())) {
        return Err(format!("no library is called {unknown}; there are {}", known.join(", ")).into());
    }
    seats.retain(|seat| args.wants(seat.name()));

    let sheets = play(&args, &workloads, &mut seats);

    let report = markdown::report(&sheets);
    println!("{report}");
    std::fs::create_dir_all(&args.out)?;
    std::fs::write(args.out.join("report.md"), report)?;
    std::fs::write(args.out.join("workloads.csv"), csv::workloads(&sheets))?;
    std::fs::write(args.out.join("probes.csv"), csv::probes(&sheets))?;
    draw(&args, &sheets)?;

    let wrong = sheets.iter().any(|sheet| (0..sheet.peers.len()).any(|peer| sheet.wrong(peer) > 0));
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All cases, each with its share of the time.
fn play(args: &Args, workloads: &[Workload], seats: &mut [Box<dyn Seat>]) -> Vec<Sheet> {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let ids = cases(args);
    let mut sheets = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        eprintln!(
            "{} of {}: {} entries, keys {}, {} threads",
            index + 1,
            ids.len(),
            id.entries,
            id.shape.name(),
            id.threads
        );
        let begin = Instant::now();
        let case = Case::new(*id, args.ops, args.seed, workloads);
        let weights: f64 = ids[index..].iter().map(weight).sum();
        let share = end.saturating_duration_since(begin).mul_f64(weight(id) / weights);
        let limits = Limits { rounds: args.rounds, until: begin + share, memory: args.memory << 30 };
        let scores = contest(seats, workloads, &case, limits);
        sheets.push(Sheet::new(&case, workloads, &scores, notes(seats, &case)));
    }
    sheets
}

fn cases(args: &Args) -> Vec<CaseId> {
    let mut ids = Vec::new();
    for &shape in &args.keys {
        for &threads in &args.threads {
            for &entries in &args.entries {
                if threads == 1 || entries >= SMALLEST_SHARED {
                    ids.push(CaseId { entries, shape, threads, value_size: args.value_size });
                }
            }
        }
    }
    ids
}

/// About how long a round of a case takes, in some unit: reads have their number, fills grow with the table, and with one thread there
/// are three of them and a probe.
fn weight(id: &CaseId) -> f64 {
    let (reads, fills) = if id.threads == 1 { (400_000.0, 5.0) } else { (300_000.0, 1.7) };
    reads + fills * id.entries as f64
}

fn notes(seats: &[Box<dyn Seat>], case: &Case) -> Vec<String> {
    let mut notes = Vec::new();
    for seat in seats.iter().filter(|seat| case.id.entries > seat.max_entries()) {
        notes.push(format!(
            "{} sits this out: it is capped at {} entries (see its file).",
            seat.name(),
            seat.max_entries()
        ));
    }
    notes
}

/// Bars for each case, curves for each set of cases that differ in size only.
fn draw(args: &Args, sheets: &[Sheet]) -> Result<(), Box<dyn Error>> {
    for sheet in sheets {
        plot::bars(sheet, &args.out.join(format!("bars-{}.svg", sheet.file_stem())))?;
    }
    for shape in &args.keys {
        for threads in &args.threads {
            let mut family: Vec<_> =
                sheets.iter().filter(|sheet| sheet.id.shape == *shape && sheet.id.threads == *threads).collect();
            family.sort_by_key(|sheet| sheet.id.entries);
            if family.len() > 1 {
                plot::growth(&family, &args.out.join(format!("growth-{}-t{threads}.svg", shape.name())))?;
            }
        }
    }
    Ok(())
}
