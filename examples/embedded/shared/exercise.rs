//! What both boards do with a table: fill it, read it, overwrite, delete, snapshot, freeze; and what that costs.
//!
//! Knows nothing of the board but a clock that counts up.

use core::mem::MaybeUninit;

use memskip::{Bytewise, EpochClock, FixedArena, InsertError, LaneDensity, Memtable};

/// A table over a buffer, with `H` levels.
pub type Table<const H: usize> = Memtable<[u8], Bytewise, FixedArena<'static>, EpochClock, H>;

/// What went wrong; empty if a memtable said it.
pub type Fault = &'static str;

/// A counter of the board's that may wrap.
pub trait Ticks {
    /// Its bits.
    const MASK: u32;

    /// What it shows.
    fn now(&self) -> u32;

    /// Instructions in so many of its ticks, with qemu's `-icount shift=5`: an instruction takes 32 ns.
    fn instructions(ticks: u64) -> u64;
}

/// Counts operations, and the ticks that they took.
#[derive(Default)]
pub struct Cost {
    ticks: u64,
    times: u32,
}

impl Cost {
    fn of<T: Ticks, R>(&mut self, clock: &T, operation: impl FnOnce() -> R) -> R {
        let start = clock.now();
        let result = operation();
        self.ticks += u64::from(clock.now().wrapping_sub(start) & T::MASK);
        self.times += 1;
        result
    }

    /// Instructions per operation.
    pub fn each<T: Ticks>(&self) -> u64 {
        T::instructions(self.ticks) / u64::from(self.times.max(1))
    }
}

/// What a run has shown.
#[derive(Default)]
pub struct Report {
    /// Entries that the buffer held.
    pub entries: u32,
    /// Bytes that the buffer could hand out, and had handed out when it was full.
    pub reserved: usize,
    /// See `reserved`.
    pub used: usize,
    /// A write of a new key.
    pub put: Cost,
    /// A read of a key that is there.
    pub get: Cost,
    /// A step forwards.
    pub next: Cost,
    /// A step backwards.
    pub back: Cost,
    /// A new version of a key.
    pub overwrite: Cost,
    /// A tombstone.
    pub delete: Cost,
}

/// Keys in no order, all different.
pub fn key_of(number: u32) -> [u8; 4] {
    number.wrapping_mul(0x9E37_79B1).to_be_bytes()
}

/// The value that belongs to a number.
pub fn value_of(number: u32) -> [u8; 8] {
    (u64::from(number) << 32 | u64::from(!number)).to_le_bytes()
}

/// An empty table over all of `buffer`.
pub fn table<const H: usize>(buffer: &'static mut [MaybeUninit<u8>], density: LaneDensity) -> Table<H> {
    memskip::Builder::with_arena(FixedArena::new(buffer)).max_height::<H>().lane_density(density).build()
}

fn holds(fact: bool, fault: Fault) -> Result<(), Fault> {
    if fact { Ok(()) } else { Err(fault) }
}

/// Fills the table until it says that it is full; how many entries that were.
fn fill<const H: usize>(table: &Table<H>, clock: &impl Ticks, put: &mut Cost) -> Result<u32, Fault> {
    for number in 0.. {
        match put.of(clock, || table.put(&key_of(number), &value_of(number))) {
            Ok(_) => {}
            Err(InsertError::OutOfMemory) => return Ok(number),
            Err(_) => return Err("refused, and not for want of memory"),
        }
    }
    Err("never full")
}

/// Everything, on a table that may hold something before and holds less after.
pub fn run<const H: usize>(table: &mut Table<H>, clock: &impl Ticks) -> Result<Report, Fault> {
    let mut report = Report::default();
    table.reset();
    report.entries = fill(table, clock, &mut report.put)?;
    report.reserved = table.memory_reserved();
    report.used = table.memory_usage();
    read_back(table, clock, &mut report)?;

    // Full means that nothing is lost, and that nothing larger goes in, over a key that is there neither.
    holds(table.put(&key_of(0), &[0; 64]) == Err(InsertError::OutOfMemory), "room in a full table")?;
    holds(table.get(&key_of(0)) == Some((&value_of(0)[..], false)), "a refused version shows")?;
    table.validate().map_err(|corruption| corruption.what())?;

    // The same memory again, a third of it for first versions.
    table.reset();
    holds(table.is_empty() && table.memory_usage() == 0, "reset leaves something")?;
    let third = report.entries / 3;
    for number in 0..third {
        table.put(&key_of(number), &value_of(number)).map_err(|_| "no room for a third")?;
    }
    history(table, clock, third, &mut report)?;
    freeze(table, third)?;
    Ok(report)
}

/// Every value by its key, then all of them forwards and backwards.
fn read_back<const H: usize>(table: &Table<H>, clock: &impl Ticks, report: &mut Report) -> Result<(), Fault> {
    holds(table.len() == report.entries as usize, "not as many as were written")?;
    for number in 0..report.entries {
        let got = report.get.of(clock, || table.get(&key_of(number)));
        holds(got == Some((&value_of(number)[..], false)), "a key has another value")?;
    }
    holds(table.get(&key_of(report.entries)).is_none(), "a key that was refused is there")?;

    let mut forwards = table.iter();
    let mut last: Option<&[u8]> = None;
    for _ in 0..report.entries {
        let entry = report.next.of(clock, || forwards.next()).ok_or("too few forwards")?;
        holds(last.is_none_or(|last| last < entry.key), "not ascending")?;
        last = Some(entry.key);
    }
    holds(forwards.next().is_none(), "too many forwards")?;

    let mut backwards = table.iter().rev();
    let mut last: Option<&[u8]> = None;
    for _ in 0..report.entries {
        let entry = report.back.of(clock, || backwards.next()).ok_or("too few backwards")?;
        holds(last.is_none_or(|last| last > entry.key), "not descending")?;
        last = Some(entry.key);
    }
    holds(backwards.next().is_none(), "too many backwards")
}

/// Overwrites all `count` keys, deletes every second one, and looks at what snapshots show of that.
fn history<const H: usize>(table: &Table<H>, clock: &impl Ticks, count: u32, report: &mut Report) -> Result<(), Fault> {
    let first = table.snapshot();
    for number in 0..count {
        let put = report.overwrite.of(clock, || table.put(&key_of(number), b"new"));
        put.map_err(|_| "no room to overwrite")?;
    }
    let second = table.snapshot();
    for number in (0..count).step_by(2) {
        holds(report.delete.of(clock, || table.delete(&key_of(number))), "not deleted")?;
        holds(!table.delete(&key_of(number)), "deleted twice")?;
    }
    for number in 0..count {
        let key = key_of(number);
        let is_deleted = number % 2 == 0;
        holds(first.get_live(&key) == Some(&value_of(number)), "the first snapshot has changed")?;
        holds(second.get_live(&key) == Some(b"new"), "the second snapshot has changed")?;
        holds(table.get(&key) == Some(if is_deleted { (b"", true) } else { (b"new", false) }), "not the newest")?;
    }
    let versions = 2 * count as usize + table.tombstones();
    holds(table.versions().count() == versions && table.versions().rev().count() == versions, "versions are missing")?;
    holds(table.len() + table.tombstones() == count as usize, "the figures are wrong")?;
    table.validate().map_err(|corruption| corruption.what())
}

/// Freezes the table: reads go on, writes do not.
fn freeze<const H: usize>(table: &Table<H>, count: u32) -> Result<(), Fault> {
    let frozen = table.freeze();
    holds(table.put(b"late", b"") == Err(InsertError::Sealed), "a frozen table takes a write")?;
    holds(frozen.iter().count() == count as usize, "a frozen table has lost entries")?;
    holds(table.try_freeze().is_some(), "a frozen table does not know it")
}

/// The order in which keys come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each greater than the one before.
    Ascending,
    /// None.
    Shuffled,
}

/// Fills the table with values of `value` bytes, and gives the bytes per entry (in hundredths) that are neither key nor
/// value.
pub fn overhead<const H: usize>(table: &mut Table<H>, order: Order, value: usize) -> Result<usize, Fault> {
    table.reset();
    let bytes = [0xA5; 16];
    let value = bytes.get(..value).ok_or("too long a value")?;
    let mut entries = 0u32;
    loop {
        let key = if order == Order::Ascending { entries.to_be_bytes() } else { key_of(entries) };
        match table.put(&key, value) {
            Ok(_) => entries += 1,
            Err(InsertError::OutOfMemory) => break,
            Err(_) => return Err("refused, and not for want of memory"),
        }
    }
    let payload = entries as usize * (4 + value.len());
    Ok((table.memory_usage() - payload) * 100 / (entries as usize).max(1))
}
