//! The figures as a table, and latency over time as a picture.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use plotters::prelude::*;

use super::{Run, Sample, WORKLOADS};

const FRONTS: [&str; 2] = ["memskip", "lsm-tree"];
/// Points of a curve in the picture.
const WINDOWS: u32 = 50;

/// The latencies of a run in nanoseconds, by whatever `of` tells.
fn histograms<K: Ord>((_, samples): &Run, of: impl Fn(&Sample) -> K) -> BTreeMap<K, Histogram<u64>> {
    let mut histograms = BTreeMap::new();
    for sample in samples {
        let histogram = histograms.entry(of(sample)).or_insert_with(|| Histogram::new(3).expect("three digits"));
        *histogram += sample.2.as_nanos() as u64;
    }
    histograms
}

fn micros(nanos: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_nanos(nanos.value_at_quantile(quantile)).as_secs_f64() * 1e6
}

pub fn print(fronts: &[Vec<Run>]) {
    let titles = ["op/s", "p50", "p95", "p99", "p99.9", "max"].map(|title| format!("{title:>10}"));
    println!("latencies in µs  {}", titles.concat());
    for (at, (workload, ..)) in WORKLOADS.iter().enumerate() {
        for (front, runs) in FRONTS.iter().zip(fronts) {
            let throughput = f64::from(runs[at].1.len() as u32) / runs[at].0.as_secs_f64();
            for (kind, all) in histograms(&runs[at], |sample| sample.0) {
                let cells = [0.5, 0.95, 0.99, 0.999, 1.0].map(|quantile| format!("{:>10.1}", micros(&all, quantile)));
                println!("{workload:6}{front:11}{throughput:>10.0}{}  {kind:?}", cells.concat());
            }
        }
    }
}

pub fn plot(path: &Path, fronts: &[Vec<Run>]) -> Result<()> {
    let root = SVGBackend::new(path, (1120, 1040)).into_drawing_area();
    root.fill(&WHITE)?;
    for (at, (area, (workload, ..))) in root.split_evenly((4, 2)).iter().zip(&WORKLOADS).enumerate() {
        let width = fronts.iter().map(|runs| runs[at].0).max().unwrap_or_default() / WINDOWS;
        let curve = |runs: &Vec<Run>| {
            let windows = histograms(&runs[at], |sample| sample.1.as_nanos() / width.as_nanos());
            let point = |(window, all)| ((width * window as u32).as_secs_f64(), micros(&all, 0.99));
            windows.into_iter().map(point).collect::<Vec<_>>()
        };
        let curves: Vec<_> = fronts.iter().map(curve).collect();
        let most = curves.iter().flatten().map(|point| point.1).fold(2.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(format!("{workload}: p99 in µs over s; {} blue, {} red", FRONTS[0], FRONTS[1]), ("sans-serif", 14))
            .x_label_area_size(22)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..(width * WINDOWS).as_secs_f64(), (1.0..most).log_scale())?;
        chart.configure_mesh().light_line_style(WHITE).draw()?;
        for (curve, color) in curves.into_iter().zip([BLUE, RED]) {
            chart.draw_series(LineSeries::new(curve, color))?;
        }
    }
    Ok(root.present()?)
}
