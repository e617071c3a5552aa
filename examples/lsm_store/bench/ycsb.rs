//! The YCSB core workloads (Cooper et al., 2010): what is done, to which record, with which value.
//!
//! As published, but for: a record is one value, so an update writes all its fields; keys and popular records are spread by
//! a bijective function instead of FNV; of new records, a thread reads those that it has inserted itself, and E inserts
//! those that D has inserted before it.

use clap::ValueEnum;
use rand::{Rng, RngCore};
use rand_distr::{Distribution as _, Zipf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Read,
    Update,
    Insert,
    Scan,
    ReadModifyWrite,
}
use Kind::{Insert, Read, ReadModifyWrite, Scan, Update};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    Zipfian,
    Latest,
    Uniform,
}
use Distribution::{Latest, Uniform, Zipfian};

/// The name, what is done, the percentage of the first of these, and how records are chosen.
pub type Workload = (&'static str, [Kind; 2], u32, Distribution);

/// In the order in which they run: D and E, which insert, come last.
pub const WORKLOADS: [Workload; 7] = [
    ("load", [Insert, Insert], 100, Uniform),
    ("A", [Read, Update], 50, Zipfian),
    ("B", [Read, Update], 95, Zipfian),
    ("C", [Read, Read], 100, Zipfian),
    ("F", [Read, ReadModifyWrite], 50, Zipfian),
    ("D", [Read, Insert], 95, Latest),
    ("E", [Scan, Insert], 95, Zipfian),
];

pub const THETA: f64 = 0.99;
/// Popularity is drawn from so many items and then spread over the records, so that it does not depend on their number.
pub const ITEMS: f64 = 1e10;
/// Bytes: ten fields of a hundred.
pub const VALUE: usize = 1000;

/// No two numbers have the same image. (The finalizer of `SplitMix64`.)
pub fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Chooses one of the first `records` records. `space`: with those to come, so that the popular ones stay the same.
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "numbers of records, below 2^53")]
pub fn choose(distribution: Distribution, random: &mut impl Rng, records: u64, space: u64) -> u64 {
    let items = if distribution == Latest { records as f64 } else { ITEMS };
    let zipf = Zipf::new(items, THETA).expect("there are items");
    let mut ranks = zipf.sample_iter(&mut *random).map(|rank| rank as u64 - 1);
    match distribution {
        Zipfian => ranks.map(|rank| mix(!rank) % space).find(|record| *record < records).expect("it is endless"),
        Latest => records - 1 - ranks.next().expect("it is endless").min(records - 1),
        Uniform => random.random_range(0..records),
    }
}

/// In no order of the numbers.
pub fn key(number: u64) -> Vec<u8> {
    format!("user{:020}", mix(number)).into_bytes()
}

/// Says whose it is, and cannot be compressed.
pub fn value(number: u64, random: &mut impl RngCore) -> Vec<u8> {
    let mut value = vec![0; VALUE];
    random.fill_bytes(&mut value);
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}
