//! The figures as a table, and latency over time as a picture.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::BinaryBytes;
use plotters::prelude::*;

use super::{Args, KINDS, Measured, Rounds, plain};
use crate::Failure;
use crate::engine::Options;

pub const ENGINES: [&str; 2] = ["memskip in front", "lsm-tree alone"];

pub fn head(args: &Args, options: &Options) -> String {
    format!(
        "{} records of {} bytes, keys of 24; {} threads; memtables of {}; block cache {}; durability {:?}; seed {}\n{}",
        args.records,
        args.value_size,
        args.threads,
        BinaryBytes(options.memtable_bytes as u64),
        BinaryBytes(options.block_cache_bytes),
        options.durability,
        args.seed,
        plain::DIFFERENCES,
    )
}

/// The medians of the rounds.
pub fn table(rounds: &Rounds) -> String {
    let mut text = format!("\nmedians of the rounds ({}); latencies in microseconds\n", rounds[0].len());
    for (at, Measured { workload: (name, mix, _), .. }) in rounds[0][0].iter().enumerate() {
        let shares: Vec<_> = mix.iter().map(|(kind, share)| format!("{share} % {}", KINDS[*kind as usize])).collect();
        let title = format!("{name}: {}", shares.join(", "));
        _ = writeln!(text, "\n{title:36}  op/s      p50      p95      p99    p99.9       max");
        for (engine, runs) in ENGINES.iter().zip(rounds) {
            let median_of =
                |figure: &dyn Fn(&Measured) -> f64| median(runs.iter().map(|run| figure(&run[at])).collect());
            let mut head = format!("{engine:30}{:>12.0}", median_of(&|run| run.throughput));
            for (kind, _) in *mix {
                let latency = |figure: &dyn Fn(&Histogram<u64>) -> u64| {
                    median_of(&|run| micros(figure(&run.kinds[*kind as usize])))
                };
                let cells = [0.5, 0.95, 0.99, 0.999].map(|quantile| latency(&|all| all.value_at_quantile(quantile)));
                let cells = cells.map(|cell| format!("{cell:>9.1}")).concat();
                _ = writeln!(text, "{head:42}{cells}{:>10.1}  {}", latency(&Histogram::max), KINDS[*kind as usize]);
                head.clear();
            }
        }
        let pairs = rounds[0].iter().zip(&rounds[1]);
        let ratios: Vec<_> = pairs.map(|(ours, plain)| ours[at].throughput / plain[at].throughput).collect();
        let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        _ = writeln!(text, "{:30}{:>12.2}   by round: {}", "ratio", median(ratios), shown.join(" "));
    }
    text
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2])
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// One line of panels per workload, one column per engine; each shows the round of median throughput.
pub fn plot(rounds: &Rounds, args: &Args) -> Result<(), Failure> {
    let workloads = rounds[0][0].len();
    let root = SVGBackend::new(&args.plot, (1120, 190 * u32::try_from(workloads)?)).into_drawing_area();
    root.fill(&WHITE)?;
    for (place, area) in root.split_evenly((workloads, 2)).iter().enumerate() {
        let curves = rounds.each_ref().map(|runs| {
            let mut runs: Vec<_> = runs.iter().map(|run| &run[place / 2]).collect();
            runs.sort_by(|a, b| a.throughput.total_cmp(&b.throughput));
            [0.5, 0.99].map(|quantile| curve(runs[runs.len() / 2], Duration::from_millis(args.window), quantile))
        });
        // Both columns have the same axes.
        let points = || curves.as_flattened().iter().flatten();
        let (low, high) = points().fold((f64::MAX, 1.0_f64), |(low, high), at| (low.min(at.1), high.max(at.1)));
        let seconds = points().fold(0.1_f64, |most, at| most.max(at.0));
        let caption = format!(
            "{}, {}: p50 (blue) and p99 (red), µs over s",
            rounds[0][0][place / 2].workload.0,
            ENGINES[place % 2]
        );
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(24)
            .caption(caption, ("sans-serif", 14))
            .x_label_area_size(22)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..seconds, (decade(low, f64::floor)..decade(high, f64::ceil)).log_scale())?;
        chart.configure_mesh().light_line_style(WHITE).x_labels(8).y_labels(6).draw()?;
        for (curve, color) in curves[place % 2].iter().zip([BLUE, RED]) {
            chart.draw_series(LineSeries::new(curve.iter().copied(), color.stroke_width(2)))?;
        }
    }
    root.present().map_err(|error| format!("cannot write {}: {error}", args.plot.display()).into())
}

fn curve(run: &Measured, window: Duration, quantile: f64) -> Vec<(f64, f64)> {
    let windows = (0_u32..).zip(&run.windows).filter(|(_, latencies)| !latencies.is_empty());
    windows
        .map(|(at, latencies)| ((window * at).as_secs_f64(), micros(latencies.value_at_quantile(quantile)).max(0.1)))
        .collect()
}

fn decade(micros: f64, round: fn(f64) -> f64) -> f64 {
    10_f64.powf(round(micros.log10()))
}
