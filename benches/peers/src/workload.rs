//! The workloads, under the names of LevelDB's and RocksDB's `db_bench` where it has one.

use crate::peer::Ability;
use clap::ValueEnum;
use std::fmt;

/// What `--workloads` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// Insert every key, in random order.
    Fillrandom,
    /// Insert every key, ascending.
    Fillseq,
    /// Insert every key in batches of 1,000 random ones, each batch sorted, by the library's own batch call if it has one.
    Fillbatch,
    /// Look up keys that are there.
    Readrandom,
    /// Look up keys that are not there, in between those that are.
    Readmissing,
    /// Visit every entry, ascending.
    Readseq,
    /// Visit every entry, descending.
    Readreverse,
    /// Seek a key, there or not, and read it and the following ones: ten entries.
    Seekrandom,
    /// Look up several unsorted keys by one call.
    Multiget,
    /// Write new values for keys that are there, Zipf-distributed (theta 0.99).
    Overwrite,
    /// Reads of keys that are there and inserts of new ones, at several read fractions.
    Mixed,
    /// Reads while one more thread inserts new keys without pause.
    Readwhilewriting,
    /// Drop the table.
    Drop,
}

/// One row of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    FillRandom,
    FillSeq,
    FillBatch,
    ReadRandom,
    ReadMissing,
    ReadSeq,
    ReadReverse,
    SeekRandom,
    /// Keys per call.
    MultiGet(usize),
    Overwrite,
    /// Reads in a hundred operations.
    Mixed(u8),
    ReadWhileWriting,
    Drop,
}

/// Keys per call of `multiget`.
const MULTIGET: [usize; 4] = [2, 8, 16, 64];

impl Workload {
    /// The rows of the chosen families in the order in which they run: reads first, then what changes the table.
    pub fn expand(families: &[Family], read_percents: &[u8]) -> Vec<Self> {
        let rows = |family: Family| match family {
            Family::Fillrandom => vec![Self::FillRandom],
            Family::Fillseq => vec![Self::FillSeq],
            Family::Fillbatch => vec![Self::FillBatch],
            Family::Readrandom => vec![Self::ReadRandom],
            Family::Readmissing => vec![Self::ReadMissing],
            Family::Readseq => vec![Self::ReadSeq],
            Family::Readreverse => vec![Self::ReadReverse],
            Family::Seekrandom => vec![Self::SeekRandom],
            Family::Multiget => MULTIGET.map(Self::MultiGet).to_vec(),
            Family::Overwrite => vec![Self::Overwrite],
            Family::Mixed => read_percents.iter().map(|percent| Self::Mixed(*percent)).collect(),
            Family::Readwhilewriting => vec![Self::ReadWhileWriting],
            Family::Drop => vec![Self::Drop],
        };
        let chosen = Family::value_variants().iter().filter(|family| families.contains(family));
        chosen.flat_map(|family| rows(*family)).collect()
    }

    /// What a peer must be able to do to take part.
    pub const fn needs(self) -> &'static [Ability] {
        match self {
            Self::ReadSeq => &[Ability::Scan],
            Self::ReadReverse => &[Ability::Reverse],
            Self::SeekRandom => &[Ability::Seek],
            Self::Overwrite => &[Ability::Overwrite],
            Self::Mixed(_) | Self::ReadWhileWriting => &[Ability::Grow],
            _ => &[],
        }
    }

    /// Whether several threads may share the work. The others run at one thread only.
    pub const fn is_parallel(self) -> bool {
        !matches!(self, Self::FillSeq | Self::FillBatch | Self::ReadSeq | Self::ReadReverse | Self::Drop)
    }

    /// The smallest table it is run on: `readwhilewriting` needs enough writes for the reader to have started long before they end.
    pub const fn min_entries(self) -> usize {
        match self {
            Self::ReadWhileWriting => 30_000,
            _ => 0,
        }
    }

    /// Whether it reads only, and so may run as often as wanted on one table.
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::ReadRandom
                | Self::ReadMissing
                | Self::ReadSeq
                | Self::ReadReverse
                | Self::SeekRandom
                | Self::MultiGet(_)
        )
    }

    /// Whether it runs on the filled table and changes it.
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Overwrite | Self::Mixed(_) | Self::ReadWhileWriting)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FillRandom => f.write_str("fillrandom"),
            Self::FillSeq => f.write_str("fillseq"),
            Self::FillBatch => f.write_str("fillbatch"),
            Self::ReadRandom => f.write_str("readrandom"),
            Self::ReadMissing => f.write_str("readmissing"),
            Self::ReadSeq => f.write_str("readseq"),
            Self::ReadReverse => f.write_str("readreverse"),
            Self::SeekRandom => f.write_str("seekrandom"),
            Self::MultiGet(keys) => write!(f, "multiget-{keys}"),
            Self::Overwrite => f.write_str("overwrite"),
            Self::Mixed(percent) => write!(f, "mixed-{percent}r"),
            Self::ReadWhileWriting => f.write_str("readwhilewriting"),
            Self::Drop => f.write_str("drop"),
        }
    }
}
