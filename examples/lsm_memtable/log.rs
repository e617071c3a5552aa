//! One order of operations, as an engine's write-ahead log gives it: every operation gets the next sequence number, and
//! whoever applies it, whenever, applies it under that number.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::mem;
use std::sync::mpsc::SyncSender;

use memskip::SeqNo;

use crate::Failure;
use crate::report::Progress;
use crate::source::{Edit, Lines, Source, cannot_read};

/// Lines per batch: enough to make the channel cheap, little enough that a batch seldom spans two rotations.
const LINES_PER_BATCH: usize = 256;

/// A batch of edits is sent this many batches after the lines it edits, so that another thread gets it and, more often
/// than not, a newer table. (Nothing depends on it: versions are ordered by number, however they arrive.)
const EDIT_LAG: usize = 48;

pub enum Op<'a> {
    Put(&'a [u8]),
    Delete,
}

/// One operation of the log.
pub struct Record<'a> {
    pub seq: SeqNo,
    pub key: &'a [u8],
    pub op: Op<'a>,
}

/// A run of operations with consecutive numbers; keys and values lie end to end in one buffer.
#[derive(Default)]
pub struct Batch {
    first_seq: u64,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

struct Span {
    key_end: usize,
    /// `None` is a delete; a value may be empty.
    value_end: Option<usize>,
}

impl Batch {
    fn push(&mut self, source: &Source, line: u64, value: Option<&[u8]>) {
        source.write_key(line, &mut self.bytes);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.spans.push(Span { key_end, value_end: value.map(|_| self.bytes.len()) });
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut start = 0;
        self.spans.iter().zip(self.first_seq..).map(move |(span, seq)| {
            let key = &self.bytes[start..span.key_end];
            start = span.value_end.unwrap_or(span.key_end);
            let op = match span.value_end {
                Some(end) => Op::Put(&self.bytes[span.key_end..end]),
                None => Op::Delete,
            };
            Record { seq: SeqNo(seq), key, op }
        })
    }
}

pub struct Log {
    next_seq: u64,
    lines: Batch,
    edits: Batch,
    waiting_edits: VecDeque<Batch>,
    sender: SyncSender<Batch>,
}

impl Log {
    pub fn new(sender: SyncSender<Batch>) -> Self {
        Self { next_seq: 1, lines: Batch::default(), edits: Batch::default(), waiting_edits: VecDeque::new(), sender }
    }

    pub fn append_file(&mut self, source: &Source, progress: &Progress) -> Result<(), Failure> {
        let failed = |error| cannot_read(&source.path, &error);
        let mut lines = Lines::new(BufReader::new(File::open(&source.path).map_err(failed)?));
        let mut line = Vec::new();
        let mut number = 0;
        while lines.next_into(&mut line).map_err(failed)? {
            number += 1;
            self.lines.push(source, number, Some(&line));
            match Edit::of(&line) {
                Edit::Keep => {}
                Edit::Overwrite(text) => self.edits.push(source, number, Some(&text)),
                Edit::Delete => self.edits.push(source, number, None),
            }
            progress.advance(line.len() as u64 + 1);
            if self.lines.spans.len() == LINES_PER_BATCH {
                self.end_batch()?;
            }
        }
        Ok(())
    }

    /// Sends what is left. The channel closes with the log.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.end_batch()?;
        while let Some(edits) = self.waiting_edits.pop_front() {
            self.send(edits)?;
        }
        Ok(())
    }

    fn end_batch(&mut self) -> Result<(), Failure> {
        let lines = mem::take(&mut self.lines);
        self.send(lines)?;
        self.waiting_edits.push_back(mem::take(&mut self.edits));
        if self.waiting_edits.len() > EDIT_LAG {
            if let Some(edits) = self.waiting_edits.pop_front() {
                self.send(edits)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, mut batch: Batch) -> Result<(), Failure> {
        if batch.spans.is_empty() {
            return Ok(());
        }
        batch.first_seq = self.next_seq;
        self.next_seq += batch.spans.len() as u64;
        self.sender.send(batch).map_err(|_| "all writers have stopped".into())
    }
}
