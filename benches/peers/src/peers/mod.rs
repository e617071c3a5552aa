//! One file per library. [`all`] lists them in the order of the tables' columns.

mod arenaskiplist;
mod btree;
mod crossbeam;
mod fastskip;
mod hash_table;
#[cfg(feature = "memskip")]
mod huge_pages;
#[cfg(feature = "memskip")]
mod memskip;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "single-writer")]
mod single_writer;
mod skl;
mod sorted;
mod tree_index;

use crate::seat::{Seat, seat};

/// A seat for every library, memskip first: it is what the others are compared with.
pub fn all() -> Vec<Box<dyn Seat>> {
    vec![
        #[cfg(all(feature = "memskip", not(feature = "single-writer")))]
        seat::<memskip::Memskip>(),
        #[cfg(feature = "single-writer")]
        seat::<single_writer::Alone>(),
        #[cfg(feature = "memskip")]
        seat::<memskip::Memskip<memskip::HugeArena>>(),
        #[cfg(feature = "rocksdb")]
        seat::<rocksdb::RocksDb>(),
        seat::<fastskip::Fastskip>(),
        seat::<arenaskiplist::Arenaskiplist>(),
        seat::<skl::Skl>(),
        seat::<crossbeam::Crossbeam>(),
        seat::<tree_index::TreeIndex>(),
        seat::<btree::LockedBTree>(),
        seat::<hash_table::LockedHashTable>(),
        seat::<sorted::AppendSort>(),
        seat::<sorted::SortedArray>(),
    ]
}

/// What no lock file says.
pub fn rocksdb_version() -> Option<String> {
    #[cfg(feature = "rocksdb")]
    return Some(rocksdb::version());
    #[cfg(not(feature = "rocksdb"))]
    None
}
