//! Comparators and their hints: for any keys, the rules that `Comparator` states hold, and a table under that order
//! finds each key, and nothing else.
#![no_main]

#[path = "../../common/mod.rs"]
#[macro_use]
mod common;

use arbitrary::Arbitrary;
use common::{CaseInsensitive, LengthFirst};
use libfuzzer_sys::fuzz_target;
use memskip::{BigEndian, Bytewise, CommonPrefix, Comparator, Key, Memtable, Reverse};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Put before every key: hints that cannot see past it are no use.
    prefix: Vec<u8>,
    /// What follows.
    tails: Vec<Vec<u8>>,
    /// Looked for, whether they are there or not.
    probes: Vec<Vec<u8>>,
    /// At most so many units are taken as shared.
    shared: u8,
}

/// Among keys that share `shared` units: `a <= b` implies `hint(a) <= hint(b)`, the same for wide hints, and equal keys
/// have equal hints. What two keys share, all keys between them share too.
fn monotone<K: ?Sized>(order: &impl Comparator<K>, keys: &[&K], most: usize) {
    let mut sorted = keys.to_vec();
    sorted.sort_by(|a, b| order.compare(a, b));
    for first in 0..sorted.len() {
        for last in first..sorted.len() {
            let between = &sorted[first..=last];
            let (low, high) = (sorted[first], sorted[last]);
            let common = order.common_prefix(low, high);
            for key in between {
                assert!(order.common_prefix(low, key) >= common && order.common_prefix(key, high) >= common);
            }
            for units in [most, common, common + 1] {
                assert_eq!(order.shares_prefix(low, high, units), units <= common);
            }
            let shared = common.min(most);
            for pair in between.windows(2) {
                let hints = [order.hint(pair[0], shared), order.hint(pair[1], shared)];
                let wide = [order.wide_hint(pair[0], shared), order.wide_hint(pair[1], shared)];
                assert!(hints[0] <= hints[1] && wide[0] <= wide[1], "a later key has a smaller hint");
                if order.compare(pair[0], pair[1]).is_eq() {
                    assert!(hints[0] == hints[1] && wide[0] == wide[1], "equal keys have different hints");
                }
            }
        }
    }
}

/// A table in this order holds `keys` and finds what a sorted list finds.
fn lookups<K: Key + ?Sized>(order: impl Comparator<K>, keys: &[&K], probes: &[&K]) {
    let table = Memtable::<K>::builder().comparator(&order).shards(1).build();
    let mut model: Vec<&K> = Vec::new();
    for &key in keys {
        let at = model.binary_search_by(|other| order.compare(other, key));
        assert_eq!(table.insert(key, key.as_bytes()), at.is_err());
        if let Err(at) = at {
            model.insert(at, key);
        }
    }
    let mut cursor = table.cursor();
    for &probe in keys.iter().chain(probes) {
        let at = model.binary_search_by(|other| order.compare(other, probe));
        assert_eq!(table.get_live(probe), at.ok().map(|at| model[at].as_bytes()));
        let next = at.unwrap_or_else(|next| next);
        assert_eq!(cursor.seek(probe), next < model.len());
        assert_eq!(cursor.entry().map(|entry| entry.value), model.get(next).map(|key| key.as_bytes()));
    }
    assert!(table.iter().map(|entry| entry.value).eq(model.iter().map(|key| key.as_bytes())));
    assert_valid!(table);
}

fn both<K: Key + ?Sized>(order: impl Comparator<K>, keys: &[&K], probes: &[&K], most: usize) {
    // Quadratic, so of the first few only.
    monotone(&order, &keys[..keys.len().min(12)], most);
    lookups(order, keys, probes);
}

fn array<const N: usize>(key: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| key.get(i).copied().unwrap_or(0))
}

/// A comparator whose hints run the wrong way: with `MEMSKIP_PLANT=1` the rules must be found broken.
struct Lying;

impl Comparator<[u8]> for Lying {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        a.cmp(b)
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        !Bytewise.hint(key, skip)
    }
}

fuzz_target!(|input: Input| {
    let prefix = &input.prefix[..input.prefix.len().min(40)];
    let with_prefix = |tail: &Vec<u8>| [prefix, tail].concat();
    let keys: Vec<_> = input.tails.iter().take(200).map(with_prefix).collect();
    let probes: Vec<_> = input.probes.iter().take(20).map(with_prefix).collect();
    let (k, p): (Vec<&[u8]>, Vec<&[u8]>) =
        (keys.iter().map(|k| &k[..]).collect(), probes.iter().map(|p| &p[..]).collect());
    let most = usize::from(input.shared);

    if std::env::var_os("MEMSKIP_PLANT").is_some() {
        monotone(&Lying, &k, most);
    }
    both(Bytewise, &k, &p, most);
    both(Reverse(Bytewise), &k, &p, most);
    both(CommonPrefix::new(Bytewise, prefix.len()), &k, &p, most);
    both(Reverse(CommonPrefix::new(CaseInsensitive, prefix.len())), &k, &p, most);
    both(CaseInsensitive, &k, &p, most);
    both(LengthFirst, &k, &p, most);

    let short: [Vec<[u8; 6]>; 2] = [&keys, &probes].map(|keys| keys.iter().map(|key| array(key)).collect());
    let short = short.each_ref().map(|keys| keys.iter().collect::<Vec<_>>());
    both(BigEndian, &short[0], &short[1], most);
    both(Reverse(BigEndian), &short[0], &short[1], most);
    let long: [Vec<[u8; 16]>; 2] = [&keys, &probes].map(|keys| keys.iter().map(|key| array(key)).collect());
    let long = long.each_ref().map(|keys| keys.iter().collect::<Vec<_>>());
    both(BigEndian, &long[0], &long[1], most);
});
