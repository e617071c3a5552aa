#!/usr/bin/env bash
# Without std, for real: what the library links, every set of features, bare metal that runs, and how much code that is.
# `TARGET` is where everything is built; by default `ci` in the folder that the other stages use.
source "$(dirname "$0")/lib.sh"

target=${TARGET:-$target/ci}
export CARGO_TARGET_DIR=$target
mkdir -p "$target"

embedded=examples/embedded
board=$target/board
m4=thumbv7em-none-eabihf
m0=thumbv6m-none-eabi
export CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUSTFLAGS='-Clinker=ld.lld-22 -Clinker-flavor=ld.lld'
export CARGO_TARGET_THUMBV6M_NONE_EABI_RUSTFLAGS=$CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUSTFLAGS
# How the two features for cores without atomics of their own are called.
masked=critical-section
single=unsafe-assume-single-core

second_compiler
debs qemu-system-arm binutils
tool cargo-hack 0.6.46
hack=$(command -v cargo-hack)

# bare CRATE TARGET ARGUMENTS…: builds a crate of examples/embedded, as it is copied by others: with its own lock file.
bare() {
    local crate=$1 triple=$2
    shift 2
    (cd "$embedded/$crate" && second cargo build --quiet --release --locked --target "$triple" \
        -Zbuild-std=core,alloc --target-dir "$board" "$@")
}

# runs NAME TARGET MACHINE…: runs an image, which ends qemu by itself. An instruction takes 32 ns of its time.
runs() {
    local image=$board/$2/release/$1 log=$target/$1.log
    shift 2
    timeout 300 qemu-system-arm "$@" -nographic -monitor none -serial none -icount shift=5 \
        -semihosting-config enable=on,target=native -kernel "$image" </dev/null >"$log" 2>&1 || {
        cat "$log"
        die "the image ended badly"
    }
    cat "$log"
    [ "$(tail -n 1 "$log")" = ok ] || die "the image did not come to its end"
}

# links FEATURES…: the crates that the library refers to.
links() {
    cargo rustc --quiet --lib --target-dir "$target/links" "$@" -- --crate-type rlib
    RUSTC_BOOTSTRAP=1 rustc -Zls=root "$target/links/debug/libmemskip.rlib" |
        sed -n '/^=External Dependencies=/,/^$/ s/^[0-9]* \([a-z_0-9]*\)-[0-9a-f]* .*/\1/p' | sort -u | xargs
}

proves 'the library refers to core alone, with the feature to alloc, and only with the feature to std'
none=" $(links --no-default-features) "
alloc=" $(links --no-default-features --features alloc) "
std=" $(links) "
printf 'no features: %s\nalloc:       %s\nstd:         %s\n' "$none" "$alloc" "$std"
[[ $none = *' core '* && $none != *' alloc '* && $none != *' std '* ]] || die 'more than core'
[[ $alloc = *' alloc '* && $alloc != *' std '* ]] || die 'more than core and alloc'
[[ $std = *' std '* ]] || die 'std is not listed where it is'

proves 'every set of features builds on a host'
# One of the two features makes no sense there, and says so.
cargo hack --feature-powerset --exclude-features "default,$single" check --quiet --lib
must_report 'single_core' cargo check --quiet --lib --no-default-features --features "$single"

proves 'and on bare metal: cores with 32-bit atomics, and cores without compare-and-swap'
for triple in "$m4" "$m0"; do
    # Only with one of the two; never with both. No warnings: what few targets have is easily left unused by others.
    RUSTFLAGS=-Dwarnings second "$hack" hack --feature-powerset --exclude-features default,std \
        --at-least-one-of "$masked,$single" --mutually-exclusive-features "$masked,$single" \
        check --quiet --lib --target "$triple" -Zbuild-std=core,alloc --target-dir "$board"
done

# tests ARGUMENTS…: tests of every set of features that a host can have; none of the binaries may have come to be empty.
tests() {
    local log=$target/tests.log
    cargo hack --feature-powerset --exclude-features "default,$masked,$single" "$@" 2>&1 | tee "$log" || return
    if grep -q '^running 0 tests' "$log"; then
        echo 'FAILED: a binary without a test'
        return 1
    fi
}

proves 'every set of features passes its tests, and has some'
# check.sh runs the long ones; here are those that any set of features may break.
tests test --quiet --lib --test core_only --test default_types --test single_writer
tests --at-least-one-of alloc,std,hash-index test --quiet --test contract --test boundaries --test versions --test figures --test owned
must_report 'without a test' tests test --quiet --test contract

proves 'freestanding: no std, no allocator, no C library; the program fills a buffer, reads, and ends well'
free=$target/free
free_binary=$free/release/memskip-freestanding
(cd "$embedded/freestanding" && cargo build --quiet --release --locked --target-dir "$free")
"$free_binary" || die "the program ended with $?"
! readelf --dynamic --wide "$free_binary" | grep NEEDED || die 'it needs a library'

# panics FILE: its symbols of panics and of formatting.
panics() { nm --demangle "$1" | grep -E 'panic|::fmt|unwrap_failed|expect_failed|slice_.*_fail|rust_begin_unwind' || true; }

proves 'and nothing in it can panic or formats'
nm --size-sort "$free_binary" | wc -l | xargs printf '%s symbols\n'
[ -z "$(panics "$free_binary")" ] || die "it can: $(panics "$free_binary")"
# One index of a slice, and it shows.
(cd "$embedded/freestanding" && cargo build --quiet --release --locked --target-dir "$free" --features panicking)
panics "$free_binary" | grep -q panic_bounds_check || die 'a planted panic does not show'

proves 'Cortex-M4: fills, reads, overwrites, deletes, freezes; and an interrupt handler writes into every write'
bare cortex-m4 "$m4"
runs memskip-cortex-m4 "$m4" -machine mps2-an386 -cpu cortex-m4

proves 'Cortex-M0, 16 KiB: the same without compare-and-swap'
bare cortex-m0 "$m0"
runs memskip-cortex-m0 "$m0" -machine microbit

proves 'and without the feature for such cores it does not build'
must_report 'no 64-bit atomics' bare cortex-m0 "$m0" --no-default-features

proves 'nor with the spin locks that another crate of the program may bring in'
must_report 'no 64-bit atomics' second cargo check --quiet --lib --target "$m4" -Zbuild-std=core --target-dir "$board" \
    --no-default-features --features portable-atomic/fallback

proves 'how much code it is'
CARGO_TARGET_DIR=$board bash "$embedded/code-size.sh" | tee "$target/code-size.txt"
# Not to grow unnoticed: the whole list at 12 levels.
most=${MEMSKIP_MOST_CODE:-16384}
size=$(awk '/^the whole list/ { print $NF }' "$target/code-size.txt")
[ "$size" -le "$most" ] || die "the list is $size bytes, more than $most"
