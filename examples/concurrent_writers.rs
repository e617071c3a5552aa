//! Many writers, readers that are never blocked, and a freeze in the middle of it all.
//!
//! ```text
//! cargo run --release --example concurrent_writers
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use memskip::{InsertError, Memtable};

const WRITERS: u64 = 4;
const KEYS_PER_WRITER: u64 = 25_000;

fn main() -> Result<(), Box<dyn Error>> {
    side_by_side()?;
    same_keys()?;
    frozen_while_writing()
}

/// Keys are scattered: neighbours are written by different threads.
fn key(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
}

/// Every writer has its own keys. Nothing is lost, and the table is in order at every moment.
fn side_by_side() -> Result<(), Box<dyn Error>> {
    let table = Memtable::new();
    let started = Instant::now();
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let table = &table;
                scope.spawn(move || {
                    for number in 0..KEYS_PER_WRITER {
                        table.put(&key(number * WRITERS + writer), &number.to_be_bytes())?;
                    }
                    Ok::<(), InsertError>(())
                })
            })
            .collect();

        // Reads go on all the while: each walk is in order, and there never is less than there was.
        let mut seen = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            let mut keys = 0;
            let mut previous = None;
            for entry in &table {
                assert!(previous < Some(entry.key), "out of order");
                previous = Some(entry.key);
                keys += 1;
            }
            assert!(keys >= seen, "a key was there and is not any more");
            seen = keys;
        }
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    })?;

    let total = WRITERS * KEYS_PER_WRITER;
    assert_eq!(table.len() as u64, total);
    for number in 0..total {
        let value = table.get_live(&key(number)).ok_or("a key is missing")?;
        assert_eq!(value, (number / WRITERS).to_be_bytes());
    }
    println!("side by side: {total} keys from {WRITERS} writers in {:.1?}, readers beside them", started.elapsed());
    Ok(())
}

/// All writers want the same keys. `get_or_insert` decides each race once, and everybody sees the winner's value.
fn same_keys() -> Result<(), Box<dyn Error>> {
    let table = Memtable::new();
    let won = AtomicU64::new(0);
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (table, won) = (&table, &won);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for number in 0..KEYS_PER_WRITER {
                        let (value, inserted) = table.get_or_insert(&key(number), &writer.to_be_bytes());
                        assert!(!inserted || value == writer.to_be_bytes());
                        won.fetch_add(u64::from(inserted), Ordering::Relaxed);
                        mine.push(value);
                    }
                    mine
                })
            })
            .collect();
        let mut answers = Vec::new();
        for writer in writers {
            answers.push(writer.join().map_err(|_| "a writer panicked")?);
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "two callers saw two winners");
        Ok(())
    })?;
    assert_eq!(won.into_inner(), KEYS_PER_WRITER);
    assert_eq!(table.version_count() as u64, KEYS_PER_WRITER);
    println!("same keys: {KEYS_PER_WRITER} races, each with one winner");
    Ok(())
}

/// `freeze` takes effect while writers run: those writes are in the table that were acknowledged, and no others.
fn frozen_while_writing() -> Result<(), Box<dyn Error>> {
    let table = Arc::new(Memtable::new());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let mut acknowledged = 0u64;
                loop {
                    match table.put(&key(acknowledged * WRITERS + writer), &[]) {
                        Ok(_) => acknowledged += 1,
                        Err(InsertError::Sealed) => return Ok(acknowledged),
                        Err(error) => return Err(error),
                    }
                }
            })
        })
        .collect();

    thread::sleep(Duration::from_millis(20));
    let frozen = table.freeze_arc();
    // From here on nothing changes, though the writers have yet to notice.
    let versions = frozen.version_count() as u64;

    let mut acknowledged = 0;
    for writer in writers {
        acknowledged += writer.join().map_err(|_| "a writer panicked")??;
    }
    assert_eq!(acknowledged, versions);
    assert_eq!(frozen.iter().count() as u64, versions);
    println!("frozen while writing: {acknowledged} writes acknowledged, {versions} in the table");
    Ok(())
}
