//! The workloads of `examples/lsm_store`: mixes and choosers as published, and records that tell whether they are right.

#![cfg(all(feature = "std", unix, not(any(loom, shuttle, old_compiler))))]

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/lsm_store/bench/ycsb.rs"]
mod ycsb;

use rand::{SeedableRng, rngs::SmallRng};
use ycsb::{Distribution, ITEMS, Kind, THETA, WORKLOADS, choose, mix};

const DRAWS: u32 = 300_000;

/// The sum of `i^-THETA` for `i` from 1 to `items`: a few terms one by one, the others by the formula of Euler and Maclaurin.
fn zeta(items: f64) -> f64 {
    let sum: f64 = (1..=64).map(|item| f64::from(item).powf(-THETA)).sum();
    sum + (items.powf(1.0 - THETA) - 64_f64.powf(1.0 - THETA)) / (1.0 - THETA)
        + (items.powf(-THETA) - 64_f64.powf(-THETA)) / 2.0
}

fn is_near(found: u32, share: f64) -> bool {
    (f64::from(found) / f64::from(DRAWS) - share).abs() < 0.004
}

/// How often each of `records` is chosen.
fn chosen(distribution: Distribution, records: u64, space: u64) -> Vec<u32> {
    let (mut counts, mut random) = (vec![0; records as usize], SmallRng::seed_from_u64(1));
    (0..DRAWS).for_each(|_| counts[choose(distribution, &mut random, records, space) as usize] += 1);
    counts
}

#[test]
fn zipfian_records_are_popular_by_rank_and_stay_so_as_the_number_grows() {
    let [now, later] = [100_000, 105_000].map(|records| chosen(Distribution::Zipfian, records, 120_000));
    for rank in [0, 1] {
        let record = (mix(!rank) % 120_000) as usize;
        let share = if rank == 0 { 1.0 } else { 0.5_f64.powf(THETA) } / zeta(ITEMS);
        // Draws of records that are not there yet are made again, so what is there gets more.
        assert!(is_near(now[record], share * 1.2) && is_near(later[record], share * 120.0 / 105.0));
    }
    assert!(now.iter().filter(|count| **count > 0).count() > 40_000, "all over the key space");
}

#[test]
fn latest_prefers_the_newest() {
    let counts = chosen(Distribution::Latest, 1000, 1000);
    assert!(is_near(counts[999], 1.0 / zeta(1000.0)));
    assert!(is_near(counts[998], 0.5_f64.powf(THETA) / zeta(1000.0)));
    assert!(counts[..100].iter().sum::<u32>() < counts[999]);
}

#[test]
fn uniform_prefers_nothing() {
    let counts = chosen(Distribution::Uniform, 100, 100);
    assert!(counts.iter().all(|count| is_near(*count, 0.01)));
}

#[test]
fn mixes_are_as_published() {
    use Kind::{Insert, Read, ReadModifyWrite, Scan, Update};
    let published = [
        ("A", Read, 50, Update, Distribution::Zipfian),
        ("B", Read, 95, Update, Distribution::Zipfian),
        ("C", Read, 100, Read, Distribution::Zipfian),
        ("D", Read, 95, Insert, Distribution::Latest),
        ("E", Scan, 95, Insert, Distribution::Zipfian),
        ("F", Read, 50, ReadModifyWrite, Distribution::Zipfian),
    ];
    for (name, often, percent, seldom, distribution) in published {
        assert!(WORKLOADS.contains(&(name, [often, seldom], percent, distribution)), "{name}");
    }
}
