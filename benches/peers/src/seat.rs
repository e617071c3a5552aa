//! A seat at the table: one library and the table it is working on, behind a trait object, so that the libraries can take turns.
//! The calls that are timed are inside; none goes through the trait object more than once per measurement.

use crate::case::Case;
use crate::drive;
use crate::measure::{Sample, Tally, alone};
use crate::peer::{Ability, Peer};
use crate::probe::{self, Probe};
use crate::workload::Workload;
use std::marker::PhantomData;

pub trait Seat {
    fn name(&self) -> &'static str;

    /// Whether the library takes part in a workload of a case.
    fn takes(&self, workload: Workload, case: &Case) -> bool;

    /// The largest table the library is asked to hold.
    fn max_entries(&self) -> usize;

    /// Makes a table and fills it.
    fn fill(&mut self, workload: Workload, case: &Case) -> Sample;

    /// Runs a workload on the filled table.
    fn run(&mut self, workload: Workload, case: &Case, nth: usize) -> Sample;

    /// Drops the table.
    fn clear(&mut self) -> Sample;

    /// Latencies, memory, and a check of every entry, on a table of its own.
    fn probe(&self, case: &Case) -> Probe;
}

struct Taken<P> {
    // Boxed: a table does not move between its fill and its drop.
    table: Option<Box<P>>,
    entries: usize,
    library: PhantomData<P>,
}

/// An empty seat for a library.
pub fn seat<P: Peer + 'static>() -> Box<dyn Seat> {
    Box::new(Taken::<P> { table: None, entries: 0, library: PhantomData })
}

impl<P: Peer> Seat for Taken<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn takes(&self, workload: Workload, case: &Case) -> bool {
        let threads = case.id.threads;
        case.id.entries <= P::MAX_ENTRIES
            && case.id.entries >= workload.min_entries()
            && (threads == 1 || (workload.is_parallel() && P::ABILITIES.contains(&Ability::Share)))
            && workload.needs().iter().all(|ability| P::ABILITIES.contains(ability))
    }

    fn max_entries(&self) -> usize {
        P::MAX_ENTRIES
    }

    fn fill(&mut self, workload: Workload, case: &Case) -> Sample {
        self.entries = case.id.entries;
        let table = self.table.insert(Box::new(P::new(&case.plan)));
        drive::fill(table.as_mut(), workload, case)
    }

    fn run(&mut self, workload: Workload, case: &Case, nth: usize) -> Sample {
        self.table.as_deref().map_or_else(Sample::default, |table| drive::run(table, workload, case, nth))
    }

    fn clear(&mut self) -> Sample {
        let table = self.table.take();
        alone(|| {
            drop(table);
            Tally { operations: self.entries as u64, wrong: 0 }
        })
    }

    fn probe(&self, case: &Case) -> Probe {
        probe::probe::<P>(case)
    }
}
