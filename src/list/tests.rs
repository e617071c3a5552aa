//! What only the inside can see: answers do not depend on lanes.

use std::collections::BTreeMap;
use std::vec::Vec;

use crate::{Bytewise, EpochClock, LaneDensity, Memtable};

/// A small generator, so that failures repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Keys of several shapes: random bytes, a long shared prefix, few distinct first words.
fn key(random: &mut Random) -> Vec<u8> {
    let number = random.next();
    match number % 3 {
        0 => number.to_be_bytes().to_vec(),
        1 => std::format!("tenant/0001/table/002/row/{:06}", number >> 44).into_bytes(),
        _ => [&[0xFF; 9][..], &(number as u16).to_be_bytes()[..]].concat(),
    }
}

/// Compares every kind of read with a map.
fn agrees<const H: usize>(
    table: &Memtable<[u8], Bytewise, crate::DefaultArena, EpochClock, H>,
    model: &BTreeMap<Vec<u8>, Vec<u8>>,
) {
    assert_eq!(table.validate(), Ok(()));
    assert_eq!(table.len(), model.len());
    assert!(table.iter().map(|e| (e.key, e.value)).eq(model.iter().map(|(k, v)| (&k[..], &v[..]))));
    assert!(table.iter().rev().map(|e| e.key).eq(model.keys().rev().map(|k| &k[..])));
    for (key, value) in model {
        assert_eq!(table.get(key), Some((&value[..], false)));
        let mut other = key.clone();
        other.push(0);
        assert_eq!(table.get_live(&other), model.get(&other).map(|v| &v[..]));
        assert_eq!(
            table.range(..&key[..]).next_back().map(|e| e.key),
            model.range(..key.clone()).next_back().map(|(k, _)| &k[..])
        );
    }
}

fn fill<const H: usize>(one_in: u32, density: LaneDensity, count: usize) -> usize {
    let table = Memtable::<[u8]>::builder().lane_density(density).max_height::<H>().build();
    table.list().refuse_lanes(one_in);
    let mut model = BTreeMap::new();
    let mut random = Random(7);
    for round in 0..count {
        let key = key(&mut random);
        let value = round.to_be_bytes().to_vec();
        assert!(table.put(&key, &value).is_ok());
        model.insert(key, value);
    }
    agrees(&table, &model);
    table.list().lane_entries()
}

/// A table whose lane maintenance is refused at random, or always, gives the same answers.
#[test]
fn answers_do_not_depend_on_lanes() {
    let all = fill::<12>(0, LaneDensity::Every, 3000);
    let half = fill::<12>(2, LaneDensity::Every, 3000);
    assert!(half < all && half > 0);
    assert_eq!(fill::<12>(1, LaneDensity::Every, 600), 0);
    assert_eq!(fill::<12>(0, LaneDensity::Never, 600), 0);
    let sparse = fill::<12>(0, LaneDensity::Sparse, 3000);
    assert!(sparse < all * 3 / 4, "{sparse} of {all}");
    fill::<1>(0, LaneDensity::Every, 600);
    fill::<2>(0, LaneDensity::Every, 3000);
    fill::<3>(7, LaneDensity::Every, 3000);
}

/// Whatever the order of a load, sparse lanes hold about every other node.
#[test]
fn sparse_lanes_are_sparse_in_every_order() {
    for descending in [false, true] {
        let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Sparse).build();
        for i in 0..4000_u32 {
            let key = if descending { u32::MAX - i } else { i };
            table.insert(&key.to_be_bytes(), b"value");
        }
        let filed = table.list().lane_entries();
        assert!((1600..2800).contains(&filed), "{filed} of 4000, descending: {descending}");
        assert_eq!(table.validate(), Ok(()));
    }
}

/// Ascending loads whose lane work is refused now and then, or for a while, file what was left out as soon as a writer comes by.
#[test]
fn ascending_loads_make_up_for_refused_lanes() {
    for one_in in [2, 5] {
        let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Every).shards(1).build();
        table.list().refuse_lanes(one_in);
        let load = |from: u32| (from..from + 4000).for_each(|i| assert!(table.insert(&i.to_be_bytes(), b"")));
        load(0);
        let filed = table.list().lane_entries();
        assert!(filed * one_in as usize > 4000 * (one_in as usize - 1) * 4 / 5, "{filed} of 4000, one in {one_in}");
        // A writer was kept from its work for a while; the first that can goes over what was left out.
        table.list().refuse_lanes(1);
        (5000..5200_u32).for_each(|i| assert!(table.insert(&i.to_be_bytes(), b"")));
        table.list().refuse_lanes(0);
        let before = table.list().lane_entries();
        assert!(table.insert(&5200_u32.to_be_bytes(), b""));
        assert!(table.list().lane_entries() >= before + 200, "{} after {before}", table.list().lane_entries());
        assert_eq!(table.validate(), Ok(()));
    }
}

/// Nodes at the end of an ascending load wait to be filed: fewer than a block has, and no longer than until something else is written.
#[test]
fn ascending_loads_are_filed_a_block_at_a_time() {
    let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Every).shards(1).build();
    let mut most = 0;
    for i in 1..1000_u32 {
        assert!(table.insert(&(2 * i).to_be_bytes(), b""));
        assert!(table.contains_key(&(2 * i).to_be_bytes()));
        most = most.max(table.len() - table.list().lane_entries());
        if i % 100 == 0 {
            assert!(table.insert(&(2 * i - 51).to_be_bytes(), b""));
            assert_eq!(table.list().lane_entries(), table.len(), "at {i}");
            assert_eq!(table.validate(), Ok(()));
        }
    }
    assert_eq!(most, if cfg!(target_pointer_width = "64") { 12 } else { 0 });
    assert!(table.iter().is_sorted_by(|one, other| one.key < other.key));
}

/// A block is filled with a run only if it is as the run left it, and links lead there: whoever shares the shard may have moved the
/// finger meanwhile.
#[cfg(target_pointer_width = "64")]
#[test]
fn only_the_block_of_a_run_is_filled() {
    use super::block::LowBlock;
    use super::node::raw;

    let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Every).shards(1).build();
    let list = table.list();
    let load = |keys: std::ops::Range<u32>| keys.for_each(|i| assert!(table.insert(&i.to_be_bytes(), b"")));
    let nodes = || std::iter::successors(list.first(), |node| list.next_link(Some(*node)).follow()).collect::<Vec<_>>();
    // The last block has its first entry, and behind that are more nodes than fill it, of which the lanes know nothing.
    let room = LowBlock::ROOM;
    load(0..(room + 2 * (room + 1) + 1) as u32);
    list.refuse_lanes(1);
    load(100..100 + room as u32 + 2);
    let nodes = nodes();
    let blocks = || {
        std::iter::successors(Some(list.lanes.top(0)), |at| Some(list.block_header(*at).next()).filter(|at| *at != 0))
    };
    let last_block = blocks().last().expect("there is one");
    let header = list.block_header(last_block);
    let first = nodes.iter().position(|node| header.first() == Some(*node)).expect("a node");
    assert_eq!((header.shape().count, first + room + 3), (0, nodes.len()));

    let before = list.lane_entries();
    for (from, to) in (0..nodes.len()).flat_map(|from| (0..nodes.len()).map(move |to| (from, to))) {
        for block in blocks().filter(|block| *block != last_block || (from, to) != (first, first + room + 1)) {
            assert!(list.fill(0, block, (nodes[from], nodes[to])).is_none(), "{from} {to}");
        }
    }
    let run = (nodes[first], nodes[first + room + 1]);
    let block = list.low_block(last_block);
    block.set_neighbour(last_block, Some(run.1));
    assert!(list.fill(0, last_block, run).is_none());
    block.set_neighbour(0, None);
    let shape = header.shape();
    block.put_behind(0, 0, nodes[first + 1].handle().0);
    assert!(list.fill(0, last_block, run).is_none());
    block.set_shape(shape);
    block.forget_behind(0);
    assert_eq!(list.lane_entries(), before);
    let split = list.fill(0, last_block, run).expect("it is as it was");
    assert_eq!((raw(Some(split.first)), list.lane_entries()), (raw(Some(run.1)), before + room + 1));
    assert_eq!(table.validate(), Ok(()));
}

/// Somebody else writes among those that wait, or behind them, or in front, at any point of a run: all are filed nevertheless.
#[test]
fn others_may_write_where_nodes_wait() {
    for (at, place) in (0..40_u32).flat_map(|at| (0..4).map(move |place| (at, place))) {
        let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Every).shards(2).build();
        let insert = |key: u32| assert!(table.insert(&key.to_be_bytes(), b""));
        std::thread::scope(|scope| {
            let (to_other, keys) = std::sync::mpsc::channel::<u32>();
            let (done, is_done) = std::sync::mpsc::channel();
            scope.spawn(move || {
                for key in keys {
                    insert(key);
                    done.send(()).expect("it waits");
                }
            });
            for i in 1..=80_u32 {
                insert(10 * i);
                if i == 20 + at {
                    let key = [10 * i - 5, 10 * i - 35, 10 * i + 5, 5].into_iter().nth(place).expect("one of four");
                    to_other.send(key).expect("it waits");
                    is_done.recv().expect("it was done");
                }
            }
        });
        insert(1);
        assert_eq!(table.list().lane_entries(), table.len(), "{at} {place}");
        assert_eq!(table.validate(), Ok(()));
    }
}

/// With nothing refused the lowest lane has every node.
#[test]
fn a_quiet_lane_is_complete() {
    let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Every).build();
    let mut random = Random(3);
    for _ in 0..5000 {
        table.insert(&random.next().to_be_bytes(), b"");
    }
    assert_eq!(table.list().lane_entries(), table.len());
    assert_eq!(table.validate(), Ok(()));
}

/// Ascending and descending loads, interleaved streams.
#[test]
fn loads_in_order() {
    for shape in 0..4u32 {
        let table = Memtable::new();
        for i in 0..4000u32 {
            let n = match shape {
                0 => i,
                1 => u32::MAX - i,
                2 => (i % 3) << 20 | i,
                _ => i ^ 0x55,
            };
            assert!(table.insert(&n.to_be_bytes(), b"v"));
        }
        assert_eq!(table.validate(), Ok(()), "shape {shape}");
        assert_eq!(table.len(), 4000);
    }
}

/// A walk forward keeps looking ahead, wherever in a block it begins and whatever is inserted around it: it knows its place in the lane,
/// or the node at which it is to look there again lies before it. (If it were lost, every further step would wait for memory.)
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn walks_look_ahead() {
    use super::Scout;
    use std::ops::Bound;

    let by_lane = [(LaneDensity::Every, 8_000, false), (LaneDensity::Every, 8_000, true)];
    let along_links =
        [(LaneDensity::Every, 80_000, false), (LaneDensity::Every, 80_000, true), (LaneDensity::Sparse, 30_000, false)];
    for (density, count, inserts) in by_lane.into_iter().chain(along_links) {
        let table = Memtable::<[u8]>::builder().lane_density(density).build();
        let mut random = Random(3);
        let mut keys: Vec<_> = (0..count).map(|_| key(&mut random)).collect();
        assert!(keys.iter().all(|key| table.put(key, b"").is_ok()));
        keys.sort();
        keys.dedup();
        let list = table.list();
        assert_eq!(list.asks_far(), count > 10_000, "or it is something else that is looked at");
        let end = keys.len() - 300;
        // Every key once in each way, so that every place in a block is one of them; and from the very first one on.
        let starts = (0..end).step_by(41).chain(end / 2..end / 2 + 40);
        for from in starts {
            let beside = [&keys[from][..], &[0]].concat();
            for bound in [
                Bound::Unbounded,
                Bound::Included(&keys[from][..]),
                Bound::Excluded(&keys[from]),
                Bound::Included(&beside),
            ] {
                let mut scout = Scout::new();
                let mut next = list.first_from(&bound, &mut scout).map(|first| list.stop(first));
                let mut may_be_off = inserts;
                for step in 0..60 {
                    let at = next.expect("there are more");
                    let key = list.key_at(at.position);
                    let is_on_course = list.is_on_course(&scout, at);
                    assert!(
                        step == 0 || is_on_course || may_be_off,
                        "{density:?} {count} {inserts} {step} steps from {bound:?}: {scout:?}, at {at:?}"
                    );
                    // What comes in between shows later, once, and is mended then.
                    may_be_off = inserts && is_on_course;
                    if inserts && random.next() % 16 == 0 {
                        let other = [key, &[random.next() as u8]].concat();
                        may_be_off |= table.put(&other, b"").is_ok();
                    }
                    next = list.next_stop(at, &mut scout);
                }
            }
        }
        assert_eq!(table.validate(), Ok(()));
    }
}

/// Walks of every kind, over tables whose lanes lack some nodes, or whole stretches of them: they give every entry, and take the lane up
/// again where it goes on.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn walks_pass_what_the_lanes_lack() {
    use super::Scout;
    use std::ops::Bound;
    use std::sync::Arc;

    for one_in in [2, 10, 50] {
        let table = Arc::new(Memtable::<[u8]>::builder().build());
        let list = table.list();
        let mut random = Random(11);
        let mut keys = Vec::new();
        for number in 0..3_000 {
            // First any, then a stretch that is missing as a whole.
            list.refuse_lanes(if number < 2_500 { one_in } else { 1 });
            let key =
                if number < 2_500 { key(&mut random) } else { [&[0x80][..], &random.next().to_be_bytes()].concat() };
            assert!(table.put(&key, b"").is_ok());
            keys.push(key);
        }
        list.refuse_lanes(0);
        keys.sort();
        keys.dedup();
        for from in (0..keys.len()).step_by(251) {
            let (bound, rest) = (&keys[from][..].., &keys[from..]);
            assert!(table.range(bound.clone()).map(|e| e.key).eq(rest), "{one_in} {from}");
            assert!(table.range(bound.clone()).rev().map(|e| e.key).eq(rest.iter().rev()), "{one_in} {from}");
            let mut range = table.range(bound.clone());
            let folded = range.by_ref().take(5).count() + range.fold(0, |count, _| count + 1);
            assert_eq!(folded, rest.len());
            let mut cursor = table.cursor();
            assert!(cursor.seek(&keys[from]) && cursor.map(|e| e.key).eq(rest), "{one_in} {from}");
            let owned = table.range_arc(bound.clone());
            assert!(owned.map(|e| e.key().to_vec()).eq(rest.iter().cloned()), "{one_in} {from}");
            let owned = table.range_arc(bound);
            assert!(owned.rev().map(|e| e.key().to_vec()).eq(rest.iter().rev().cloned()), "{one_in} {from}");
        }
        // At the end of the keys, far behind what is missing, it goes by the lane, if that has most nodes.
        let mut scout = Scout::new();
        let mut next = list.first_from(&Bound::Unbounded, &mut scout).map(|first| list.stop(first));
        let mut by_lane = 0;
        for _ in 0..keys.len() - 1 {
            next = list.next_stop(next.expect("there are more"), &mut scout);
            by_lane += usize::from(scout.goes_by_lane());
        }
        let filed = if one_in > 2 { 2_500 * (one_in as usize - 2) / one_in as usize } else { 500 };
        assert!(by_lane > filed, "{by_lane} of {} steps, one in {one_in} not filed", keys.len());
    }
}

/// A table in which long walks look far ahead, and its keys in order.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn huge(random: &mut Random) -> (Memtable<[u8]>, Vec<Vec<u8>>) {
    let table = Memtable::<[u8]>::new();
    let mut keys: Vec<_> = (0..80_000).map(|_| key(random)).collect();
    assert!(keys.iter().all(|key| table.put(key, b"").is_ok()));
    keys.sort();
    assert!(table.list().is_huge(), "or there is nothing to look for");
    (table, keys)
}

/// A long walk has nodes on their way further ahead, and blocks ahead of those; most of the time also while blocks are split there.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn long_walks_look_far_ahead() {
    use super::Scout;
    use std::ops::Bound;

    for inserts in [false, true] {
        let mut random = Random(5);
        let (table, keys) = huge(&mut random);
        let list = table.list();
        let starts = keys[..keys.len() - 2_000].iter().step_by(3701).map(|key| Bound::Included(&key[..]));
        let (mut far, mut steps) = (0, 0);
        for bound in starts.chain([Bound::Unbounded]) {
            let mut scout = Scout::new();
            let mut next = list.first_from(&bound, &mut scout).map(|first| list.stop(first));
            for step in 0..600 {
                let at = next.expect("there are more");
                if step > 100 {
                    let ahead = list.blocks_ahead(&scout);
                    far += usize::from(ahead.is_some());
                    steps += 1;
                    // 24 nodes in blocks of 7 to 13, and 3 blocks.
                    let as_said =
                        inserts || ahead.is_some_and(|(nodes, blocks)| (1..=4).contains(&nodes) && blocks == 3);
                    assert!(as_said, "{ahead:?}, {step} steps from {bound:?}");
                }
                if inserts && random.next() % 8 == 0 {
                    let other = [list.key_at(at.position), &[random.next() as u8]].concat();
                    let _ = table.put(&other, b"");
                }
                next = list.next_stop(at, &mut scout);
            }
        }
        // A split where the walk is makes it a short one for a while.
        assert!(10 * far > 6 * steps, "{far} of {steps}");
        assert_eq!(table.validate(), Ok(()));
    }
}

/// So does a long walk back: the blocks of a lane above tell it of those to the left.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn long_walks_back_look_far_ahead() {
    use super::Scout;
    use std::ops::Bound;

    for inserts in [false, true] {
        let mut random = Random(7);
        let (table, keys) = huge(&mut random);
        let list = table.list();
        let starts = keys[2_000..].iter().step_by(3701).map(|key| Bound::Included(&key[..]));
        let (mut far, mut steps) = (0, 0);
        for bound in starts.chain([Bound::Unbounded]) {
            let mut scout = Scout::new();
            let mut at = list.last_to(&bound, &mut scout).expect("there is one");
            for step in 0..600 {
                let behind = list.blocks_behind(&scout);
                // Most walks are of a few steps; they know two.
                let as_said = if step > 120 { behind == Some(6) } else { behind.is_some() };
                assert!(inserts || as_said, "{behind:?}, {step} steps from {bound:?}");
                if step > 120 {
                    far += usize::from(behind == Some(6));
                    steps += 1;
                }
                if inserts && random.next() % 8 == 0 {
                    let other = [list.key_at(at), &[random.next() as u8]].concat();
                    let _ = table.put(&other, b"");
                }
                at = list.previous_position(at, &mut scout).expect("there are more");
            }
        }
        assert!(10 * far > 6 * steps, "{far} of {steps}");
        assert_eq!(table.validate(), Ok(()));
    }
}
