//! The figures as a table, and latency over time as a picture.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use hdrhistogram::Histogram;
use plotters::prelude::*;

use super::{AllFigures, Figures, WORKLOADS};

const ENGINES: [&str; 2] = ["memskip in front", "lsm-tree alone"];

/// Throughputs are medians of the rounds, latencies those of all rounds.
pub fn print(head: &str, engines: &[&AllFigures; 2]) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{head}\n\nlatencies in µs{:>17}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "op/s", "p50", "p95", "p99", "p99.9", "max"
    )?;
    for (at, (workload, ..)) in WORKLOADS.iter().enumerate() {
        for (name, Figures { throughputs, latencies, .. }) in ENGINES.iter().zip(engines.map(|all| &all[at])) {
            let mut head = format!("{workload:5}{name:17}{:>10.0}", median(throughputs.iter().copied()));
            for (kind, all) in latencies {
                let cells = [0.5, 0.95, 0.99, 0.999, 1.0].map(|quantile| format!("{:>10.1}", micros(all, quantile)));
                writeln!(out, "{head:32}{}  {kind:?}", cells.concat())?;
                head.clear();
            }
        }
        let [ours, plain] = engines.map(|all| &all[at].throughputs);
        let ratios: Vec<_> = ours.iter().zip(plain).map(|(ours, plain)| ours / plain).collect();
        writeln!(out, "     ratio{:>22.2}   by round: {ratios:.2?}\n", median(ratios.iter().copied()))?;
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2])
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn micros(nanos: &Histogram<u64>, quantile: f64) -> f64 {
    nanos.value_at_quantile(quantile) as f64 / 1000.0
}

/// A panel per workload, of its last round.
pub fn plot(path: &Path, engines: &[&AllFigures; 2]) -> Result<()> {
    let root = SVGBackend::new(path, (1120, 1040)).into_drawing_area();
    root.fill(&WHITE)?;
    for (at, area) in root.split_evenly((4, 2)).iter().enumerate().take(WORKLOADS.len()) {
        let curves = engines.map(|all| {
            let windows = all[at].windows.iter().filter(|(_, all)| !all.is_empty());
            [0.5, 0.99]
                .map(|quantile| windows.clone().map(|(at, all)| (*at, micros(all, quantile))).collect::<Vec<_>>())
        });
        let points = || curves.as_flattened().iter().flatten();
        let most = points().fold((0.0, 1.0), |most: (f64, f64), at| (most.0.max(at.0), most.1.max(at.1)));
        let caption =
            format!("{}: p50 (thin), p99 in µs over s; {} blue, {} red", WORKLOADS[at].0, ENGINES[0], ENGINES[1]);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(caption, ("sans-serif", 14))
            .x_label_area_size(22)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..most.0, (0.1..most.1).log_scale())?;
        chart.configure_mesh().light_line_style(WHITE).draw()?;
        for (curves, color) in curves.into_iter().zip([BLUE, RED]) {
            for (curve, width) in curves.into_iter().zip([1, 2]) {
                chart.draw_series(LineSeries::new(curve, color.stroke_width(width)))?;
            }
        }
    }
    Ok(root.present()?)
}
