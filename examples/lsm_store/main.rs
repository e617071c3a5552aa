//! A whole LSM storage engine: memskip's manager in front, a write-ahead log, and `lsm-tree` for everything on disk.
//!
//! ```text
//! cargo run --release --example lsm_store -- load PATH
//! cargo run --release --example lsm_store -- scan --prefix src/ --keys --limit 10
//! cargo run --release --example lsm_store -- bench --quick
//! ```
//!
//! `engine/` is the engine, to be used as a library; `cli.rs` the command line, `load.rs` files into the store, `bench/` the YCSB core
//! workloads here and on `lsm-tree` alone.

#![allow(unreachable_pub, reason = "in a program, `pub` says: for the other modules")]

mod bench;
mod cli;
#[allow(dead_code, unused_imports, reason = "a library, of which the program uses a part")]
mod engine;
mod load;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::ops::Bound;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, Range};
use engine::{Batch, Store};

/// Whatever went wrong, in words for the person at the terminal.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        // As of `grep`.
        Ok(false) => ExitCode::from(1),
        // Whoever closes the pipe (`| head`) has seen enough.
        Err(failure) if failure.downcast_ref().map(io::Error::kind) == Some(ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lsm_store: {failure}");
            ExitCode::from(2)
        }
    }
}

/// `false` if the key is not there, or damage was found.
fn run(cli: Cli) -> Result<bool, Failure> {
    let options = cli.options();
    match &cli.command {
        // A wrong path leaves no empty store behind.
        Command::Load(args) if !args.path.exists() => return Err(format!("there is no {}", args.path.display()).into()),
        Command::Load(_) | Command::Bench(_) => {}
        _ if !cli.dir.join("LOCK").exists() => {
            return Err(format!("there is no store {}; `load` makes one", cli.dir.display()).into());
        }
        _ => {}
    }
    if let Command::Bench(args) = cli.command {
        return bench::run(args, &cli.dir, options).map(|()| true);
    }
    let store = match Store::open(&cli.dir, options) {
        Err(damage @ (engine::Error::Corrupt { .. } | engine::Error::Tree(_)))
            if matches!(cli.command, Command::Verify) =>
        {
            eprintln!("lsm_store: {damage}");
            return Ok(false);
        }
        opened => opened?,
    };
    let outcome = command(&store, &cli);
    store.close()?;
    outcome
}

fn command(store: &Store, cli: &Cli) -> Result<bool, Failure> {
    match &cli.command {
        Command::Load(args) => load::run(store, args, &cli.dir)?,
        Command::Get { key } => match store.get(key.as_encoded_bytes())? {
            Some(mut value) => {
                // In a pipe it is what was stored, to the byte.
                value.extend(io::stdout().is_terminal().then_some(b'\n'));
                io::stdout().write_all(&value)?;
            }
            None => {
                eprintln!("lsm_store: no key `{}`", key.display());
                return Ok(false);
            }
        },
        Command::Scan(range) => scan(store, range)?,
        Command::Delete { keys } => {
            let mut batch = Batch::new();
            for key in keys {
                batch.delete(key.as_encoded_bytes());
            }
            store.write(&batch)?;
        }
        Command::Stats => writeln!(io::stdout(), "{}", store.stats())?,
        Command::Verify => match store.verify() {
            Ok(verified) => writeln!(io::stdout(), "{verified}")?,
            Err(damage) => {
                eprintln!("lsm_store: {damage}");
                return Ok(false);
            }
        },
        Command::Bench(_) => unreachable!("needs no store"),
    }
    Ok(true)
}

fn scan(store: &Store, range: &Range) -> Result<(), Failure> {
    let bytes = |key: &OsString| key.as_encoded_bytes().to_vec();
    let from = range.from.as_ref().map_or(Bound::Unbounded, |from| Bound::Included(bytes(from)));
    let to = range.to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(bytes(to)));
    let mut entries = match &range.prefix {
        Some(prefix) => store.prefix(prefix.as_encoded_bytes())?,
        None => store.range((from, to))?,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let next = || if range.reverse { entries.next_back() } else { entries.next() };
    for entry in std::iter::from_fn(next).take(range.limit) {
        let (key, value) = entry?;
        escape(&key, &mut out)?;
        if !range.keys {
            out.write_all(b"\t")?;
            escape(&value, &mut out)?;
        }
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Text as it is; the backslash, controls and bytes that are not UTF-8 as Rust writes them.
fn escape(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        for symbol in chunk.valid().chars() {
            match symbol {
                '\\' | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => write!(out, "{}", symbol.escape_default())?,
                _ => write!(out, "{symbol}")?,
            }
        }
        write!(out, "{}", chunk.invalid().escape_ascii())?;
    }
    Ok(())
}
