//! How the cost of memskip's operations grows with the table: counted, so that it is the same on every machine and in every run.
//!
//! ```text
//! cargo run --release -- curve                                # comparisons at 10^3 to 10^7 entries, the rest up to 10^6
//! cargo run --release -- curve -n 1000 100000 -k uuid bin36   # other sizes, other keys
//! ```
//!
//! - *Comparisons* of keys, by a comparator that counts.
//! - *Instructions, first-level and last-level misses*, by valgrind's callgrind if it is there: this program runs itself under it. Its
//!   caches are named on its command line (32 KiB, 8-way; 1 MiB, 16-way; lines of 64 bytes), they see what is read and written but no
//!   prefetch: a line that was asked for ahead counts as missed. First-level misses are about the lines an operation touches, less
//!   the hottest ones; the others are those of lines that were not used for long.
//!
//! The cost of walking over the keys is taken off: that of an empty loop over as many. `scan` and `scan back` are
//! per entry, `multiget-16` per key.

mod trace;
mod work;

use crate::keys::Shape;
use crate::report::plot;
use clap::Args;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use work::{Counting, Phase};

#[derive(Args, Debug)]
pub struct CurveArgs {
    /// Entries per table.
    #[arg(short = 'n', long, num_args = 1.., value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000, 10_000_000])]
    entries: Vec<usize>,

    /// Shapes of keys, as in the comparison of libraries.
    #[arg(short, long, num_args = 1.., value_delimiter = ',', default_value = "bin16")]
    keys: Vec<Shape>,

    /// Bytes of a value.
    #[arg(long, default_value_t = 16)]
    value_size: usize,

    /// The largest table to run under valgrind; 0 is none.
    #[arg(long, default_value_t = 1_000_000)]
    traced: usize,

    /// Folder for the report, the figures as CSV and the plots.
    #[arg(short, long, default_value = "target/curve")]
    out: PathBuf,

    /// What the traced process does: all the work once, and nothing else.
    #[arg(long, hide = true)]
    work: bool,
}

/// What is counted per operation.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    comparisons: f64,
    /// Instructions, first-level misses, last-level misses; none without valgrind.
    traced: Option<[f64; 3]>,
}

const COUNTED: [&str; 4] = ["comparisons", "instructions", "first-level misses", "last-level misses"];

impl Cost {
    fn figure(&self, counted: usize) -> Option<f64> {
        match counted.checked_sub(1) {
            None => Some(self.comparisons),
            Some(traced) => self.traced.map(|figures| figures[traced]),
        }
    }
}

/// One size and shape: a cost for each phase.
struct Sheet {
    entries: usize,
    shape: Shape,
    costs: Vec<Cost>,
}

pub fn run(args: &CurveArgs) -> Result<(), Box<dyn Error>> {
    let (&entries, &shape) = (args.entries.first().ok_or("no size")?, args.keys.first().ok_or("no keys")?);
    if args.work {
        work::work(&memskip::Bytewise, entries, (shape, args.value_size), &mut |_, _, act| trace::whole_phase(act));
        return Ok(());
    }
    std::fs::create_dir_all(&args.out)?;
    let mut sheets = Vec::new();
    let mut is_traceable = true;
    for &shape in &args.keys {
        for &entries in &args.entries {
            eprintln!("{entries} entries, keys {}", shape.name());
            let mut costs = Vec::new();
            let counting = Counting::default();
            let mut operations = Vec::new();
            work::work(&counting, entries, (shape, args.value_size), &mut |_, times, act| {
                counting.take();
                act();
                costs.push(Cost { comparisons: counting.take() as f64 / times as f64, traced: None });
                operations.push(times as f64);
            });
            if entries <= args.traced && is_traceable {
                match trace::trace(entries, (shape, args.value_size), &args.out) {
                    Ok(traced) => trace::enter(&mut costs, &traced, &operations),
                    Err(problem) => {
                        eprintln!("comparisons only: {problem}");
                        is_traceable = false;
                    }
                }
            }
            sheets.push(Sheet { entries, shape, costs });
        }
    }
    let report = markdown(&sheets);
    println!("{report}");
    std::fs::write(args.out.join("curve.md"), report)?;
    std::fs::write(args.out.join("curve.csv"), csv(&sheets))?;
    args.keys.iter().try_for_each(|shape| draw(args, *shape, &sheets))
}

/// For each shape and each thing counted a table: a line per operation, a column per size.
fn markdown(sheets: &[Sheet]) -> String {
    let mut out = String::from("# Cost per operation over the size of the table\n");
    for family in sheets.chunk_by(|a, b| a.shape == b.shape) {
        for (counted, name) in COUNTED.iter().enumerate() {
            let known: Vec<_> = family.iter().filter(|sheet| sheet.costs[0].figure(counted).is_some()).collect();
            if known.is_empty() {
                continue;
            }
            let sizes: Vec<_> = known.iter().map(|sheet| sheet.entries.to_string()).collect();
            let _ = writeln!(out, "\n## Keys {}: {name}\n", family[0].shape.name());
            let _ = writeln!(out, "| entries | {} |\n| --- |{}", sizes.join(" | "), " ---: |".repeat(sizes.len()));
            for (index, phase) in Phase::ALL.iter().enumerate().filter(|(_, phase)| **phase != Phase::Loop) {
                let figures = known.iter().filter_map(|sheet| sheet.costs[index].figure(counted));
                let figures: Vec<_> = figures.map(|figure| format!("{figure:.2}")).collect();
                let _ = writeln!(out, "| {} | {} |", phase.name(), figures.join(" | "));
            }
        }
    }
    out
}

fn csv(sheets: &[Sheet]) -> String {
    let mut out = format!("keys,entries,operation,{}\n", COUNTED.join(",").replace([' ', '-'], "_"));
    for sheet in sheets {
        for (phase, cost) in Phase::ALL.iter().zip(&sheet.costs).filter(|(phase, _)| **phase != Phase::Loop) {
            let _ = write!(out, "{},{},{}", sheet.shape.name(), sheet.entries, phase.name());
            for counted in 0..COUNTED.len() {
                let figure = cost.figure(counted).map_or_else(String::new, |figure| format!("{figure:.4}"));
                let _ = write!(out, ",{figure}");
            }
            out.push('\n');
        }
    }
    out
}

/// A panel for each thing counted, a curve for each operation.
fn draw(args: &CurveArgs, shape: Shape, sheets: &[Sheet]) -> Result<(), Box<dyn Error>> {
    let mut panels = Vec::new();
    for (counted, name) in COUNTED.iter().enumerate() {
        let curve = |(index, phase): (usize, &Phase)| {
            let family = sheets.iter().filter(|sheet| sheet.shape == shape);
            let points = family.filter_map(|sheet| Some((sheet.entries as f64, sheet.costs[index].figure(counted)?)));
            (phase.name(), points.collect::<Vec<_>>())
        };
        let phases = Phase::ALL.iter().enumerate().filter(|(_, phase)| **phase != Phase::Loop);
        let curves: Vec<_> = phases.map(curve).collect();
        if curves.iter().any(|(_, points)| points.len() > 1) {
            panels.push(((*name).to_owned(), curves));
        }
    }
    if panels.is_empty() {
        return Ok(());
    }
    let title = format!("memskip, cost per operation over the number of entries: keys {}", shape.name());
    plot::curves(&args.out.join(format!("curve-{}.svg", shape.name())), &title, &panels)
}
