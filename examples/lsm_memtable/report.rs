//! What is printed: a progress bar while it takes long, and what happened at the end.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::engine::{Statistics, nanos};
use crate::sorted_file::SortedFile;
use crate::source::Sources;
use crate::verify::Verified;
use crate::writer::Tally;

/// Smaller inputs are done before a bar could be read.
const BAR_FROM_BYTES: u64 = 16 << 20;

/// A progress bar on the terminal's standard error; nothing where that is no terminal. It is gone when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(what: &'static str, bytes: u64) -> Self {
        if bytes < BAR_FROM_BYTES {
            return Self(ProgressBar::hidden());
        }
        let style =
            ProgressStyle::with_template("{msg:9} {wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(bytes).with_style(style).with_message(what))
    }

    pub fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Prints to standard output. Whoever closes it early (`| head`) has seen enough.
pub fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}").into())
        }
        _ => Ok(()),
    }
}

pub struct Report {
    pub root: PathBuf,
    pub kept_in: Option<PathBuf>,
    pub writers: usize,
    pub table_bytes: usize,
    pub sources: Sources,
    pub tally: Tally,
    pub engine: Statistics,
    pub files: Vec<SortedFile>,
    pub verified: Verified,
    pub wrote_for: Duration,
    pub verified_for: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sources, tally, engine, files, verified, .. } = self;
        let versions = tally.versions();
        let written: u64 = files.iter().map(|file| file.bytes).sum();
        let in_tables: u64 = files.iter().map(|file| file.table_bytes).sum();
        let scanning: Duration = files.iter().map(|file| file.scanning).sum();
        let flushing: Duration = files.iter().map(|file| file.flushing).sum();
        let payload: u64 = files.iter().map(|file| file.payload_bytes).sum();

        writeln!(
            f,
            "input      {}, {} ({} skipped), {}",
            counted(sources.files.len() as u64, "text file"),
            bytes(sources.bytes),
            counted(sources.binary_files as u64, "binary file"),
            self.root.display(),
        )?;
        writeln!(
            f,
            "written    {} of {}: {}, {}; keys {}, values {}",
            counted(versions, "version"),
            counted(verified.keys, "key"),
            counted(tally.puts, "value"),
            counted(tally.tombstones, "tombstone"),
            bytes(tally.key_bytes),
            bytes(tally.value_bytes),
        )?;
        writeln!(
            f,
            "tables     {} sealed at {}, {} at work; {} in all, {:.1} bytes per version beside keys and values",
            count(files.len() as u64),
            bytes(self.table_bytes as u64),
            counted(self.writers as u64, "writer"),
            bytes(in_tables),
            ratio(in_tables.saturating_sub(payload), versions),
        )?;
        writeln!(
            f,
            "pressure   backpressure seen {}; longest freeze {:.1?}; writers waited {} for the flusher, {:.1?} in all",
            counted(engine.backpressure, "time"),
            engine.longest_freeze,
            counted(engine.stalls, "time"),
            engine.stalled,
        )?;
        writeln!(
            f,
            "read back  {}: {} still in memory, in {} at most, the others in files",
            counted(tally.reads, "acknowledged write"),
            count(tally.read_hits),
            counted(tally.most_tables as u64, "table"),
        )?;
        let sorted_files = counted(files.len() as u64, "file");
        match &self.kept_in {
            Some(directory) => {
                writeln!(f, "flushed    {sorted_files}, {}, kept in {}", bytes(written), directory.display())?;
            }
            None => writeln!(f, "flushed    {sorted_files}, {}, removed after the check", bytes(written))?,
        }
        writeln!(
            f,
            "verified   every file sorted, every version there once; {} live, {} deleted: equal to the model",
            counted(verified.live, "key"),
            count(verified.keys - verified.live),
        )?;
        writeln!(
            f,
            "time       {:.0} ns per write, {:.0} ns per read (thread time, stalls not counted); {:.0} ns per version scanned, {:.0} ns flushed",
            per(tally.writing.saturating_sub(engine.stalled), versions),
            per(tally.reading, tally.reads),
            per(scanning, versions),
            per(flushing, versions),
        )?;
        writeln!(f, "           {:.2?} to write and flush, {:.2?} to verify", self.wrote_for, self.verified_for)
    }
}

/// Nanoseconds per operation.
fn per(time: Duration, operations: u64) -> f64 {
    ratio(nanos(time), operations)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// `1 file`, `2 files`.
fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

/// `1234567` as `1,234,567`.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} bytes");
    }
    let mut value = ratio(number, 1024);
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
