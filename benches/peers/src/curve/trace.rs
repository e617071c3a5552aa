//! Runs this program under callgrind and reads what it counted in each phase.

use super::Cost;
use super::work::Phase;
use crate::keys::Shape;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};

/// Callgrind writes a file each time this function returns, ...
#[inline(never)]
pub fn whole_phase(act: &mut dyn FnMut()) {
    counted_phase(act);
    // Something to do after the call, or it would be a jump and this function never return.
    black_box(&raw const act);
}

/// ... and counts while this one runs. It does not do both for one function.
#[inline(never)]
fn counted_phase(act: &mut dyn FnMut()) {
    act();
    black_box(&raw const act);
}

/// The events of each phase, in the order of [`super::COUNTED`].
pub fn trace(entries: usize, (shape, value_size): (Shape, usize), out: &Path) -> Result<Vec<[f64; 3]>, Box<dyn Error>> {
    let file = out.join(format!("callgrind-{}-{entries}", shape.name()));
    let part = |number: usize| format!("{}.{number}", file.display());
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,16,64"])
        .args(["--collect-atstart=no", "--toggle-collect=*counted_phase*", "--dump-after=*whole_phase*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["curve", "--work", "-n", &entries.to_string(), "-k", &shape.name()])
        .args(["--value-size", &value_size.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind does not start: {error}"))?;
    if !status.success() {
        return Err(format!("the run under valgrind failed: {status}").into());
    }
    let mut phases = Vec::new();
    for number in 1..=Phase::ALL.len() {
        phases
            .push(events(&std::fs::read_to_string(part(number))?).ok_or("an output of callgrind that has no totals")?);
        std::fs::remove_file(part(number))?;
    }
    // What was counted after the last phase: nothing.
    let _ = std::fs::remove_file(&file);
    Ok(phases)
}

/// Instructions and misses, reads and writes together, from one of callgrind's files.
fn events(text: &str) -> Option<[f64; 3]> {
    let line = |head: &str| text.lines().find_map(|line| line.strip_prefix(head)).map(str::split_whitespace);
    let names: Vec<_> = line("events:")?.collect();
    let counts: Vec<f64> = line("totals:")?.map_while(|count| count.parse().ok()).collect();
    let sum = |wanted: &[&str]| -> f64 {
        names.iter().zip(&counts).filter(|(name, _)| wanted.contains(name)).map(|(_, count)| count).sum()
    };
    Some([sum(&["Ir"]), sum(&["D1mr", "D1mw"]), sum(&["DLmr", "DLmw"])])
}

/// Per operation, less what the empty loop costs.
pub fn enter(costs: &mut [Cost], phases: &[[f64; 3]], operations: &[f64]) {
    let each: Vec<[f64; 3]> =
        phases.iter().zip(operations).map(|(events, times)| events.map(|count| count / times)).collect();
    let idle = Phase::ALL.iter().position(|phase| *phase == Phase::Loop).map_or([0.0; 3], |index| each[index]);
    for ((phase, cost), mut events) in Phase::ALL.iter().zip(costs).zip(each) {
        if phase.has_keys() {
            events.iter_mut().zip(idle).for_each(|(count, idle)| *count = (*count - idle).max(0.0));
        }
        cost.traced = Some(events);
    }
}
