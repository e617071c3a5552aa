//! `load`: files into the store, in batches.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use fs_err::File;
use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressStyle};
use walkdir::WalkDir;

use crate::engine::{Batch, Store};

const PIECE: u64 = 16 << 10;
/// Pieces or lines that are written together.
const BATCH: usize = 32;

#[derive(clap::Args)]
pub struct Args {
    pub path: PathBuf,
    /// PATH has lines `key<TAB>value`, taken as they are
    #[arg(long)]
    tsv: bool,
}

/// `dir` is the store's own folder, which is not loaded into itself. Symbolic links are skipped.
pub fn run(store: &Store, args: &Args, dir: &Path, out: &mut impl Write) -> Result<()> {
    let (root, own) = (args.path.canonicalize()?, dir.canonicalize()?);
    let entries = WalkDir::new(&root).sort_by_file_name().into_iter().filter_entry(|entry| entry.path() != own);
    let mut files = entries.collect::<Result<Vec<_>, _>>()?;
    files.retain(|entry| entry.file_type().is_file());
    let total = files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
    let style = "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    // Seen on a terminal only; in a pipe there is the line at the end.
    let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(style)?);
    let (mut batch, mut keys, started) = (Batch::new(), 0, Instant::now());
    for file in &files {
        let in_file = || file.path().display().to_string();
        let below = file.path().strip_prefix(&root)?.as_os_str();
        let name = if below.is_empty() { file.file_name() } else { below }.as_encoded_bytes();
        let mut content = BufReader::new(bar.wrap_read(File::open(file.path())?));
        let read = if args.tsv { line } else { piece };
        for number in 0.. {
            let Some((key, value)) = read(&mut content, name, number).with_context(in_file)? else { break };
            batch.put(&key, &value);
            keys += 1;
            if batch.len() == BATCH {
                store.write(&std::mem::take(&mut batch))?;
            }
        }
    }
    store.write(&batch)?;
    bar.finish_and_clear();
    let (files, bytes, keys) = (HumanCount(files.len() as u64), BinaryBytes(bar.position()), HumanCount(keys));
    Ok(writeln!(out, "{keys} keys of {files} files, {bytes} in {:.2?}", started.elapsed())?)
}

type Pair = (Vec<u8>, Vec<u8>);

/// An empty file has one, too.
fn piece(file: &mut dyn BufRead, name: &[u8], number: u64) -> Result<Option<Pair>> {
    let mut piece = Vec::new();
    let read = file.take(PIECE).read_to_end(&mut piece)?;
    Ok((read > 0 || number == 0).then(|| ([name, format!("#{number:08}").as_bytes()].concat(), piece)))
}

fn line(file: &mut dyn BufRead, _: &[u8], number: u64) -> Result<Option<Pair>> {
    let mut line = Vec::new();
    if file.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let tab = line.iter().position(|byte| *byte == b'\t').filter(|tab| *tab > 0);
    let tab = tab.with_context(|| format!("line {} is not a key, a tab and a value", number + 1))?;
    Ok(Some((line[..tab].to_vec(), line[tab + 1..].to_vec())))
}
