//! A stream of operations on one table, every answer held against the model of the other tests; over a buffer that may be
//! too small, so that any write may fail, and must then have changed nothing.
#![no_main]

#[path = "../../common/mod.rs"]
#[macro_use]
mod common;

use arbitrary::Arbitrary;
use common::{Model, Order, Row, reversed, row, rows};
use libfuzzer_sys::fuzz_target;
use memskip::{
    Arena, Builder, Bytewise, ChunkArena, ChunkSizes, EpochClock, FixedArena, Global, InsertError, Kind, LaneDensity,
    Memtable, SeqNo, WriteBatch,
};
use std::mem::MaybeUninit;
use std::ops::Bound;

/// A key of one to three parts, so that many share a prefix longer than a hint.
#[derive(Arbitrary, Clone, Debug)]
struct Name {
    stem: u8,
    number: u8,
    tail: Vec<u8>,
}

const STEMS: [&[u8]; 4] =
    [b"", b"k", b"sixteen bytes of it, and then twenty-four more", b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"];

impl Name {
    fn key(&self) -> Vec<u8> {
        let stem = STEMS[usize::from(self.stem) % STEMS.len()];
        [stem, &[self.number][..], &self.tail[..self.tail.len().min(24)]].concat()
    }
}

#[derive(Arbitrary, Clone, Debug)]
enum Op {
    /// Inserts `count` keys behind `from`, `step` apart: enough of them to fill and split lane blocks.
    Load {
        from: Name,
        count: u8,
        step: u8,
    },
    Insert(Name, Vec<u8>),
    Put(Name, Vec<u8>),
    Delete(Name),
    PutTombstone(Name),
    PutAt(Name, u8, u8),
    GetOrInsert(Name, Vec<u8>),
    Apply(Vec<(Name, Option<u8>)>),
    Get(Name),
    GetAt(Name, u8),
    Range(Bound<Name>, Bound<Name>),
    Seek(Name, i8),
    SeekForPrev(Name, i8),
    Snapshot,
    Reset,
}

#[derive(Arbitrary, Debug)]
struct Input {
    /// In units of 64 bytes; 0 stands for an arena that grows.
    buffer: u16,
    height: u8,
    sparse: bool,
    ops: Vec<Op>,
}

/// The value a failed write must not have left behind: nothing; so a failure is noted and the model stays.
fn room<T>(result: Result<T, InsertError>) -> Option<T> {
    result.inspect_err(|&error| assert_eq!(error, InsertError::OutOfMemory)).ok()
}

type Under<A, const H: usize> = Memtable<[u8], Bytewise, A, EpochClock, H>;

fn write<A: Arena, const H: usize>(
    table: &mut Under<A, H>,
    model: &mut Model,
    views: &mut Vec<(u64, Vec<Row>)>,
    op: &Op,
) {
    let newest = |table: &Under<A, H>, key: &[u8]| table.entry(key).expect("just written").seq.0;
    let insert = |table: &Under<A, H>, model: &mut Model, key: &[u8], value: &[u8]| match table.try_insert(key, value) {
        Err(InsertError::DuplicateKey) => assert!(model.get(key).is_some()),
        result => {
            assert!(model.get(key).is_none());
            if let Some(seq) = room(result) {
                model.write(key, seq.0, 0, value);
            }
        }
    };
    match op {
        Op::Load { from, count, step } => {
            for i in 0..*count {
                let number = from.number.wrapping_add(i.wrapping_mul(*step));
                insert(table, model, &Name { number, ..from.clone() }.key(), b"loaded");
            }
        }
        Op::Insert(name, value) => insert(table, model, &name.key(), value),
        Op::Put(name, value) => {
            if let Some(seq) = room(table.put(&name.key(), value)) {
                model.write(&name.key(), seq.0, 0, value);
            }
        }
        Op::Delete(name) => {
            let key = name.key();
            if table.delete(&key) {
                assert!(model.is_live(&key));
                model.write(&key, newest(table, &key), 1, b"");
            }
        }
        Op::PutTombstone(name) => {
            if let Some(seq) = room(table.put_tombstone(&name.key())) {
                model.write(&name.key(), seq.0, 1, b"");
            }
        }
        Op::PutAt(name, kind, seq) => {
            // The clock draws its own numbers; an engine's may only be ones it has passed.
            let key = name.key();
            let seq = u64::from(*seq) % (model.all().iter().map(|row| row.seq).max().unwrap_or(0) + 1);
            let taken = model.get_at(&key, seq).is_some_and(|row| row.seq == seq);
            match table.put_kind_at(&key, b"at", Kind(*kind), SeqNo(seq)) {
                Err(InsertError::DuplicateSeqNo) => assert!(taken),
                result => {
                    assert!(!taken);
                    if room(result).is_some() {
                        model.write(&key, seq, *kind, b"at");
                        views.retain(|view| view.0 < seq);
                    }
                }
            }
        }
        Op::GetOrInsert(name, value) => {
            let key = name.key();
            let (_, inserted) = table.get_or_insert(&key, value);
            if inserted {
                assert!(!model.is_live(&key));
                model.write(&key, newest(table, &key), 0, value);
            }
        }
        Op::Apply(writes) => {
            let mut batch = <WriteBatch>::new();
            for (name, value) in writes {
                match value {
                    Some(value) => _ = batch.put(&name.key(), &[*value]),
                    None => _ = batch.delete(&name.key()),
                }
            }
            // All or nothing.
            if let Some(seq) = room(table.apply(&batch)) {
                for (name, value) in writes {
                    model.write(&name.key(), seq.0, u8::from(value.is_none()), value.as_slice());
                }
            }
        }
        _ => {
            table.reset();
            model.clear();
            views.clear();
        }
    }
}

fn read<A: Arena, const H: usize>(table: &Under<A, H>, model: &Model, views: &mut Vec<(u64, Vec<Row>)>, op: &Op) {
    match op {
        Op::Get(name) => assert_eq!(table.entry(&name.key()).map(row), model.get(&name.key())),
        Op::GetAt(name, seq) => {
            let seq = u64::from(*seq);
            assert_eq!(table.get_at(&name.key(), SeqNo(seq)).map(row), model.get_at(&name.key(), seq));
        }
        Op::Range(low, high) => {
            let (low, high) = (low.as_ref().map(Name::key), high.as_ref().map(Name::key));
            let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
            let expected = model.within(model.newest(), bounds.0, bounds.1);
            assert_eq!(rows(table.range(bounds)), expected);
            assert_eq!(rows(table.range(bounds).rev()), reversed(expected));
            assert_eq!(rows(table.range_versions(bounds)), model.within(model.all(), bounds.0, bounds.1));
        }
        Op::Seek(name, steps) | Op::SeekForPrev(name, steps) => {
            let (key, newest) = (name.key(), model.newest());
            let mut cursor = table.cursor();
            let found = if matches!(op, Op::Seek(..)) {
                let found = newest.iter().position(|row| row.key >= key);
                assert_eq!(cursor.seek(&key), found.is_some());
                Some(found.unwrap_or(newest.len()))
            } else {
                let found = newest.iter().rposition(|row| row.key <= key);
                assert_eq!(cursor.seek_for_prev(&key), found.is_some());
                found
            };
            // Before the beginning there is nothing to step back to.
            let Some(mut at) = found else { return };
            for _ in 0..steps.unsigned_abs().min(20) {
                if *steps > 0 {
                    assert_eq!(cursor.next_entry().map(row).as_ref(), newest.get(at));
                    at = newest.len().min(at + 1);
                } else {
                    assert_eq!(cursor.prev_entry().map(row).as_ref(), at.checked_sub(1).map(|at| &newest[at]));
                    let Some(before) = at.checked_sub(1) else { return };
                    at = before;
                }
                assert_eq!(cursor.entry().map(row).as_ref(), newest.get(at));
            }
        }
        _ => {
            let snapshot = table.snapshot();
            let shown = rows(snapshot.iter());
            assert_eq!(shown, model.newest(), "all that is complete is in it");
            views.push((snapshot.seq().0, shown));
        }
    }
}

fn run<A: Arena, const H: usize>(mut table: Under<A, H>, ops: &[Op]) {
    let (mut model, mut views) = (Model::new(Order::Bytewise), Vec::new());
    for op in ops {
        match op {
            Op::Get(_) | Op::GetAt(..) | Op::Range(..) | Op::Seek(..) | Op::SeekForPrev(..) | Op::Snapshot => {
                read(&table, &model, &mut views, op);
            }
            _ => write(&mut table, &mut model, &mut views, op),
        }
        let (live, dead) = model.counts();
        assert_eq!(
            (table.len(), table.tombstones(), table.version_count()),
            (live, dead, model.stored),
            "after {op:?}"
        );
    }
    for (seq, shown) in views {
        assert_eq!(rows(table.snapshot_at(SeqNo(seq)).iter()), shown, "snapshot {seq} has changed");
    }
    let frozen = table.freeze();
    assert_eq!(rows(frozen.versions()), model.all());
    assert_eq!(rows(frozen.iter().rev()), reversed(model.newest()));
    assert_eq!(frozen.memory_usage() + frozen.memory_idle(), frozen.memory_reserved());
    assert_valid!(frozen);
}

fuzz_target!(|input: Input| {
    let density = if input.sparse { LaneDensity::Sparse } else { LaneDensity::Every };
    let ops = &input.ops[..input.ops.len().min(200)];
    if input.buffer == 0 {
        let arena = ChunkArena::with_chunks(ChunkSizes { first: 64, largest: 1024 }, Global);
        let builder = Builder::with_arena(arena).lane_density(density);
        match input.height % 3 {
            0 => run(builder.max_height::<1>().build(), ops),
            1 => run(builder.max_height::<2>().build(), ops),
            _ => run(builder.max_height::<12>().build(), ops),
        }
    } else {
        let mut buffer = vec![MaybeUninit::uninit(); usize::from(input.buffer) % 2048 * 64];
        let builder = Builder::with_arena(FixedArena::new(&mut buffer)).lane_density(density);
        match input.height % 3 {
            0 => run(builder.max_height::<1>().build(), ops),
            1 => run(builder.max_height::<2>().build(), ops),
            _ => run(builder.max_height::<12>().build(), ops),
        }
    }
});
