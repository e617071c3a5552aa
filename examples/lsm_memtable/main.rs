//! The write path of an LSM-tree storage engine, end to end, on real text.
//!
//! ```text
//! cargo run --release --example lsm_memtable                 # this package's own files
//! cargo run --release --example lsm_memtable -- PATH         # any file or directory
//! ```
//!
//! ```text
//!  sources ──> log ──batches──> writers ──> active memtable ──freeze──> sealed memtables ──flush──> sorted files
//!  (text)      numbers every    (threads)   put_at,                     read-only, still            verified against
//!              operation                    put_tombstone_at            answering reads             a BTreeMap
//! ```
//!
//! Every line of every file is written under the key (path, line number). A little later the log edits it as a text
//! index would: blank lines and comments are deleted, lines with indentation or capitals are overwritten by their
//! normal form. The edit comes with a later sequence number, on any thread, and often meets a newer table than the one
//! that holds the line: that is what blind tombstones and engine-given sequence numbers are for.
//!
//! The files, in the order in which data passes through them:
//!
//! | file | concern |
//! | --- | --- |
//! | `cli.rs` | the command line |
//! | `source.rs` | which files, which lines, and what becomes of a line |
//! | `log.rs` | one order of operations: sequence numbers, in batches |
//! | `engine.rs` | the active table, rotation, the queue of sealed tables; the part to copy into an engine |
//! | `writer.rs` | a writer thread |
//! | `sorted_file.rs` | the file a sealed table becomes |
//! | `verify.rs` | the files against the model |
//! | `report.rs` | what is printed |

#![allow(unreachable_pub, reason = "in a program, `pub` says: for the other modules")]

mod cli;
mod engine;
mod log;
mod report;
mod sorted_file;
mod source;
mod verify;
mod writer;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cli::{Command, Options};
use engine::Engine;
use log::Log;
use report::{Progress, Report};
use writer::Tally;

/// Whatever went wrong, in words for the person at the terminal.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => report::print(cli::USAGE),
        Ok(Command::Run(options)) => run(options).and_then(|report| report::print(&report.to_string())),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lsm_memtable: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<Report, Failure> {
    let sources = source::find(&options.root)?;
    let table_bytes = options.table_bytes.unwrap_or_else(|| engine::table_bytes_for(sources.bytes));
    let output = Output::create(options.out.as_deref())?;
    let engine = Engine::new(table_bytes);

    let progress = Progress::new("writing", sources.bytes);
    let started = Instant::now();
    let (tally, files) = thread::scope(|scope| {
        // The channel is bounded: a log that outran its writers would hold the whole input in memory.
        let (sender, receiver) = mpsc::sync_channel(2 * options.writers);
        let receiver = Arc::new(Mutex::new(receiver));
        let engine = &engine;
        let writers: Vec<_> = (0..options.writers)
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                scope.spawn(move || engine.supervise(|| writer::run(engine, &receiver)))
            })
            .collect();
        let flusher = scope.spawn(|| engine.supervise(|| engine.flush_sealed_tables(output.path())));
        // From here on only the writers hold the receiver, so the log stops if they all do.
        drop(receiver);

        engine.supervise(|| {
            let mut log = Log::new(sender);
            sources.files.iter().try_for_each(|file| log.append_file(file, &progress))?;
            log.finish()
        });
        // The channel is closed; the writers finish what is in it, and only then is the last table sealed.
        let tally: Tally = writers.into_iter().filter_map(join).sum();
        engine.close();
        (tally, join(flusher).unwrap_or_default())
    });
    if let Some(failure) = engine.take_failure() {
        return Err(failure);
    }
    let wrote_for = started.elapsed();
    drop(progress);

    if tally.versions() == 0 {
        return Err(format!("nothing to write: not one line in {}", options.root.display()).into());
    }

    let progress = Progress::new("verifying", sources.bytes);
    let started = Instant::now();
    let verified = verify::verify(&files, &sources.files, tally.versions(), &progress)?;
    let verified_for = started.elapsed();
    drop(progress);

    // Every write that was acknowledged is in exactly one table, and every version of every table in its file.
    let acknowledged = tally.versions();
    let flushed: u64 = files.iter().map(|file| file.versions).sum();
    if acknowledged != flushed || flushed != verified.versions {
        let read = verified.versions;
        return Err(format!("{acknowledged} versions acknowledged, {flushed} flushed, {read} read back").into());
    }

    Ok(Report {
        root: options.root,
        kept_in: output.keep(),
        writers: options.writers,
        table_bytes,
        sources,
        tally,
        engine: engine.statistics(),
        files,
        verified,
        wrote_for,
        verified_for,
    })
}

/// What a supervised thread returned. It cannot have panicked: the engine has caught and kept that.
fn join<T>(thread: thread::ScopedJoinHandle<'_, Option<T>>) -> Option<T> {
    thread.join().ok().flatten()
}

/// Where the sorted files go: the caller's directory, or a temporary one that is gone afterwards.
enum Output {
    Chosen(PathBuf),
    Temporary(PathBuf),
}

impl Output {
    fn create(chosen: Option<&Path>) -> Result<Self, Failure> {
        let cannot_create = |path: &Path, error| format!("cannot create {}: {error}", path.display());
        if let Some(directory) = chosen {
            fs::create_dir_all(directory).map_err(|error| cannot_create(directory, error))?;
            return Ok(Self::Chosen(directory.to_path_buf()));
        }
        // Nobody else's, not even what an earlier process of the same number left behind.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("memskip-lsm-memtable-{}-{}", std::process::id(), now.as_nanos());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).map_err(|error| cannot_create(&directory, error))?;
        Ok(Self::Temporary(directory))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Chosen(path) | Self::Temporary(path) => path,
        }
    }

    /// Where the files stay, if they stay.
    fn keep(self) -> Option<PathBuf> {
        match &self {
            Self::Chosen(path) => Some(path.clone()),
            Self::Temporary(_) => None,
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self {
            // Best effort: a temporary directory that stays behind is no reason to fail.
            let _ = fs::remove_dir_all(path);
        }
    }
}
