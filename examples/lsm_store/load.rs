//! `load`: files into the store.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use fs_err::File;
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use itertools::Itertools;
use walkdir::WalkDir;

use crate::engine::Store;

const PIECE: u64 = 16 << 10;

/// `dir` is the store's own folder: nothing below it is loaded, the log would never end. Symbolic links are skipped.
pub fn run(store: &Store, path: &Path, dir: &Path) -> Result<()> {
    let (root, own, started) = (path.canonicalize()?, dir.canonicalize()?, Instant::now());
    let entries =
        WalkDir::new(&root).sort_by_file_name().into_iter().filter_entry(|entry| !entry.path().starts_with(&own));
    let files: Vec<_> = entries.filter_ok(|entry| entry.file_type().is_file()).try_collect()?;
    let total = files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
    let style = ProgressStyle::with_template("{wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left")?;
    let bar = ProgressBar::new(total).with_style(style);
    for file in &files {
        let below = file.path().strip_prefix(&root)?.as_os_str();
        let name = if below.is_empty() { file.file_name() } else { below }.as_encoded_bytes();
        let content = BufReader::new(bar.wrap_read(File::open(file.path())?));
        let loaded = if name.ends_with(b".tsv") { lines(store, content) } else { pieces(store, name, content) };
        loaded.with_context(|| file.path().display().to_string())?;
    }
    bar.finish_and_clear();
    println!("{} files, {} in {:.2?}", files.len(), BinaryBytes(bar.position()), started.elapsed());
    Ok(())
}

/// An empty file has one, too.
fn pieces(store: &Store, name: &[u8], mut file: impl Read) -> Result<()> {
    for number in 0.. {
        let mut piece = Vec::new();
        if file.by_ref().take(PIECE).read_to_end(&mut piece)? == 0 && number > 0 {
            break;
        }
        store.put(&[name, format!("#{number:08}").as_bytes()].concat(), &piece)?;
    }
    Ok(())
}

fn lines(store: &Store, file: impl BufRead) -> Result<()> {
    for (line, number) in file.split(b'\n').zip(1..) {
        let line = line?;
        let tab = line.iter().position(|byte| *byte == b'\t').filter(|tab| *tab > 0);
        let tab = tab.with_context(|| format!("line {number} is not a key, a tab and a value"))?;
        store.put(&line[..tab], &line[tab + 1..])?;
    }
    Ok(())
}
