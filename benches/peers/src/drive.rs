//! The workloads themselves: what is done to one table between two readings of the clock. Every answer is checked inside the timed
//! part, by its length and the tag in its value; all libraries pay for that alike.

use crate::case::{BATCH, Case, SEEK_LENGTH, Value};
use crate::keys::Keys;
use crate::measure::{Sample, Tally, alone, share, together};
use crate::peer::Peer;
use crate::rng::Rng;
use crate::workload::Workload;
use std::sync::atomic::{AtomicBool, Ordering};

/// Fills an empty table.
pub fn fill<P: Peer>(table: &mut P, workload: Workload, case: &Case) -> Sample {
    let mut sample = match workload {
        Workload::FillSeq => insert_all(table, &case.sorted, 1, case),
        Workload::FillBatch => insert_batches(table, case),
        _ => insert_all(table, &case.fill, case.id.threads, case),
    };
    sample.add(&alone(|| {
        table.settle();
        Tally::default()
    }));
    sample
}

fn insert_all<P: Peer>(table: &P, keys: &Keys, threads: usize, case: &Case) -> Sample {
    together(threads, |thread| {
        let mut value = Value::new(case.id.value_size);
        let mut tally = Tally::default();
        for index in share(keys.len(), thread, threads) {
            let (key, tag) = keys.get(index);
            tally.count(table.insert(key, value.of(tag, 0)));
        }
        tally
    })
}

fn insert_batches<P: Peer>(table: &P, case: &Case) -> Sample {
    let keys = &case.batches;
    let mut value = Value::new(case.id.value_size);
    let mut sample = Sample::default();
    for start in (0..keys.len()).step_by(BATCH) {
        let indices = start..(start + BATCH).min(keys.len());
        let values: Vec<Vec<u8>> = indices.clone().map(|index| value.of(keys.tag(index), 0).to_vec()).collect();
        let entries: Vec<_> = indices.map(|index| keys.key(index)).zip(values.iter().map(Vec::as_slice)).collect();
        sample.add(&alone(|| {
            let wrong = u64::from(!table.insert_batch(&entries));
            Tally { operations: entries.len() as u64, wrong }
        }));
    }
    sample
}

/// Runs a workload on a filled table. `nth` counts the workloads that insert new keys, so that each has its own.
pub fn run<P: Peer>(table: &P, workload: Workload, case: &Case, nth: usize) -> Sample {
    match workload {
        Workload::ReadRandom => read_random(table, case),
        Workload::ReadMissing => read_missing(table, case),
        Workload::ReadSeq => scan(case, 0..case.sorted.len(), |expected| table.scan(|_, value| expected.see(value))),
        Workload::ReadReverse => {
            scan(case, (0..case.sorted.len()).rev(), |expected| table.scan_back(|_, value| expected.see(value)))
        }
        Workload::SeekRandom => seek_random(table, case),
        Workload::MultiGet(keys) => multiget(table, case, keys),
        Workload::Overwrite => overwrite(table, case),
        Workload::Mixed(percent) => mixed(table, case, percent, nth),
        Workload::ReadWhileWriting => read_while_writing(table, case, nth),
        Workload::FillRandom | Workload::FillSeq | Workload::FillBatch | Workload::Drop => Sample::default(),
    }
}

/// Looks a key up and says whether its value is there and its own.
fn has<P: Peer>(table: &P, key: &[u8], tag: u32, size: usize) -> bool {
    table.get(key, |value| value.len() == size && Value::tag(value) == tag) == Some(true)
}

fn read_random<P: Peer>(table: &P, case: &Case) -> Sample {
    let threads = case.id.threads;
    together(threads, |thread| {
        let mut tally = Tally::default();
        for index in share(case.hits.len(), thread, threads) {
            let (key, tag) = case.hits.get(index);
            tally.count(has(table, key, tag, case.id.value_size));
        }
        tally
    })
}

fn read_missing<P: Peer>(table: &P, case: &Case) -> Sample {
    let threads = case.id.threads;
    // Few keys for small tables: taken again and again until there are as many operations as of the other kinds.
    let turns = (case.hits.len() / case.misses.len()).max(1);
    together(threads, |thread| {
        let mut tally = Tally::default();
        for _ in 0..turns {
            for index in share(case.misses.len(), thread, threads) {
                tally.count(table.get(case.misses.key(index), |_| ()).is_none());
            }
        }
        tally
    })
}

/// Compares a scan with the order in which the tags must come.
struct Expected<'a, I> {
    case: &'a Case,
    order: I,
    tally: Tally,
}

impl<I: Iterator<Item = usize>> Expected<'_, I> {
    fn see(&mut self, value: &[u8]) {
        let tag = self.order.next().map(|index| self.case.sorted.tag(index));
        self.tally.count(tag == Some(Value::tag(value)));
    }
}

/// Whole scans: every entry in its place. Small tables are scanned several times.
fn scan<I: Iterator<Item = usize> + Clone>(case: &Case, order: I, scan: impl Fn(&mut Expected<'_, I>)) -> Sample {
    let turns = (case.hits.len() / case.sorted.len()).clamp(1, 100);
    alone(|| {
        let mut tally = Tally::default();
        for _ in 0..turns {
            let mut expected = Expected { case, order: order.clone(), tally };
            scan(&mut expected);
            tally = expected.tally;
            tally.wrong += expected.order.count() as u64;
        }
        tally
    })
}

fn seek_random<P: Peer>(table: &P, case: &Case) -> Sample {
    let threads = case.id.threads;
    together(threads, |thread| {
        let mut tally = Tally::default();
        for index in share(case.seeks.len(), thread, threads) {
            let (mut tag_sum, mut count) = (0, 0);
            table.seek(case.seeks.key(index), SEEK_LENGTH, |_, value| {
                tag_sum += u64::from(Value::tag(value));
                count += 1;
            });
            let answer = case.seek_answers[index];
            tally.count(tag_sum == answer.tag_sum && count == answer.count);
        }
        tally
    })
}

fn multiget<P: Peer>(table: &P, case: &Case, keys: usize) -> Sample {
    let threads = case.id.threads;
    together(threads, |thread| {
        let mut tally = Tally::default();
        let mut wanted = Vec::with_capacity(keys);
        for start in share(case.hits.len(), thread, threads).step_by(keys) {
            let end = (start + keys).min(case.hits.len());
            wanted.clear();
            wanted.extend((start..end).map(|index| case.hits.key(index)));
            table.get_many(&wanted, |index, value| {
                tally.count(value.map(Value::tag) == Some(case.hits.tag(start + index)));
            });
        }
        tally
    })
}

fn overwrite<P: Peer>(table: &P, case: &Case) -> Sample {
    let threads = case.id.threads;
    let mut sample = together(threads, |thread| {
        let mut value = Value::new(case.id.value_size);
        let mut tally = Tally::default();
        for index in share(case.zipf.len(), thread, threads) {
            let (key, tag) = case.zipf.get(index);
            tally.count(table.overwrite(key, value.of(tag, index as u32 + 1)));
        }
        tally
    });
    // Not timed: one thread's last write is what must be there; of several threads', one that was made.
    let mut last = std::collections::HashMap::new();
    for index in 0..case.zipf.len() {
        last.insert(case.zipf.tag(index), index);
    }
    for (tag, index) in last {
        let is_right = table.get(case.zipf.key(index), |value| {
            let generation = Value::generation(value);
            let is_last = generation as usize == index + 1;
            Value::tag(value) == tag && if threads == 1 { is_last } else { generation > 0 }
        });
        sample.tally.wrong += u64::from(is_right != Some(true));
    }
    sample
}

fn mixed<P: Peer>(table: &P, case: &Case, percent: u8, nth: usize) -> Sample {
    let threads = case.id.threads;
    let extra = case.extra_range(nth).start;
    let mut sample = together(threads, |thread| {
        let mut rng = Rng::new(u64::from(percent) << 32 | thread as u64);
        let mut value = Value::new(case.id.value_size);
        let mut tally = Tally::default();
        for index in share(case.writes, thread, threads) {
            let is_right = if rng.below(100) < usize::from(percent) {
                let (key, tag) = case.hits.get(index);
                has(table, key, tag, case.id.value_size)
            } else {
                let (key, tag) = case.extra.get(extra + index);
                table.insert(key, value.of(tag, 0))
            };
            tally.count(is_right);
        }
        tally
    });
    // Not timed: what was inserted is there.
    for thread in 0..threads {
        let mut rng = Rng::new(u64::from(percent) << 32 | thread as u64);
        for index in share(case.writes, thread, threads) {
            if rng.below(100) >= usize::from(percent) {
                let (key, tag) = case.extra.get(extra + index);
                sample.tally.wrong += u64::from(!has(table, key, tag, case.id.value_size));
            }
        }
    }
    sample
}

/// Reads per look at whether the writer is done.
const READS_PER_LOOK: usize = 16;

fn read_while_writing<P: Peer>(table: &P, case: &Case, nth: usize) -> Sample {
    let readers = case.id.threads.saturating_sub(1).max(1);
    let is_done = AtomicBool::new(false);
    let size = case.id.value_size;
    // Thread 0 writes, and ends the measurement when it has written all it has; only reads are counted as operations.
    let mut sample = together(readers + 1, |thread| {
        let mut tally = Tally::default();
        if thread == 0 {
            let mut value = Value::new(size);
            for index in case.extra_range(nth) {
                let (key, tag) = case.extra.get(index);
                tally.wrong += u64::from(!table.insert(key, value.of(tag, 0)));
            }
            is_done.store(true, Ordering::Relaxed);
            return tally;
        }
        let mut index = thread * case.hits.len() / (readers + 1);
        while !is_done.load(Ordering::Relaxed) {
            for _ in 0..READS_PER_LOOK {
                index = if index + 1 < case.hits.len() { index + 1 } else { 0 };
                let (key, tag) = case.hits.get(index);
                tally.count(has(table, key, tag, size));
            }
        }
        tally
    });
    sample.beside = case.writes as u64;
    for index in case.extra_range(nth) {
        let (key, tag) = case.extra.get(index);
        sample.tally.wrong += u64::from(!has(table, key, tag, size));
    }
    sample
}
