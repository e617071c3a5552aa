//! The design: documentation only.
//!
//! What stands where: the base level and its invariants in `src/list/mod.rs`, versions and their numbers in `version.rs`, atomic
//! batches in `batch.rs`, lanes in `lane.rs` and `block.rs`, chunks in `src/arena/directory.rs`, orderings and their partners in
//! `src/sync.rs`. This page says why.
//!
//! # The base level is the truth, lanes are hints
//!
//! The cost of a search in memory that does not fit the caches is its chain of dependent misses. A skip list of pointer towers
//! (Pugh, 1990; Fraser, 2004, without locks) takes about twenty of them at a million entries. Here a sorted linked list, one node
//! a key, published by one compare-and-swap, carries all correctness; above it lie *lanes* of blocks that hold a dozen (hint,
//! handle) pairs in two to six cache lines, in the manner of a B-link tree (Lehman and Yao, 1981). A lane may miss nodes or lag
//! behind, so its maintenance can be best effort: taken by try-lock, dropped when somebody else is there or memory runs out. A
//! search takes five or six misses, two of them outside the last-level cache.
//!
//! Readers of a block take no lock: they read words one by one and check a version before they act (a sequence lock; Boehm,
//! "Can seqlocks get along with programming language memory models?", 2012). Every word they read is a handle that may be followed
//! or 0, so that even a torn read is safe.
//!
//! # Hints
//!
//! A block keeps, for each entry, a monotone digest of the key behind what all keys of the block share
//! ([`Comparator::hint`](crate::Comparator::hint), [`common_prefix`](crate::Comparator::common_prefix)). The lowest lane keeps 32 bits
//! (its dozen keys lie so close together that what follows the shared part tells them apart), upper lanes two words. First words
//! lie together, second ones in lines of their own, which only ties touch: four lines of six.
//!
//! A block that is open to one side has a range without an end, so nothing is shared by all of it; and every search comes through the
//! topmost block, which is open on both. In upper lanes such a block skips what its *entries* share, if first words
//! would all be the same otherwise, and names one of them: a key that does not begin like that one is compared with keys.
//! (`user:%019d`: 4.1 comparisons a get at the top became none, and 1,432 instructions 820.)
//!
//! Where two neighbours' hints lie on both sides of a key's, it is between them, if it begins like one of them: a key that was misled to a
//! block need not. So a look also says how much must be shared; the first of the two nodes is asked for that, where hints skip anything,
//! and for its link. If that leads to the second, the key is not there, and belongs here: the second is not touched, and no key compared.
//! (A miss compared two keys, an insert 2.2. Misses take 0.73 of the time at a hundred entries, 0.9 at a million, inserts 0.96.) The price:
//! hints that lie to a write put its key where they say, which `validate` tells; before, they only cost time.
//!
//! # Versions and numbers
//!
//! A version is linked *pending* and stamped afterwards; whoever meets it first stamps it. The other way round (draw a number,
//! then link) an entry can appear inside a snapshot that already exists. The race between a writer's "link, read the clock" and a
//! snapshot's "move the clock, read links" is store buffering: both sides are sequentially consistent read-modify-writes or
//! fences, and [`SeqClock::ORDERED`](crate::SeqClock::ORDERED) says whether a clock's own operations are enough.
//!
//! # What a writer does without
//!
//! *Fingers.* Each shard remembers its last new node and the two blocks above it (finger search: Brown and Tarjan, 1980). A key that
//! belongs right behind that node needs no search: two comparisons with neighbours say so. It is tried only while keys come in runs,
//! so that others pay for a flag. A finger is advisory and checked by key; it lives in the table's own arena, so that there is none to
//! mix up with another table, and a reset lifts it. Ascending inserts went from 200 to 120 ns at a million entries, 60 of which are
//! the kernel's for fresh pages, and from 88 to 48 at a thousand. Kept per list instead of per shard, two ascending writers would
//! take it from one another with every key.
//!
//! *Runs.* New nodes at the end of an ascending load wait, twelve at most, and are filed together as a whole block of the lowest lane:
//! taken once, hinted once, when all its keys and its neighbour's first are known. One by one each took the block, found its place, was
//! hinted by the little that a block shares whose range is open, and hinted anew when that was closed: 150 of an ascending insert's 760
//! instructions, or more. Time of before, 16 random bytes, 1,000 / 10,000 / 100,000 entries: ascending inserts 0.84 / 0.83 / 0.81 (those of a
//! `SingleWriter` 0.79 at a thousand), sorted batches 0.85 / 0.81 / 0.85, ascending `apply` 0.89 / 0.86 / 0.91; web addresses 0.82 /
//! 0.82 / 0.78; random inserts seven instructions more. The price: until they are filed, searches walk over those that wait. To insert
//! ascending keys and read one of the last eight each time takes 1.2 of the time of before with random bytes, whose hints led to them, and 0.92
//! with web addresses, whose hints tied there. (The measure was `RocksDB`'s list, which goes on from where it was: see
//! `benches/peers --features rocksdb`.)
//!
//! *Counting.* A gate knows whether a *sole* writer is inside; who finds none is that. It counts with plain
//! loads and stores in figures of its own; whoever joins it counts with read-modify-writes in others. The gate's own release and
//! acquire hand the figures from one sole writer to the next. Four read-modify-writes fewer per insert. Of the gate's two words one is the
//! sole writer's, so that it leaves with a plain store; when one word counted all that was a read-modify-write, too. And
//! `insert_batch` passes the gate once for sixteen keys. With that, and an arena whose usual case is no call and no division,
//! random inserts took 0.91 of the time at a hundred entries and 0.97 at ten thousand, batches 0.82 and 0.83, overwrites 0.91 and 0.97.
//!
//! *Being alone.* A read-modify-write that nobody else wants costs some 18 cycles on Intel cores, and an insert has five. (AMD EPYC: nothing
//! that shows; ascending inserts without any that one writer could do without, 1 to 2 %.) A [`SingleWriter`](crate::SingleWriter) holds
//! all gates, and does without those of gate, bump position and lane block, and without the link's where the number is given: what
//! stays is the link as the barrier before the clock, and the stamp, which readers may set; or, with a given number, telling the
//! clock. On a Xeon, as parts of the time of one of many, from a hundred to ten thousand entries / at a million: ascending inserts 0.74 to
//! 0.76 / 0.93, with given numbers 0.65 to 0.69 / 0.88, sorted batches 0.84 / 0.96, random inserts 0.89 to 0.95 / 0.98. The write path is one, with a
//! constant that says which, so that a program without single writers has the code it had; one that uses both ways has the code
//! twice. It is a borrow that takes the gates when it is made, and not a table of another type: the same shared table can be loaded by
//! one thread and written by many afterwards, and memory that a lone writer hands to itself is safe by what the gates decide, not by what
//! a type promises. It was left out at first, for the 1 to 2 %. (In the usual path: memory that the sole writer takes ahead and hands to
//! itself was 0.94 for ascending inserts and batches at a thousand entries; not kept, for a second way to allocate.)
//!
//! *Walks forward* have nodes on their way before they come to them, by the handles in the lowest lane: a few at a time, more as
//! they go on. A node that was only asked for costs a short walk a third of one that it looks at (each lies on a page of
//! its own), so it should not ask for what it does not reach. Until a test walked from every place in a block, walks from
//! a quarter of the places that a seek can land in (the first key of a block, the last, a fence) missed the node at which to ask
//! for more, and paid 180 ns an entry: with that mended, 160 entries behind a seek take half the time. All the figures before had
//! come from scans of whole tables, which begin at the head, and of ten entries, which hardly showed it.
//!
//! A *long* walk (from some seventy entries on) is held up by two other things. A core can wait for some twenty lines at once: asking
//! for twelve nodes at a time was slower (37 ns an entry) than for eight (30). An outer cache takes more requests (a line in 6 ns instead
//! of 9 on the machine measured, where that is the cache that cores share, 45 ns away), so nodes are asked for there, two dozen ahead,
//! and by the first cache only eight before they are needed. And then the blocks are the chain: one of them in each nine entries, each
//! known by the one before. The lane above knows a dozen at once. Both together: 25 ns an entry became 18 in a good hour, 34 became 22 in a
//! bad one; either alone is half of that. In tables that the caches hold it is a loss of a tenth, so it begins a lane higher than the rest.
//! Asking the outer cache alone is no way: what is there already comes to the first no sooner (10,000 entries: 9 ns became 27).
//!
//! *Walks back* go by the lanes: the entry before, the block to the left by the block above, and only the base level's word that
//! this is the node before. From 2.3 times a step forward to about one. Long ones know six blocks to the left, whose handles their
//! parents name without a look at any of them, and ask for nodes twice, as forward: 33 ns an entry became 23, where forward is 15.
//!
//! *Multigets* take sixteen searches down side by side, a lane at a time: each looks at its block, asks for the next, and makes room for
//! the others while that comes. What kind of look it is depends on the lane alone. (At first each went on by itself, in a ring of searches
//! that took turns of some eight kinds; which kind came next was a jump guessed wrong as often as not. 505 instructions a key instead of
//! 685 at a thousand entries, and 0.8 of the time up to 10,000, 0.85 at 100,000, 0.87 to 0.92 at a million. Groups of 32: 0.97 to 1.01 for
//! multigets of 64, for twice the stack.) The keys that are looked for are asked for first, wherever they are: who waits for those in turn
//! waits sixteen times, and longest where a guess depends on what has not come yet. (Keys picked from an array of all that were put in: 0.9
//! of the time at 100,000 entries, 0.8 at a million.) The few searches that hints do not lead on have their looks at keys at once in upper
//! lanes, whose keys are few, and in the lane above the lowest behind those of the others: first for the header of the block under the
//! middle entry that ties, then for the node that names. Which entries tie is found once, and carried there with the version of the
//! block in which that was so. It is found without a branch there, by two bisections of all hints of a block: 60 instructions more, and three
//! wrong guesses a key less, each of which would hold up the searches behind it. (Keys with prefixes 0.86 to 0.95 of the time, random ones as
//! before. A loop over 1,000 keys in an order that never changes takes 1.04: the processor has learned every branch of it, and guesses right.
//! For single gets it costs 1.03 to 1.08: a guess that is right, as most are, asks for the next block before this one is done with.)
//!
//! *Keys with prefixes* are what is left: at 100,000 entries a multiget of web addresses takes 1,570 instructions where one of random keys
//! takes 770, and eight wrong guesses more: in three lanes of five the hints before and behind a key begin alike, and two keys have to be
//! compared. Whether a key begins like others is not by how much it does ([`shares_prefix`](crate::Comparator::shares_prefix)): words up
//! to a place that does not depend on the key, 0.93 to 0.97 of a miss. What did not help: upper blocks that keep the nodes of their entries'
//! first keys (1.2 bytes an entry; web addresses 0.95 of a get, random keys 1.01). Second words behind what entries that tie share, however far
//! that reaches (one comparison to make sure that a key begins like them, instead of two to find its place among them: 0.95 to 1.05). Splits
//! where one prefix ends and the next begins, as in a prefix B-tree (0.93 to 1.03: a block's range reaches up to its neighbour's first key, so
//! that what is on this side of the border shares no more than before). Comparisons of a group in rounds, so that the nodes of all that tie
//! are on their way at once: 1.03 to 1.06, they are in the cache. A look in the lowest lane that goes on from the first of several ties
//! instead of once more: 1.0. Ties of the lowest lane told by a glance: web addresses 0.95 of a get's instructions, random keys 1.03.
//!
//! *Batches* find out as a group where the next sixteen keys belong, which brings into the cache what the writes will touch, and each write
//! begins at the block of the lowest lane where its key was found to belong. Sorted batches of a thousand random keys went from 760 to 570 ns
//! a key at a million entries when the cache was all they got of it, and batches of sixteen random keys to 0.79 and 0.85 of the time at
//! 100,000 and a million when they got the block, too. `apply` has to know which keys are there before it reserves memory, so that it
//! searched twice; now it leaves what it found in the memory that it reserved, where the write takes it from: 0.93, 0.85, 0.75, 0.76 of the time at
//! 10^3 to 10^6, and 1.02 to 1.07 for batches that go on behind all keys, which never searched. (Blocks may be split in between, and keys of
//! one gap all have the same block: a walk from there would be as long as the batch. So the block has to prove where the key is now, or the
//! search begins at the top.)
//!
//! *Memory that is used again* (a table that was reset, an allocator that keeps what it gets) is not in the caches by then, and each line of it
//! is read before it is written; the processor looks ahead within a page, but a writer gets to the next one every thirty entries. In
//! large tables a block of a few lines asks for as much, a kibibyte on, and a long one for the beginning of the next page.
//! Parts of the time, tables reset and filled again, values of 100 bytes at 100,000 / 1,000,000 entries: ascending 0.8 / 0.94, sorted
//! batches 0.88 / 0.9, random 0.92 / 1.0, overwrites 1.0 / 0.88; of 2,000 bytes at 30,000: 0.84, 0.87, 0.89, 0.98; of 20 bytes, where nothing is
//! asked for, 1.0 to 1.03. Where memory is new it makes no difference: the kernel has just cleared it. (Medians of two tables either way, in
//! turns: which of two tables had the better memory was a tenth by itself. Tried: prefetches for writing, lane blocks too, half and twice
//! the distance: the same; the few lines of a kibibyte on for long ones, too: 1.02 to 1.09.)
//!
//! # What an operation costs, counted
//!
//! Keys of 16 random bytes. Comparisons are the same from 10^3 to 10^7 entries: 1.0 for a hit, 0.2 for a miss, 0.5 for a random
//! insert, 1.1 for an ascending one, 1.0 for a seek of a key that is there and ten steps; what a key shares with another is asked 0 to
//! 0.9 times for a miss, 1.1 for an insert. Under callgrind, at 10^3 / 10^4 / 10^5 / 10^6 entries, a hit
//! takes 430 / 535 / 639 / 744 instructions, a miss 393 / 529 / 645 / 750; at 10^6 a hit misses a last-level cache of 1 MiB 8.7 times, five
//! or six of which are lines that are asked for together, and a step forward takes 138 instructions (57 where nothing is asked for). Web
//! addresses take 1,270 instructions a hit where random keys take 765: blocks whose range spans two hosts tie by first words (three
//! times a get), and by second ones (0.7 times). A tie decides between two blocks, and both are asked for before it is decided:
//! 0.94 of the time. (`benches/peers`, `curve`; `tests/cost.rs` asserts the comparisons.)
//!
//! # Instructions, and what became of them
//!
//! A hit took 2,059 instructions at 10^6 entries before; what follows was found by reading what the compiler had made of it.
//!
//! - Counting the hints below one takes 17 comparisons of two words. The compiler makes a vector of them, without an unsigned
//!   comparison of 64 bits to make it with: 170 instructions. In two steps (every fourth, then the four behind it) nothing can be
//!   made a vector of, and it takes 32. (A first attempt, with first words and all seventeen, gained nothing for that reason.)
//! - In two steps, but not by `step_by`: in programs as `cargo build --release` makes them (sixteen codegen units, no LTO across crates) its
//!   `try_fold` is a call that is made two or three times a search. All measurements had been made with one unit and LTO. With a loop over
//!   indices, and `#[inline]` on what is hot but not generic, at a thousand entries a get takes 460 instructions there for 806 (0.85 of the
//!   time), an insert 1,250 for 1,710 (0.91), an overwrite 880 for 1,400 (0.91), a multiget 690 for 1,060 (0.73): within 7 % of what one unit
//!   and LTO make of it. What is hot and large says whether it is a call, where addresses have 64 bits; else that depends on what other
//!   writes a program has. (It still does a little: with `insert_batch` in the program, which has a write of its own, 0.9 of its
//!   instructions, an overwrite has 1.1 of its own.)
//! - What is usual has code of its own (`glance`), what is not is a call: no registers are saved for it. It must be inlined: an enum of
//!   twelve bytes comes back through memory in two parts and is read as one, for which the processor waits; seeks took 60 % longer.
//! - Entry 0 lies with the others. A branch on "is it entry 0", taken once in ten times, is guessed wrong as often: 5 ns.
//! - A node that was written once has its version read in place, and one comparison tells that its number is one, and within the view
//!   (words that are no numbers are greater than any).
//! - A step of an iterator is inlined where it is called for: along one link, to a key written once, between no bounds. All else is a
//!   call that begins the step anew. From 127 instructions to 58, and from 7.5 ns to 4 in a table of a hundred entries. It keeps the
//!   address of the node it stands at, not only the handle. `fold` and its like keep that address in a register: 0.8 to 0.95 of the time.
//! - And then they go block by block: the loop over the entries of one has nothing in it but their steps. What asks for an end to look
//!   out for is asked before it, the lengths of long nodes are a call, and where the walk stands is written down at the end of a block: 34
//!   instructions a step for 51, one jump for four. 0.82 of the time of a `fold` at 100 and at 1,000 entries, back 0.86; over
//!   `versions`, which had none of its own, 0.7. What is left is little: without the
//!   link's word for the next node and without a look at its version, which would be wrong, it takes 0.73 of that, and a `BTreeMap`, which has
//!   pointers and lengths side by side, less still. (Tried, for loops that call `next`: the slow step takes the iterator by value, so that
//!   the quick one could keep it in registers. 57 instructions for 60, and a seek with ten steps 1.2 to 1.9 times.)
//! - Chunk addresses lie by themselves, and always behind one pointer, so that a handle becomes an address by six instructions: fourteen
//!   beside their sizes; nine when the first eight addresses lay in the arena, and each look decided between them and the large table.
//!   In a table of a hundred entries that is 4 to 8 % of the instructions of everything, for 64 bytes more.
//! - Tried: a step that finds its chunk to be the one before needs no table. At a hundred entries, all in one or two chunks, 0.86 of the
//!   time; from 30,000 to 100,000, where two nodes in a row lie in one chunk half of the time, the guess costs 1.15 to 1.25. Not kept.
//!
//! Halved instructions are not halved time: at a million entries a get waits for memory and took 0.86 to 0.93, a multiget, which does not
//! wait, 0.65. Tried, and not faster: four counters side by side (registers), prefetching two blocks ahead of a scan, the right
//! neighbour together with a seek's block.
//!
//! Steps along links wait for link, chunk table, link (four fifths of their 17 cycles in a small table). A first queue of the next nodes,
//! by the lane's handles, which only had the links confirm them, took that wait away and cost more than it: 100 instructions a step for
//! 57, and two guesses wrong in each block. Now the walk holds a slice of the block's handles (66 instructions for 49, of `fold` 52
//! for 39), enters the next block within the step, and is told its place by the search that it begins with. Time of old, at 100 / 1,000 /
//! 10,000 entries: a scan 0.59 / 0.48 / 0.89, by `fold` 0.53 / 0.41 / 0.67, forty entries behind a seek 0.80 / 0.78 / 0.96, ten
//! 0.98 / 1.02 / 0.98; back, where the slice spares the look-up of the block, 0.92 / 0.90 / 0.86; to the first entry of a range 1.1 /
//! 1.1 / 0.62 (there no further node is asked for now). From 30,000 on walks went along links before and do now, by 1.02 to 1.08 slower:
//! tried by the lane, with the next block's nodes asked for at each turn of a block, scans took 0.7 of the time at 30,000, 0.92 at 100,000
//! and 1.17 at a million; with all that long walks ask for besides, 1.04 to 1.13, and ten entries behind a seek 1.1 to 1.2: the end
//! of a run is a branch that nobody can foresee, and so are the turns.
//!
//! What holds up a walk in a small table then is the way from block to block, once in nine entries. A run remembers the block behind its
//! own, so that the address of the next entry is known before the walk gets there, and where the entries begin does not wait for how many
//! there are (a slice that might have been out of bounds made that a conditional move: a quarter of a scan). 0.91 of the
//! time of a scan at 100 entries, 0.89 at a thousand, 0.98 at 10,000; by `fold` 0.9, 0.95, 0.95; back, where the block to the left is
//! entered within the step now, too, 0.9, 0.95, 1.0; to the first entry of a range 0.74 (a bound is not copied any more: sixteen bytes
//! read across two that were just written are waited for). These are medians over four layouts of the code
//! (`-align-all-blocks` and the like), since one layout against another is a tenth in loops as short as these. An index instead of a slice
//! that shrinks is five instructions fewer, 0.96 of the time at 100 entries and 1.15 at a thousand. One scout for both ways of a cursor,
//! 128 bytes instead of 216 to be moved into place: ten entries behind a seek 0.88 and 0.94 of the time. A turn needs no search within a
//! block where walks go by the lane, and one where they go along links. (To remember the node before for the first step back is a field
//! that made the cursor too large to be moved without a call.)
//!
//! # Where this departs from the first plan, and why
//!
//! | plan | here | because |
//! | --- | --- | --- |
//! | one hint word in the lowest lane | half a word | blocks of 12 entries take two lines instead of three or four; bytes over payload per entry fell from 50 (prototype) to 41 |
//! | where one side of a block is open, hints skip nothing | in upper lanes they skip what its entries share | above, Hints |
//! | blocks among the nodes | blocks in slabs of up to 64 KiB | no padding between nodes: 41.1 to 37.6 bytes per entry; and the blocks of a million entries lie on 13 MB instead of 150, which a TLB can hold |
//! | lengths in two words | in 22 bits of one word, behind it when long | a node is 20 bytes and key and value |
//! | each version links to the next older, the first one too | the first version has no such link; versions older than it are marked | 4 bytes an entry, in all tables, for a mark in those that write the past |
//! | overlapping batches: the largest visible number down to the first single version | batches exclude one another; a single write below a linking batch counts as just before it | one rule instead of two, and chains stay sorted |
//! | a batch's number copied lazily by readers | only once the batch has counted the version | otherwise a write that slips in below cannot know whether the batch will count it; live keys drifted |
//! | sequence numbers below 2^62 | callers' numbers below 2^62, clocks' below 2^63 | a clock that has been told the largest number could not go on |
//! | a kept insert position that its user holds | one per shard, used by every write | nothing to hold, nothing to mix up, and every ascending load gains |
//! | a header in each chunk | sizes beside the directory | damaged entries must not decide about memory |
//! | `inline(always)` on accessors | `inline` | 2.6 % fewer instructions for a third more code on small cores |
//! | interleaved gets: each key by itself below the lanes | groups of 16 that end in the node | at a million entries a third of the time of single gets |
//!
//! # Faults found on the way
//!
//! Each has a test now. A comparator that changed its mind made a batch write a node into memory reserved for a version. A key
//! type whose bytes changed between two calls overran its node. A request of nearly a whole chunk spilled its offset into the
//! chunk number. Values of 9 KiB took a chunk each and used up all places at 36 MiB. A torn look into an upper lane could follow
//! handle 0 where loads are reordered (found by loom). Credits of idle shards let a table pass its threshold. An order that is none
//! could be walked backwards for ever. A flush of a key with 40,000 versions walked its chain for every one of them. With few levels,
//! hints were believed for keys to the right of their block, and searches ended half a table away. Of a long stretch that lanes lacked,
//! writers filed one node each. A refused batch kept memory. A manager without memory kept that of flushed tables.
//!
//! Found by readings of the whole, each by somebody who had not written it: an estimate beside a split could follow handle 0 where
//! loads are reordered. A write that saw a batch on its way could be put below it after it was given up, under a write that did not
//! know of it. A version by number right below one that its batch had yet to count was counted by neither. A refused batch that had
//! crossed chunks kept all but the last. A clock that panicked let `max_entries` be passed. A flusher did not outlive panics beside the
//! flush; a look of a monitor could wait for a flush that waited for the monitor; tables that were used again piled up chunks.
//!
//! # Mutants that survive
//!
//! `.ci/mutants.sh` makes some 1,400 small changes to `src/list` and `src/arena`, one at a time. What no test notices:
//!
//! | file | mutants that survive | why |
//! | --- | --- | --- |
//! | `node.rs` `block.rs` `version.rs` `directory.rs` | `\|` → `^` in `Meta::common`, `ChainWord::closed`, `ChainWord::naming`, `Shape::encode`, `Wide::precedes`, `SeqWord::batch`, `SeqWord::counted_batch`, `ChunkNumber::handle` | the same value: the two sides share no bit |
//! | `search.rs` `batch.rs` `arena/mod.rs` `backward.rs` | `HINTED + EXACT` → `*`; `lane > 0` → `>=` in `leave_parent`; `DEAD` = `(3 << 62) - 1`; `Arena::contains` → `true` | the same value: 2 + 2 = 2 · 2; the loop returns at lane 1; any mark that is neither a number nor another mark; it is the whole body |
//! | `arena/mod.rs` | `1 << 30` → `>>` in `MAX_REQUEST` | in the branch for 32-bit targets, which `.ci/arch.sh` runs |
//! | `shard.rs` | `>` → `>=`, `<` → `<=` in `note_seq` (sole and joint); `>` → `>=` in `at_least_zero` | a maximum with itself; sums below zero are seen only beside writers, for a moment, and `isize::MAX` itself is out of reach |
//! | `gate.rs` `write.rs` | `\|` → `^` in `Gate::enter`; `&&` → `\|\|` in `link_node` (who may link by a store) | bits that are apart; two writers within three instructions, which the models bring about (`single_writer_among_sole_and_joint`), and the barrier before the clock, which no test has seen missing in a million writes |
//! | `block.rs` | `MAX_SKIP` one or two greater, or 2^40 | needs a dozen keys that share 16 MiB; `encode` asserts it |
//! | `lane.rs` `split.rs` | `H - 1` → `+`, `/` in `height`; `<` → `<=`, `+` → `*` in `has_lane` and before the lane above is told (`file_node`, `tell_above`); `behind + index` → `*` where `plan` takes an old hint; `shared > 0` → `>=` there | guarded twice: no lane is made above the last level; the old hint is taken only where an entry names nothing; what every key shares asks nothing of one |
//! | `lane.rs` | some of the test whether an entry is filed already (`place`, "`index > 0 && …`") | the comparisons that follow find that out |
//! | `block.rs` | in `rank`: `!GLANCES` without `!`, `(N - 3) / STRIDE` → `+`, `*`, `%`, `1 + STRIDE` → `*`; in `glance`: `is_before_fence` → `false`; in `look`: `is_conditional` with `\|\|`; in `Proof::units`: `&&` → `\|\|`; `N - 1` → `+`, `/` in `last_entry_for_which` | the other way of counting, or strides that begin one earlier or add nothing; a slower look, or a longer walk, to the same end; a condition that holds, or one that never does, and so one comparison more; one look more, beyond the last entry, where there are only greatest hints |
//! | `scout.rs` `forward.rs` `backward.rs` `position.rs` | the straight steps → `None`; how much is asked for, and when (`look_around`, `set_out_from`, `step_forward`, `ask_far`, `find_above`, `ask_block`, `ask_right`, `look_ahead`; `heading` and `above` in `set_out`), and whether it is by the lane (`stand_in_lane`, `go_along_links`, `has_every`, `hit`, `landed`, the early end of `step_forward`, guards in `set_out`, what `rouse` and `without_entries` keep); whether a fold goes on to the next block (`enter_right`), a cursor's step takes the usual way (`shows_plainly` → `false`) | only speed; that a walk goes on asking, and how far ahead, is tested (`walks_look_ahead`, `walks_pass_what_the_lanes_lack`, `long_walks_look_far_ahead`, `long_walks_back_look_far_ahead`) |
//! | `block.rs` `forward.rs` | `ranks_are_counts` → nothing, `2 * index` → `+`, `/`; `is_on_course` → `true` | in tests themselves |
//! | `scout.rs` | `goes_by_lane` → `true` | a fold looks in vain for entries at the end of each step along a link |
//! | `node.rs` | which nodes' lengths are read by a call (`key_and_first_version`) | only speed: the call reads any |
//! | `block.rs` | `index + 1` → `*` in `put_behind` | one entry is moved too many, onto the place that is written next |
//! | `batch.rs` `directory.rs` `search.rs` | `!spot.close()` without `!` in `count_one`; `\|\|` → `&&` in `put_back`; the guard `goal == Goal::At` → `false`, `true` or its opposite in `land` | once more round the loop, or the slower of two ways, to the same end: it finds the link closed; pushes the spares one by one; walks to the node; and only hints that lie lead a search for what is before a key to that key |
//! | `prefetch.rs` `lane.rs` `multi.rs` `block.rs` `scout.rs` `search.rs` | all of `prefetch`; which kind of block is asked for (`prefetch_block`); `lane - 1` → `+`, `/` in `below`; whether keys are asked for (`ask_for_keys`); what a doubtful look waits for (`doubtful_fence`); whether the second node is asked for (`==` in `search`); how large groups are, and from what sizes on (`get_many`, `leads`) | what is asked for ahead shows in no answer. That it is asked for is counted where it goes through the arena (`tests/mutants_cost.rs`); here another line is asked for, or one more |
//! | `version.rs` `shard.rs` `slab.rs` `inspect.rs` `split.rs` | no arm for a stamped number in `newest`; `spend_entries` → `false`; which half of a split block the finger remembers (`put`: `\|\|` → `&&`, `>=` → `<`); `slab_size < 2 * size` → `<=`; `used() / size_of` → `*` in `check_base` | only speed: the slow way gives the same; the finger is one step off; a slab of exactly two blocks; a walk in circles is found after more steps |
//! | `block.rs` `version.rs` `batch.rs` `inspect.rs` | `unchanged` → `true`; `close` → `true`; `!is_closed()` without `!` in `count_one`; the guard `handle == 0` → `false` in `place_in_row` | windows of a few instructions, killed by the loom models `lane_split_against_reader`, `put_at_onto_a_linking_batch` and `lane_split_against_estimate` |
//! | `node.rs` `version.rs` `write.rs` | `is_closed` → `false`; `word & COUNTED` → `\|`, `^` in `decode`; `is_uncounted` → `false` | the same; killed by the loom model `put_at_below_a_new_keys_batch` |
//! | `run.rs` `shard.rs` | who is let in by `file_in_run` (`\|\|` → `&&`, `is_sole` → `true`, `&&` → `\|\|` in `is_run_at`); `2 * RUN` → `+`, `== 0` → `!=` before `retrace` in `file_waiting` | nodes wait that do not go on a run, or by writers beside others: links do not lead where they should, and they are filed one by one; one is filed from the top of the lane, or searched for in vain |
//! | `split.rs` | `count - middle` → `+` where `split_in_two` copies | beyond the last entry nothing is read and nothing set |
//! | `write.rs` | `\|\|` → `&&` in `find_stand` (closed, or no longer linking) | needs three threads: a batch, a reader that decides its number between pending and the closing of the link, and a write with a number of its own in that window |
//! | `block.rs` `batch.rs` `slab.rs` | `Debug` of `Block`, `BatchLock`, `Slab` → nothing | never printed |
//!
//! # What is left undone
//!
//! Descending loads search for every key. Dropping a table is a few dozen calls of the allocator, and takes as long as that needs to give
//! the chunks back: for a million entries 8 to 14 ms with glibc as it comes, which unmaps them; 0.02 ms with one that keeps them (glibc
//! told to, mimalloc). The same decides about ascending loads: 95 ns an entry where every page is new, 40 where it is not. Stepping back
//! through the versions of one key walks the newer ones each time.
//!
//! # In kernels and firmware
//!
//!
//! What may be called from where. "Wait-free" here: ends after a number of own steps that no other thread can stretch; "lock-free": may repeat
//! when somebody else got ahead, which means that somebody did.
//!
//! | call | interrupt handler | preemption off / spinlock held | why |
//! |---|---|---|---|
//! | `get`, `get_live`, `entry`, `get_at`, `contains_key`, `get_many_into` | yes | yes | no lock; a lane block that is being written is looked at 16 times, then its first entry does. May stamp a pending version: one compare-and-swap |
//! | `iter`, `range`, `versions`, cursors, snapshots' reads | yes | yes | the same; the length is yours |
//! | `snapshot` | yes | yes | one read-modify-write and a fence |
//! | `insert`, `put`, `put_tombstone`, `delete`, `put_at`, `put_kind_at`, `get_or_insert`, `insert_batch` | yes over a `FixedArena` | yes over a `FixedArena` | lock-free: repeats only when another write took the same gap or chain. Lane blocks are taken by try-lock; one that is held (also by what the handler interrupted) is left alone, and that piece of lane work is dropped |
//! | the same over `ChunkArena`, `ShardedArena` | only if the allocator may be called there | only if the allocator may | a full chunk asks the allocator. With a first chunk large enough (of up to 8 MiB per shard) and a size that is never exceeded it is not asked, once each shard has had its first write |
//! | `single_writer`, and its writes | as above | as above | two exchanges a shard; refused, not kept waiting, when the caller has interrupted a write. Its own writes keep no reader out; others' are refused with `Busy`, also a handler's |
//! | `try_freeze` | yes | yes | closes the gate and looks; `None` while a write is unfinished, also one that the caller has interrupted, or a single writer lives |
//! | `freeze`, `freeze_arc`, `seal` | **no** | **no** | spins until the writes that had begun are over, and a single writer is gone. One of them may be what the handler interrupted, or a thread that cannot run: it would never end |
//! | `apply` | **no** | **no** | batches exclude one another: the second spins until the first is over |
//! | `validate`, `stats`, figures | yes, but `validate` walks everything | as long as that may take | exact only when nobody writes |
//! | `reset`, drop | no `&mut`, no | | need the table exclusively |
//!
//! - Freezing from a handler: call `try_freeze` there, which refuses all later writes at once; let the main loop call it again until it gives the table.
//! - Stack: a write needs up to 1.5 KB on a Cortex-M4 (optimised for size; the plans for a block split) and 3.4 KB on x86-64, whatever the size
//!   of the table: nothing recurses. Reads need 0.5 KB on the former, `get_many` 0.7.
//! - Nothing panics in put, get, iterate; the symbol table of `examples/embedded/freestanding` shows it. A comparator, clock or selector of your own must not
//!   panic in a handler, and must itself be fit to be called there.
//! - 64-bit words. On cores without 64-bit atomics, feature `critical-section` brackets each access with the binary's own critical section: interrupts are off for a load and
//!   a store. If handlers of a priority that your critical section does not mask call the table, that is unsound: mask them, or do not. (That holds for every atomic on a
//!   core without compare-and-swap.) Never provide a critical section that is only a spin lock: a handler would meet it.
//! - NMI and fault handlers: not on cores where a critical section is needed. Elsewhere reading is fine.
//! - Shards by CPU number: pass a function (`examples/shard_by_cpu.rs`). It may be wrong (the caller migrates between question and write): that costs speed, never safety.
//! - Ordering between a handler and the main loop on one core needs no fence of yours; the list brings its own.
//! - Budget: a `FixedArena` never grows; `OutOfMemory` is an ordinary answer, and nothing was lost. Two tables over two buffers, one filling, one flushing, is the pattern.
