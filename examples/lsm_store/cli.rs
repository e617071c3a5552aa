//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::bench;
use crate::engine::{Durability, Options};
use crate::load;

/// A crash-safe key-value store on disk: memskip in front, lsm-tree behind.
///
/// Exit status: 0, or 1 if a key is absent or damage was found, or 2 if something went wrong. One process at a time may have a store open.
#[derive(Parser)]
#[command(name = "lsm_store", max_term_width = 100)]
pub struct Cli {
    /// The store's folder; `load` makes it
    #[arg(long, global = true, value_name = "PATH", default_value = "lsm_store.db")]
    pub dir: PathBuf,
    /// When a write is on disk: `none` (when the system likes), every so many milliseconds (`100ms`), or `always` (before it returns)
    #[arg(long, global = true, default_value = "100ms", value_parser = durability)]
    durability: Durability,
    /// A memtable of this size is sealed; K, M and G are understood
    #[arg(long, global = true, value_name = "BYTES", default_value = "64M", value_parser = size)]
    memtable: u64,
    /// Cache for blocks of tables
    #[arg(long, global = true, value_name = "BYTES", default_value = "64M", value_parser = size)]
    cache: u64,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Write a file, a folder and all below, or lines of `key<TAB>value`
    ///
    /// Files are cut into pieces of 16 KiB. The key of a piece is the path below the folder (or the file's name), `#`, and the piece's
    /// number in eight digits: `src/main.rs#00000000`. Symbolic links are skipped.
    Load(load::Args),
    /// Print the value of a key
    Get { key: OsString },
    /// Print keys and values, one pair a line; bytes that are not printable UTF-8 are escaped
    Scan(Range),
    /// Delete keys; absent ones are fine
    Delete {
        #[arg(required = true)]
        keys: Vec<OsString>,
    },
    /// Print figures about memory, log and tables
    Stats,
    /// Read everything and check it
    Verify,
    /// Run the YCSB core workloads, on this store and on lsm-tree alone, in temporary folders beside `--dir`
    Bench(bench::Args),
}

#[derive(clap::Args)]
pub struct Range {
    /// Keys that begin with this
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub prefix: Option<OsString>,
    /// The first key
    #[arg(long)]
    pub from: Option<OsString>,
    /// The end, itself not included
    #[arg(long)]
    pub to: Option<OsString>,
    /// Last key first
    #[arg(long)]
    pub reverse: bool,
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true, value_name = "N")]
    pub limit: usize,
    /// Keys only
    #[arg(long)]
    pub keys: bool,
}

impl Cli {
    pub fn options(&self) -> Options {
        Options {
            memtable_bytes: usize::try_from(self.memtable).unwrap_or(usize::MAX),
            durability: self.durability,
            block_cache_bytes: self.cache,
            ..Options::default()
        }
    }
}

fn durability(text: &str) -> Result<Durability, &'static str> {
    match (text, text.strip_suffix("ms").and_then(|millis| millis.parse().ok())) {
        ("none", _) => Ok(Durability::None),
        ("always", _) => Ok(Durability::Always),
        (_, Some(millis @ 1..)) => Ok(Durability::Interval(Duration::from_millis(millis))),
        _ => Err("it is none, always or milliseconds such as 100ms"),
    }
}

fn size(text: &str) -> Result<u64, &'static str> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = ["", "K", "M", "G"].iter().position(|unit| *unit == &text[digits.len()..]);
    let size = digits.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << (10 * shift)));
    size.ok_or("it is a number of bytes such as 65536 or 64M")
}
