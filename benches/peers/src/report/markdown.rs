//! The report for people.

use super::{Cell, Row, Sheet};
use crate::peers;
use std::fmt::Write as _;

/// The versions that were built, from the lock file.
const LOCK: &str = include_str!("../../Cargo.lock");
const LIBRARIES: [&str; 7] =
    ["fastskip", "arenaskiplist", "skl", "crossbeam-skiplist", "scc", "hashbrown", "parking_lot"];

pub fn report(sheets: &[Sheet]) -> String {
    let mut out = String::from("# memskip and its peers\n\n");
    let _ = writeln!(
        out,
        "{}-bit {}, {} processors. Versions: {}.\n",
        usize::BITS,
        std::env::consts::ARCH,
        std::thread::available_parallelism().map_or(1, usize::from),
        LIBRARIES.map(version).into_iter().chain(peers::rocksdb_version()).collect::<Vec<_>>().join(", ")
    );
    out.push_str(
        "Nanoseconds per operation, medians over alternating rounds; in parentheses, how many times as long as memskip (above 1: \
         memskip is faster). Where wall and processor time of one thread differ, something else was running: trust the latter. With \
         several threads: wall time divided by the operations of all of them. `append-sort`, `sorted-array` and `hashbrown` are \
         limits, not rivals: the first two take no write after the first read, the last has no order. `-`: the library has no such \
         operation.\n",
    );
    for sheet in sheets {
        section(&mut out, sheet);
    }
    out
}

fn section(out: &mut String, sheet: &Sheet) {
    let rounds = sheet.rows.iter().flat_map(|row| &row.cells).flatten().map(|cell| cell.rounds).max().unwrap_or(0);
    let _ = writeln!(out, "\n## {}\n\nValues of {} bytes, {rounds} rounds.\n", sheet.title(), sheet.id.value_size);
    for note in &sheet.notes {
        let _ = writeln!(out, "- {note}");
    }
    for (index, peer) in sheet.peers.iter().enumerate().filter(|(index, _)| sheet.wrong(*index) > 0) {
        let _ = writeln!(out, "- **{peer} gave {} wrong answers.**", sheet.wrong(index));
    }
    out.push_str("\nWall time:\n\n");
    table(out, sheet, |_| true, |cell| cell.wall);
    out.push_str("\nProcessor time:\n\n");
    table(out, sheet, |row| row.has_cpu, |cell| cell.cpu);
    if sheet.probes.iter().any(Option::is_some) {
        out.push_str(
            "\nLatency of single operations in ns, one round, a reading of the clock included; p50 / p99 / p99.9:\n\n",
        );
        latencies(out, sheet);
        let per_entry = sheet.payload as f64 / sheet.id.entries as f64;
        let _ = writeln!(
            out,
            "\nBytes per entry beyond its {per_entry:.1} of key and value. Used: as the library accounts for it, or as it asked for. \
             Reserved: taken of the allocator, its rounding and headers included; arenas that must be told their size are as large as they \
             were told. Peak: the most reserved at any time of the fill.\n"
        );
        memory(out, sheet);
    }
}

fn table(out: &mut String, sheet: &Sheet, keep: impl Fn(&Row) -> bool, figure: impl Fn(&Cell) -> f64 + Copy) {
    header(out, "workload", &sheet.peers);
    for row in sheet.rows.iter().filter(|row| keep(row)) {
        let _ = write!(out, "| {} |", row.label);
        for (index, cell) in row.cells.iter().enumerate() {
            let Some(cell) = cell else {
                out.push_str(" - |");
                continue;
            };
            let _ = write!(out, " {}", number(figure(cell)));
            if index > 0
                && let Some(ratio) = sheet.ratio(row, index, figure)
            {
                let _ = write!(out, " ({ratio:.2})");
            }
            out.push_str(" |");
        }
        out.push('\n');
    }
}

fn latencies(out: &mut String, sheet: &Sheet) {
    let peers = probed(sheet);
    header(out, "workload", &peers);
    for (label, is_fill) in [("fillrandom", true), ("readrandom", false)] {
        let _ = write!(out, "| {label} |");
        for probe in sheet.probes.iter().flatten() {
            let latency = if is_fill { probe.fill } else { probe.read };
            let _ = write!(out, " {} / {} / {} |", latency.p50, latency.p99, latency.p999);
        }
        out.push('\n');
    }
}

fn memory(out: &mut String, sheet: &Sheet) {
    header(out, "bytes", &probed(sheet));
    for label in ["used", "reserved", "peak"] {
        let _ = write!(out, "| {label} |");
        for probe in sheet.probes.iter().flatten() {
            let bytes = match label {
                "used" => probe.used,
                "reserved" => probe.memory.reserved,
                _ => probe.memory.peak,
            };
            let beyond = (bytes as f64 - sheet.payload as f64) / sheet.id.entries as f64;
            let _ = write!(out, " {beyond:.1} |");
        }
        out.push('\n');
    }
}

fn probed(sheet: &Sheet) -> Vec<&'static str> {
    sheet.peers.iter().zip(&sheet.probes).filter(|(_, probe)| probe.is_some()).map(|(peer, _)| *peer).collect()
}

fn header(out: &mut String, first: &str, peers: &[&str]) {
    let _ = writeln!(out, "| {first} | {} |\n| --- |{}", peers.join(" | "), " ---: |".repeat(peers.len()));
}

/// Three significant digits or so.
fn number(figure: f64) -> String {
    let decimals = if figure < 9.995 {
        2
    } else if figure < 99.95 {
        1
    } else {
        0
    };
    format!("{figure:.decimals$}")
}

/// `fastskip 0.1.1`
fn version(library: &str) -> String {
    let entry = format!("name = \"{library}\"\nversion = \"");
    let versions: Vec<&str> = LOCK.split(&entry).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    format!("{library} {}", versions.last().copied().unwrap_or("?"))
}
