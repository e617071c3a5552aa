//! All figures at once.

use super::Pressure;
use crate::clock::SeqNo;

/// Every figure of a table, summed over its shards once. Exact when nobody writes meanwhile.
///
/// ```
/// let table = memskip::Memtable::new();
/// table.insert(b"key", b"value");
/// table.put_tombstone(b"gone")?;
/// let stats = table.stats();
/// assert_eq!((stats.live_keys, stats.tombstones, stats.versions), (1, 1, 2));
/// assert_eq!((stats.avg_key_size, stats.avg_value_size), (3.5, 5.0));
/// # Ok::<(), memskip::InsertError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys whose newest version is not a tombstone.
    pub live_keys: usize,
    /// Keys whose newest version is a tombstone.
    pub tombstones: usize,
    /// Versions stored.
    pub versions: usize,
    /// Attempts to write a value, refused ones included.
    pub total_inserts: usize,
    /// Bytes of all keys.
    pub key_bytes: usize,
    /// Bytes of all values, of every version; what tombstones carry included.
    pub value_bytes: usize,
    /// Bytes of a key on average; 0.0 without keys.
    pub avg_key_size: f64,
    /// [`value_bytes`](Self::value_bytes) by the number of versions that are not tombstones; 0.0 without values.
    pub avg_value_size: f64,
    /// The least sequence number.
    pub min_seq: Option<SeqNo>,
    /// The greatest sequence number.
    pub max_seq: Option<SeqNo>,
    /// Bytes handed out by the arena: entries, nodes, lanes, alignment.
    pub memory_usage: usize,
    /// Bytes the arena holds.
    pub memory_reserved: usize,
    /// Bytes it holds and has not handed out.
    pub memory_idle: usize,
    /// The part of the memory held that is handed out, 0.0-1.0.
    pub memory_utilization: f64,
    /// How close the table is to its thresholds.
    pub pressure: Pressure,
    /// Whether the table is frozen, or being frozen.
    pub is_sealed: bool,
}
