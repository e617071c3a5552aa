//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread;

use crate::Failure;
use crate::engine::MIN_TABLE_BYTES;

pub const USAGE: &str = "\
usage: lsm_memtable [PATH] [--out DIR] [--writers N] [--table-size BYTES]

Writes every line of every text file under PATH (a file or a directory; this package without it) into
memtables from several threads, rotates and flushes them while the writers keep running, and checks the
sorted files against a BTreeMap built from the same input. Binary files, symbolic links and directories
named `target` or `.git` are skipped.

  --out DIR            keep the sorted files in DIR; otherwise they go to a temporary directory
                       and are removed once verified
  --writers N          writer threads (default: one per CPU, 2 to 8)
  --table-size BYTES   seal a table at this size; K, M and G are understood
                       (default: from the size of the input, 256K at least)
  -h, --help           this text
";

pub enum Command {
    Run(Options),
    Help,
}

pub struct Options {
    pub root: PathBuf,
    pub out: Option<PathBuf>,
    pub writers: usize,
    pub table_bytes: Option<usize>,
}

pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, Failure> {
    let mut root = None;
    let mut out = None;
    let mut writers = None;
    let mut table_bytes = None;

    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value_of = |option: &str| arguments.next().ok_or_else(|| format!("{option} needs a value"));
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(Command::Help),
            Some("--out") => out = Some(PathBuf::from(value_of("--out")?)),
            Some("--writers") => writers = Some(parse_writers(&value_of("--writers")?)?),
            Some("--table-size") => table_bytes = Some(parse_table_size(&value_of("--table-size")?)?),
            Some(option) if option.starts_with('-') => {
                return Err(format!("unknown option {option}; --help lists them").into());
            }
            _ if root.is_some() => {
                return Err(format!("one PATH only, {} is one too many", Path::new(&argument).display()).into());
            }
            _ => root = Some(PathBuf::from(argument)),
        }
    }

    Ok(Command::Run(Options {
        root: root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR"))),
        out,
        writers: writers.unwrap_or_else(default_writers),
        table_bytes,
    }))
}

/// At least two, so that there is something to see even on a single CPU.
fn default_writers() -> usize {
    thread::available_parallelism().map_or(2, |cpus| cpus.get().clamp(2, 8))
}

fn parse_writers(text: &OsString) -> Result<usize, Failure> {
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(writers @ 1..=1024) => Ok(writers),
        _ => Err(format!("--writers is a number from 1 to 1024, not {}", Path::new(text).display()).into()),
    }
}

fn parse_table_size(text: &OsString) -> Result<usize, Failure> {
    let bytes = text.to_str().and_then(|text| {
        let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
            b'K' => (&text[..text.len() - 1], 10),
            b'M' => (&text[..text.len() - 1], 20),
            b'G' => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        digits.parse::<usize>().ok()?.checked_mul(1 << shift)
    });
    match bytes {
        Some(bytes) if bytes >= MIN_TABLE_BYTES => Ok(bytes),
        _ => Err(format!("--table-size is a number of bytes, 256K at least, not {}", Path::new(text).display()).into()),
    }
}
