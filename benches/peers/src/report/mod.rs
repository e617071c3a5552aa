//! From samples to figures: medians, ratios against memskip, and the files they are written to.

pub mod csv;
pub mod markdown;
pub mod plot;

use crate::case::{Case, CaseId};
use crate::contest::Score;
use crate::measure::Sample;
use crate::probe::Probe;
use crate::workload::Workload;

/// The column the others are compared with.
const REFERENCE: &str = if cfg!(feature = "single-writer") { "memskip-alone" } else { "memskip" };

/// One library at one workload.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Median over the rounds, nanoseconds per operation.
    pub wall: f64,
    pub fastest: f64,
    pub slowest: f64,
    /// Median processor time, nanoseconds per operation.
    pub cpu: f64,
    pub rounds: usize,
    pub wrong: u64,
}

/// One workload.
#[derive(Debug)]
pub struct Row {
    pub label: String,
    /// One for each library, none if it does not take part.
    pub cells: Vec<Option<Cell>>,
    /// Whether processor time per operation means anything: not if another thread did something else meanwhile.
    pub has_cpu: bool,
}

/// One case.
#[derive(Debug)]
pub struct Sheet {
    pub id: CaseId,
    /// Bytes of keys and values together.
    pub payload: usize,
    pub peers: Vec<&'static str>,
    pub rows: Vec<Row>,
    pub probes: Vec<Option<Probe>>,
    /// What is to be said about the case.
    pub notes: Vec<String>,
}

impl Sheet {
    pub fn new(case: &Case, workloads: &[Workload], scores: &[Score], notes: Vec<String>) -> Self {
        let mut rows = Vec::new();
        for (index, workload) in workloads.iter().enumerate() {
            let mut add = |label: String, has_cpu: bool, wall_ns: fn(&Sample) -> f64| {
                let cells: Vec<_> = scores.iter().map(|score| cell(&score.samples[index], wall_ns)).collect();
                if cells.iter().any(Option::is_some) {
                    rows.push(Row { label, cells, has_cpu });
                }
            };
            let is_alone = *workload != Workload::ReadWhileWriting;
            add(workload.to_string(), is_alone, Sample::wall_ns);
            if !is_alone {
                add(format!("{workload}: its writer"), false, Sample::beside_ns);
            }
        }
        Self {
            id: case.id,
            payload: case.payload(),
            peers: scores.iter().map(|score| score.peer).collect(),
            rows,
            probes: scores.iter().map(|score| score.probe).collect(),
            notes,
        }
    }

    /// How many times as long as memskip a library takes.
    pub fn ratio(&self, row: &Row, peer: usize, figure: impl Fn(&Cell) -> f64) -> Option<f64> {
        let reference = self.peers.iter().position(|peer| *peer == REFERENCE)?;
        let (cell, reference) = (row.cells[peer].as_ref()?, row.cells[reference].as_ref()?);
        Some(figure(cell) / figure(reference))
    }

    /// Wrong answers of a library in all rounds.
    pub fn wrong(&self, peer: usize) -> u64 {
        let timed: u64 = self.rows.iter().filter_map(|row| row.cells[peer]).map(|cell| cell.wrong).sum();
        timed + self.probes[peer].map_or(0, |probe| probe.wrong)
    }

    /// `n=1000000 bin16 t=1`
    pub fn title(&self) -> String {
        format!("n = {}, keys {}, threads {}", self.id.entries, self.id.shape.name(), self.id.threads)
    }

    /// The same, for a file name.
    pub fn file_stem(&self) -> String {
        format!("n{}-{}-t{}", self.id.entries, self.id.shape.name(), self.id.threads)
    }
}

fn cell(samples: &[Sample], wall_ns: fn(&Sample) -> f64) -> Option<Cell> {
    if samples.is_empty() {
        return None;
    }
    let sorted = |figure: fn(&Sample) -> f64| {
        let mut figures: Vec<f64> = samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let (wall, cpu) = (sorted(wall_ns), sorted(Sample::cpu_ns));
    Some(Cell {
        wall: median(&wall),
        fastest: wall[0],
        slowest: wall[wall.len() - 1],
        cpu: median(&cpu),
        rounds: samples.len(),
        wrong: samples.iter().map(|sample| sample.tally.wrong).sum(),
    })
}

fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}
