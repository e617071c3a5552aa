//! The input: which files, which lines, and what becomes of a line.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Failure;

/// Longer lines are cut into pieces of this size, each with a line number of its own, so that a file which is one single
/// line of a gigabyte needs no gigabyte at once.
pub const MAX_LINE: usize = 64 << 10;

/// A text file, as it was when it was found.
pub struct Source {
    pub path: PathBuf,
    /// The path below the root, in bytes: the first part of every key. No path holds a zero byte.
    pub name: Vec<u8>,
    pub bytes: u64,
    modified: Option<SystemTime>,
}

pub struct Sources {
    /// In key order.
    pub files: Vec<Source>,
    pub bytes: u64,
    pub binary_files: usize,
}

/// All text files under `root`, which may itself be a file.
pub fn find(root: &Path) -> Result<Sources, Failure> {
    let mut sources = Sources { files: Vec::new(), bytes: 0, binary_files: 0 };
    // The root may be a symbolic link; links further down are not followed, they could lead in circles.
    let metadata = fs::metadata(root).map_err(|error| cannot_read(root, &error))?;
    if metadata.is_dir() {
        sources.add_directory(root, root)?;
    } else if metadata.is_file() {
        let name = root.file_name().unwrap_or(root.as_os_str()).as_encoded_bytes().to_vec();
        sources.add_file(root.to_path_buf(), name, &metadata)?;
    } else {
        return Err(format!("{} is neither a file nor a directory", root.display()).into());
    }

    if sources.files.is_empty() {
        let skipped = match sources.binary_files {
            0 => String::new(),
            n => format!(" ({n} skipped as binary: a zero byte in the first 8 KiB)"),
        };
        return Err(format!("no text file in {}{skipped}", root.display()).into());
    }
    sources.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

impl Sources {
    fn add_directory(&mut self, directory: &Path, root: &Path) -> Result<(), Failure> {
        for entry in fs::read_dir(directory).map_err(|error| cannot_read(directory, &error))? {
            let entry = entry.map_err(|error| cannot_read(directory, &error))?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(|error| cannot_read(&path, &error))?;
            if metadata.is_dir() {
                if entry.file_name() != "target" && entry.file_name() != ".git" {
                    self.add_directory(&path, root)?;
                }
            } else if metadata.is_file() {
                let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_encoded_bytes().to_vec();
                self.add_file(path, name, &metadata)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: PathBuf, name: Vec<u8>, metadata: &Metadata) -> Result<(), Failure> {
        // Opening each file here also finds the unreadable ones before any work is done.
        let mut head = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(8 << 10).read_to_end(&mut head));
        read.map_err(|error| cannot_read(&path, &error))?;
        if head.contains(&0) {
            self.binary_files += 1;
            return Ok(());
        }
        self.bytes += metadata.len();
        self.files.push(Source { path, name, bytes: metadata.len(), modified: metadata.modified().ok() });
        Ok(())
    }
}

impl Source {
    /// A file that changes between the first and the second reading would look like a fault of the table.
    pub fn check_unchanged(&self) -> Result<(), Failure> {
        let now = fs::metadata(&self.path).map_err(|error| cannot_read(&self.path, &error))?;
        if now.len() == self.bytes && now.modified().ok() == self.modified {
            return Ok(());
        }
        Err(format!("{} was changed by someone else during the run; please run again", self.path.display()).into())
    }

    /// The key of a line: path, a zero byte, line number big endian. Bytewise order is then path by path, line by line.
    pub fn write_key(&self, line: u64, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.name);
        key.push(0);
        key.extend_from_slice(&line.to_be_bytes());
    }
}

/// Reads a file line by line, cutting at [`MAX_LINE`].
pub struct Lines<R> {
    input: R,
    last_was_cut: bool,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R) -> Self {
        Self { input, last_was_cut: false }
    }

    /// Reads the next line into `line`, without its line feed; `false` at the end of the input.
    pub fn next_into(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            line.clear();
            if self.input.by_ref().take(MAX_LINE as u64).read_until(b'\n', line)? == 0 {
                return Ok(false);
            }
            let ends_cut_line = self.last_was_cut && *line == b"\n";
            self.last_was_cut = line.last() != Some(&b'\n');
            if ends_cut_line {
                continue;
            }
            if !self.last_was_cut {
                line.pop();
            }
            return Ok(true);
        }
    }
}

/// What the log does to a line some time after it was written.
#[derive(Debug, PartialEq, Eq)]
pub enum Edit {
    Keep,
    Overwrite(Vec<u8>),
    Delete,
}

impl Edit {
    pub fn of(line: &[u8]) -> Self {
        let text = line.trim_ascii();
        if text.is_empty() || text.starts_with(b"//") || text.starts_with(b"#") {
            return Self::Delete;
        }
        let normal = text.to_ascii_lowercase();
        if normal == line { Self::Keep } else { Self::Overwrite(normal) }
    }
}

pub fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    format!("cannot read {}: {error}", path.display()).into()
}
