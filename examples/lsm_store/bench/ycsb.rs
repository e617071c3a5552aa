//! The YCSB core workloads (Cooper et al., 2010): what is done, to which record, with which value.
//!
//! As published, but for: a record is one value, so an update writes all its fields; keys and popular records are spread by a
//! bijective mixing function instead of FNV; D and E go on with the records of the workloads before them.

use std::collections::BTreeSet;

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Update,
    Insert,
    Scan,
    ReadModifyWrite,
}
use Kind::{Insert, Read, ReadModifyWrite, Scan, Update};

pub const KINDS: [&str; 5] = ["read", "update", "insert", "scan", "read-modify-write"];

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// A few records, all over the key space, are popular
    Zipfian,
    /// The records inserted last are popular
    Latest,
    /// Every record is as likely as any other
    Uniform,
}

/// The name, what is done in percent, and how records are chosen.
pub type Workload = (&'static str, &'static [(Kind, u64)], Distribution);

pub const LOAD: Workload = ("load", &[(Insert, 100)], Distribution::Uniform);

/// In the order in which they run: D and E, which insert, come last.
pub const CORE: [Workload; 6] = [
    ("A", &[(Read, 50), (Update, 50)], Distribution::Zipfian),
    ("B", &[(Read, 95), (Update, 5)], Distribution::Zipfian),
    ("C", &[(Read, 100)], Distribution::Zipfian),
    ("F", &[(Read, 50), (ReadModifyWrite, 50)], Distribution::Zipfian),
    ("D", &[(Read, 95), (Insert, 5)], Distribution::Latest),
    ("E", &[(Scan, 95), (Insert, 5)], Distribution::Zipfian),
];

pub fn pick(mix: &[(Kind, u64)], random: &mut Random) -> Kind {
    let roll = random.below(100);
    let ends = mix.iter().scan(0, |end, (kind, percent)| {
        *end += percent;
        Some((*kind, *end))
    });
    ends.into_iter().find(|(_, end)| roll < *end).expect("percentages add up to 100").0
}

/// `SplitMix64`; every thread has its own.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

/// No two numbers have the same image.
fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

const THETA: f64 = 0.99;
/// Popularity is drawn from so many items and then spread over the records, so that it does not depend on their number.
const POPULARITY_ITEMS: u64 = 10_000_000_000;

/// Chooses records; Zipfian numbers after Gray et al., "Quickly generating billion-record synthetic databases", 1994.
pub struct Chooser {
    distribution: Distribution,
    /// Records, and those to come: the popular ones stay the same while the number grows.
    space: u64,
    items: f64,
    zeta: f64,
}

#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "numbers of records, below 2^53")]
impl Chooser {
    pub fn new(distribution: Distribution, records: u64, to_come: u64) -> Self {
        let items = if distribution == Distribution::Latest { records } else { POPULARITY_ITEMS };
        Self { distribution, space: records + to_come, items: items as f64, zeta: zeta(items) }
    }

    /// One of the first `records` records.
    pub fn choose(&self, random: &mut Random, records: u64) -> u64 {
        match self.distribution {
            Distribution::Uniform => random.below(records),
            Distribution::Latest => records - 1 - self.zipfian(random).min(records - 1),
            Distribution::Zipfian => loop {
                let record = mix(!self.zipfian(random)) % self.space;
                if record < records {
                    return record;
                }
            },
        }
    }

    fn zipfian(&self, random: &mut Random) -> u64 {
        let (unit, two) = (random.below(1 << 53) as f64 / (1_u64 << 53) as f64, zeta(2));
        let eta = (1.0 - (2.0 / self.items).powf(1.0 - THETA)) / (1.0 - two / self.zeta);
        match unit * self.zeta {
            low if low < 1.0 => 0,
            low if low < two => 1,
            _ => (self.items * (eta * unit - eta + 1.0).powf(1.0 / (1.0 - THETA))) as u64,
        }
    }
}

/// The sum of `i^-THETA` for `i` from 1 to `items`: a few terms one by one, the others by the formula of Euler and Maclaurin.
#[expect(clippy::cast_precision_loss, reason = "numbers of records, below 2^53")]
fn zeta(items: u64) -> f64 {
    let last = items.min(64);
    let sum: f64 = (1..=last).map(|item| (item as f64).powf(-THETA)).sum();
    let (last, items) = (last as f64, items as f64);
    sum + (items.powf(1.0 - THETA) - last.powf(1.0 - THETA)) / (1.0 - THETA)
        + (items.powf(-THETA) - last.powf(-THETA)) / 2.0
        + THETA / 12.0 * (last.powf(-THETA - 1.0) - items.powf(-THETA - 1.0))
}

/// Numbers for new records.
#[derive(Default)]
pub struct Numbers {
    next: u64,
    under_way: BTreeSet<u64>,
}

impl Numbers {
    pub fn begin(&mut self) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next - 1);
        self.next - 1
    }

    pub fn acknowledge(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    /// All below are.
    pub fn acknowledged(&self) -> u64 {
        self.under_way.first().map_or(self.next, |first| *first)
    }
}

/// Keys of 24 bytes, in no order of their numbers.
pub fn key(number: u64) -> String {
    format!("user{:020}", mix(number))
}

/// A value that says whose it is, cannot be compressed, and ends in its own checksum.
pub fn value(number: u64, random: &mut Random, bytes: usize) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.extend((0..bytes / 8).flat_map(|_| random.next().to_le_bytes()));
    value.truncate(bytes - 4);
    value.extend(crc32fast::hash(&value).to_le_bytes());
    value
}

/// Is it a whole value, and of this key?
pub fn is_right(of: &[u8], value: &[u8], bytes: usize) -> bool {
    let (Some((number, _)), Some((content, sum))) = (value.split_first_chunk(), value.split_last_chunk()) else {
        return false;
    };
    value.len() == bytes
        && crc32fast::hash(content).to_le_bytes() == *sum
        && key(u64::from_le_bytes(*number)).as_bytes() == of
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 1_000_000;

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn is_near(found: u64, share: f64) -> bool {
        (found as f64 / DRAWS as f64 - share).abs() < 0.002
    }

    /// How often each of `records` is chosen.
    fn chosen(chooser: &Chooser, records: u64) -> Vec<u64> {
        let (mut counts, mut random) = (vec![0; records as usize], Random(1));
        (0..DRAWS).for_each(|_| counts[chooser.choose(&mut random, records) as usize] += 1);
        counts
    }

    #[test]
    fn zeta_is_the_sum_it_stands_for() {
        let sum: f64 = (1..=100_000).map(|item| f64::from(item).powf(-THETA)).sum();
        assert!((zeta(100_000) - sum).abs() < 1e-9);
        assert!((zeta(POPULARITY_ITEMS) - 26.469_028).abs() < 1e-6, "{}", zeta(POPULARITY_ITEMS));
    }

    #[test]
    fn zipfian_records_are_popular_by_rank_and_stay_so_as_the_number_grows() {
        let chooser = Chooser::new(Distribution::Zipfian, 100_000, 20_000);
        let [now, later] = [100_000, 105_000].map(|records| chosen(&chooser, records));
        for rank in [0, 1] {
            let record = (mix(!rank) % 120_000) as usize;
            let share = if rank == 0 { 1.0 } else { 0.5_f64.powf(THETA) } / zeta(POPULARITY_ITEMS);
            // Draws of records that are not there yet are made again, so what is there gets more.
            assert!(is_near(now[record], share * 1.2) && is_near(later[record], share * 120.0 / 105.0));
        }
        assert!(now.iter().filter(|count| **count > 0).count() > 60_000, "all over the key space");
    }

    #[test]
    fn latest_prefers_the_newest() {
        let counts = chosen(&Chooser::new(Distribution::Latest, 1000, 0), 1000);
        assert!(is_near(counts[999], 1.0 / zeta(1000)));
        assert!(is_near(counts[998], 0.5_f64.powf(THETA) / zeta(1000)));
        assert!(counts[..100].iter().sum::<u64>() < counts[999]);
    }

    #[test]
    fn uniform_prefers_nothing() {
        let counts = chosen(&Chooser::new(Distribution::Uniform, 100, 0), 100);
        assert!(counts.iter().all(|count| is_near(*count, 0.01)));
    }

    #[test]
    fn mixes_are_as_published() {
        for (name, mix, _) in CORE.iter().chain([&LOAD]) {
            let mut random = Random(2);
            let mut counts = [0; KINDS.len()];
            (0..DRAWS).for_each(|_| counts[pick(mix, &mut random) as usize] += 1);
            for (kind, percent) in *mix {
                let share = f64::from(u32::try_from(*percent).unwrap()) / 100.0;
                assert!(is_near(counts[*kind as usize], share), "{name}: {counts:?}");
            }
        }
    }

    #[test]
    fn records_tell_whose_they_are_and_that_they_are_whole() {
        let right = value(7, &mut Random(3), 1000);
        assert!(is_right(key(7).as_bytes(), &right, 1000));
        assert!(!is_right(key(8).as_bytes(), &right, 1000) && !is_right(key(7).as_bytes(), &right[..999], 999));
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert!(!is_right(key(7).as_bytes(), &wrong, 1000), "byte {at}");
        }
    }

    #[test]
    fn what_is_under_way_is_not_acknowledged() {
        let mut numbers = Numbers::default();
        assert_eq!([numbers.begin(), numbers.begin(), numbers.begin()], [0, 1, 2]);
        numbers.acknowledge(1);
        assert_eq!(numbers.acknowledged(), 0);
        numbers.acknowledge(0);
        assert_eq!(numbers.acknowledged(), 2);
        numbers.acknowledge(2);
        assert_eq!(numbers.acknowledged(), 3);
    }
}
