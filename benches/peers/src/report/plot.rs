//! The figures as pictures: bars for one case, curves over the size of the table.

use super::{Row, Sheet};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Panels next to each other.
const COLUMNS: usize = 3;
const PANEL: (u32, u32) = (440, 250);
const TITLE: u32 = 34;
const COLORS: [RGBColor; 10] = [
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xbc, 0xbd, 0x22),
    RGBColor(0x17, 0xbe, 0xcf),
];

/// One panel per workload, one bar per library.
pub fn bars(sheet: &Sheet, file: &Path) -> Result<(), Box<dyn Error>> {
    let title = format!("ns per operation: {}", sheet.title());
    panels(file, &title, sheet.rows.len(), |index, area| {
        let row = &sheet.rows[index];
        let bars: Vec<_> =
            row.cells.iter().enumerate().filter_map(|(peer, cell)| Some((peer, cell.as_ref()?.wall))).collect();
        let longest = bars.iter().map(|(_, wall)| *wall).fold(0.0, f64::max);
        caption(area, &row.label)?;
        let step = i32::try_from(PANEL.1 - 40)? / i32::try_from(bars.len().max(1))?;
        for (place, (peer, wall)) in (0..).zip(bars) {
            let top = 30 + place * step;
            let middle = top + step / 2 - 6;
            let name = Text::new(sheet.peers[peer], (8, middle), font(12));
            // 100 pixels for the name, 70 for the figure.
            let width = (wall / longest * f64::from(PANEL.0 - 170)) as i32;
            let bar = Rectangle::new(
                [(100, top + 2), (100 + width.max(1), top + step - 2)],
                COLORS[peer % COLORS.len()].filled(),
            );
            let figure = Text::new(format!("{wall:.1}"), (104 + width, middle), font(12));
            area.draw(&name)?;
            area.draw(&bar)?;
            area.draw(&figure)?;
        }
        Ok(())
    })
}

/// One panel per workload, one curve per library, over the sizes of the sheets. The sheets differ in size only and are in ascending
/// order.
pub fn growth(sheets: &[&Sheet], file: &Path) -> Result<(), Box<dyn Error>> {
    let Some(last) = sheets.last() else {
        return Ok(());
    };
    let title = format!(
        "ns per operation over the number of entries: keys {}, threads {}",
        last.id.shape.name(),
        last.id.threads
    );
    let panel = |row: &Row| {
        let curves = (0..last.peers.len()).map(|peer| (last.peers[peer], curve(sheets, &row.label, peer)));
        (row.label.clone(), curves.collect())
    };
    let panels: Vec<Panel<'_>> = last.rows.iter().map(panel).collect();
    curves(file, &title, &panels)
}

/// A caption and, for each name, a curve; points ascend.
pub type Panel<'a> = (String, Vec<(&'a str, Vec<(f64, f64)>)>);

/// Panels of curves over the number of entries, both axes logarithmic. A name has the same colour everywhere, the first one a thick
/// line.
pub fn curves(file: &Path, title: &str, all: &[Panel<'_>]) -> Result<(), Box<dyn Error>> {
    panels(file, title, all.len(), |index, area| {
        let (label, curves) = &all[index];
        let bounds = |of: fn(&(f64, f64)) -> f64| {
            let figures = || curves.iter().flat_map(|(_, points)| points).map(of);
            (figures().fold(f64::INFINITY, f64::min), figures().fold(1.0, f64::max))
        };
        let ((first, last), (low, high)) = (bounds(|point| point.0), bounds(|point| point.1));
        caption(area, label)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(26)
            .margin_right(100)
            .x_label_area_size(24)
            .y_label_area_size(48)
            .build_cartesian_2d((first..last).log_scale(), (low.max(LOWEST) * 0.8..high * 1.25).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&|entries| format!("{entries:.0}"))
            .y_label_formatter(&|figure| format!("{figure}"))
            .draw()?;
        let drawn = curves.iter().enumerate().filter(|(_, (_, points))| !points.is_empty());
        for (place, (number, (name, points))) in (0..).zip(drawn) {
            let color = COLORS[number % COLORS.len()];
            let points = points.iter().map(|(entries, figure)| (*entries, figure.max(LOWEST)));
            chart.draw_series(LineSeries::new(points, color.stroke_width(if number == 0 { 3 } else { 1 })))?;
            let at = (i32::try_from(PANEL.0)? - 96, 28 + place * 15);
            area.draw(&Text::new(*name, at, font(12).color(&color)))?;
        }
        Ok(())
    })
}

/// What is below is drawn here: a logarithm needs something.
const LOWEST: f64 = 0.1;

fn curve(sheets: &[&Sheet], label: &str, peer: usize) -> Vec<(f64, f64)> {
    let point = |sheet: &&Sheet| {
        let row = sheet.rows.iter().find(|row| row.label == label)?;
        Some((sheet.id.entries as f64, row.cells[peer].as_ref()?.wall))
    };
    sheets.iter().filter_map(point).collect()
}

/// A sheet of `count` panels under a title.
fn panels(
    file: &Path,
    title: &str,
    count: usize,
    mut draw: impl FnMut(usize, &Area<'_>) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let lines = count.div_ceil(COLUMNS).max(1);
    let size = (PANEL.0 * u32::try_from(COLUMNS)?, PANEL.1 * u32::try_from(lines)? + TITLE);
    let root = SVGBackend::new(file, size).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title, (8, 10), font(18)))?;
    let (_, rest) = root.split_vertically(TITLE);
    for (index, area) in rest.split_evenly((lines, COLUMNS)).iter().enumerate().take(count) {
        draw(index, area)?;
    }
    root.present()?;
    Ok(())
}

fn caption(area: &Area<'_>, label: &str) -> Result<(), Box<dyn Error>> {
    area.draw(&Text::new(label.to_owned(), (8, 8), font(15)))?;
    Ok(())
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}
