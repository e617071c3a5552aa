//! Histories of put, tombstone, insert, delete, get, snapshot and freeze by several threads on few keys, under shuttle's
//! schedules, each checked against a sequential table.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --test linearizability`; `.ci/shuttle.sh` does that. Without
//! `cfg(shuttle)` only the checker's own tests run. `MEMSKIP_SHUTTLE=N` asks for N schedules of each kind.
#![allow(unreachable_pub, dead_code, reason = "a test crate of its own")]

mod checker;

#[cfg(shuttle)]
mod histories {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::{Arc, Mutex};

    use memskip::{InsertError, Memtable, SeqNo, Table};
    use shuttle::rand::{Rng, thread_rng};
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, Runner, thread};

    use crate::checker::{Event, Key, Outcome, Seen, Step, is_linearizable};

    const KEYS: [Key; 3] = [10, 20, 30];
    const THREADS: usize = 4;
    const STEPS: usize = 4;

    /// A table and what is done to it.
    struct Recorder {
        table: Memtable,
        /// Ticks at every call and every return. No atomic of shuttle's: it takes no part.
        ticks: AtomicUsize,
        events: Mutex<Vec<Event>>,
    }

    impl Recorder {
        fn new() -> Self {
            let table = Memtable::<[u8]>::builder().shards(1).first_chunk(8 << 10).build();
            Self { table, ticks: AtomicUsize::new(0), events: Mutex::default() }
        }

        fn tick(&self) -> usize {
            self.ticks.fetch_add(1, Relaxed)
        }

        fn record<const N: usize>(&self, called: usize, returned: usize, steps: [Step; N]) {
            let events = steps.map(|step| Event { called, returned, step });
            self.events.lock().expect("never poisoned").extend(events);
        }

        /// Calls, and records what came of it.
        fn step(&self, step: impl FnOnce(&Memtable) -> Step) {
            let called = self.tick();
            let step = step(&self.table);
            self.record(called, self.tick(), [step]);
        }

        fn snapshot(&self) {
            let called = self.tick();
            let snapshot = self.table.snapshot();
            let returned = self.tick();
            let read = || KEYS.map(|key| (key, seen(&self.table, key, snapshot.seq())));
            let shown = read();
            assert_eq!(read(), shown, "the snapshot changed");
            self.record(called, returned, [Step::Snapshot(shown.to_vec())]);
        }

        fn freeze(&self) {
            let called = self.tick();
            let frozen = self.table.freeze();
            frozen.validate().expect("exact as soon as it is frozen");
            self.record(called, self.tick(), [Step::SealBegins, Step::SealEnds]);
        }
    }

    fn seen(table: &Table, key: Key, bound: SeqNo) -> Seen {
        match table.get_at(&[key], bound) {
            None => Seen::Nothing,
            Some(entry) if entry.is_tombstone => Seen::Tombstone,
            Some(entry) => Seen::Value(entry.value[0]),
        }
    }

    fn outcome<T>(result: Result<T, InsertError>) -> Outcome {
        match result {
            Ok(_) => Outcome::Done,
            Err(InsertError::DuplicateKey) => Outcome::Refused,
            Err(InsertError::Sealed) => Outcome::Sealed,
            Err(error) => panic!("{error}"),
        }
    }

    /// How `insert` is done: by the table, or wrongly, to see that it is noticed.
    type Insert = fn(&Memtable, Key, u8) -> Outcome;

    fn insert(table: &Memtable, key: Key, value: u8) -> Outcome {
        outcome(table.try_insert(&[key], &[value]))
    }

    fn look_then_put(table: &Memtable, key: Key, value: u8) -> Outcome {
        if table.get(&[key]).is_some() { Outcome::Refused } else { outcome(table.put(&[key], &[value])) }
    }

    /// One thread's random steps. `values` are this thread's own.
    fn work(recorder: &Recorder, mut values: std::ops::Range<u8>, insert: Insert) {
        for _ in 0..STEPS {
            let key = KEYS[thread_rng().gen_range(0..KEYS.len())];
            let mut value = || values.next().expect("one per step");
            match thread_rng().gen_range(0..20) {
                0..=4 => recorder.step(|table| {
                    let value = value();
                    Step::Put(key, value, outcome(table.put(&[key], &[value])))
                }),
                5..=6 => recorder.step(|table| Step::PutTombstone(key, outcome(table.put_tombstone(&[key])))),
                7..=9 => recorder.step(|table| {
                    let value = value();
                    Step::Insert(key, value, insert(table, key, value))
                }),
                10..=11 => recorder.step(|table| Step::Delete(key, table.delete(&[key]))),
                12..=15 => recorder.step(|table| Step::Get(key, seen(table, key, SeqNo::MAX))),
                16..=18 => recorder.snapshot(),
                // At most one thread freezes, or there would be two seals in the history.
                _ if values.start < STEPS as u8 => return recorder.freeze(),
                _ => recorder.snapshot(),
            }
        }
    }

    /// What the histories of a run hold, so that a run is known to have seen it.
    #[derive(Default)]
    struct Tally(Mutex<BTreeSet<&'static str>>);

    impl Tally {
        const ALL: [&'static str; 10] = [
            "a put",
            "a refused insert",
            "a sealed write",
            "a tombstone",
            "a delete",
            "a delete of nothing",
            "a value read",
            "a tombstone read",
            "a snapshot of some",
            "a freeze",
        ];

        fn note(&self, step: &Step) {
            let is_value = |seen: &Seen| matches!(seen, Seen::Value(_));
            let name = match step {
                Step::Put(.., Outcome::Done) => "a put",
                Step::Insert(.., Outcome::Refused) => "a refused insert",
                Step::Put(.., Outcome::Sealed) => "a sealed write",
                Step::PutTombstone(.., Outcome::Done) => "a tombstone",
                Step::Delete(_, true) => "a delete",
                Step::Delete(_, false) => "a delete of nothing",
                Step::Get(_, Seen::Value(_)) => "a value read",
                Step::Get(_, Seen::Tombstone) => "a tombstone read",
                Step::Snapshot(shown) if shown.iter().any(|(_, seen)| is_value(seen)) => "a snapshot of some",
                Step::SealEnds => "a freeze",
                _ => return,
            };
            self.0.lock().expect("never poisoned").insert(name);
        }
    }

    fn run(scheduler: impl Scheduler + 'static, insert: Insert) {
        let tally = Arc::new(Tally::default());
        let notes = Arc::clone(&tally);
        let mut config = Config::new();
        config.stack_size = 256 << 10;
        Runner::new(scheduler, config).run(move || {
            let recorder = Arc::new(Recorder::new());
            let threads: Vec<_> = (0..THREADS)
                .map(|number| {
                    let recorder = Arc::clone(&recorder);
                    let first = (number * STEPS) as u8;
                    thread::spawn(move || work(&recorder, first..first + STEPS as u8, insert))
                })
                .collect();
            for thread in threads {
                thread.join().expect("the thread panicked");
            }
            recorder.table.validate().expect("valid");
            let events = recorder.events.lock().expect("never poisoned");
            assert!(is_linearizable(&events), "{NO_ORDER}: {events:#?}");
            events.iter().for_each(|event| notes.note(&event.step));
        });
        let seen = tally.0.lock().expect("never poisoned");
        let never: Vec<_> = Tally::ALL.iter().filter(|name| !seen.contains(*name)).collect();
        assert!(never.is_empty(), "never seen: {never:?}");
    }

    const NO_ORDER: &str = "no order explains this history";

    fn schedules() -> usize {
        std::env::var("MEMSKIP_SHUTTLE").ok().and_then(|number| number.parse().ok()).unwrap_or(10_000)
    }

    #[test]
    fn random_schedules() {
        run(RandomScheduler::new(schedules()), insert);
    }

    #[test]
    fn pct_schedules() {
        for depth in [2, 3, 5] {
            run(PctScheduler::new(depth, schedules() / 3), insert);
        }
    }

    /// The checker sees an insert that looks first and puts then.
    #[test]
    #[should_panic = "no order explains this history"]
    fn a_wrong_insert_is_noticed() {
        run(RandomScheduler::new(schedules()), look_then_put);
    }
}
