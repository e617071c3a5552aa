//! The write-ahead log: one file (segment) per memtable generation, of records. A segment is named after its first one.
//!
//! ```text
//! record  crc 4 │ length 4 │ sequence number 8 │ synced 8 │ the batch: kinds, keys and values, as borsh writes them
//! ```
//!
//! A record's number is one more than that of the record before, also across segments. `synced` is how much of the
//! segment was known to be on disk when the record was written.
//!
//! # Where a segment stops being readable
//!
//! It is damage, and opening fails with file and offset, if
//!
//! - a later segment exists: that was begun once this one was whole and synced;
//! - or a record can be found behind whose `synced` is above the offset: here, too, everything was on disk by then.
//!
//! If not, it is what a crash leaves of appends, and is cut off with all that is behind. That a record can be found
//! there is not enough: a group is one append, between two syncs there may be many, and a power failure keeps of them
//! whatever pages it likes. What each durability makes of it:
//!
//! - `Always`: `synced` is where the record's group begins. In front of it all was acknowledged; of a group that is
//!   torn, nothing was.
//! - `Interval`: `synced` is the end at the last sync. What is cut off was written since, or while that went on.
//! - `None`: `synced` is the end when the log was opened, which is a sync, too. What is cut off was written since.
//!
//! Damage to what was synced after the last record was written cannot be told from a torn append: nothing behind it
//! says so. It costs the records from there on; with `Always`, these are of the last group.

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

use super::names::{create_dir, may_sync, sync_dir};
use super::{Batch, Error};

/// Checksum, length, number, and what was synced.
const HEAD: usize = 24;

/// The end of the log, where records are appended.
pub(super) struct Log {
    /// The segment that takes records, and up to where it is good.
    pub(super) segment: u64,
    file: Arc<File>,
    len: u64,
    /// How much of it is known to be on disk.
    synced: u64,
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
        create_dir(dir)?;
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
            while let Some((_, body)) = find(&bytes, segment, at, next_seq..=next_seq) {
                let writes = borsh::from_slice::<Vec<(u8, Vec<u8>, Vec<u8>)>>(body);
                let mut batch = Batch::new();
                for (kind, key, value) in writes.map_err(|_| corrupt(at, "the record is not a batch"))? {
                    batch.put_kind(&key, &value, Kind(kind));
                }
                visit(segment, batch)?;
                (at, next_seq) = (at + HEAD + body.len(), next_seq + 1);
            }
            let later = next_seq + 1..=next_seq + bytes.len() as u64;
            let says_it_was_synced =
                |behind| find(&bytes, segment, behind, later.clone()).is_some_and(|(synced, _)| synced > at as u64);
            if at < bytes.len() && (segment != last || (at + 1..bytes.len()).any(says_it_was_synced)) {
                return Err(corrupt(at, "the record is damaged"));
            }
            len = at as u64;
        }
        let file = OpenOptions::new().append(true).create(true).open(path(dir, last))?;
        cut(&file, dir, len)?;
        let counts = Arc::new(Counts { dir: dir.to_owned(), needed: last.into(), syncs: 0.into() });
        let (file, buffer) = (Arc::new(file), Vec::new());
        Ok(Self { segment: last, file, len, synced: len, next_seq, failed: None, buffer, counts })
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
            let crc = checksum(self.segment, self.len + start as u64, seq, self.synced, body);
            borsh::to_writer(&mut head, &(crc, body.len() as u32, seq, self.synced))?;
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
        sync(&self.file, &self.counts).map_err(|error| self.poison(error))?;
        self.synced = self.len;
        Ok(())
    }

    /// Begins a new segment, once the old one is whole on disk: only the log's end may be torn.
    pub(super) fn rotate(&mut self) -> Result<(), Error> {
        self.sync()?;
        // One without records is as good as new, and would have the same name.
        if self.len > 0 {
            // If this fails there is none, and the log goes on as it is.
            let file = OpenOptions::new().append(true).create(true).open(path(&self.counts.dir, self.next_seq))?;
            cut(&file, &self.counts.dir, 0).map_err(|error| self.poison(error))?;
            (self.file, self.segment, self.len, self.synced) = (Arc::new(file), self.next_seq, 0, 0);
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
    let (log, counts, mut seen) = (Arc::downgrade(log), Arc::clone(&log.lock().counts), 0);
    let sync_again_and_again = move || {
        while let Some(log) = log.upgrade() {
            let end = |log: &Log| (log.next_seq, log.len, Arc::clone(&log.file));
            let (appended, len, file) = end(&log.lock());
            if appended > mem::replace(&mut seen, appended) {
                let outcome = sync(&file, &counts);
                let mut log = log.lock();
                match outcome {
                    // Meanwhile another segment may have begun, or somebody else have synced more.
                    Ok(()) if Arc::ptr_eq(&file, &log.file) => log.synced = log.synced.max(len),
                    Ok(()) => {}
                    Err(error) => drop(log.poison(error)),
                }
            }
            drop(log);
            thread::sleep(interval);
        }
    };
    thread::Builder::new().spawn(sync_again_and_again).map(drop)
}

fn sync(file: &File, counts: &Counts) -> io::Result<()> {
    counts.syncs.fetch_add(1, SeqCst);
    may_sync(file.path())?;
    file.sync_data()
}

fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:020}.log"))
}

/// All segments, ascending. Names that are not exactly as [`path`] makes them are somebody else's: `+2.log`.
fn segments(dir: &Path) -> io::Result<BTreeSet<u64>> {
    let number = |name: OsString| {
        let number = name.to_str()?.strip_suffix(".log")?.parse().ok()?;
        (path(dir, number).file_name()? == name).then_some(number)
    };
    fs::read_dir(dir)?.filter_map(|file| file.map(|file| number(file.file_name())).transpose()).collect()
}

/// Leaves the first `len` bytes of a segment, which are on disk when this returns; as is its name.
fn cut(file: &File, dir: &Path, len: u64) -> io::Result<()> {
    file.set_len(len)?;
    file.sync_all()?;
    sync_dir(dir)
}

/// What was synced, and the contents, of the record at an offset, if there is a whole one with such a number.
fn find(bytes: &[u8], segment: u64, at: usize, seqs: RangeInclusive<u64>) -> Option<(u64, &[u8])> {
    let mut rest = bytes.get(at..)?;
    let (crc, len, seq, synced) = <(u32, u32, u64, u64)>::deserialize(&mut rest).ok()?;
    let body = rest.get(..len as usize)?;
    (seqs.contains(&seq) && crc == checksum(segment, at as u64, seq, synced, body)).then_some((synced, body))
}

/// Segment and offset are in it so that a log which is stored as a value is not taken for one.
fn checksum(segment: u64, offset: u64, seq: u64, synced: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update([segment, offset, seq, synced].map(u64::to_le_bytes).as_flattened());
    crc.update(body);
    crc.finalize()
}
