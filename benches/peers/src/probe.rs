//! One untimed round per library: the latency of single operations, the memory of the table, and a check of every entry byte by byte.

use crate::alloc::{Memory, Meter};
use crate::case::{Case, Value};
use crate::peer::{Ability, Peer, Plan};
use hdrhistogram::Histogram;
use std::time::Instant;

/// Nanoseconds of single operations. They contain one reading of the clock, some 20-30 ns.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl From<Histogram<u64>> for Latency {
    fn from(histogram: Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Probe {
    pub fill: Latency,
    pub read: Latency,
    pub memory: Memory,
    /// Bytes in use of the memory held, as the library says or, if it says nothing, as it asked for.
    pub used: usize,
    /// Entries that were not as they had to be.
    pub wrong: u64,
}

/// Times operations one by one: from the end of one to the end of the next.
struct Stopwatch {
    histogram: Histogram<u64>,
    last: Instant,
}

impl Stopwatch {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds that are in order");
        Self { histogram, last: Instant::now() }
    }

    fn start(&mut self) {
        self.last = Instant::now();
    }

    fn lap(&mut self) {
        let now = Instant::now();
        self.histogram.saturating_record((now - self.last).as_nanos() as u64);
        // Recording is not part of the next operation.
        self.start();
    }
}

pub fn probe<P: Peer>(case: &Case) -> Probe {
    let mut value = Value::new(case.id.value_size);
    let mut wrong = 0;

    // Nothing is written after the fill.
    let plan = Plan { entries: case.id.entries, payload: case.payload(), writers: 1, writers_at_once: 1 };
    let mut watch = Stopwatch::new();
    let meter = Meter::start();
    let mut table = P::new(&plan);
    watch.start();
    for index in 0..case.fill.len() {
        let (key, tag) = case.fill.get(index);
        let is_new = table.insert(key, value.of(tag, 0));
        watch.lap();
        wrong += u64::from(!is_new);
    }
    table.settle();
    let memory = meter.read();
    drop(meter);
    let fill = watch.histogram.into();
    let used = table.used_bytes().unwrap_or(memory.live);

    let mut watch = Stopwatch::new();
    watch.start();
    for index in 0..case.hits.len() {
        let (key, tag) = case.hits.get(index);
        let found = table.get(key, |value| Value::tag(value) == tag);
        watch.lap();
        wrong += u64::from(found != Some(true));
    }
    let read = watch.histogram.into();

    wrong += check(&table, case);
    Probe { fill, read, memory, used, wrong }
}

/// Counts what is wrong with a table that was just filled.
fn check<P: Peer>(table: &P, case: &Case) -> u64 {
    let mut wrong = 0;
    let sorted = &case.sorted;
    let mut model = Value::new(case.id.value_size);
    for index in 0..sorted.len() {
        let (key, tag) = sorted.get(index);
        let is_right = table.get(key, |value| value == model.of(tag, 0));
        wrong += u64::from(is_right != Some(true));
    }
    for index in 0..case.misses.len() {
        wrong += u64::from(table.get(case.misses.key(index), |_| ()).is_some());
    }
    let mut is_entry = |index: Option<usize>, key: &[u8], value: &[u8]| {
        index.is_some_and(|index| key == sorted.key(index) && value == model.of(sorted.tag(index), 0))
    };
    if P::ABILITIES.contains(&Ability::Scan) {
        let mut order = 0..sorted.len();
        table.scan(|key, value| wrong += u64::from(!is_entry(order.next(), key, value)));
        wrong += order.count() as u64;
    }
    if P::ABILITIES.contains(&Ability::Reverse) {
        let mut order = (0..sorted.len()).rev();
        table.scan_back(|key, value| wrong += u64::from(!is_entry(order.next(), key, value)));
        wrong += order.count() as u64;
    }
    wrong
}
