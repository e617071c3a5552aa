//! A whole LSM storage engine: memskip's manager in front, a write-ahead log, and `lsm-tree` for all that is on disk.
//! `engine/` is the engine, a library; `load.rs` brings files into a store; `bench/` runs the YCSB core workloads.

#![allow(unreachable_pub, reason = "in a program, `pub` says: for the other modules")]

mod bench;
#[allow(dead_code, unused_imports, reason = "a library, of which the program uses a part")]
mod engine;
mod load;

use std::ffi::OsString;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use engine::{Durability, Options, Order, Store};
use itertools::process_results;

/// A crash-safe key-value store on disk: memskip in front, lsm-tree behind.
#[derive(Parser)]
#[command(name = "lsm_store", max_term_width = 100)]
struct Cli {
    /// The store's folder; `load` makes it
    #[arg(long, global = true, value_name = "PATH", default_value = "lsm_store.db")]
    dir: PathBuf,
    /// When a write is on disk: `none` (when the system likes), every so many milliseconds (`100ms`), or `always`
    #[arg(long, global = true, default_value = "100ms", value_parser = durability)]
    durability: Durability,
    /// The size in MiB at which a memtable is sealed
    #[arg(long, global = true, value_name = "MIB", default_value_t = 64)]
    memtable: u16,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a file or all files below a folder: lines `key<TAB>value` of `*.tsv`, others in pieces: `main.rs#00000000`
    Load { path: PathBuf },
    /// Print the value of a key
    Get { key: OsString },
    /// Print keys and values, one pair a line; what is not printable ASCII is escaped
    Scan {
        /// Keys that begin with this
        #[arg(default_value = "")]
        prefix: OsString,
        /// Last key first
        #[arg(long)]
        reverse: bool,
    },
    /// Delete a key; an absent one is fine
    Delete { key: OsString },
    /// Print figures about memory, log and tables
    Stats,
    /// Read everything and check it
    Verify,
    /// Run the YCSB core workloads with memtables of memskip and of lsm-tree, in temporary folders beside `--dir`
    Bench(bench::Args),
}

fn durability(text: &str) -> Result<Durability> {
    Ok(match text {
        "none" => Durability::None,
        "always" => Durability::Always,
        millis => {
            let millis: NonZeroU64 = millis.trim_end_matches("ms").parse()?;
            Durability::Interval(Duration::from_millis(millis.get()))
        }
    })
}

fn main() -> ExitCode {
    let Err(failure) = run(Cli::parse()) else { return ExitCode::SUCCESS };
    // Whoever closes the pipe (`| head`) has seen enough.
    if failure.downcast_ref().map(io::Error::kind) == Some(ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("lsm_store: {failure:#}");
    ExitCode::FAILURE
}

fn run(cli: Cli) -> Result<()> {
    let memtable_bytes = usize::from(cli.memtable) << 20;
    let options = Options { memtable_bytes, durability: cli.durability, ..Options::default() };
    match &cli.command {
        Command::Bench(args) => return bench::run(args, &cli.dir, &options),
        // A wrong path leaves no empty store behind.
        Command::Load { path } => ensure!(path.exists(), "there is no {}", path.display()),
        _ => ensure!(cli.dir.join("LOCK").exists(), "there is no store {}; `load` makes one", cli.dir.display()),
    }
    let store = Store::open(&cli.dir, options)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match cli.command {
        Command::Load { path } => load::run(&store, &path, &cli.dir)?,
        Command::Get { key } => {
            let value = store.get(key.as_encoded_bytes())?;
            out.write_all(&value.with_context(|| format!("there is no key {}", key.to_string_lossy()))?)?;
        }
        Command::Scan { prefix, reverse } => {
            let order = if reverse { Order::Descending } else { Order::Ascending };
            for entry in store.snapshot()?.prefix(prefix.as_encoded_bytes(), order)? {
                let (key, value) = entry?;
                writeln!(out, "{}\t{}", key.escape_ascii(), value.escape_ascii())?;
            }
        }
        Command::Delete { key } => store.delete(key.as_encoded_bytes())?,
        Command::Stats => writeln!(out, "{:#?}", store.stats())?,
        // The records of the log were checked as it was opened, blocks of the tree are as they are read.
        Command::Verify => {
            let keys = process_results(store.snapshot()?.range(.., Order::Ascending)?, |entries| entries.count())?;
            writeln!(out, "{keys} keys are in order")?;
        }
        Command::Bench(_) => unreachable!("needs no store"),
    }
    out.flush()?;
    Ok(store.close()?)
}
