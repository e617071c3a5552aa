//! One table, two writers: the main loop, and an interrupt handler that breaks into it.
//!
//! The timer is set before each write of the main loop to fire a little later than the time before, so that one after the
//! other the instructions of a write are interrupted. The handler then reads and writes around the very key that is being
//! written, and checks what it sees. Nothing is masked for that: the list takes no lock that the handler could meet.

use core::cell::{Cell, RefCell};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use cortex_m::peripheral::{SCB, SYST};
use cortex_m_rt::exception;
use cortex_m_semihosting::hprintln;
use critical_section::Mutex;
use memskip::{DEFAULT_HEIGHT, InsertError, LaneDensity};

use crate::exercise::{self, Fault, key_of, value_of};

type Table = exercise::Table<DEFAULT_HEIGHT>;

/// Rounds of the main loop, each interrupted a tick later than the one before; three times from the beginning.
const ROUNDS: u32 = 3 * LATEST;
/// The longest delay, in ticks of 40 ns; longer than the two writes take.
const LATEST: u32 = 3_600;

/// The table, once there is one.
static TABLE: Mutex<Cell<Option<&'static Table>>> = Mutex::new(Cell::new(None));
/// The timer.
static TIMER: Mutex<RefCell<Option<SYST>>> = Mutex::new(RefCell::new(None));

/// The round that the main loop is in.
static ROUND: AtomicU32 = AtomicU32::new(0);
/// Whether it is writing.
static WRITING: AtomicBool = AtomicBool::new(false);
/// The last round whose write is over, plus one.
static WRITTEN: AtomicU32 = AtomicU32::new(0);
/// Interrupts, and how many of them found a write unfinished.
static FIRED: AtomicU32 = AtomicU32::new(0);
static INSIDE: AtomicU32 = AtomicU32::new(0);
/// What the handler is to do.
static TASK: AtomicU32 = AtomicU32::new(WRITE);
/// The number of the first check in the handler that failed; 0 is none.
static FAULT: AtomicU32 = AtomicU32::new(0);
/// What `try_freeze` said in the handler.
static FROZE: AtomicU32 = AtomicU32::new(0);

const WRITE: u32 = 0;
const FREEZE: u32 = 1;

/// The timer fires in `ticks`, once.
fn arm(ticks: u32) {
    critical_section::with(|cs| {
        if let Some(timer) = TIMER.borrow_ref_mut(cs).as_mut() {
            timer.set_reload(ticks);
            timer.clear_current();
            timer.enable_counter();
        }
    });
}

#[exception]
fn SysTick() {
    let table = critical_section::with(|cs| {
        if let Some(timer) = TIMER.borrow_ref_mut(cs).as_mut() {
            timer.disable_counter();
        }
        // After a short delay it may have fired again before it was stopped.
        SCB::clear_pendst();
        TABLE.borrow(cs).get()
    });
    let Some(table) = table else { return };
    INSIDE.fetch_add(u32::from(WRITING.load(SeqCst)), SeqCst);
    let done = if TASK.load(SeqCst) == FREEZE {
        FROZE.store(1 + u32::from(table.try_freeze().is_some()), SeqCst);
        Ok(())
    } else {
        handle(table, ROUND.load(SeqCst))
    };
    if let Err(check) = done {
        let _ = FAULT.compare_exchange(0, check, SeqCst, SeqCst);
    }
    FIRED.fetch_add(1, SeqCst);
}

fn check(fact: bool, number: u32) -> Result<(), u32> {
    if fact { Ok(()) } else { Err(number) }
}

/// A key of the handler's: right behind one of the main loop's.
fn own_key(number: u32) -> [u8; 5] {
    let [a, b, c, d] = key_of(number);
    [a, b, c, d, 0]
}

/// A key that both write, over and over.
fn common_key(number: u32) -> [u8; 2] {
    [0xC0, (number % 16) as u8]
}

/// What the interrupt does: reads and writes where the main loop is writing.
fn handle(table: &Table, round: u32) -> Result<(), u32> {
    // The write it broke into is there as a whole or not at all, and once seen, always seen.
    let seen = table.get_live(&key_of(round));
    check(seen.is_none_or(|value| value == value_of(round)), 1)?;
    check(seen.is_none() || table.contains_key(&key_of(round)), 2)?;
    // What was complete before it is there.
    if let Some(done) = WRITTEN.load(SeqCst).checked_sub(1) {
        check(table.get_live(&key_of(done)) == Some(&value_of(done)), 3)?;
    }

    // Its own write, into the gap that the main loop may be about to fill.
    let before = table.snapshot();
    let own = own_key(round);
    check(table.put(&own, &value_of(round)).is_ok(), 4)?;
    check(table.get_live(&own) == Some(&value_of(round)), 5)?;
    // A snapshot of before does not have it; nor does it change its mind about the write that goes on.
    check(before.get_live(&own).is_none(), 6)?;
    check(before.get_live(&key_of(round)).is_some() >= seen.is_some(), 7)?;

    // A version on a chain that the main loop may be about to extend, a tombstone every fourth time.
    let put = if round % 4 == 0 {
        table.put_tombstone(&common_key(round))
    } else {
        table.put(&common_key(round), b"from the handler")
    };
    let seq = put.map_err(|_| 8u32)?;
    check(table.entry(&common_key(round)).is_some_and(|entry| entry.seq == seq), 9)?;

    // A few steps both ways from there, in order.
    let mut ahead = table.range(&own[..]..).take(8);
    let first = ahead.next().ok_or(10u32)?;
    check(first.key == own, 11)?;
    ahead.try_fold(first.key, |last, entry| check(last < entry.key, 12).map(|()| entry.key))?;
    let back = table.range(..&own[..]).rev().take(3);
    back.fold(Ok(&own[..]), |last, entry| check(last? > entry.key, 13).map(|()| entry.key))?;
    Ok(())
}

/// Runs all of it.
pub fn run(buffer: &'static mut [MaybeUninit<u8>], mut timer: SYST) -> Result<(), Fault> {
    let table = exercise::table(buffer, LaneDensity::Every);
    let table: &'static Table = cortex_m::singleton!(: Table = table).ok_or("the table is taken")?;
    timer.enable_interrupt();
    critical_section::with(|cs| {
        TIMER.borrow_ref_mut(cs).replace(timer);
        TABLE.borrow(cs).set(Some(table));
    });

    for round in 0..ROUNDS {
        let fired = FIRED.load(SeqCst);
        ROUND.store(round, SeqCst);
        WRITING.store(true, SeqCst);
        arm(2 + round % LATEST);
        let new = table.put(&key_of(round), &value_of(round));
        let common = table.put(&common_key(round), &round.to_le_bytes());
        WRITING.store(false, SeqCst);
        if new.is_err() || common.is_err() {
            return Err("the main loop was refused");
        }
        WRITTEN.store(round + 1, SeqCst);
        while FIRED.load(SeqCst) == fired {
            core::hint::spin_loop();
        }
        if FAULT.load(SeqCst) != 0 {
            hprintln!("check {} failed in the handler, round {}", FAULT.load(SeqCst), round);
            return Err("the handler saw what it must not see");
        }
    }
    table.validate().map_err(|corruption| corruption.what())?;

    // All of the main loop's keys, all of the handler's, the common ones.
    for round in 0..ROUNDS {
        if table.get_live(&key_of(round)) != Some(&value_of(round)) || !table.contains_key(&own_key(round)) {
            return Err("a key is missing after the interrupts");
        }
    }
    let keys = 2 * ROUNDS as usize + 16;
    let versions = ROUNDS as usize * 4;
    if table.len() + table.tombstones() != keys || table.iter().count() != keys || table.version_count() != versions {
        return Err("not as many as were written by both");
    }
    hprintln!(
        "{} interrupts, {} of them inside a write; {} keys, {} versions, as written; valid",
        FIRED.load(SeqCst),
        INSIDE.load(SeqCst),
        keys,
        versions
    );
    frozen_inside(table)
}

/// The handler freezes the table while the main loop writes.
fn frozen_inside(table: &Table) -> Result<(), Fault> {
    let fired = FIRED.load(SeqCst);
    TASK.store(FREEZE, SeqCst);
    arm(500);
    // The first of these writes that is refused began after the handler had closed the gate.
    let mut written = 0;
    let refused = loop {
        match table.put(&own_key(ROUNDS + written), b"") {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    if refused != InsertError::Sealed || FIRED.load(SeqCst) == fired {
        return Err("refused, and not because of the freeze");
    }
    hprintln!(
        "frozen from the handler: {}; then {} more keys, and sealed",
        if FROZE.load(SeqCst) == 1 { "not yet, a write was unfinished" } else { "at once" },
        written
    );
    let frozen = table.try_freeze().ok_or("nobody writes, and still not frozen")?;
    if frozen.iter().count() != 2 * ROUNDS as usize + 16 + written as usize {
        return Err("a write that was let in is missing");
    }
    table.validate().map_err(|corruption| corruption.what())
}
