//! Long random sequences of every operation against a sorted map, over every arena, clock, small and large heights and
//! a comparator drawn with the sequence. Keys collide in their hints and share long prefixes.
#![cfg(feature = "alloc")]

#[macro_use]
mod common;

use common::{CaseInsensitive, LengthFirst, Model, Order, Row, reversed, rows, scaled};
use memskip::{
    Arena, BatchError, Bytewise, ChunkArena, ChunkSizes, CommonPrefix, Comparator, CounterClock, Entry, EpochClock,
    FixedArena, Global, InsertError, Kind, LaneDensity, ManualClock, Memtable, Reverse, SeqClock, SeqNo, WriteBatch,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

// ---- Comparators ----

/// What all keys begin with where the comparator is told of a common prefix; the others get it too.
const PREFIX: &[u8] = b"Tenant/0042/";

/// The comparators, by number, and the orders they stand for.
const ORDERS: [Order; 7] = [
    Order::Bytewise,
    Order::Reverse,
    Order::Folded,
    Order::LengthFirst,
    Order::Bytewise,
    Order::ReverseFolded,
    Order::Bytewise,
];

/// One of them, chosen when the test runs.
#[derive(Clone, Copy, Debug)]
struct Chosen(usize);

/// Says nothing of its keys but how they compare.
struct Bare;

impl Comparator<[u8]> for Bare {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        a.cmp(b)
    }
}

impl Chosen {
    fn with<T>(self, act: impl FnOnce(&dyn Comparator<[u8]>) -> T) -> T {
        match self.0 {
            0 => act(&Bytewise),
            1 => act(&Reverse(Bytewise)),
            2 => act(&CaseInsensitive),
            3 => act(&LengthFirst),
            4 => act(&CommonPrefix::new(Bytewise, PREFIX.len())),
            5 => act(&Reverse(CommonPrefix::new(CaseInsensitive, PREFIX.len()))),
            _ => act(&Bare),
        }
    }
}

impl Comparator<[u8]> for Chosen {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        self.with(|c| c.compare(a, b))
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        self.with(|c| c.hint(key, skip))
    }

    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        self.with(|c| c.wide_hint(key, skip))
    }

    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        self.with(|c| c.common_prefix(a, b))
    }
}

// ---- Operations ----

/// What keys begin with: many share a prefix longer than any hint.
const STEMS: [&[u8]; 8] = [
    b"",
    b"a",
    b"A",
    b"sixteen bytes of",
    b"sixteen bytes of it, and then twenty-four more bytes",
    b"Sixteen Bytes of it, and then twenty-four more bytes",
    b"\0\0\0\0\0\0\0\0",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
];

/// What they end with: hints that are equal for different keys, mostly.
const TAILS: [&[u8]; 10] = [b"", b"\0", b"\0\0", b"a", b"B", b"b", b"\xFF", b"01", b"02", b"longer than a word"];

fn key() -> impl Strategy<Value = Vec<u8>> {
    let numbered = (0..STEMS.len(), 0..300_u16).prop_map(|(stem, n)| numbered(stem, n));
    let pooled = (0..STEMS.len(), 0..TAILS.len()).prop_map(|(stem, tail)| [PREFIX, STEMS[stem], TAILS[tail]].concat());
    prop_oneof![4 => pooled, 1 => numbered]
}

/// One of a run of keys.
fn numbered(stem: usize, n: u16) -> Vec<u8> {
    [PREFIX, STEMS[stem], &n.to_be_bytes()].concat()
}

#[derive(Clone, Debug)]
enum Step {
    Seek(Vec<u8>),
    SeekForPrev(Vec<u8>),
    First,
    Last,
    Next,
    Prev,
}

#[derive(Clone, Debug)]
enum Op {
    /// Inserts a run of keys: a stem, the first number, how many, and how far they are apart.
    Load(usize, u16, u16, u16),
    Insert(Vec<u8>, Vec<u8>),
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    PutTombstone(Vec<u8>),
    PutAt(Vec<u8>, Kind, u64),
    GetOrInsert(Vec<u8>, Vec<u8>),
    InsertBatch(Vec<(Vec<u8>, Vec<u8>)>),
    Apply(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Get(Vec<u8>),
    GetAt(Vec<u8>, u64),
    GetMany(Vec<Vec<u8>>),
    Range(Bound<Vec<u8>>, Bound<Vec<u8>>, u64),
    Walk(Vec<Step>),
    Snapshot,
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let value = || prop_oneof![9 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 0..700)];
    let bound = || prop_oneof![key().prop_map(Included), key().prop_map(Excluded), Just(Unbounded)];
    let step = prop_oneof![
        2 => key().prop_map(Step::Seek),
        2 => key().prop_map(Step::SeekForPrev),
        1 => Just(Step::First),
        1 => Just(Step::Last),
        6 => Just(Step::Next),
        6 => Just(Step::Prev),
    ];
    let kind = prop_oneof![Just(Kind::VALUE), Just(Kind::TOMBSTONE), Just(Kind(9))];
    prop_oneof![
        1 => (0..STEMS.len(), 0..300_u16, 1..100_u16, prop_oneof![Just(1), Just(7), Just(u16::MAX)])
            .prop_map(|(stem, from, count, apart)| Op::Load(stem, from, count, apart)),
        20 => (key(), value()).prop_map(|(k, v)| Op::Insert(k, v)),
        20 => (key(), value()).prop_map(|(k, v)| Op::Put(k, v)),
        8 => key().prop_map(Op::Delete),
        6 => key().prop_map(Op::PutTombstone),
        12 => (key(), kind, 0..200_u64).prop_map(|(k, kind, seq)| Op::PutAt(k, kind, seq)),
        5 => (key(), value()).prop_map(|(k, v)| Op::GetOrInsert(k, v)),
        3 => vec((key(), value()), 0..8).prop_map(Op::InsertBatch),
        5 => vec((key(), proptest::option::weighted(0.7, value())), 0..8).prop_map(Op::Apply),
        6 => key().prop_map(Op::Get),
        4 => (key(), 0..200_u64).prop_map(|(k, seq)| Op::GetAt(k, seq)),
        2 => vec(key(), 0..20).prop_map(Op::GetMany),
        6 => (bound(), bound(), 0..200_u64).prop_map(|(low, high, seq)| Op::Range(low, high, seq)),
        3 => vec(step, 0..20).prop_map(Op::Walk),
        3 => Just(Op::Snapshot),
        1 => Just(Op::Reset),
    ]
}

// ---- The run ----

/// What the test knows of a clock: whether it draws its own numbers, and how to move it to an engine's.
struct Clock<'a> {
    draws_its_own: bool,
    advance: &'a dyn Fn(u64),
}

struct Run<'a, A, S, const H: usize> {
    table: Memtable<[u8], Chosen, A, S, H>,
    model: Model,
    order: Order,
    clock: &'a Clock<'a>,
    /// The largest number in use so far.
    highest: u64,
    /// The newest snapshot's number.
    floor: Option<u64>,
    /// What snapshots showed, by their numbers.
    views: Vec<(u64, Vec<Row>)>,
}

impl<A: Arena, S: SeqClock, const H: usize> Run<'_, A, S, H> {
    /// Copies entries out, in the model's spelling.
    fn fold<'e>(&self, entries: impl Iterator<Item = Entry<'e>>) -> Vec<Row> {
        let fold = |mut row: Row| {
            row.key = self.order.fold(&row.key);
            row
        };
        rows(entries).into_iter().map(fold).collect()
    }

    fn fold_one(&self, entry: Option<Entry<'_>>) -> Option<Row> {
        self.fold(entry.into_iter()).pop()
    }

    /// A version was written under a number the clock drew: one behind every snapshot.
    fn wrote(&mut self, key: &[u8], seq: SeqNo, kind: u8, value: &[u8]) {
        let above = !self.clock.draws_its_own || Some(seq.0) > self.floor;
        assert!(above, "{seq:?} enters the snapshot at {:?}", self.floor);
        self.highest = self.highest.max(seq.0);
        self.model.write(key, seq.0, kind, value);
    }

    /// The same, where the call does not say the number.
    fn wrote_newest(&mut self, key: &[u8], kind: u8, value: &[u8]) {
        let seq = self.table.entry(key).expect("just written").seq;
        self.wrote(key, seq, kind, value);
    }

    fn write(&mut self, op: &Op) {
        match op {
            Op::Load(stem, from, count, apart) => {
                for i in 0..*count {
                    // A step of the largest number is one down.
                    self.insert(&numbered(*stem, from.wrapping_add(i.wrapping_mul(*apart)) % 512), b"loaded");
                }
            }
            Op::Insert(k, v) => self.insert(k, v),
            Op::Put(k, v) => {
                let seq = self.table.put(k, v).unwrap();
                self.wrote(k, seq, 0, v);
            }
            Op::Delete(k) => {
                assert_eq!(self.table.delete(k), self.model.is_live(k));
                if self.model.is_live(k) {
                    self.wrote_newest(k, 1, b"");
                }
            }
            Op::PutTombstone(k) => {
                let seq = self.table.put_tombstone(k).unwrap();
                self.wrote(k, seq, 1, b"");
            }
            Op::PutAt(k, kind, seq) => self.put_at(k, *kind, *seq),
            Op::GetOrInsert(k, v) => {
                let (found, inserted) = self.table.get_or_insert(k, v);
                let found = found.to_vec();
                assert_eq!(inserted, !self.model.is_live(k));
                if inserted {
                    self.wrote_newest(k, 0, v);
                }
                assert_eq!(Some(found), self.model.get(k).map(|row| row.value));
            }
            Op::InsertBatch(pairs) => {
                let before = self.model.stored;
                let result = self.table.insert_batch(pairs);
                for (k, v) in pairs {
                    if self.model.get(k).is_none() {
                        self.wrote_newest(k, 0, v);
                    }
                }
                let succeeded = self.model.stored - before;
                let failed = pairs.len() - succeeded;
                let partial = BatchError::PartialFailure { succeeded, failed };
                assert_eq!(result, if failed == 0 { Ok(succeeded) } else { Err(partial) });
            }
            Op::Apply(writes) => self.apply(writes),
            _ => {
                self.table.reset();
                self.model.clear();
                self.views.clear();
            }
        }
    }

    fn insert(&mut self, k: &[u8], v: &[u8]) {
        match self.table.try_insert(k, v) {
            Ok(seq) => {
                assert!(self.model.get(k).is_none());
                self.wrote(k, seq, 0, v);
            }
            Err(error) => {
                assert_eq!(error, InsertError::DuplicateKey);
                assert!(self.model.get(k).is_some());
            }
        }
    }

    fn put_at(&mut self, k: &[u8], kind: Kind, seq: u64) {
        // A clock that draws its own numbers is only given ones that it has passed.
        let seq = if self.clock.draws_its_own { seq % (self.highest + 1) } else { seq };
        let value = if kind == Kind::TOMBSTONE { &b""[..] } else { b"at" };
        let taken = self.model.get_at(k, seq).is_some_and(|row| row.seq == seq);
        let expected = if taken { Err(InsertError::DuplicateSeqNo) } else { Ok(()) };
        assert_eq!(self.table.put_kind_at(k, value, kind, SeqNo(seq)), expected);
        if !taken {
            self.model.write(k, seq, kind.0, value);
            // The past has changed, as the engine wished.
            self.views.retain(|view| view.0 < seq);
        }
        self.highest = self.highest.max(seq);
        (self.clock.advance)(self.highest);
    }

    fn apply(&mut self, writes: &[(Vec<u8>, Option<Vec<u8>>)]) {
        let mut batch = <WriteBatch>::new();
        for (k, v) in writes {
            if let Some(v) = v {
                batch.put(k, v);
            } else {
                batch.delete(k);
            }
        }
        let seq = self.table.apply(&batch).unwrap();
        // Of two for one key the last is seen, and both are stored.
        for (k, v) in writes {
            self.wrote(k, seq, u8::from(v.is_none()), v.as_deref().unwrap_or(b""));
        }
    }

    fn read(&mut self, op: &Op) {
        let (table, model) = (&self.table, &self.model);
        match op {
            Op::Get(k) => {
                assert_eq!(self.fold_one(table.entry(k)), model.get(k));
                assert_eq!(table.get_live(k).is_some(), model.is_live(k));
            }
            Op::GetAt(k, seq) => {
                assert_eq!(self.fold_one(table.get_at(k, SeqNo(*seq))), model.get_at(k, *seq));
            }
            Op::GetMany(keys) => {
                let live = |k: &Vec<u8>| model.get(k).filter(|row| row.kind != 1).map(|row| row.value);
                let found = table.get_many(keys).into_iter().map(|found| found.map(<[u8]>::to_vec));
                assert!(found.eq(keys.iter().map(live)));
            }
            Op::Range(low, high, seq) => {
                let (low, high) = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
                let expected = model.within(model.at(*seq), low, high);
                assert_eq!(self.fold(table.range_at((low, high), SeqNo(*seq))), expected);
                assert_eq!(self.fold(table.range_at((low, high), SeqNo(*seq)).rev()), reversed(expected));
                assert_eq!(self.fold(table.range((low, high))), model.within(model.newest(), low, high));
                let expected = model.within(model.all(), low, high);
                assert_eq!(self.fold(table.range_versions((low, high))), expected);
                assert_eq!(self.fold(table.range_versions((low, high)).rev()), reversed(expected));
            }
            Op::Walk(steps) => self.walk(steps),
            _ => {
                let snapshot = table.snapshot();
                let (seq, shown) = (snapshot.seq().0, self.fold(snapshot.iter()));
                assert_eq!(shown, model.at(seq));
                if self.clock.draws_its_own {
                    assert_eq!(shown, model.newest(), "all that is complete is in it");
                    self.floor = Some(seq);
                    self.views.push((seq, shown));
                }
            }
        }
    }

    /// A cursor's steps are an index's steps over the model's rows.
    fn walk(&self, steps: &[Step]) {
        let newest = self.model.newest();
        let (mut cursor, mut at) = (self.table.cursor(), 0);
        for step in steps {
            match step {
                Step::Seek(k) => {
                    let found = newest.iter().position(|row| self.order.compare(&row.key, k).is_ge());
                    assert_eq!(cursor.seek(k), found.is_some());
                    at = found.unwrap_or(newest.len());
                }
                Step::SeekForPrev(k) => {
                    let found = newest.iter().rposition(|row| self.order.compare(&row.key, k).is_le());
                    assert_eq!(cursor.seek_for_prev(k), found.is_some());
                    let Some(found) = found else { break };
                    at = found;
                }
                Step::First => {
                    cursor.seek_to_first();
                    at = 0;
                }
                Step::Last => {
                    cursor.seek_to_last();
                    at = newest.len().saturating_sub(1);
                }
                Step::Next => {
                    assert_eq!(self.fold_one(cursor.next_entry()).as_ref(), newest.get(at));
                    at = newest.len().min(at + 1);
                }
                Step::Prev => {
                    let before = at.checked_sub(1);
                    assert_eq!(self.fold_one(cursor.prev_entry()).as_ref(), before.map(|i| &newest[i]));
                    let Some(before) = before else { break };
                    at = before;
                }
            }
            assert_eq!(self.fold_one(cursor.entry()).as_ref(), newest.get(at));
        }
    }

    /// At the end everything, first growing and then frozen.
    fn finish(&self) {
        for (seq, shown) in &self.views {
            let now = self.fold(self.table.snapshot_at(SeqNo(*seq)).iter());
            assert_eq!(now, *shown, "snapshot {seq} has changed");
        }
        assert_valid!(self.table);
        let (frozen, all) = (self.table.freeze(), self.model.all());
        assert_eq!(self.fold(frozen.versions()), all);
        assert_eq!(self.fold(frozen.iter().rev()), reversed(self.model.newest()));
        for row in &all {
            assert_eq!(self.fold_one(frozen.get_at(&row.key, SeqNo(row.seq))).as_ref(), Some(row));
        }
        assert_eq!(frozen.memory_usage() + frozen.memory_idle(), frozen.memory_reserved());
        assert_eq!(frozen.min_seq().map(|seq| seq.0), all.iter().map(|row| row.seq).min());
        assert_eq!(frozen.max_seq().map(|seq| seq.0), all.iter().map(|row| row.seq).max());
        assert_valid!(frozen);
    }
}

/// Does all of `ops`, counting after each.
fn run<A: Arena, S: SeqClock, const H: usize>(
    table: Memtable<[u8], Chosen, A, S, H>,
    order: Order,
    clock: &Clock<'_>,
    ops: &[Op],
) {
    let model = Model::new(order);
    let mut run = Run { table, model, order, clock, highest: 0, floor: None, views: Vec::new() };
    for op in ops {
        match op {
            Op::Get(_) | Op::GetAt(..) | Op::GetMany(_) | Op::Range(..) | Op::Walk(_) | Op::Snapshot => run.read(op),
            _ => run.write(op),
        }
        let (live, dead) = run.model.counts();
        let counted = (run.table.len(), run.table.tombstones(), run.table.version_count());
        assert_eq!(counted, (live, dead, run.model.stored), "after {op:?}");
    }
    run.finish();
}

// ---- The configurations ----

/// Runs `ops` over the three arenas, with the clock that `$clock` makes and the height `$height`.
macro_rules! configurations {
    ($($name:ident: $clock:expr, $draws:expr, $height:literal;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig {
                cases: u32::try_from(scaled(24)).expect("few"),
                failure_persistence: None,
                ..ProptestConfig::default()
            })]
            $(
                #[test]
                fn $name(chosen in 0..ORDERS.len(), arena in 0..3, sparse in any::<bool>(), ops in vec(op(), 0..400)) {
                    let clock = Arc::new($clock);
                    let advance = |seq: u64| AdvanceTo::advance(&*clock, seq);
                    let known = Clock { draws_its_own: $draws, advance: &advance };
                    let builder = Memtable::<[u8]>::builder()
                        .comparator(Chosen(chosen))
                        .clock(Arc::clone(&clock))
                        .lane_density(if sparse { LaneDensity::Sparse } else { LaneDensity::Every })
                        .max_height::<$height>();
                    let order = ORDERS[chosen];
                    match arena {
                        0 => {
                            let mut buffer = vec![MaybeUninit::uninit(); 1 << 19];
                            run(builder.arena(FixedArena::new(&mut buffer)).build(), order, &known, &ops);
                        }
                        1 => {
                            let arena = ChunkArena::with_chunks(ChunkSizes { first: 64, largest: 1024 }, Global);
                            run(builder.arena(arena).build(), order, &known, &ops);
                        }
                        _ => {
                            let turn = AtomicUsize::new(0);
                            let selector = || turn.fetch_add(1, Relaxed);
                            let builder = builder.selector(selector).shards(3).first_chunk(64).largest_chunk(512);
                            run(builder.build(), order, &known, &ops);
                        }
                    }
                }
            )*
        }
    };
}

/// Only the manual clock is moved from outside.
trait AdvanceTo {
    fn advance(&self, _seq: u64) {}
}

impl AdvanceTo for EpochClock {}

impl AdvanceTo for CounterClock {}

impl AdvanceTo for ManualClock {
    fn advance(&self, seq: u64) {
        self.advance_to(SeqNo(seq));
    }
}

configurations! {
    epoch_base_only: EpochClock::new(), true, 1;
    epoch_one_lane: EpochClock::new(), true, 2;
    epoch_default: EpochClock::new(), true, 12;
    counter_base_only: CounterClock::new(), true, 1;
    counter_one_lane: CounterClock::new(), true, 2;
    counter_default: CounterClock::new(), true, 12;
    manual_base_only: ManualClock::new(), false, 1;
    manual_one_lane: ManualClock::new(), false, 2;
    manual_default: ManualClock::new(), false, 12;
}
