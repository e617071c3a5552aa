//! Records of the log: a batch with its sequence number and a checksum.
//!
//! ```text
//! record     crc 4 │ length 4 │ sequence number 8 │ operation …
//! operation  length of the value 4 (all ones: delete) │ length of the key 4 │ key │ value
//! ```

use memskip::{Kind, WriteBatch};

use super::Error;

pub(super) const HEAD: usize = 16;
/// The tree's limit.
pub(super) const MAX_KEY: usize = u16::MAX as usize;
/// The memtable's, for a value.
const MAX_RECORD: usize = memskip::Memtable::<[u8]>::MAX_VALUE_LEN;
const DELETE: u32 = u32::MAX;

/// How a delete lies in a memtable. Not as a tombstone: those are left out of the manager's owned ranges, and a scan
/// needs them to hide what is on disk.
pub(super) const DELETED: Kind = Kind(2);

/// Whether a batch can be stored.
pub(super) fn check(batch: &WriteBatch) -> Result<(), Error> {
    if batch.iter().any(|(key, ..)| key.is_empty() || key.len() > MAX_KEY) {
        return Err(Error::Invalid("keys have 1 to 65535 bytes"));
    }
    let bytes = batch.iter().map(|(key, value, _)| key.len() + value.len() + 8).sum::<usize>();
    if bytes > MAX_RECORD { Err(Error::Invalid("value or batch too large")) } else { Ok(()) }
}

/// Appends a record to `bytes`, which will lie at `offset` of a segment.
pub(super) fn encode(batch: &WriteBatch, (segment, offset): (u64, u64), seq: u64, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    for (key, value, kind) in batch.iter() {
        let value_len = if kind.is_tombstone() { DELETE } else { value.len() as u32 };
        bytes.extend_from_slice(&value_len.to_le_bytes());
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    let (head, operations) = bytes[start..].split_at_mut(HEAD);
    let crc = crc(segment, offset + start as u64, seq, operations);
    head[..4].copy_from_slice(&crc.to_le_bytes());
    head[4..8].copy_from_slice(&(operations.len() as u32).to_le_bytes());
    head[8..].copy_from_slice(&seq.to_le_bytes());
}

/// Number and operations of the record at an offset, if it is whole.
pub(super) fn find(bytes: &[u8], segment: u64, at: usize) -> Option<(u64, &[u8])> {
    let (found, rest) = bytes.get(at..)?.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let operations = rest.get(..u32::from_le_bytes(*len) as usize)?;
    let seq = u64::from_le_bytes(*seq);
    (u32::from_le_bytes(*found) == crc(segment, at as u64, seq, operations)).then_some((seq, operations))
}

/// Whether a record with a later number than `seq` lies anywhere behind `at`.
pub(super) fn is_any_behind(bytes: &[u8], segment: u64, at: usize, seq: u64) -> bool {
    let last = seq + ((bytes.len() - at) / HEAD) as u64;
    let may_begin = |at: &usize| {
        let found = bytes.get(at + 8..).and_then(<[u8]>::first_chunk).map_or(0, |found| u64::from_le_bytes(*found));
        (seq + 1..=last).contains(&found)
    };
    (at + 1..bytes.len()).filter(may_begin).any(|at| find(bytes, segment, at).is_some())
}

/// Segment and offset are in it so that a log which is stored as a value is not taken for one.
fn crc(segment: u64, offset: u64, seq: u64, operations: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for word in [segment, offset, seq, operations.len() as u64] {
        crc.update(&word.to_le_bytes());
    }
    crc.update(operations);
    crc.finalize()
}

/// Puts operations into `batch`. `None` if they are not what [`encode`] writes.
pub(super) fn decode(mut bytes: &[u8], batch: &mut WriteBatch) -> Option<()> {
    batch.clear();
    while !bytes.is_empty() {
        let (value_len, rest) = bytes.split_first_chunk()?;
        let (key_len, rest) = rest.split_first_chunk()?;
        let (value_len, is_deleted) = match u32::from_le_bytes(*value_len) {
            DELETE => (0, true),
            len => (len as usize, false),
        };
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
        let (value, rest) = rest.split_at_checked(value_len)?;
        batch.put_kind(key, value, if is_deleted { DELETED } else { Kind::VALUE });
        bytes = rest;
    }
    Some(())
}
