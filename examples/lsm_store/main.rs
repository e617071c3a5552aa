//! A whole LSM storage engine: memskip's manager in front, a write-ahead log, and `lsm-tree` for all that is on disk.
//!
//! `engine/` is the engine, a library; `load.rs` brings files into a store; `bench/` runs the YCSB core workloads on it
//! and on `lsm-tree` alone.

#![allow(unreachable_pub, reason = "in a program, `pub` says: for the other modules")]

mod bench;
#[allow(dead_code, unused_imports, reason = "a library, of which the program uses a part")]
mod engine;
mod load;

use std::ffi::OsString;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::num::ParseIntError;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use engine::{Batch, Durability, Error, Options, Store};

/// A crash-safe key-value store on disk: memskip in front, lsm-tree behind.
///
/// Exit status: 0, or 1 if a key is absent or something is damaged, or 2 if anything else went wrong.
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
    #[arg(long, global = true, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    memtable: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a file or all files below a folder, in pieces of 16 KiB: `src/main.rs#00000000`; or lines `key<TAB>value`
    Load(load::Args),
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
        #[arg(long, default_value_t = usize::MAX, hide_default_value = true, value_name = "N")]
        limit: usize,
        /// No values
        #[arg(long)]
        keys: bool,
    },
    /// Delete keys; absent ones are fine
    Delete {
        #[arg(required = true)]
        keys: Vec<OsString>,
    },
    /// Print figures about memory, log and tables
    Stats,
    /// Read everything and check it
    Verify,
    /// Run the YCSB core workloads on this store and on lsm-tree alone, in temporary folders beside `--dir`
    Bench(bench::Args),
}

fn durability(text: &str) -> Result<Durability, ParseIntError> {
    Ok(match text {
        "none" => Durability::None,
        "always" => Durability::Always,
        millis => Durability::Interval(Duration::from_millis(millis.trim_end_matches("ms").parse()?)),
    })
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // Whoever closes the pipe (`| head`) has seen enough.
        Err(failure) if failure.downcast_ref().map(io::Error::kind) == Some(ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lsm_store: {failure:#}");
            let is_damage = matches!(failure.downcast_ref(), Some(Error::Corrupt { .. } | Error::Tree(_)));
            ExitCode::from(if is_damage { 1 } else { 2 })
        }
    }
}

/// `false` if a key is absent.
fn run(cli: Cli) -> Result<bool> {
    let memtable_bytes = usize::try_from(cli.memtable << 20)?;
    let options = Options { memtable_bytes, durability: cli.durability, ..Options::default() };
    match cli.command {
        Command::Bench(args) => return bench::run(args, &cli.dir, options).map(|()| true),
        // A wrong path leaves no empty store behind.
        Command::Load(ref args) => ensure!(args.path.exists(), "there is no {}", args.path.display()),
        _ => ensure!(cli.dir.join("LOCK").exists(), "there is no store {}; `load` makes one", cli.dir.display()),
    }
    let store = Store::open(&cli.dir, options)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let done = execute(&store, cli, &mut out).and_then(|done| Ok(out.flush().map(|()| done)?));
    store.close()?;
    done
}

fn execute(store: &Store, cli: Cli, out: &mut impl Write) -> Result<bool> {
    match cli.command {
        Command::Load(args) => load::run(store, &args, &cli.dir, out)?,
        Command::Get { key } => match store.get(key.as_encoded_bytes())? {
            Some(value) => out.write_all(&value)?,
            None => {
                eprintln!("lsm_store: there is no key {}", key.to_string_lossy());
                return Ok(false);
            }
        },
        Command::Scan { prefix, reverse, limit, keys } => {
            let mut entries = store.prefix(prefix.as_encoded_bytes())?;
            let next = || if reverse { entries.next_back() } else { entries.next() };
            for entry in std::iter::from_fn(next).take(limit) {
                match entry? {
                    (key, _) if keys => writeln!(out, "{}", key.escape_ascii())?,
                    (key, value) => writeln!(out, "{}\t{}", key.escape_ascii(), value.escape_ascii())?,
                }
            }
        }
        Command::Delete { keys } => {
            let mut batch = Batch::new();
            for key in &keys {
                batch.delete(key.as_encoded_bytes());
            }
            store.write(&batch)?;
        }
        Command::Stats => writeln!(out, "{:#?}", store.stats())?,
        Command::Verify => writeln!(out, "{:#?}", store.verify()?)?,
        Command::Bench(_) => unreachable!("needs no store"),
    }
    Ok(true)
}
