//! The file a sealed table becomes: every version, key ascending, newest first, and a footer.
//!
//! ```text
//! entry:   key length u32 | value length u32 | seq u64 | kind u8 | key | value          (little endian)
//! footer:  number of entries u64 | "memskip1"
//! ```
//!
//! It is written under another name, made durable, and renamed: a file with its final name is complete.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memskip::{Entry, Kind, SeqNo};

use crate::Failure;
use crate::engine::SealedTable;
use crate::source::cannot_read;

const MAGIC: &[u8; 8] = b"memskip1";
const ENTRY_HEADER: u64 = 4 + 4 + 8 + 1;
const FOOTER: u64 = 8 + 8;

pub struct SortedFile {
    pub path: PathBuf,
    pub versions: u64,
    pub bytes: u64,
    /// What the table handed out for these versions.
    pub table_bytes: u64,
    /// What of it was keys and values; the rest is the price of keeping them sorted. Versions of a key share the key.
    pub payload_bytes: u64,
    /// One walk over the table, nothing written.
    pub scanning: Duration,
    /// The walk that wrote the file, made durable.
    pub flushing: Duration,
}

/// Writes a sealed table of `expected` versions to a new file.
pub fn write(path: &Path, table: &SealedTable, expected: usize) -> Result<SortedFile, Failure> {
    let cannot_write = |error: io::Error| -> Failure { format!("cannot write {}: {error}", path.display()).into() };

    // The table is frozen, so one walk tells the size of the file that the next one writes. An engine would reserve
    // the space, and split the table with `partitions` if it were large enough to flush from several threads.
    let started = Instant::now();
    let mut bytes = FOOTER;
    let mut payload_bytes = 0;
    let mut previous_key: Option<&[u8]> = None;
    for entry in table.versions() {
        bytes += ENTRY_HEADER + (entry.key.len() + entry.value.len()) as u64;
        let stored_key = if previous_key == Some(entry.key) { 0 } else { entry.key.len() };
        payload_bytes += (stored_key + entry.value.len()) as u64;
        previous_key = Some(entry.key);
    }
    let scanning = started.elapsed();

    let started = Instant::now();
    if path.exists() {
        return Err(format!("{} is there already; choose a directory without sorted files", path.display()).into());
    }
    let unfinished = path.with_extension("unfinished");
    let versions = File::create(&unfinished)
        .and_then(|file| write_entries(file, table.versions()))
        .and_then(|versions| fs::rename(&unfinished, path).map(|()| versions))
        .map_err(|error| {
            // Best effort: what is left of a file that could not be written helps nobody.
            let _ = fs::remove_file(&unfinished);
            cannot_write(error)
        })?;
    let flushing = started.elapsed();

    if versions != expected as u64 {
        return Err(format!("a table that was sealed with {expected} versions has {versions} of them").into());
    }
    let written = fs::metadata(path).map_err(cannot_write)?.len();
    if written != bytes {
        return Err(format!("a frozen table changed: {bytes} bytes on one walk, {written} on the next").into());
    }
    Ok(SortedFile {
        path: path.to_path_buf(),
        versions,
        bytes,
        table_bytes: table.memory_usage() as u64,
        payload_bytes,
        scanning,
        flushing,
    })
}

fn write_entries<'a>(file: File, entries: impl Iterator<Item = Entry<'a>>) -> io::Result<u64> {
    let length = |part: &[u8]| u32::try_from(part.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let mut file = BufWriter::with_capacity(256 << 10, file);
    let mut versions = 0u64;
    for entry in entries {
        file.write_all(&length(entry.key)?.to_le_bytes())?;
        file.write_all(&length(entry.value)?.to_le_bytes())?;
        file.write_all(&entry.seq.0.to_le_bytes())?;
        file.write_all(&[entry.kind().0])?;
        file.write_all(entry.key)?;
        file.write_all(entry.value)?;
        versions += 1;
    }
    file.write_all(&versions.to_le_bytes())?;
    file.write_all(MAGIC)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(versions)
}

/// One version, read back.
#[derive(Debug, Default)]
pub struct Version {
    pub key: Vec<u8>,
    pub seq: SeqNo,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Reads a sorted file and checks, on the way, that it is sorted and complete.
pub struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    entries_left: u64,
    bytes_left: u64,
    previous: Option<(Vec<u8>, SeqNo)>,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Self::open_at_first_entry(path).map_err(|error| cannot_read(path, &error))
    }

    fn open_at_first_entry(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let bytes_left = file.metadata()?.len().checked_sub(FOOTER).ok_or_else(|| damaged("it has no footer"))?;
        file.seek(SeekFrom::Start(bytes_left))?;
        let entries_left = u64::from_le_bytes(read_array(&mut file)?);
        if read_array(&mut file)? != *MAGIC {
            return Err(damaged("it has no footer"));
        }
        file.rewind()?;
        Ok(Self {
            path: path.to_path_buf(),
            input: BufReader::with_capacity(64 << 10, file),
            entries_left,
            bytes_left,
            previous: None,
        })
    }

    pub fn next_version(&mut self) -> Result<Option<Version>, Failure> {
        self.read_version().map_err(|error| cannot_read(&self.path, &error))
    }

    fn read_version(&mut self) -> io::Result<Option<Version>> {
        if self.entries_left == 0 {
            return if self.bytes_left == 0 { Ok(None) } else { Err(damaged("it goes on after its last entry")) };
        }
        let key_len = u32::from_le_bytes(read_array(&mut self.input)?);
        let value_len = u32::from_le_bytes(read_array(&mut self.input)?);
        let seq = SeqNo(u64::from_le_bytes(read_array(&mut self.input)?));
        let [kind] = read_array(&mut self.input)?;
        // Lengths are believed only as far as the file reaches.
        let entry_bytes = ENTRY_HEADER + u64::from(key_len) + u64::from(value_len);
        self.bytes_left =
            self.bytes_left.checked_sub(entry_bytes).ok_or_else(|| damaged("an entry reaches past the end"))?;
        self.entries_left -= 1;

        let key = read_vec(&mut self.input, key_len)?;
        let value = read_vec(&mut self.input, value_len)?;
        let value = match Kind(kind) {
            Kind::VALUE => Some(value),
            Kind::TOMBSTONE if value.is_empty() => None,
            _ => return Err(damaged("an entry has a kind nobody wrote")),
        };

        // Flush order, strictly: a key twice is in order only with a smaller number.
        if let Some((previous_key, previous_seq)) = &self.previous {
            if (previous_key.as_slice(), std::cmp::Reverse(*previous_seq)) >= (&key, std::cmp::Reverse(seq)) {
                return Err(damaged("its entries are out of order"));
            }
        }
        self.previous = Some((key.clone(), seq));
        Ok(Some(Version { key, seq, value }))
    }
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, how)
}

fn read_array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    input.read_exact(&mut array)?;
    Ok(array)
}

fn read_vec(input: &mut impl Read, len: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
