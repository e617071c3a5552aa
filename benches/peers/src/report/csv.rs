//! The figures for other programs.

use super::Sheet;
use std::fmt::Write as _;

/// One line per case, workload and library.
pub fn workloads(sheets: &[Sheet]) -> String {
    let mut out = String::from(
        "entries,keys,threads,value_size,workload,peer,rounds,wall_ns,wall_ns_min,wall_ns_max,cpu_ns,wall_ratio,wrong\n",
    );
    for sheet in sheets {
        for row in &sheet.rows {
            for (index, peer) in sheet.peers.iter().enumerate() {
                let Some(cell) = &row.cells[index] else {
                    continue;
                };
                let ratio =
                    sheet.ratio(row, index, |cell| cell.wall).map_or_else(String::new, |ratio| format!("{ratio:.4}"));
                let cpu = if row.has_cpu { format!("{:.2}", cell.cpu) } else { String::new() };
                let _ = writeln!(
                    out,
                    "{},{},{},{peer},{},{:.2},{:.2},{:.2},{cpu},{ratio},{}",
                    case_columns(sheet),
                    sheet.id.value_size,
                    row.label,
                    cell.rounds,
                    cell.wall,
                    cell.fastest,
                    cell.slowest,
                    cell.wrong
                );
            }
        }
    }
    out
}

/// One line per case and library: latencies and memory.
pub fn probes(sheets: &[Sheet]) -> String {
    let mut out = String::from("entries,keys,threads,value_size,peer");
    for operation in ["fill", "read"] {
        let _ = write!(out, ",{operation}_p50_ns,{operation}_p99_ns,{operation}_p999_ns,{operation}_max_ns");
    }
    out.push_str(",payload_bytes,used_bytes,live_bytes,reserved_bytes,peak_bytes\n");
    for sheet in sheets {
        for (peer, probe) in sheet.peers.iter().zip(&sheet.probes) {
            let Some(probe) = probe else { continue };
            let _ = write!(out, "{},{},{peer}", case_columns(sheet), sheet.id.value_size);
            for latency in [probe.fill, probe.read] {
                let _ = write!(out, ",{},{},{},{}", latency.p50, latency.p99, latency.p999, latency.max);
            }
            let memory = probe.memory;
            let _ =
                writeln!(out, ",{},{},{},{},{}", sheet.payload, probe.used, memory.live, memory.reserved, memory.peak);
        }
    }
    out
}

fn case_columns(sheet: &Sheet) -> String {
    format!("{},{},{}", sheet.id.entries, sheet.id.shape.name(), sheet.id.threads)
}
