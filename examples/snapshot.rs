//! Snapshots: a stable point in time, while others go on writing.
//!
//! ```text
//! cargo run --example snapshot
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use memskip::{ManualClock, Memtable, SeqNo, WriteBatch};

fn main() -> Result<(), Box<dyn Error>> {
    one_thread()?;
    while_others_write()?;
    whole_batches()?;
    numbers_of_your_own()
}

/// What a snapshot shows is what was complete when it was taken.
fn one_thread() -> Result<(), Box<dyn Error>> {
    let table = Memtable::new();
    table.put(b"a", b"1")?;
    table.put(b"b", b"1")?;

    let before = table.snapshot();
    table.put(b"a", b"2")?;
    assert!(table.delete(b"b"));
    table.put(b"c", b"2")?;
    let after = table.snapshot();

    // The older snapshot is not touched by the overwrite, the delete or the new key.
    assert_eq!(before.get(b"a"), Some((&b"1"[..], false)));
    assert_eq!(before.get(b"b"), Some((&b"1"[..], false)));
    assert_eq!(before.get(b"c"), None);
    assert_eq!(before.iter().count(), 2);

    assert_eq!(after.get(b"a"), Some((&b"2"[..], false)));
    // A deleted key reads as a tombstone, so that an engine knows not to look for it in older tables.
    assert_eq!(after.get(b"b"), Some((&b""[..], true)));
    assert_eq!(after.iter().filter(|entry| !entry.is_tombstone).count(), 2);

    println!("one thread: the snapshot at {} still shows what it showed", before.seq());
    Ok(())
}

/// Walk a snapshot twice while another thread overwrites, deletes and inserts: both walks are the same.
fn while_others_write() -> Result<(), Box<dyn Error>> {
    let table = Memtable::new();
    for key in 0..1_000u32 {
        table.put(&key.to_be_bytes(), b"original")?;
    }

    let stop = AtomicBool::new(false);
    let walks = thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let writer = scope.spawn(|| {
            let mut round = 0u32;
            while !stop.load(Ordering::Relaxed) {
                round = round.wrapping_add(1);
                for key in (0..2_000u32).filter(|key| key % 7 == round % 7) {
                    if key % 3 == 0 {
                        table.delete(&key.to_be_bytes());
                    } else {
                        table.put(&key.to_be_bytes(), &round.to_be_bytes())?;
                    }
                }
                // A real writer stops when the table is full. This one only keeps its table small.
                if table.version_count() > 500_000 {
                    break;
                }
            }
            Ok::<(), memskip::InsertError>(())
        });

        // Wait for the writer to be at it; a snapshot of a table at rest would be no feat.
        while table.version_count() == 1_000 && !writer.is_finished() {
            thread::yield_now();
        }
        let mut walks = 0;
        for _ in 0..50 {
            let snapshot = table.snapshot();
            let walk = || snapshot.iter().map(|entry| (entry.key, entry.value, entry.seq, entry.is_tombstone));
            let first: Vec<_> = walk().collect();
            assert!(walk().eq(first.iter().copied()), "the second walk differs from the first");
            // Backwards too.
            assert!(snapshot.iter().rev().map(|entry| entry.key).eq(first.iter().rev().map(|entry| entry.0)));
            walks += 1;
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| "the writer panicked")??;
        Ok(walks)
    })?;
    println!("while others write: {walks} snapshots, each walked twice, each the same both times");
    Ok(())
}

/// A batch is in a snapshot as a whole, or not at all.
fn whole_batches() -> Result<(), Box<dyn Error>> {
    const TOTAL: u64 = 10_000;
    let balance = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes);

    let table = Memtable::new();
    table.put(b"alice", &TOTAL.to_be_bytes())?;
    table.put(b"bob", &0u64.to_be_bytes())?;

    let looked = thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let bank = scope.spawn(|| {
            for transfer in 1..=TOTAL {
                let mut batch = WriteBatch::new();
                batch.put(b"alice", &(TOTAL - transfer).to_be_bytes());
                batch.put(b"bob", &transfer.to_be_bytes());
                table.apply(&batch)?;
            }
            Ok::<(), memskip::InsertError>(())
        });
        let mut looked = 0;
        let mut going_on = true;
        while going_on {
            going_on = !bank.is_finished();
            let snapshot = table.snapshot();
            let (alice, _) = snapshot.get(b"alice").ok_or("alice is gone")?;
            let (bob, _) = snapshot.get(b"bob").ok_or("bob is gone")?;
            assert_eq!(balance(alice)? + balance(bob)?, TOTAL, "a snapshot saw half a transfer");
            looked += 1;
        }
        bank.join().map_err(|_| "the bank panicked")??;
        Ok(looked)
    })?;
    println!("whole batches: {TOTAL} transfers, {looked} snapshots, none saw half a transfer");
    Ok(())
}

/// An engine whose write-ahead log numbers the operations gives the numbers itself, and reads as of any of them.
fn numbers_of_your_own() -> Result<(), Box<dyn Error>> {
    let table = Memtable::<[u8]>::builder().clock(ManualClock::new()).build();
    // Threads may apply the log out of order: versions are kept in the order of their numbers.
    table.put_at(b"key", b"thirty", SeqNo(30))?;
    table.put_at(b"key", b"ten", SeqNo(10))?;
    table.put_tombstone_at(b"key", SeqNo(20))?;

    assert_eq!(table.get(b"key"), Some((&b"thirty"[..], false)));
    assert!(table.get_at(b"key", SeqNo(9)).is_none());
    assert_eq!(table.get_at(b"key", SeqNo(19)).map(|entry| entry.value), Some(&b"ten"[..]));
    assert_eq!(table.get_at(b"key", SeqNo(29)).map(|entry| entry.is_tombstone), Some(true));
    assert_eq!(table.snapshot_at(SeqNo(10)).get(b"key"), Some((&b"ten"[..], false)));

    let numbers: Vec<SeqNo> = table.versions().map(|entry| entry.seq).collect();
    assert_eq!(numbers, [SeqNo(30), SeqNo(20), SeqNo(10)]);
    println!("numbers of your own: versions {numbers:?}");
    Ok(())
}
