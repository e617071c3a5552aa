//! The write-ahead log: one file (segment) per memtable generation, of records. A segment is named after its first one.
//!
//! ```text
//! record  crc 4 │ length 4 │ sequence number 8 │ the batch: kinds, keys and values, as borsh writes them
//! ```
//!
//! A record's number is one more than that of the record before, also across segments. Where a segment stops being
//! readable decides what that means: if a record can be found behind, or a later segment exists, acknowledged bytes
//! are damaged, and opening fails with file and offset. If not, it is what a crash leaves of an append, and is cut
//! off. Damage to the very last record cannot be told from that, and costs that record.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use std::{mem, thread};

use borsh::BorshDeserialize;
use fs_err::{self as fs, File, OpenOptions};
use memskip::Kind;
use parking_lot::Mutex;

use super::{Batch, Error};

/// Checksum, length and number.
const HEAD: usize = 16;

/// The end of the log, where records are appended.
pub(super) struct Log {
    /// The segment that takes records, and up to where it is good.
    pub(super) segment: u64,
    file: Arc<File>,
    len: u64,
    next_seq: u64,
    /// Why it takes no more.
    failed: Option<Error>,
    buffer: Vec<u8>,
    pub(super) counts: Arc<Counts>,
}

/// What is known without a lock.
pub(super) struct Counts {
    dir: PathBuf,
    /// Segments from here on are needed, whatever the memtables say.
    pub(super) needed: AtomicU64,
    pub(super) syncs: AtomicU64,
}

impl Log {
    /// Reads the whole log (`visit`: segment and batch), and cuts off what a crash left at its end.
    pub(super) fn open(dir: &Path, mut visit: impl FnMut(u64, Batch) -> Result<(), Error>) -> Result<Self, Error> {
        fs::create_dir_all(dir)?;
        let segments = segments(dir)?;
        let last = segments.last().copied().unwrap_or(1);
        let (mut next_seq, mut len) = (segments.first().copied().unwrap_or(1), 0);
        for segment in segments {
            let bytes = fs::read(path(dir, segment))?;
            let corrupt = |at, reason| Error::Corrupt { file: path(dir, segment), offset: at as u64, reason };
            if segment != next_seq {
                return Err(corrupt(0, "records are missing between the segment before and this one"));
            }
            let mut at = 0;
            while let Some(body) = find(&bytes, segment, at, next_seq..=next_seq) {
                let writes = borsh::from_slice::<Vec<(u8, Vec<u8>, Vec<u8>)>>(body);
                let mut batch = Batch::new();
                for (kind, key, value) in writes.map_err(|_| corrupt(at, "the record is not a batch"))? {
                    batch.put_kind(&key, &value, Kind(kind));
                }
                visit(segment, batch)?;
                (at, next_seq) = (at + HEAD + body.len(), next_seq + 1);
            }
            let later = next_seq + 1..=next_seq + bytes.len() as u64;
            let is_any_behind = || (at + 1..bytes.len()).any(|at| find(&bytes, segment, at, later.clone()).is_some());
            if at < bytes.len() && (segment != last || is_any_behind()) {
                return Err(corrupt(at, "the record is damaged"));
            }
            len = at as u64;
        }
        let file = OpenOptions::new().append(true).create(true).open(path(dir, last))?;
        cut(&file, dir, len)?;
        let counts = Arc::new(Counts { dir: dir.to_owned(), needed: last.into(), syncs: 0.into() });
        Ok(Self { segment: last, file: Arc::new(file), len, next_seq, failed: None, buffer: Vec::new(), counts })
    }

    /// Nothing is appended any more: nobody knows what a failure has left on disk.
    pub(super) fn poison(&mut self, error: impl Into<Error>) -> Error {
        self.failed.get_or_insert_with(|| Error::Poisoned(Arc::new(error.into()))).clone()
    }

    /// Appends a record for each batch: all of them, or none.
    pub(super) fn append(&mut self, batches: &[Batch]) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.buffer.clear();
        for (batch, seq) in batches.iter().zip(self.next_seq..) {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(&[0; HEAD]);
            let writes: Vec<_> = batch.iter().map(|(key, value, kind)| (kind.0, key, value)).collect();
            borsh::to_writer(&mut self.buffer, &writes)?;
            let (mut head, body) = self.buffer[start..].split_at_mut(HEAD);
            let crc = checksum(self.segment, self.len + start as u64, seq, body);
            borsh::to_writer(&mut head, &(crc, body.len() as u32, seq))?;
        }
        if let Err(error) = (&*self.file).write_all(&self.buffer) {
            // Half of it may be there.
            let undone = self.file.set_len(self.len);
            return Err(if undone.is_ok() { error.into() } else { self.poison(error) });
        }
        self.len += self.buffer.len() as u64;
        self.next_seq += batches.len() as u64;
        Ok(())
    }

    /// `fsync`s what has been appended.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)?;
        sync(&self.file, &self.counts).map_err(|error| self.poison(error))
    }

    /// Begins a new segment, once the old one is whole on disk: only the log's end may be torn.
    pub(super) fn rotate(&mut self) -> Result<(), Error> {
        self.sync()?;
        // One without records is as good as new, and would have the same name.
        if self.len > 0 {
            // If this fails there is none, and the log goes on as it is.
            let file = OpenOptions::new().append(true).create(true).open(path(&self.counts.dir, self.next_seq))?;
            cut(&file, &self.counts.dir, 0).map_err(|error| self.poison(error))?;
            (self.file, self.segment, self.len) = (Arc::new(file), self.next_seq, 0);
            self.counts.needed.store(self.segment, SeqCst);
        }
        Ok(())
    }
}

impl Counts {
    /// Removes segments, each for good before the next: never comes one back without those behind it.
    pub(super) fn remove_below(&self, limit: u64) -> io::Result<()> {
        for segment in segments(&self.dir)?.range(..limit) {
            fs::remove_file(path(&self.dir, *segment))?;
            sync_dir(&self.dir)?;
        }
        Ok(())
    }
}

/// As long as there is a log, while writers go on. A failure comes to the next of them.
pub(super) fn sync_at_intervals(log: &Arc<Mutex<Log>>, interval: Duration) -> io::Result<()> {
    let (log, counts, mut synced) = (Arc::downgrade(log), Arc::clone(&log.lock().counts), 0);
    let sync_again_and_again = move || {
        while let Some(log) = log.upgrade() {
            let end = |log: &Log| (log.next_seq, Arc::clone(&log.file));
            let (appended, file) = end(&log.lock());
            if appended > mem::replace(&mut synced, appended) {
                let _ = sync(&file, &counts).map_err(|error| log.lock().poison(error));
            }
            drop(log);
            thread::sleep(interval);
        }
    };
    thread::Builder::new().spawn(sync_again_and_again).map(drop)
}

fn sync(file: &File, counts: &Counts) -> io::Result<()> {
    counts.syncs.fetch_add(1, SeqCst);
    // The one failure that a test cannot bring about from outside.
    if cfg!(test) && file.path().with_extension("broken").exists() {
        return Err(io::Error::other("a test says so"));
    }
    file.sync_data()
}

/// Makes created and removed files durable. (Only Unix lets a directory be synced.)
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:020}.log"))
}

/// All segments, ascending.
fn segments(dir: &Path) -> io::Result<BTreeSet<u64>> {
    let number = |name: OsString| name.to_str()?.strip_suffix(".log")?.parse().ok();
    fs::read_dir(dir)?.filter_map(|file| file.map(|file| number(file.file_name())).transpose()).collect()
}

/// Leaves the first `len` bytes of a segment, which are on disk when this returns; as is its name.
fn cut(file: &File, dir: &Path, len: u64) -> io::Result<()> {
    file.set_len(len)?;
    file.sync_all()?;
    sync_dir(dir)
}

/// The contents of the record at an offset, if there is a whole one with such a number.
fn find(bytes: &[u8], segment: u64, at: usize, seqs: RangeInclusive<u64>) -> Option<&[u8]> {
    let mut rest = bytes.get(at..)?;
    let (crc, len, seq) = <(u32, u32, u64)>::deserialize(&mut rest).ok()?;
    let body = rest.get(..len as usize)?;
    (seqs.contains(&seq) && crc == checksum(segment, at as u64, seq, body)).then_some(body)
}

/// Segment and offset are in it so that a log which is stored as a value is not taken for one.
fn checksum(segment: u64, offset: u64, seq: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update([segment, offset, seq].map(u64::to_le_bytes).as_flattened());
    crc.update(body);
    crc.finalize()
}
