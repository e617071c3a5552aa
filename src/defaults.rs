//! What types are made of that name no parts: an arena and a number of levels (order and clock are
//! [`Bytewise`](crate::Bytewise) and [`EpochClock`](crate::EpochClock)).

/// The arena that is used when none is named.
#[cfg(feature = "alloc")]
pub type DefaultArena = crate::arena::ShardedArena;
/// The arena that is used when none is named.
#[cfg(not(feature = "alloc"))]
pub type DefaultArena = crate::arena::FixedArena<'static>;

/// The levels of a table that names no `MAX_HEIGHT`: enough for as many entries as handles can name.
pub const DEFAULT_HEIGHT: usize = 12;
