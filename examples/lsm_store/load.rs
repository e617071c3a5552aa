//! `load`: files into the store, in batches.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::Failure;
use crate::engine::{Batch, Store};

const PIECE: u64 = 16 << 10;
const BATCH_BYTES: u64 = 256 << 10;

#[derive(clap::Args)]
pub struct Args {
    pub path: PathBuf,
    /// PATH is a file of lines `key<TAB>value`, taken as they are
    #[arg(long)]
    tsv: bool,
}

struct Loader<'a> {
    store: &'a Store,
    batch: Batch,
    batch_bytes: u64,
    keys: u64,
    bytes: u64,
}

/// `dir` is the store's own folder, which is not loaded into itself.
pub fn run(store: &Store, args: &Args, dir: &Path) -> Result<(), Failure> {
    let mut files = Vec::new();
    find(&args.path, &dir.canonicalize()?, &mut files)?;
    let style = "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    // Seen on a terminal only; in a pipe there is the line at the end.
    let bar = ProgressBar::new(files.iter().map(|file| file.1).sum()).with_style(ProgressStyle::with_template(style)?);
    let mut loader = Loader { store, batch: Batch::new(), batch_bytes: 0, keys: 0, bytes: 0 };
    let started = Instant::now();
    for (path, _) in &files {
        let in_file = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = bar.wrap_read(File::open(path).map_err(|error| in_file(&error))?);
        let below = path.strip_prefix(&args.path).ok().filter(|below| !below.as_os_str().is_empty());
        let name = below.map_or_else(|| path.file_name().unwrap_or(path.as_os_str()), Path::as_os_str);
        let outcome = if args.tsv { loader.lines(file) } else { loader.pieces(name.as_encoded_bytes(), file) };
        outcome.map_err(|error| in_file(&error))?;
    }
    loader.send()?;
    bar.finish_and_clear();
    let took = started.elapsed();
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "rates are printed without decimals")]
    let rate = |number: u64| (number as f64 / took.as_secs_f64()) as u64;
    writeln!(
        io::stdout(),
        "keys {}, files {}, {} in {took:.2?}: {}/s, {} keys/s",
        HumanCount(loader.keys),
        HumanCount(files.len() as u64),
        BinaryBytes(loader.bytes),
        BinaryBytes(rate(loader.bytes)),
        HumanCount(rate(loader.keys)),
    )?;
    Ok(())
}

/// All files below `path`, and their sizes.
fn find(path: &Path, own: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<(), Failure> {
    let failed = |error| format!("{}: {error}", path.display());
    let metadata = path.metadata().map_err(failed)?;
    if metadata.is_file() {
        files.push((path.to_owned(), metadata.len()));
    } else if metadata.is_dir() && path.canonicalize().map_err(failed)? != own {
        let mut entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink())) {
            find(&entry.path(), own, files)?;
        }
    }
    Ok(())
}

impl Loader<'_> {
    fn pieces(&mut self, name: &[u8], mut file: impl Read) -> Result<(), Failure> {
        let mut piece = Vec::new();
        for number in 0_u64.. {
            piece.clear();
            // An empty file is a piece all the same.
            if file.by_ref().take(PIECE).read_to_end(&mut piece)? == 0 && number > 0 {
                break;
            }
            self.put(&[name, format!("#{number:08}").as_bytes()].concat(), &piece)?;
        }
        Ok(())
    }

    fn lines(&mut self, file: impl Read) -> Result<(), Failure> {
        for (line, number) in BufReader::new(file).split(b'\n').zip(1_u64..) {
            let line = line?;
            let tab = line.iter().position(|&byte| byte == b'\t').filter(|&tab| tab > 0);
            let tab = tab.ok_or_else(|| format!("line {number} is not a key, a tab and a value"))?;
            self.put(&line[..tab], &line[tab + 1..])?;
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.batch.put(key, value);
        let bytes = (key.len() + value.len()) as u64;
        self.keys += 1;
        self.bytes += bytes;
        self.batch_bytes += bytes;
        if self.batch_bytes >= BATCH_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Failure> {
        self.batch_bytes = 0;
        Ok(self.store.write(&std::mem::take(&mut self.batch))?)
    }
}
