//! The write-ahead log: one file (segment) per memtable generation, a header and records.
//!
//! A record has one sequence number, one more than the record before, also across segments. Where a segment stops
//! being readable decides what that means: if a record can be found behind, or a later segment exists, acknowledged
//! bytes are damaged, and opening fails with file and offset. If not, it is what a crash leaves of an append, and is
//! cut off. Damage to the very last record cannot be told from that, and costs that record; the statistics say how
//! much was cut.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Error, record};

/// Magic 8, number of the segment 8, first sequence number 8, crc 4, zeros 4.
const HEADER: usize = 32;

/// All segments, and what has been done to them.
#[derive(Default)]
pub(super) struct Segments {
    dir: PathBuf,
    /// Number and length; a run without gaps.
    lens: Mutex<BTreeMap<u64, u64>>,
    /// The segment that takes records, or is being read back: this and later ones are needed, whatever the memtables
    /// say.
    pub(super) writing: AtomicU64,
    pub(super) appends: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) torn_bytes: AtomicU64,
    #[cfg(test)]
    pub(super) fail_syncs: std::sync::atomic::AtomicBool,
}

impl Segments {
    /// Checks the whole log, cuts off what a crash left at its end, and gives the segment to go on with and the next
    /// number.
    pub(super) fn open(dir: PathBuf) -> Result<(Self, Segment, u64), Error> {
        fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
        let mut lens = BTreeMap::new();
        for file in fs::read_dir(&dir).map_err(Error::io(&dir))? {
            let path = file.map_err(Error::io(&dir))?.path();
            if let Some(number) = path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok()) {
                lens.insert(number, fs::metadata(&path).map_err(Error::io(&path))?.len());
            }
        }
        let segments = Self { dir, lens: Mutex::new(lens.clone()), ..Self::default() };
        let (first, last) =
            (lens.keys().next().map_or(1, |first| *first), lens.keys().next_back().map_or(1, |last| *last));
        segments.writing.store(first, SeqCst);
        let (mut next_seq, mut end) = (None, 0);
        for number in first..=last {
            match lens.get(&number) {
                Some(len) => {
                    let (seq, read) = segments.read((number, *len, number == last), next_seq, |_, _| Ok(()))?;
                    segments.torn_bytes.store(len - read, SeqCst);
                    (next_seq, end) = (Some(seq), read);
                }
                None if lens.is_empty() => {}
                None => return Err(segments.corrupt(number, 0, "this segment of the log is missing")),
            }
        }
        let next_seq = next_seq.unwrap_or(1);
        let segment = if end == 0 { segments.create(last, next_seq)? } else { segments.reopen(last, end)? };
        Ok((segments, segment, next_seq))
    }

    fn corrupt(&self, number: u64, offset: usize, reason: &'static str) -> Error {
        Error::Corrupt { file: self.path(number), offset: offset as u64, reason }
    }

    pub(super) fn lens(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.lens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}.log"))
    }

    /// A fresh segment, on disk when this returns.
    pub(super) fn create(&self, number: u64, first_seq: u64) -> Result<Segment, Error> {
        let path = self.path(number);
        let create = || {
            // Not truncated by opening, as it is opened to append.
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            file.set_len(0)?;
            file.write_all(&header(number, first_seq))?;
            file.sync_all()?;
            sync_dir(&self.dir)?;
            Ok(Arc::new(file))
        };
        let file = create().map_err(|error| {
            // The log goes on without it. (If it stays, opening finds that numbers do not go on from one to the other.)
            let _ = fs::remove_file(&path);
            Error::io(&path)(error)
        })?;
        self.lens().insert(number, HEADER as u64);
        Ok(Segment { number, path, file, len: HEADER as u64 })
    }

    /// The last segment, to be appended to behind `len`. What is there now is on disk when this returns.
    fn reopen(&self, number: u64, len: u64) -> Result<Segment, Error> {
        let path = self.path(number);
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        file.set_len(len).and_then(|()| file.sync_all()).map_err(Error::io(&path))?;
        self.lens().insert(number, len);
        Ok(Segment { number, path, file: Arc::new(file), len })
    }

    /// Removes segments below `limit`, each for good before the next: never comes one back without those behind it.
    /// What cannot be removed now is so after the next flush.
    pub(super) fn remove_below(&self, limit: u64) -> Result<(), Error> {
        let numbers: Vec<u64> = self.lens().range(..limit).map(|(number, _)| *number).collect();
        for number in numbers {
            let (path, len) = (self.path(number), self.lens().remove(&number));
            fs::remove_file(&path).and_then(|()| sync_dir(&self.dir)).map_err(|error| {
                self.lens().extend(len.map(|len| (number, len)));
                Error::io(&path)(error)
            })?;
        }
        Ok(())
    }

    pub(super) fn appended(&self, segment: &Segment) {
        self.lens().insert(segment.number, segment.len);
        self.appends.fetch_add(1, SeqCst);
    }

    pub(super) fn sync_whole(&self, number: u64) -> Result<(), Error> {
        let path = self.path(number);
        File::open(&path).and_then(|file| file.sync_data()).map_err(Error::io(&path))
    }

    /// `fsync`, counted.
    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<(), Error> {
        self.syncs.fetch_add(1, SeqCst);
        #[cfg(test)]
        if self.fail_syncs.load(SeqCst) {
            return Err(Error::io(path)(io::Error::other("injected")));
        }
        file.sync_data().map_err(Error::io(path))
    }

    /// Reads a segment (its first `len` bytes), record by record. `next_seq`: how the segment before it ended;
    /// `is_last`: it may end in half a record. Gives the number after the last record's, and where that ends (0: not
    /// even a header was written).
    pub(super) fn read(
        &self,
        (number, len, is_last): (u64, u64, bool),
        next_seq: Option<u64>,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), Error>,
    ) -> Result<(u64, u64), Error> {
        let path = self.path(number);
        let mut bytes = fs::read(&path).map_err(Error::io(&path))?;
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        if is_last && (bytes.len() < HEADER || bytes.iter().all(|byte| *byte == 0)) {
            return Ok((next_seq.unwrap_or(1), 0));
        }
        let first_seq = bytes.get(16..).and_then(<[u8]>::first_chunk).map_or(0, |first| u64::from_le_bytes(*first));
        if !bytes.starts_with(&header(number, first_seq)) {
            return Err(self.corrupt(number, 0, "the header of the segment is damaged"));
        }
        if next_seq.is_some_and(|next_seq| next_seq != first_seq) {
            return Err(self.corrupt(number, 16, "records are missing between the segment before and this one"));
        }
        let (mut at, mut seq) = (HEADER, first_seq);
        while let Some((_, operations)) = record::find(&bytes, number, at).filter(|(found, _)| *found == seq) {
            visit(seq, operations)?;
            (at, seq) = (at + record::HEAD + operations.len(), seq + 1);
        }
        if at < bytes.len() && (!is_last || record::is_any_behind(&bytes, number, at, seq)) {
            return Err(self.corrupt(number, at, "the record is damaged"));
        }
        Ok((seq, at as u64))
    }
}

/// The segment that takes records.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Up to where it is good.
    pub(super) len: u64,
}

impl Segment {
    /// Appends all of it, or fails. The error's second: half of it may be there, as undoing it failed, too.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), (Error, Option<Error>)> {
        (&*self.file).write_all(bytes).map_err(|error| {
            let undone = self.file.set_len(self.len);
            (Error::io(&self.path)(error), undone.map_err(Error::io(&self.path)).err())
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn header(number: u64, first_seq: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(b"msk-wal1");
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&first_seq.to_le_bytes());
    let crc = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Makes created and removed files durable. (Only Unix lets a directory be synced.)
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
