//! The sorted files against a model that knows nothing of memtables: a `BTreeMap` built by reading the input once more.
//!
//! The files are merged newest-wins, as a compaction would, and every key must show exactly the history the model has for
//! it, newest version first. The model holds one source file at a time; the merge comes in the same order. The log gave
//! out the sequence numbers 1, 2, 3 and so on, so each of them must be there, once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::fs;

use memskip::SeqNo;

use crate::Failure;
use crate::report::Progress;
use crate::sorted_file::{Reader, SortedFile, Version};
use crate::source::{Edit, MAX_LINE, Source, cannot_read};

#[derive(Default)]
pub struct Verified {
    pub versions: u64,
    pub keys: u64,
    /// Keys whose newest version is a value.
    pub live: u64,
}

/// Newest first; `None` is a tombstone.
type History = Vec<Option<Vec<u8>>>;

/// `acknowledged` is the number of writes that the writers were told had succeeded.
pub fn verify(
    files: &[SortedFile],
    sources: &[Source],
    acknowledged: u64,
    progress: &Progress,
) -> Result<Verified, Failure> {
    let mut merged = Merge::open(files, acknowledged)?;
    let mut verified = Verified::default();
    for source in sources {
        source.check_unchanged()?;
        for (key, expected) in model(source)? {
            let line = &key[source.name.len() + 1..];
            let wrong = |what: &str| -> Failure {
                let line = line.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
                format!("line {line} of {}: {what}", source.path.display()).into()
            };
            let Some((found_key, found)) = merged.next_key()? else {
                return Err(wrong("the files end before it"));
            };
            if found_key != key {
                return Err(wrong("the files have another key in its place"));
            }
            if found != expected {
                return Err(wrong("the files tell another history"));
            }
            verified.versions += found.len() as u64;
            verified.keys += 1;
            verified.live += u64::from(found.first().is_some_and(Option::is_some));
        }
        progress.advance(source.bytes);
    }
    match merged.next_key()? {
        None => Ok(verified),
        Some(_) => Err("the files go on after the last line of the input".into()),
    }
}

/// What ought to be in the files for one source: the line, and its edit before it.
fn model(source: &Source) -> Result<BTreeMap<Vec<u8>, History>, Failure> {
    let text = fs::read(&source.path).map_err(|error| cannot_read(&source.path, &error))?;
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|rest| rest.is_empty()) {
        lines.pop();
    }
    let pieces = lines.into_iter().flat_map(|line| {
        // An empty line has no chunks, and is a line all the same.
        let blank = line.is_empty().then_some(line);
        blank.into_iter().chain(line.chunks(MAX_LINE))
    });

    let mut model = BTreeMap::new();
    for (piece, number) in pieces.zip(1..) {
        let mut key = Vec::new();
        source.write_key(number, &mut key);
        let written = Some(piece.to_vec());
        let history = match Edit::of(piece) {
            Edit::Keep => vec![written],
            Edit::Overwrite(text) => vec![Some(text), written],
            Edit::Delete => vec![None, written],
        };
        model.insert(key, history);
    }
    Ok(model)
}

/// Several sorted files as one, in flush order.
struct Merge {
    heap: BinaryHeap<Head>,
    /// Which sequence numbers have come by; number n at n - 1.
    seen: Vec<bool>,
}

/// The next version of one file. The greatest head is the one that comes first.
struct Head {
    version: Version,
    file: Reader,
}

impl Head {
    fn rank(&self) -> (Reverse<&[u8]>, SeqNo) {
        (Reverse(&self.version.key), self.version.seq)
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Head {}

impl Merge {
    fn open(files: &[SortedFile], acknowledged: u64) -> Result<Self, Failure> {
        let mut heap = BinaryHeap::new();
        for file in files {
            let mut file = Reader::open(&file.path)?;
            if let Some(version) = file.next_version()? {
                heap.push(Head { version, file });
            }
        }
        Ok(Self { heap, seen: vec![false; usize::try_from(acknowledged)?] })
    }

    /// The next key with all its versions, newest first, whichever files they are in.
    fn next_key(&mut self) -> Result<Option<(Vec<u8>, History)>, Failure> {
        let Some(first) = self.next_version()? else {
            return Ok(None);
        };
        let mut history = vec![first.value];
        while self.heap.peek().is_some_and(|head| head.version.key == first.key) {
            history.extend(self.next_version()?.map(|version| version.value));
        }
        Ok(Some((first.key, history)))
    }

    fn next_version(&mut self) -> Result<Option<Version>, Failure> {
        let Some(mut head) = self.heap.peek_mut() else {
            return Ok(None);
        };
        let version = match head.file.next_version()? {
            // The head sinks to its new place when the guard is dropped.
            Some(next) => std::mem::replace(&mut head.version, next),
            None => PeekMut::pop(head).version,
        };
        let number = version.seq.0;
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match index.and_then(|index| self.seen.get_mut(index)) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(format!("sequence number {number} is in the files twice").into()),
            None => return Err(format!("sequence number {number} is in the files, and nobody wrote it").into()),
        }
        Ok(Some(version))
    }
}
