//! A case: one size, one shape of keys, one number of threads, and every key of every operation, made beforehand. All libraries get
//! the same keys in the same order, in every round.

use crate::keys::{self, Keys, Shape};
use crate::peer::Plan;
use crate::rng::{Rng, Zipf};
use crate::workload::Workload;

/// Entries read by one `seekrandom`.
pub const SEEK_LENGTH: usize = 10;
/// Keys of one batch of `fillbatch`.
pub const BATCH: usize = 1000;
/// YCSB's.
const THETA: f64 = 0.99;

/// What names a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaseId {
    pub entries: usize,
    pub shape: Shape,
    pub threads: usize,
    pub value_size: usize,
}

/// One seek and its answer.
#[derive(Clone, Copy, Debug)]
pub struct SeekAnswer {
    pub tag_sum: u64,
    pub count: usize,
}

#[derive(Debug)]
pub struct Case {
    pub id: CaseId,
    /// Every key, in random order; the tag is the position.
    pub fill: Keys,
    /// The same keys, ascending.
    pub sorted: Keys,
    /// The same keys in batches of [`BATCH`], each ascending.
    pub batches: Keys,
    /// Keys that are there.
    pub hits: Keys,
    /// Keys that are not.
    pub misses: Keys,
    /// Keys, there or not, ...
    pub seeks: Keys,
    /// ... and what a seek to each gives.
    pub seek_answers: Vec<SeekAnswer>,
    /// Keys to overwrite, Zipf-distributed.
    pub zipf: Keys,
    /// New keys, for the workloads that insert while others read: each takes the next [`Case::writes`] of them.
    pub extra: Keys,
    /// Operations of each workload that changes a filled table.
    pub writes: usize,
    /// Tables filled per round: more of the small ones, for the clock's sake.
    pub repeats: usize,
    pub plan: Plan,
}

impl Case {
    /// `reads` operations for each reading workload; at most as many for each writing one.
    pub fn new(id: CaseId, reads: usize, seed: u64, workloads: &[Workload]) -> Self {
        let mut rng = Rng::new(seed);
        let n = id.entries;
        // What changes a table must not turn it into another one: a quarter more operations than it has entries, at most.
        let writes = reads.min((n / 4).max(25));
        let inserting =
            workloads.iter().filter(|workload| matches!(workload, Workload::Mixed(_) | Workload::ReadWhileWriting));
        let extra_count = inserting.count() * writes;
        let miss_count = n.min(reads);

        let all = keys::generate(id.shape, n + miss_count + extra_count, &mut rng);
        let fill = all.pick(0..n);
        let misses = all.pick(n..n + miss_count);
        let extra = all.pick(n + miss_count..all.len());
        let sorted = fill.sorted();
        let batches = batches(&fill);
        let hits = fill.pick((0..reads).map(|_| rng.below(n)));
        let seeks = mixture(&fill, &misses, reads / SEEK_LENGTH, &mut rng);
        let seek_answers = (0..seeks.len()).map(|index| answer(&sorted, seeks.key(index))).collect();
        let zipf = Zipf::new(n, THETA);
        let zipf = fill.pick((0..writes).map(|_| zipf.rank(&mut rng)));

        let entries = n + extra_count + writes;
        let payload = all.total_bytes() + zipf.total_bytes() + entries * id.value_size;
        let plan = Plan { entries, payload, writers: writers(workloads, id.threads), writers_at_once: id.threads };
        let repeats = (20_000 / n.max(1)).clamp(1, 200);
        Self { id, fill, sorted, batches, hits, misses, seeks, seek_answers, zipf, extra, writes, repeats, plan }
    }

    /// Bytes of keys and values after the fill.
    pub fn payload(&self) -> usize {
        self.fill.total_bytes() + self.id.entries * self.id.value_size
    }

    /// The new keys that belong to the `nth` workload that inserts.
    pub fn extra_range(&self, nth: usize) -> std::ops::Range<usize> {
        nth * self.writes..(nth + 1) * self.writes
    }
}

/// Threads that write to one table: the calling one, and what [`crate::measure::together`] starts for each workload.
fn writers(workloads: &[Workload], threads: usize) -> usize {
    let started = |workload: &Workload| match workload {
        Workload::ReadWhileWriting => 1,
        Workload::FillRandom | Workload::Overwrite | Workload::Mixed(_) if threads > 1 => threads,
        _ => 0,
    };
    1 + workloads.iter().map(started).sum::<usize>()
}

fn batches(fill: &Keys) -> Keys {
    let mut batches = Keys::default();
    for start in (0..fill.len()).step_by(BATCH) {
        let batch = fill.pick(start..(start + BATCH).min(fill.len())).sorted();
        for (key, tag) in (0..batch.len()).map(|index| batch.get(index)) {
            batches.push(key, tag);
        }
    }
    batches
}

fn mixture(one: &Keys, other: &Keys, count: usize, rng: &mut Rng) -> Keys {
    let mut keys = Keys::default();
    for turn in 0..count {
        let from = if turn % 2 == 0 { one } else { other };
        let (key, tag) = from.get(rng.below(from.len()));
        keys.push(key, tag);
    }
    keys
}

fn answer(sorted: &Keys, from: &[u8]) -> SeekAnswer {
    let (mut low, mut high) = (0, sorted.len());
    while low < high {
        let middle = low.midpoint(high);
        if sorted.key(middle) < from {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let end = (low + SEEK_LENGTH).min(sorted.len());
    SeekAnswer { tag_sum: (low..end).map(|index| u64::from(sorted.tag(index))).sum(), count: end - low }
}

/// A value: says whose it is and how often it was written, and fills the rest with what follows from that.
#[derive(Clone, Debug)]
pub struct Value(Vec<u8>);

impl Value {
    /// The shortest value that has room for both.
    pub const MIN_SIZE: usize = 8;

    pub fn new(size: usize) -> Self {
        Self((0..size).map(|index| index as u8).collect())
    }

    /// The value of the key with this tag, `generation` 0 for its first.
    pub fn of(&mut self, tag: u32, generation: u32) -> &[u8] {
        self.0[..4].copy_from_slice(&tag.to_le_bytes());
        self.0[4..8].copy_from_slice(&generation.to_le_bytes());
        if let Some(last) = self.0[8..].last_mut() {
            *last = tag as u8;
        }
        &self.0
    }

    pub fn tag(value: &[u8]) -> u32 {
        value.first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    }

    pub fn generation(value: &[u8]) -> u32 {
        value.get(4..).and_then(<[u8]>::first_chunk).map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    }
}
