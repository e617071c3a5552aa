//! The command line.

use crate::case::Value;
use crate::keys::Shape;
use crate::workload::{Family, Workload};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Runs memskip and its peers side by side: the same keys, one process, alternating rounds, every answer verified.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[cfg(feature = "memskip")]
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Entries per table.
    #[arg(short = 'n', long, num_args = 1.., value_delimiter = ',', default_values_t = [100, 10_000, 100_000, 1_000_000])]
    pub entries: Vec<usize>,

    /// Threads. Beyond one, only workloads that threads can share run, and only on tables of 10,000 entries or more.
    #[arg(short, long, num_args = 1.., value_delimiter = ',', default_values_t = [1, 2])]
    pub threads: Vec<usize>,

    /// Shapes of keys: bin16 (random bytes, any number from 8 on), text24, long, seq8, url, path, uuid, mixed.
    #[arg(short, long, num_args = 1.., value_delimiter = ',', default_value = "bin16")]
    pub keys: Vec<Shape>,

    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    pub value_size: usize,

    /// Rounds. The report gives their medians.
    #[arg(short, long, default_value_t = 5)]
    pub rounds: usize,

    /// Libraries, by the names of the columns; all if none is named.
    #[arg(short, long, num_args = 1.., value_delimiter = ',')]
    pub peers: Vec<String>,

    /// One more column, memskip-huge: memskip on 2 MiB pages (Linux).
    #[arg(long)]
    pub huge: bool,

    /// Workloads; all if none is named.
    #[arg(short, long, num_args = 1.., value_delimiter = ',')]
    pub workloads: Vec<Family>,

    /// Read percentages of the mixed workload.
    #[arg(long, num_args = 1.., value_delimiter = ',', default_values_t = [0, 25, 50, 75, 100], value_parser = clap::value_parser!(u8).range(0..=100))]
    pub mix: Vec<u8>,

    /// Operations of each reading workload in a round.
    #[arg(long, default_value_t = 100_000)]
    pub ops: usize,

    /// Seconds for the whole run. Every case has one round; further ones begin as long as there is time.
    #[arg(long, default_value_t = 230)]
    pub seconds: u64,

    /// GiB for tables that are alive at the same time.
    #[arg(long, default_value_t = 8)]
    pub memory: usize,

    /// Seed of the keys and of the order of the operations.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Folder for the report, the figures as CSV and the plots.
    #[arg(short, long, default_value = "target/peers")]
    pub out: PathBuf,

    /// Small tables, few rounds: some 15 seconds, to see that everything runs.
    #[arg(long, conflicts_with = "entries")]
    pub quick: bool,
}

#[cfg(feature = "memskip")]
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// How the cost of memskip's operations grows with the table: counted, not timed.
    Curve(crate::curve::CurveArgs),
}

impl Args {
    /// The command line, checked.
    pub fn from_command_line() -> Self {
        let mut args = Self::parse();
        if args.quick {
            args.entries = vec![1_000, 30_000];
            args.rounds = args.rounds.min(3);
            args.ops = args.ops.min(20_000);
            args.seconds = args.seconds.min(15);
        }
        args.value_size = args.value_size.max(Value::MIN_SIZE);
        args.rounds = args.rounds.max(1);
        args.ops = args.ops.max(1_000);
        for count in args.entries.iter_mut().chain(&mut args.threads) {
            *count = (*count).max(1);
        }
        args
    }

    /// Whether a library was asked for.
    pub fn wants(&self, peer: &str) -> bool {
        match peer {
            "memskip-huge" if self.huge => true,
            "memskip-huge" => self.peers.iter().any(|wanted| wanted == peer),
            _ => self.peers.is_empty() || self.peers.iter().any(|wanted| wanted == peer),
        }
    }

    /// The rows of the report.
    pub fn rows(&self) -> Vec<Workload> {
        let families = if self.workloads.is_empty() { Family::value_variants() } else { &self.workloads };
        Workload::expand(families, &self.mix)
    }
}
