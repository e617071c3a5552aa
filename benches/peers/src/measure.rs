//! Clocks, and running one piece of work on several threads between them.

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// What one thread has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub operations: u64,
    /// Answers that were not what they had to be, refused writes included.
    pub wrong: u64,
}

impl Tally {
    /// Counts an operation and whether its answer was right.
    pub fn count(&mut self, is_right: bool) {
        self.operations += 1;
        self.wrong += u64::from(!is_right);
    }
}

/// A measurement: sums over threads and repeats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub tally: Tally,
    pub wall: Duration,
    /// Processor time of all threads together.
    pub cpu: Duration,
    /// Operations of another kind that were done meanwhile: the writes of `readwhilewriting`.
    pub beside: u64,
}

impl Sample {
    pub fn add(&mut self, other: &Self) {
        self.tally.operations += other.tally.operations;
        self.tally.wrong += other.tally.wrong;
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.beside += other.beside;
    }

    /// Nanoseconds from one operation to the next; with several threads that is less than an operation takes.
    pub fn wall_ns(&self) -> f64 {
        self.wall.as_nanos() as f64 / self.tally.operations.max(1) as f64
    }

    /// Nanoseconds from one of the operations beside to the next.
    pub fn beside_ns(&self) -> f64 {
        self.wall.as_nanos() as f64 / self.beside.max(1) as f64
    }

    /// Nanoseconds of processor time per operation.
    pub fn cpu_ns(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.tally.operations.max(1) as f64
    }
}

/// Processor time of the process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for a `timespec`.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the process has a CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Measures `work` on the calling thread.
pub fn alone(work: impl FnOnce() -> Tally) -> Sample {
    let cpu = cpu_time();
    let start = Instant::now();
    let tally = work();
    let wall = start.elapsed();
    Sample { tally, wall, cpu: cpu_time() - cpu, beside: 0 }
}

/// Measures `work(thread)` on `threads` threads, from the first one's start to the last one's end. One thread is the calling one;
/// several are always new ones.
pub fn together(threads: usize, work: impl Fn(usize) -> Tally + Sync) -> Sample {
    if threads == 1 {
        return alone(|| work(0));
    }
    let barrier = Barrier::new(threads + 1);
    let run = |thread: usize| {
        barrier.wait();
        let start = Instant::now();
        let tally = work(thread);
        (start, Instant::now(), tally)
    };
    let mut sample = Sample::default();
    let mut span: Option<(Instant, Instant)> = None;
    let cpu = std::thread::scope(|scope| {
        let run = &run;
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let cpu = cpu_time();
        barrier.wait();
        for handle in handles {
            let (start, end, tally) = handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            span = Some(span.map_or((start, end), |(first, last)| (first.min(start), last.max(end))));
            sample.tally.operations += tally.operations;
            sample.tally.wrong += tally.wrong;
        }
        cpu
    });
    sample.wall = span.map_or(Duration::ZERO, |(first, last)| last - first);
    sample.cpu = cpu_time() - cpu;
    sample
}

/// The part of `total` that belongs to one of `threads`.
pub const fn share(total: usize, thread: usize, threads: usize) -> std::ops::Range<usize> {
    total * thread / threads..total * (thread + 1) / threads
}

/// Gives freed memory back to the system, so that every round starts from the same state.
pub fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
