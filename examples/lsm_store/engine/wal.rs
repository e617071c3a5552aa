//! The write-ahead log: one file (segment) per memtable generation, of records.
//!
//! ```text
//! record  crc 4 │ length 4 │ sequence number 8 │ keys and values in turn, as borsh writes them (or a header's magic word)
//! ```
//!
//! A record's number is one more than that of the record before, also across segments. Where a segment stops being
//! readable decides what that means: if a record can be found behind, or a later segment exists, acknowledged bytes
//! are damaged, and opening fails with file and offset. If not, it is what a crash leaves of an append, and is cut
//! off. Damage to the very last record cannot be told from that, and costs that record.

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use borsh::BorshDeserialize;
use fs_err::{self as fs, File, OpenOptions};

use super::{Batch, Error};

const HEAD: usize = 16;
const MAGIC: &[u8; 16] = b"memskip log, 1.\n";
const HEADER: usize = HEAD + MAGIC.len();

/// The end of the log, where records are appended.
pub(crate) struct Log {
    dir: PathBuf,
    /// The segment that takes records, and up to where it is good.
    pub(crate) number: u64,
    pub(crate) file: Arc<File>,
    len: u64,
    next_seq: u64,
    /// Why it takes no more.
    failed: Option<Error>,
    buffer: Vec<u8>,
    pub(crate) counts: Arc<Counts>,
}

#[derive(Default)]
pub(crate) struct Counts {
    /// Segments from here on are needed, whatever the memtables say.
    pub(crate) needed: AtomicU64,
    pub(crate) appends: AtomicU64,
    pub(crate) syncs: AtomicU64,
    /// What opening cut off.
    pub(crate) torn_bytes: AtomicU64,
}

impl Log {
    /// Reads the whole log (`visit`: segment and batch), and cuts off what a crash left at its end.
    pub(crate) fn open(dir: &Path, mut visit: impl FnMut(u64, Batch) -> Result<(), Error>) -> Result<Self, Error> {
        fs::create_dir_all(dir)?;
        let numbers = segments(dir)?;
        let (mut next_seq, mut len, counts) = (None, 0, Arc::<Counts>::default());
        for &number in &numbers {
            let (seq, end) =
                read(dir, number, next_seq, numbers.last() == Some(&number), |batch| visit(number, batch))?;
            counts.torn_bytes.store(fs::metadata(path(dir, number))?.len() - end, SeqCst);
            (next_seq, len) = (Some(seq), end);
        }
        let (number, next_seq) = (numbers.last().copied().unwrap_or(1), next_seq.unwrap_or(1));
        let file = open_segment(dir, number, len, next_seq)?;
        let (dir, len, buffer) = (dir.to_owned(), len.max(HEADER as u64), Vec::new());
        counts.needed.store(number, SeqCst);
        Ok(Self { dir, number, file, len, next_seq, failed: None, buffer, counts })
    }

    /// Nothing is appended any more: nobody knows what a failure has left on disk.
    pub(crate) fn poison(&mut self, error: Error) -> Error {
        self.failed.get_or_insert_with(|| Error::Poisoned(Arc::new(error))).clone()
    }

    /// Appends a record for each batch: all of them, or none.
    pub(crate) fn append(&mut self, batches: &[Batch]) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.buffer.clear();
        for (batch, seq) in batches.iter().zip(self.next_seq..) {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(&[0; HEAD]);
            for (key, value, kind) in batch.iter() {
                borsh::to_writer(&mut self.buffer, &(key, (!kind.is_tombstone()).then_some(value)))?;
            }
            seal(&mut self.buffer[start..], self.number, self.len + start as u64, seq)?;
        }
        if let Err(error) = (&*self.file).write_all(&self.buffer) {
            // Half of it may be there.
            let undone = self.file.set_len(self.len);
            return Err(if undone.is_ok() { error.into() } else { self.poison(error.into()) });
        }
        self.counts.appends.fetch_add(1, SeqCst);
        self.len += self.buffer.len() as u64;
        self.next_seq += batches.len() as u64;
        Ok(())
    }

    /// `fsync`s what has been appended.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)?;
        sync(&self.file, &self.counts).map_err(|error| self.poison(error))
    }

    /// Begins a new segment, once the old one is whole on disk: only the log's end may be torn.
    pub(crate) fn rotate(&mut self) -> Result<(), Error> {
        self.sync()?;
        let number = self.number + 1;
        // If it fails the log goes on without it.
        let remove = |_: &_| drop(fs::remove_file(path(&self.dir, number)));
        self.file = open_segment(&self.dir, number, 0, self.next_seq).inspect_err(remove)?;
        (self.number, self.len) = (number, HEADER as u64);
        self.counts.needed.store(number, SeqCst);
        Ok(())
    }
}

pub(crate) fn sync(file: &File, counts: &Counts) -> Result<(), Error> {
    counts.syncs.fetch_add(1, SeqCst);
    // The one failure that a test cannot bring about from outside.
    if cfg!(test) && file.path().with_extension("broken").exists() {
        return Err(io::Error::other("a test says so").into());
    }
    Ok(file.sync_data()?)
}

/// Makes created and removed files durable. (Only Unix lets a directory be synced.)
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.log"))
}

/// The numbers of all segments, ascending.
pub(crate) fn segments(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir)? {
        numbers.extend(file?.file_name().to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes segments below `limit`, each for good before the next: never comes one back without those behind it.
pub(crate) fn remove_below(dir: &Path, limit: u64) -> Result<(), Error> {
    for number in segments(dir)?.into_iter().filter(|number| *number < limit) {
        fs::remove_file(path(dir, number))?;
        sync_dir(dir)?;
    }
    Ok(())
}

/// A segment to append to, behind its first `len` bytes (a header, if that is 0), which are on disk when this returns.
fn open_segment(dir: &Path, number: u64, len: u64, next_seq: u64) -> io::Result<Arc<File>> {
    let mut file = OpenOptions::new().append(true).create(true).open(path(dir, number))?;
    file.set_len(len)?;
    if len == 0 {
        let mut header = [[0; HEAD], *MAGIC].concat();
        seal(&mut header, number, 0, next_seq)?;
        file.write_all(&header)?;
    }
    file.sync_all()?;
    sync_dir(dir)?;
    Ok(Arc::new(file))
}

fn corrupt(dir: &Path, number: u64, offset: usize, reason: &'static str) -> Error {
    Error::Corrupt { file: path(dir, number), offset: offset as u64, reason }
}

/// Reads a segment, batch by batch. `first_seq`: how the segment before it ended; `is_last`: it may end in half a
/// record. Gives the number after the last record's, and where that ends (0: not even a header was written).
pub(crate) fn read(
    dir: &Path,
    number: u64,
    first_seq: Option<u64>,
    is_last: bool,
    mut visit: impl FnMut(Batch) -> Result<(), Error>,
) -> Result<(u64, u64), Error> {
    let bytes = fs::read(path(dir, number))?;
    if is_last && (bytes.len() < HEADER || bytes.iter().all(|byte| *byte == 0)) {
        return Ok((first_seq.unwrap_or(1), 0));
    }
    let header = find(&bytes, number, 0, 0..=u64::MAX).filter(|(_, magic)| magic == MAGIC);
    let (mut seq, _) = header.ok_or_else(|| corrupt(dir, number, 0, "the header of the segment is damaged"))?;
    if first_seq.is_some_and(|first| first != seq) {
        return Err(corrupt(dir, number, 8, "records are missing between the segment before and this one"));
    }
    let mut at = HEADER;
    while let Some((_, pairs)) = find(&bytes, number, at, seq..=seq) {
        visit(decode(pairs).map_err(|_| corrupt(dir, number, at, "the record is not a batch"))?)?;
        (at, seq) = (at + HEAD + pairs.len(), seq + 1);
    }
    let later = seq + 1..=seq + bytes.len() as u64;
    let is_any_behind = || (at + 1..bytes.len()).any(|at| find(&bytes, number, at, later.clone()).is_some());
    if at < bytes.len() && (!is_last || is_any_behind()) {
        return Err(corrupt(dir, number, at, "the record is damaged"));
    }
    Ok((seq, at as u64))
}

/// Fills in the head of a record, which will lie at `offset` of a segment.
fn seal(record: &mut [u8], segment: u64, offset: u64, seq: u64) -> io::Result<()> {
    let (mut head, body) = record.split_at_mut(HEAD);
    let crc = checksum(segment, offset, seq, body);
    borsh::to_writer(&mut head, &(crc, body.len() as u32, seq))
}

/// Number and contents of the record at an offset, if there is a whole one with such a number.
fn find(bytes: &[u8], segment: u64, at: usize, seqs: RangeInclusive<u64>) -> Option<(u64, &[u8])> {
    let mut rest = bytes.get(at..)?;
    let (crc, len, seq) = <(u32, u32, u64)>::deserialize(&mut rest).ok()?;
    let body = rest.get(..len as usize)?;
    (seqs.contains(&seq) && crc == checksum(segment, at as u64, seq, body)).then_some((seq, body))
}

/// Segment and offset are in it so that a log which is stored as a value is not taken for one.
fn checksum(segment: u64, offset: u64, seq: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update([segment, offset, seq].map(u64::to_le_bytes).as_flattened());
    crc.update(body);
    crc.finalize()
}

fn decode(mut pairs: &[u8]) -> io::Result<Batch> {
    let mut batch = Batch::new();
    while !pairs.is_empty() {
        match <(Vec<u8>, Option<Vec<u8>>)>::deserialize(&mut pairs)? {
            (key, Some(value)) => batch.put(&key, &value),
            (key, None) => batch.delete(&key),
        }
    }
    Ok(batch)
}
