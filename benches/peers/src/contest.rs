//! The rounds. In every round every library fills a table, then all of them take turns at one workload after the other, so that a
//! slow minute of the machine hits all alike; who begins moves on by one each round.

use crate::case::Case;
use crate::measure::{Sample, trim_heap};
use crate::probe::Probe;
use crate::seat::Seat;
use crate::workload::Workload;
use std::time::{Duration, Instant};

/// What one library did in one case.
#[derive(Debug)]
pub struct Score {
    pub peer: &'static str,
    /// For each workload, in the order of the case's, one sample a round; none if the library does not take part.
    pub samples: Vec<Vec<Sample>>,
    pub probe: Option<Probe>,
}

/// How long and how big a contest may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rounds: usize,
    /// No further round is begun that would end after this.
    pub until: Instant,
    /// Memory for tables that are alive at the same time. Beyond it, the libraries go through their rounds one after the other.
    pub memory: usize,
}

/// Runs one case.
pub fn contest(seats: &mut [Box<dyn Seat>], workloads: &[Workload], case: &Case, limits: Limits) -> Vec<Score> {
    let mut scores: Vec<Score> = seats
        .iter()
        .map(|seat| Score { peer: seat.name(), samples: vec![Vec::new(); workloads.len()], probe: None })
        .collect();

    // Payload and as much again for the library's own.
    let estimate = 2 * case.plan.payload * seats.len();
    let mut longest = Duration::ZERO;
    for round in 0..limits.rounds {
        let start = Instant::now();
        if round > 0 && start + longest > limits.until {
            break;
        }
        let mut order: Vec<usize> = (0..seats.len()).collect();
        order.rotate_left(round % seats.len());
        // Not always the same one before: what that left of the heap and the caches is the next one's.
        if round % 2 == 1 {
            order.reverse();
        }
        let group = if estimate > limits.memory { 1 } else { order.len() };
        for group in order.chunks(group) {
            play(seats, group, workloads, case, &mut scores);
        }
        longest = longest.max(start.elapsed());
    }
    if case.id.threads == 1 {
        for (seat, score) in seats.iter().zip(&mut scores) {
            if seat.takes(Workload::FillRandom, case) {
                score.probe = Some(seat.probe(case));
                trim_heap();
            }
        }
    }
    scores
}

/// One round of the libraries in `group`.
fn play(seats: &mut [Box<dyn Seat>], group: &[usize], workloads: &[Workload], case: &Case, scores: &mut [Score]) {
    let row = |wanted: Workload| workloads.iter().position(|workload| *workload == wanted);

    for fresh in [Workload::FillSeq, Workload::FillBatch] {
        let Some(row) = row(fresh) else { continue };
        each(seats, group, fresh, case, |seat| {
            let mut sample = Sample::default();
            for _ in 0..case.repeats {
                sample.add(&seat.fill(fresh, case));
                seat.clear();
            }
            tidy_up_after(case);
            sample
        })
        .for_each(|(seat, sample)| scores[seat].samples[row].push(sample));
        trim_heap();
    }

    let mut sums = vec![vec![None::<Sample>; workloads.len()]; seats.len()];
    let mut add = |seat: usize, row: Option<usize>, sample: Sample| {
        if let Some(row) = row {
            sums[seat][row].get_or_insert_default().add(&sample);
        }
    };
    for repeat in 1..=case.repeats {
        each(seats, group, Workload::FillRandom, case, |seat| seat.fill(Workload::FillRandom, case))
            .for_each(|(seat, sample)| add(seat, row(Workload::FillRandom), sample));
        // Reading leaves no trace: once is enough.
        if repeat == case.repeats {
            for (index, workload) in workloads.iter().enumerate().filter(|(_, workload)| workload.is_read()) {
                each(seats, group, *workload, case, |seat| seat.run(*workload, case, 0))
                    .for_each(|(seat, sample)| add(seat, Some(index), sample));
            }
        }
        let mut nth = 0;
        for (index, workload) in workloads.iter().enumerate().filter(|(_, workload)| workload.is_write()) {
            each(seats, group, *workload, case, |seat| seat.run(*workload, case, nth))
                .for_each(|(seat, sample)| add(seat, Some(index), sample));
            nth += usize::from(*workload != Workload::Overwrite);
        }
        for &seat in group {
            let sample = seats[seat].clear();
            if seats[seat].takes(Workload::Drop, case) {
                add(seat, row(Workload::Drop), sample);
            }
            tidy_up_after(case);
        }
    }
    trim_heap();
    for (score, sums) in scores.iter_mut().zip(sums) {
        for (samples, sum) in score.samples.iter_mut().zip(sums) {
            samples.extend(sum);
        }
    }
}

/// Has what one library freed sorted into the heap now, and not while the next one is timed. Small tables have nothing to sort, and
/// would pay with a fresh page for every few entries.
fn tidy_up_after(case: &Case) {
    if case.repeats == 1 {
        trim_heap();
    }
}

/// Lets each library of the group that takes part in a workload have its turn.
fn each<'a>(
    seats: &'a mut [Box<dyn Seat>],
    group: &'a [usize],
    workload: Workload,
    case: &'a Case,
    mut turn: impl FnMut(&mut dyn Seat) -> Sample + 'a,
) -> impl Iterator<Item = (usize, Sample)> + 'a {
    group.iter().filter_map(move |&index| {
        let seat = seats[index].as_mut();
        seat.takes(workload, case).then(|| (index, turn(seat)))
    })
}
